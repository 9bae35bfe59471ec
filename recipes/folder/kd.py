"""KD from timm:resnet18 to timm:mobilenetv3_small_050 on a folder of images: copy this file, and change its top.

raykd train folder/kd --data.source.path DIR --teachers.sources.0.recipe.data.source.path DIR

DIR contains train/CLASS/*.jpg and val/CLASS/*.jpg, or only train/, or the classes' folders. Mean and standard deviation
are measured on its training images. `raykd new mine.py --data DIR --teacher NETWORK --student NETWORK` writes such a
file with settings that fit the images. Not measured.
"""

from dataclasses import replace

from raykd import (
    KD,
    AdamW,
    CenterCrop,
    Cosine,
    Data,
    Flip,
    ImageFolder,
    Network,
    RandomResizedCrop,
    Recipe,
    Resize,
    Supervised,
    Teachers,
    Train,
)

# Settings that are usually changed.
TEACHER = Network(name="timm:resnet18")  # weights="pretrained" starts from the library's weights
STUDENT = Network(name="timm:mobilenetv3_small_050")
EPOCHS = 60  # passes over the training images

DATA = Data(
    source=ImageFolder(path="images"),
    image_size=96,
    train=(RandomResizedCrop(area=(0.35, 1.0)), Flip()),  # remove Flip() if left and right differ, as in text
    test=(Resize(size=110), CenterCrop()),
)

teacher = Recipe(
    method=Supervised.Config(),
    student=TEACHER,
    data=DATA,
    epochs=EPOCHS,
    batch_size=64,
    optimizer=AdamW(learning_rate=0.0007, weight_decay=0.05, decay_vectors=False),
    schedule=Cosine(warmup_steps=100),
    # gpus_per_worker=1,  # with a GPU; with several GPUs also workers=2 or more
)

recipe = replace(
    teacher,
    method=KD.Config(),
    student=STUDENT,
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
