"""What `recipes/digits/kd.py` has learned, trained on with the same teacher while it rounds to 8 bits.

raykd train recipes/digits/kd.py
raykd train recipes/int8/finetune.py
raykd export runs/int8/finetune --to student.int8.onnx
"""

from dataclasses import replace

from raykd.models.config import Network
from recipes.digits.kd import recipe as kd

recipe = replace(
    kd,
    student=Network(name="resnet8", weights="runs/digits/kd/student.safetensors", int8=True),
    optimizer=replace(kd.optimizer, learning_rate=0.005),
    epochs=4,
)
