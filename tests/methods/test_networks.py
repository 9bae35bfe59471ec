"""Networks that are not chains of stages: every method works with them, or says in one sentence why not."""

import pytest

from raykd.models import create
from tests.bench.networks import CLASSES, METHODS, cell
from tests.support.network_families import SMALL

REFUSED = {
    "CA-MKD": "as teacher: ca_mkd lets the teacher's own head classify maps, but {name} is not a chain of stages",
    "OKDDip": "okddip branches its network at a stage, but {name} is not a chain of stages",
}


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:ghostnet_050", "torchvision:squeezenet1_1"])
def test_whole_networks_can_be_students(name):
    network = create(name, CLASSES, SMALL[name])
    found = {method: cell(network, config) for method, config in METHODS.items()}
    refused = {method: line.format(name=name) for method, line in REFUSED.items()}
    for method, said in found.items():
        assert refused[method] in said if method in refused else said == "yes", (method, said)


def test_branching_methods_require_chains():
    network = create("timm:test_resnet", CLASSES, SMALL["timm:test_resnet"])
    assert {cell(network, config) for config in METHODS.values()} == {"yes"}
