"""Hugging Face's image classifiers: transformers' own logits and keys, hidden states as feature maps."""

import json

import pytest
import torch

from raykd import UserError
from raykd.models import create, published
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import find_chain

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
def test_logits_keys_and_features_equal_the_librarys(name):
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
    layer = network.model.get_submodule(network.classifiers[0])
    torch.testing.assert_close(layer(output.features["pooled"]), whole.logits)
    fresh = transformers.AutoModelForImageClassification.from_config(network.model.config)
    assert list(network.model.state_dict()) == list(fresh.state_dict())


def test_freezing_keeps_the_outputs():
    network = create("hf:resnet", 7, 32, options=NETWORKS["hf:resnet"][0]).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = network(images)
        torch.testing.assert_close(freeze(network)(images), before, rtol=1e-4, atol=1e-5)


def test_a_folders_weights_are_loaded_and_a_missing_head_is_rejected(tmp_path):
    network = create("hf:vit", 7, 32, options=NETWORKS["hf:vit"][0]).eval()
    network.model.save_pretrained(tmp_path / "whole")
    loaded = create(f"hf:{tmp_path}/whole", 7, 32, weights="pretrained").eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), network(images))
    network.model.vit.save_pretrained(tmp_path / "backbone")
    with pytest.raises(UserError, match="no weights for classifier"):
        create(f"hf:{tmp_path}/backbone", 7, 32, weights="pretrained")


def test_missing_weights_and_options_are_rejected_in_one_line():
    with pytest.raises(UserError, match="hf:nowhere/nothing"):
        create("hf:nowhere/nothing", 7, 32)


def test_code_in_a_model_folder_is_never_run(tmp_path):
    """A run of somebody else's names networks and their options; transformers would take them for its own keywords."""
    (tmp_path / "configuration_theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    config = {"model_type": "theirs", "auto_map": {"AutoConfig": "configuration_theirs.C"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for weights in ("", "pretrained"):
        for options in ({}, {"trust_remote_code": True}):
            with pytest.raises(UserError, match=f"hf:{tmp_path}"):
                create(f"hf:{tmp_path}", 7, 32, weights=weights, options=options)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "option", ["trust_remote_code", "hidden_sise", "num_labels", "_attn_implementation", "auto_map"]
)
def test_options_are_fields_of_the_configuration(option):
    with pytest.raises(UserError, match=f"hf:vit has no option '{option}': options are fields of its ViTConfig"):
        create("hf:vit", 7, 32, options={**NETWORKS["hf:vit"][0], option: 1})


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 0}, {"num_attention_heads": 0}, {"hidden_size": "wide"}, {"depths": 1}]
)
def test_invalid_option_values_are_rejected_in_one_line(changes):
    name = "hf:resnet" if "depths" in changes else "hf:vit"
    with pytest.raises(UserError, match="can't be built"):
        create(name, 7, 32, options={**NETWORKS[name][0], **changes})


def test_the_image_processors_preprocessing_is_read(tmp_path):
    """Scaled, shifted, normalised, as it says; against transformers' own words for it."""
    network = create("hf:vit", 7, 32, options=NETWORKS["hf:vit"][0])
    network.model.save_pretrained(tmp_path)
    plain = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3}
    plain |= {"image_std": [0.25] * 3, "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255}
    cases = {(0.5, 0.25): {}, (0.0, 1.0): {"do_normalize": False}, (0.25, 0.125): {"rescale_factor": 2 / 255}}
    for (mean, std), changes in cases.items():
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(plain | changes))
        about = published(f"hf:{tmp_path}")
        assert about.mean == pytest.approx((mean,) * 3) and about.std == pytest.approx((std,) * 3)
    for damage in ({"image_mean": None}, {"image_mean": [0.5]}, {"size": {"longest_edge": 9}}, {"rescale_factor": 0}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(plain | damage))
        with pytest.raises(UserError, match="can't be read"):
            published(f"hf:{tmp_path}")


@torch.no_grad()
def test_a_network_is_cut_into_its_stages():
    network = create("hf:resnet", 7, 32, options=NETWORKS["hf:resnet"][0]).eval()
    find_chain(network)
    images = torch.randn(2, 3, 32, 32)
    for before, stage in zip(network.stages, network.stages[1:]):
        feature_map = network.output(images, (before,)).features[before]
        torch.testing.assert_close(network.trunk(images, stage), feature_map)
        torch.testing.assert_close(network.run_from(stage, feature_map, ()).logits, network(images))
