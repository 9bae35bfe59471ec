"""The student of the digits recipes without a teacher: the baseline of every other digits recipe.

raykd train digits/supervised
"""

from raykd.data.config import Data
from raykd.data.sources.digits import Digits
from raykd.data.transforms import RandomCrop
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import SGD, Cosine, Recipe

recipe = Recipe(
    method=Supervised.Config(),
    student=Network(name="resnet8"),
    data=Data(
        source=Digits(),
        image_size=32,
        mean=(0.3053, 0.3053, 0.3053),
        std=(0.3758, 0.3758, 0.3758),
        train=(RandomCrop(padding=4),),
    ),
    epochs=12,
    batch_size=64,
    optimizer=SGD(learning_rate=0.05, weight_decay=5e-4),
    schedule=Cosine(warmup_steps=20),
    workers=2,
)
