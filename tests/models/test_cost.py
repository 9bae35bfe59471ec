"""The multiply-adds of networks, against their number by hand."""

import torch
from torch import nn

from raykd.models.cost import flops


class Attention(nn.Module):
    """Tokens of the pixels of an image, through torch's transformer layer, which has a fused kernel for evaluation."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 1)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, images):
        return self.layer(self.embed(images).flatten(2).transpose(1, 2)).mean(1)


def test_attention_counts():
    tokens, width, inner = 16, 8, 16
    embedding, projections, feed_forward = 3 * width, 4 * width * width, 2 * width * inner
    attention = 2 * tokens * tokens * width  # the products of queries and keys, and of weights and values
    wanted = tokens * (embedding + projections + feed_forward) + attention
    assert flops(Attention(), 4) == wanted


class Learned(nn.Module):
    """A module that a parameter goes through, and a layer whose weight is computed from others."""

    def __init__(self):
        super().__init__()
        self.token, self.one = nn.Parameter(torch.zeros(1, 5)), nn.Linear(5, 7)
        self.two = nn.utils.parametrizations.weight_norm(nn.Linear(3, 7))

    def forward(self, images):
        return self.one(self.token) + self.two(images.mean((2, 3)))


def test_parameters_that_pass_through_modules_are_no_obstacle():
    assert flops(Learned(), 4) == 5 * 7 + 3 * 7
