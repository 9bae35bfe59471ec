"""Networks that are not chains of stages: every method works with them, or says in one sentence why not."""

import pytest

from raykd.models import create
from tests.bench.networks import CLASSES, METHODS, cell
from tests.support.network_families import SMALL

BRANCHES = {"OKDDip": "okddip branches its network at a stage, but {name} is not a chain of stages"}
CLASS_TOKEN = {"CA-MKD": "as teacher: {name} can't classify feature maps, because its logits are not computed from"}


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:ghostnet_050", "torchvision:squeezenet1_1"])
def test_whole_networks_can_be_students(name):
    network = create(name, CLASSES, SMALL[name])
    found = {method: cell(network, config) for method, config in METHODS.items()}
    lines = BRANCHES | CLASS_TOKEN if name == "timm:test_vit" else BRANCHES
    refused = {method: line.format(name=name) for method, line in lines.items()}
    for method, said in found.items():
        assert refused[method] in said if method in refused else said == "yes", (method, said)


def test_branching_methods_require_chains():
    network = create("timm:test_resnet", CLASSES, SMALL["timm:test_resnet"])
    assert {cell(network, config) for config in METHODS.values()} == {"yes"}
