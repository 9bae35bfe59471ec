"""FunMatch on Oxford Flowers 102 with Shampoo, which the paper found much faster than Adam.

    raykd train flowers102/shampoo

Cost: as the fast student; each step costs more than AdamW's.
Published: none quoted.
Measured: not run here.
Needs the package pytorch-optimizer: pip install 'raykd[shampoo]'. The learning rate is AdamW's, not tuned.
"""

from dataclasses import replace

from raykd.recipe import Shampoo
from raykd.recipes.flowers102.fast import recipe as fast

recipe = replace(fast, optimizer=Shampoo(learning_rate=3e-3, weight_decay=3e-4, decay_vectors=False, clip_norm=1.0))
