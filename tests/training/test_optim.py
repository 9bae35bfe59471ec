"""Every optimizer's state survives a checkpoint: the next step is the same, bit for bit."""

import dataclasses

import pytest
import torch
from torch import nn

from raykd import recipe as recipes
from raykd.runs.checkpoints import checkpoint
from raykd.training.update import optim
from raykd.training.update.state import _copy

SHIPPED = [
    cls
    for cls in vars(recipes).values()
    if isinstance(cls, type) and issubclass(cls, recipes.Optimizer) and cls is not recipes.Optimizer
]


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
    return nn.Sequential(*layers, nn.Linear(5, 2)).to(memory_format=torch.channels_last)


def steps(module, optimizer, numbers, late=False):
    """Steps on batches that their numbers make; `late`: the last layer takes part."""
    for number in numbers:
        torch.manual_seed(number)
        module.train()
        out = module[:-1](torch.randn(6, 3, 8, 8))
        out = module[-1](out) if late else out
        optimizer.zero_grad()
        out.square().mean().backward()
        optimizer.step()


def saved(state):
    """A checkpoint's content: written, and read by the reader that rejects anything that could run code."""
    import io

    buffer = io.BytesIO()
    torch.save(_copy(state), buffer)
    return checkpoint.decode(buffer.getvalue(), "the checkpoint")


@pytest.mark.parametrize("cls", SHIPPED, ids=lambda cls: cls.__name__)
def test_the_step_after_a_restored_checkpoint_is_identical(cls):
    """Past the point where Shampoo preconditions, and with a layer that has had no gradient before the checkpoint."""
    config = dataclasses.replace(cls(), learning_rate=1e-2)
    whole = network()
    optimizer = optim.build(config, whole)
    steps(whole, optimizer, range(31))
    weights, state = saved(whole.state_dict()), saved(optimizer.state_dict())

    resumed = network()
    resumed.load_state_dict(weights)
    again = optim.build(config, resumed)
    again.load_state_dict(state)
    for module, its in ((whole, optimizer), (resumed, again)):
        steps(module, its, range(31, 36))
        steps(module, its, range(36, 41), late=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert not torch.equal(whole.state_dict()["0.weight"], weights["0.weight"])


def test_the_global_norm_is_the_norm_of_all_gradients_in_float64():
    torch.manual_seed(1)
    gradients = [torch.randn(shape) for shape in ((4, 3), (7,), ())]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    expected = sum(g.double().square().sum() for g in gradients).sqrt()
    torch.testing.assert_close(norm.double(), expected, rtol=1e-6, atol=0)
