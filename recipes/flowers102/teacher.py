"""BiT ResNet-101x3 (ImageNet-21k) fine-tuned on Oxford Flowers 102: the teacher of the students in this folder.

    raykd train flowers102/teacher

Cost: 100 epochs at 128 pixels, batch 512.
Published: none quoted for these settings; a re-implementation's own are in tf_teacher.py and tf_student.py.
Measured: not run here.
BiT fine-tuning: resize to 160, random crop 128, flip, SGD with momentum 0.9, three drops.
"""

from raykd.data.config import Data
from raykd.data.sources.libraries import Flowers102
from raykd.data.transforms import CenterCrop, Flip, RandomCrop, Resize
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import SGD, Precision, Recipe, Steps

recipe = Recipe(
    method=Supervised.Config(),
    student=Network(name="timm:resnetv2_101x3_bit.goog_in21k", weights="pretrained"),
    data=Data(
        source=Flowers102(),
        image_size=128,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        train=(Resize(size=160, keep_aspect=False), RandomCrop(), Flip()),
        test=(Resize(size=160), CenterCrop()),
    ),
    epochs=100,
    batch_size=512,
    optimizer=SGD(learning_rate=3e-3, weight_decay=0.0, nesterov=False),
    schedule=Steps(milestones=(30, 60, 90), warmup_steps=100),
    precision=Precision(autocast="bfloat16"),
    gpus_per_worker=1,
    cpus_per_worker=8,
    evaluate_every=5,
)
