"""Parts of one image are rejected before the start only if a batch norm can't be trained on them."""

from dataclasses import replace

import pytest

from raykd import UserError
from raykd.launch.driver.validate import check
from raykd.launch.run_state.failure import fatal
from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as base

LAST_MAP = {"torchvision:resnet18": 1, "resnet8": 8, "torchvision:vit_b_16": 0}  # side, of images 32×32; 0: no norm


@pytest.mark.parametrize("network", LAST_MAP)
@pytest.mark.parametrize(("batch", "workers", "accumulate"), [(2, 2, 1), (3, 2, 1), (64, 0, 64), (8, 2, 3), (4, 2, 1)])
def test_batches_of_one_image_per_worker_are_rejected_for_batch_norm(network, batch, workers, accumulate):
    recipe = replace(base, student=Network(network), batch_size=batch, workers=workers, accumulate=accumulate)
    smallest = batch // max(1, workers) // accumulate
    if smallest <= 1 and LAST_MAP[network] == 1:
        with pytest.raises(UserError, match="batch_size: batch normalisation .* raise --batch-size"):
            check(recipe)
    else:
        check(recipe)


def test_a_methods_own_batch_norm_error_is_an_input_error():
    import torch

    with pytest.raises(ValueError, match="Expected more than 1 value") as raised:
        torch.nn.BatchNorm1d(3)(torch.zeros(1, 3))
    failure = fatal(raised.value, base, 0, 1)
    assert failure.kind == "input" and failure.line.startswith("batch_size: batch normalisation")
