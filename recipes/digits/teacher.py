"""The teacher of the digits recipes; they train it themselves where it is missing.

raykd train digits/teacher
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, student=Network(name="resnet20"))
