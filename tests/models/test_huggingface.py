"""Hugging Face's image classifiers: transformers' own logits and keys, its hidden states as maps."""

import pytest
import torch

from raykd import UserError
from raykd.models import create
from raykd.models.frozen.freeze import freeze

transformers = pytest.importorskip("transformers")

SMALL = {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
NETWORKS = {
    "hf:vit": ({"hidden_size": 16, "patch_size": 8, **SMALL}, [(16, 4, 4)] * 4),
    "hf:resnet": (
        {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"},
        [(8, 8, 8), (16, 4, 4), (24, 2, 2), (32, 1, 1)],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_keys_and_maps_are_the_librarys(name):
    options, maps = NETWORKS[name]
    network = create(name, 7, 32, options=options).eval()
    assert [network.shapes[stage] for stage in network.stages] == maps
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        whole = network.model.forward(images, output_hidden_states=True)
        output = network.output(images, ("stage4", "pooled"))
        assert torch.equal(network(images), whole.logits) and torch.equal(output.logits, whole.logits)
    last = whole.hidden_states[-1]
    tokens = last[:, 1:].transpose(1, 2).reshape(2, 16, 4, 4) if name == "hf:vit" else last
    assert torch.equal(output.features["stage4"], tokens)
    layer = network.model.get_submodule(network.classifier)
    torch.testing.assert_close(layer(output.features["pooled"]), whole.logits)
    fresh = transformers.AutoModelForImageClassification.from_config(network.model.config)
    assert list(network.model.state_dict()) == list(fresh.state_dict())


def test_a_frozen_one_says_the_same():
    network = create("hf:resnet", 7, 32, options=NETWORKS["hf:resnet"][0]).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = network(images)
        torch.testing.assert_close(freeze(network)(images), before, rtol=1e-4, atol=1e-5)


def test_weights_of_a_folder_are_taken_and_a_missing_head_is_not_made_up(tmp_path):
    network = create("hf:vit", 7, 32, options=NETWORKS["hf:vit"][0]).eval()
    network.model.save_pretrained(tmp_path / "whole")
    loaded = create(f"hf:{tmp_path}/whole", 7, 32, weights="pretrained").eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), network(images))
    network.model.vit.save_pretrained(tmp_path / "backbone")
    with pytest.raises(UserError, match="no weights for classifier"):
        create(f"hf:{tmp_path}/backbone", 7, 32, weights="pretrained")


def test_what_it_does_not_have_is_one_clear_line():
    with pytest.raises(UserError, match="hf:nowhere/nothing"):
        create("hf:nowhere/nothing", 7, 32)
