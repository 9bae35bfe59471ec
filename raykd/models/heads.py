"""The last layer of a network, whose rows are its classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.models.staged import Staged


class JoinClasses(nn.Module):
    """Logits [B, U, …] → [B, C, …]: those of a group's classes become log Σ exp, so that their probabilities add up."""

    places: torch.Tensor  # [classes, most of one]

    def __init__(self, groups: Sequence[int]):
        """groups: of how many neighbours each of the C classes is made; U is their sum."""
        super().__init__()
        starts, most = torch.tensor([0, *groups]).cumsum(0), max(groups)
        places = starts[:-1, None] + torch.arange(most)
        beyond = torch.arange(most) >= torch.tensor(groups)[:, None]
        # The place behind the last logit holds −∞, which adds nothing.
        self.register_buffer("places", places.masked_fill(beyond, sum(groups)), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        padded = torch.cat([logits, torch.full_like(logits[:, :1], -torch.inf)], 1)
        return padded[:, self.places].logsumexp(2)


@torch.no_grad()
def select_classes(staged: Staged, positions: Sequence[Sequence[int]]) -> None:
    """Make the network's logits those of classes at positions of its own; several that are one class are joined.

    The rows of its last layer move, so that everything that reads its head agrees. Raises UserError where the logits
    are more than the rows of last layers.
    """
    training = staged.training
    staged.eval()
    size, weight = staged.image_size, next(staged.parameters())
    images = torch.linspace(-2, 2, 3 * size * size, device=weight.device, dtype=weight.dtype).view(1, 3, size, size)
    whole, rows = staged(images), [row for group in positions for row in group]
    wanted = torch.stack([whole[:, list(group)].logsumexp(1) for group in positions], 1)
    for name in staged.classifiers:
        layer = staged.model.get_submodule(name)
        _keep_rows(layer, torch.tensor(rows, device=weight.device))
        if len(rows) > len(positions):
            staged.model.set_submodule(name, nn.Sequential(layer, JoinClasses([len(group) for group in positions])))
    if not staged.classifiers or not torch.allclose(staged(images), wanted, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise UserError(
            f"{staged.name}: its logits don't come from a last linear layer, so classes can't be reordered or joined"
        )
    staged.num_classes = len(positions)
    staged.train(training)


def _keep_rows(layer: nn.Module, rows: torch.Tensor) -> None:
    assert isinstance(layer, nn.Linear | nn.Conv2d)  # as all that `classifiers` names
    layer.weight = nn.Parameter(layer.weight[rows], layer.weight.requires_grad)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[rows], layer.bias.requires_grad)
    if isinstance(layer, nn.Conv2d):
        layer.out_channels = len(rows)
    else:
        layer.out_features = len(rows)
