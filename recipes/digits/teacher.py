"""The teacher of the digits recipes, which train it first if it doesn't exist.

raykd train digits/teacher
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, student=Network(name="resnet20"))
