"""The last layer of a network, whose rows are its classes."""

from collections.abc import Sequence

import torch
from torch import nn

from raykd import UserError
from raykd.models.staged import Staged


@torch.no_grad()
def select_classes(staged: Staged, positions: Sequence[int]) -> None:
    """Make the network's logits those of the classes at some positions of its own, in that order.

    The rows of its last layer move, so that everything that reads its head agrees. Raises UserError where the logits
    are more than the rows of last layers.
    """
    training = staged.training
    staged.eval()
    size, weight = staged.image_size, next(staged.parameters())
    images = torch.linspace(-2, 2, 3 * size * size, device=weight.device, dtype=weight.dtype).view(1, 3, size, size)
    wanted = staged(images)[:, list(positions)]
    for name in staged.classifiers:
        _keep_rows(staged.model.get_submodule(name), torch.tensor(positions, device=weight.device))
    if not staged.classifiers or not torch.allclose(staged(images), wanted, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise UserError(
            f"{staged.name}: its logits don't come from a last linear layer, so its classes can't be reordered"
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
