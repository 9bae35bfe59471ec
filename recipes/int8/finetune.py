"""The student of `digits/kd`, fine-tuned with the same teacher and rounding to 8 bits, for export in int8.

raykd train digits/kd
raykd train int8/finetune
raykd export runs/int8/finetune --to student.int8.onnx
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipes.digits.kd import recipe as kd

recipe = replace(
    kd,
    student=Network(name="resnet8", weights="runs/digits/kd/student.safetensors", int8=True),
    optimizer=replace(kd.optimizer, learning_rate=0.005),
    epochs=4,
)
