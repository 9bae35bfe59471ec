"""Changes a network's last layers: selects, reorders and joins its classes, or sets them to 0."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.models.staged import Staged
from raykd.models.staged.modes import evaluating


class JoinClasses(nn.Module):
    """Logits [B, U, …] → [B, C, …]: log Σ exp over the classes of each group, so that probabilities add up."""

    columns: torch.Tensor  # [classes, most of one]

    def __init__(self, groups: Sequence[int]):
        """groups: the number of consecutive logits that form each of the C classes; their sum is U."""
        super().__init__()
        starts, most = torch.tensor([0, *groups]).cumsum(0), max(groups)
        columns = starts[:-1, None] + torch.arange(most)
        beyond = torch.arange(most) >= torch.tensor(groups)[:, None]
        # The column after the last logit is −∞, which adds nothing.
        self.register_buffer("columns", columns.masked_fill(beyond, sum(groups)), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        padded = torch.cat([logits, torch.full_like(logits[:, :1], -torch.inf)], 1)
        return padded[:, self.columns].logsumexp(2)


@torch.no_grad()
def select_classes(staged: Staged, positions: Sequence[Sequence[int]]) -> None:
    """Replace the network's classes by those at these positions, in order; several positions of one class are joined.

    The last layer's rows are selected, so that all that reads the head is consistent. Raises UserError if the logits
    are not the output of last linear layers.
    """
    size, weight = staged.image_size, next(staged.parameters())
    images = torch.linspace(-2, 2, 3 * size * size, device=weight.device, dtype=weight.dtype).view(1, 3, size, size)
    rows = [row for group in positions for row in group]
    with evaluating(staged):
        before = staged(images)
        for name in staged.classifiers:
            layer = staged.model.get_submodule(name)
            _select_rows(layer, torch.tensor(rows, device=weight.device))
            if len(rows) > len(positions):
                staged.model.set_submodule(name, nn.Sequential(layer, JoinClasses([len(group) for group in positions])))
        after = staged(images)
    expected = torch.stack([before[:, list(group)].logsumexp(1) for group in positions], 1)
    if not staged.classifiers or not torch.allclose(after, expected, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise UserError(
            f"{staged.name}: its last layer is not linear, so its classes can't be reordered or merged: use another "
            "teacher"
        )
    staged.num_classes = len(positions)


def zero_classifiers(staged: Staged) -> None:
    """Set every head's last layer to 0: logits 0, all classes equally likely."""
    for name in staged.classifiers:
        for parameter in staged.model.get_submodule(name).parameters():
            nn.init.zeros_(parameter)


def _select_rows(layer: nn.Module, rows: torch.Tensor) -> None:
    assert isinstance(layer, nn.Linear | nn.Conv2d)  # as all that `classifiers` names
    layer.weight = nn.Parameter(layer.weight[rows], layer.weight.requires_grad)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[rows], layer.bias.requires_grad)
    if isinstance(layer, nn.Conv2d):
        layer.out_channels = len(rows)
    else:
        layer.out_features = len(rows)
