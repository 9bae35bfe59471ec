"""Matching teachers to the data's classes, normalisation and size: adapted with a remark, or rejected."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save, save_file

from raykd import UserError
from raykd.models import create, published
from raykd.models.config import Network
from raykd.models.reused_head import ReusedHead
from raykd.recipe import Pretrained, Run, Teachers
from raykd.recipes.digits.supervised import recipe as digits
from raykd.teachers.load import load_teachers

DATA = replace(digits.data, image_size=32)
OWN = {"mean": DATA.mean, "std": DATA.std}
ANIMALS = ("cat", "dog", "owl", "fox")


def a_run(folder, classes, size=32, mean=DATA.mean, std=DATA.std, name="resnet8"):
    """A run directory with a student of these classes, and the plain network that it holds."""
    torch.manual_seed(0)
    network = create(name, len(classes), size).eval()
    about = {"network": name, "classes": list(classes), "image_size": size, "mean": mean, "std": std}
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.contiguous() for key, tensor in network.model.state_dict().items()}
    (folder / "student.safetensors").write_bytes(save(state, metadata={"raykd": json.dumps(about)}))
    return Run(path=str(folder)), network


def load(source, classes, pairs=(), **more):
    (teacher,) = load_teachers(Teachers(sources=(source,), classes=pairs), DATA, classes, (), **more)
    return teacher


def images(size=32):
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_classes_are_reordered_to_the_datas_order(tmp_path):
    source, network = a_run(tmp_path, ANIMALS)
    wanted = ("owl", "cat", "fox", "dog")
    teacher = load(source, wanted)
    expected = network(images())[:, [ANIMALS.index(name) for name in wanted]]
    torch.testing.assert_close(teacher.network(images()), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(teacher.output(images(), ()).logits, expected, rtol=1e-4, atol=1e-5)
    feature = network.output(images(), ("stage3",)).features["stage3"]
    torch.testing.assert_close(teacher.network.classify(feature), expected, rtol=1e-4, atol=1e-5)
    assert any("reordered to the data's order" in remark for remark in teacher.remarks)
    assert teacher.parameters == sum(p.numel() for p in network.parameters())


@torch.no_grad()
def test_only_the_datas_classes_are_used(tmp_path):
    source, network = a_run(tmp_path, ANIMALS)
    teacher = load(source, ("fox", "dog"))
    torch.testing.assert_close(teacher.network(images()), network(images())[:, [3, 1]], rtol=1e-4, atol=1e-5)
    assert teacher.network.num_classes == 2 and "2 of its 4 classes" in teacher.remarks[0]


def test_equal_classes_need_no_remark(tmp_path):
    assert load(a_run(tmp_path, ANIMALS)[0], ANIMALS).remarks == ()


@pytest.mark.parametrize("classes", [("cat", "dog", "owl", "wolf"), ("cat", "dog", "owl", "fox", "wolf")])
def test_missing_classes_are_rejected_and_named(tmp_path, classes):
    with pytest.raises(UserError, match="lacks 1 of the data's . classes: 'wolf'.*teachers.classes"):
        load(a_run(tmp_path, ANIMALS)[0], classes)


@torch.no_grad()
def test_classes_can_be_mapped_by_pairs_of_names(tmp_path):
    source, network = a_run(tmp_path, ANIMALS)
    teacher = load(source, ("wolf", "cat"), (("wolf", "dog"),))
    torch.testing.assert_close(teacher.network(images()), network(images())[:, [1, 0]], rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="no class 'wolfe'; did you mean 'wolf'"):
        load(source, ("wolf", "cat"), (("wolfe", "dog"),))
    with pytest.raises(UserError, match="several classes of the data"):
        load(source, ("wolf", "cat"), (("wolf", "dog"), ("cat", "dog")))


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet8", "timm:test_vit", "torchvision:mobilenet_v3_small"])
def test_several_classes_can_be_merged_into_one(tmp_path, name):
    source, network = a_run(tmp_path, ANIMALS, size=64, name=name)
    pairs = (("pet", "cat"), ("pet", "dog"), ("bird", "owl"))
    teacher = load(source, ("bird", "pet"), pairs)
    data = torch.nn.functional.interpolate(images(), (64, 64), mode="bilinear", antialias=True)
    cat, dog, owl = network(data).double().exp().T[:3]
    wanted = torch.stack([owl, cat + dog], 1).log()
    for found in (teacher.network(images()), teacher.output(images(), ("pooled",)).logits):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)
    assert teacher.network.num_classes == 2
    assert any("3 of its 4 classes are merged into 2 by adding probabilities" in line for line in teacher.remarks)
    if teacher.network.is_chain:
        with pytest.raises(UserError, match="some of its classes are merged"):
            ReusedHead(create("resnet8", 2, 32), torch.nn.Identity(), teacher.network, 2)


def test_logits_without_a_last_linear_layer_are_not_merged(tmp_path):
    source, _ = a_run(tmp_path, ANIMALS, size=64, name="torchvision:squeezenet1_1")
    with pytest.raises(UserError, match="can't be reordered or merged"):
        load(source, ("pet", "owl"), (("pet", "cat"), ("pet", "dog")))


@torch.no_grad()
@pytest.mark.parametrize("name", ["timm:test_vit", "torchvision:mobilenet_v3_small", "torchvision:squeezenet1_1"])
def test_heads_of_every_kind_are_reordered(tmp_path, name):
    source, network = a_run(tmp_path, ANIMALS, size=64, name=name)
    teacher = load(source, ANIMALS[::-1])
    data = torch.nn.functional.interpolate(images(), (64, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(teacher.network(images()), network(data).flip(1), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_teacher_gets_images_of_its_own_normalisation_and_size(tmp_path):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    source, network = a_run(tmp_path, ANIMALS, size=48, mean=mean, std=std)
    teacher = load(source, ANIMALS)
    shape = (1, 3, 1, 1)
    pixels = images() * torch.tensor(DATA.std).view(shape) + torch.tensor(DATA.mean).view(shape)
    pixels = torch.nn.functional.interpolate(pixels, (48, 48), mode="bilinear", antialias=True)
    expected = network((pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape))
    torch.testing.assert_close(teacher.network(images()), expected, rtol=1e-3, atol=1e-4)
    assert any("from 32 to 48 pixels" in remark for remark in teacher.remarks)
    assert teacher.network.shapes["stage1"] == (16, 48, 48)


def weights(path, name="resnet8", classes=10):
    torch.manual_seed(0)
    save_file(create(name, classes, 32).model.state_dict(), path)
    return Network(name=name, weights=str(path))


@pytest.mark.parametrize(
    ("what", "message"), [("", "would have random weights"), ("#backbone", "a random last layer .*#backbone")]
)
def test_a_teacher_with_random_weights_is_rejected(tmp_path, what, message):
    network = weights(tmp_path / "w.safetensors") if what else Network(name="resnet8")
    with pytest.raises(UserError, match=message):
        load(Pretrained(network=replace(network, weights=network.weights + what), **OWN), "0123456789")


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet8", "timm:test_vit", "torchvision:mobilenet_v3_small"])
def test_a_file_without_a_last_layer_teaches_its_features(tmp_path, name):
    torch.manual_seed(0)
    network = create(name, 3, 64).eval()
    backbone = {k: x for k, x in network.model.state_dict().items() if not k.startswith(network.classifiers[0])}
    torch.save({"teacher": {f"module.backbone.{key}": x for key, x in backbone.items()}}, tmp_path / "dino.pth")
    taken = Network(name=name, weights=f"{tmp_path}/dino.pth#backbone")
    teacher = load(Pretrained(network=taken, **OWN, image_size=64), ANIMALS, compares_classes=False)
    assert not teacher.knows_classes
    data = torch.nn.functional.interpolate(images(), (64, 64), mode="bilinear", antialias=True)
    expected = network.output(data, ("pooled",)).features["pooled"]
    found = teacher.output(images(), ("pooled",)).features["pooled"]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_weights_file_requires_normalisation_and_classes(tmp_path):
    network = weights(tmp_path / "w.safetensors", classes=4)
    with pytest.raises(UserError, match="`mean` and `std`"):
        load(Pretrained(network=network), ANIMALS)
    taken = load(Pretrained(network=network, **OWN), ANIMALS)
    assert any("contains no class names" in remark for remark in taken.remarks)
    named = load(Pretrained(network=network, **OWN, classes=ANIMALS), ANIMALS[::-1])
    with torch.no_grad():
        torch.testing.assert_close(named.network(images()), taken.network(images()).flip(1), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="has 4 classes.*set `classes`"):
        load(Pretrained(network=network, **OWN), "0123456789")


def test_a_file_written_by_raykd_contains_normalisation_and_classes(tmp_path):
    source, network = a_run(tmp_path, ANIMALS)
    path = f"{source.path}/student.safetensors"
    teacher = load(Pretrained(network=Network(name="resnet8", weights=path)), ANIMALS[::-1])
    with torch.no_grad():
        torch.testing.assert_close(teacher.network(images()), network(images()).flip(1), rtol=1e-4, atol=1e-5)


@pytest.fixture
def offline(monkeypatch):
    """Libraries whose pretrained weights are fresh ones, instead of a download."""
    import timm
    import torchvision

    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **k: real(name, pretrained=False, **k))
    monkeypatch.setattr("raykd.models.weights.downloads.expect_cached", lambda name: None)
    kind = type(torchvision.models.get_model_weights("resnet18").DEFAULT)
    monkeypatch.setattr(kind, "get_state_dict", lambda self, **k: torchvision.models.resnet18().state_dict())


def test_library_weights_have_normalisation_size_and_classes(offline):
    about = published("timm:resnetv2_50x1_bit.goog_distilled_in1k")
    assert about.mean == about.std == (0.5, 0.5, 0.5) and (about.image_size, about.num_classes) == (224, 1000)
    source = Pretrained(network=Network(name="timm:resnetv2_50x1_bit", weights="pretrained"), image_size=32)
    teacher = load(source, ("n01443537", "n01440764"))  # goldfish and tench, the second and the first
    assert teacher.network.num_classes == 2
    torch.testing.assert_close(teacher.network.scale.flatten(), torch.tensor(DATA.std).double() / 0.5)
    by_name = load(source, ("goldfish", "tench"))
    assert by_name.network.num_classes == 2
    with pytest.raises(UserError, match="lacks 10 of the data's 10 classes"):
        load(source, "0123456789")


def test_a_library_head_of_other_classes_is_rejected(offline):
    source = Pretrained(network=Network(name="torchvision:resnet18", weights="pretrained"), image_size=32)
    with pytest.raises(UserError, match="lacks 37 of the data's 37 classes"):
        load(source, [f"pet {i}" for i in range(37)])


@torch.no_grad()
def test_feature_extractors_teach_feature_methods_only(offline):
    network = Network(name="timm:vit_small_patch14_dinov2", weights="pretrained", options={"depth": 2})
    source = Pretrained(network=network, image_size=28)
    teacher = load(source, ANIMALS, compares_classes=False)
    assert not teacher.knows_classes
    assert teacher.output(images(), ("pooled",)).features["pooled"].shape == (4, 384)
    with pytest.raises(UserError, match="no last layer.*matches features"):
        load(source, ANIMALS)


def test_teacher_names_are_unique(tmp_path):
    one, other = a_run(tmp_path / "a", ANIMALS)[0], a_run(tmp_path / "b", ANIMALS)[0]
    teachers = load_teachers(Teachers(sources=(one, other)), DATA, ANIMALS, ())
    assert [teacher.name for teacher in teachers] == ["resnet8", "resnet8-1"]
