"""A custom network: any module whose constructor takes `num_classes`; its stages are named in the recipe.

raykd train own_network.py
"""

from dataclasses import replace

from torch import Tensor, nn

from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as digits


class TwoStages(nn.Module):
    def __init__(self, num_classes: int, width: int = 16):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.two(self.one(images)).mean((2, 3)))
        return logits


recipe = replace(digits, student=Network(name="own_network:TwoStages", options={"width": 24}, stages=("one", "two")))
