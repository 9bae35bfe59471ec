"""A user's network next to the recipe: used like any other, and never imported for someone else's run."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from raykd import UserError
from raykd.__main__ import main
from raykd.models import create
from raykd.models.libraries import trusted
from raykd.recipe.files.load import load
from raykd.recipe.fingerprint import fingerprint

NETS = """
import torch
from torch import nn

class SmallNet(nn.Module):
    def __init__(self, num_classes, width=8):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, images):
        return self.fc(self.two(self.one(images)).mean((2, 3)))

def no_network(num_classes):
    return num_classes

def other_logits(num_classes):
    return SmallNet(num_classes + 1)

def broken(num_classes):
    raise KeyError("width")

class WithLoss(SmallNet):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits.sum()) if self.training else logits

class WithName(SmallNet):
    def forward(self, images):
        return {"logits": super().forward(images)}

class WithBug(SmallNet):
    def forward(self, images):
        return super().forward(images)[{}["rows"]]

class WithLabels(SmallNet):
    def forward(self, images, labels):
        return super().forward(images)

class AtRandom(SmallNet):
    def forward(self, images):
        return super().forward(nn.functional.dropout(images, 0.5))

class OfValues(SmallNet):
    def forward(self, images):
        maps = self.two(self.one(images))
        return self.fc(2 * maps.mean((2, 3)) if maps.mean() > 0.1 else maps.mean((2, 3)))

def of_float64(num_classes):
    return SmallNet(num_classes).double()

def without_parameters(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, num_classes)), nn.Flatten(2), nn.AvgPool1d(1))

def lazy(num_classes):
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), pool, nn.LazyLinear(num_classes))

class InAList(SmallNet):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.more = [nn.Linear(16, 16)]

    def forward(self, images):
        return self.fc(self.more[0](self.two(self.one(images)).mean((2, 3))))

class Centred(SmallNet):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.register_buffer("mean", torch.zeros(16), persistent=False)

    def forward(self, images):
        pooled = self.two(self.one(images)).mean((2, 3))
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * pooled.detach().mean(0)
        return self.fc(pooled - self.mean)

class Counting(SmallNet):
    def get_extra_state(self):
        return {"passes": 3}

    def set_extra_state(self, state):
        pass

def frozen(num_classes, width):
    return SmallNet(num_classes, width).requires_grad_(False)
"""

RECIPE = """
from dataclasses import replace
from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as digits

recipe = replace(digits, workers=0, epochs=0.1, student=Network(
    name="{module}:SmallNet", options={{"width": 16}}, stages=("one", "two")))
"""

STUDENT = """
from dataclasses import replace
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.recipe import Run, Teachers
from {module}_recipe import recipe as base

recipe = replace(base, method=FitNetMKD.Config(), teachers=Teachers(sources=(Run(path={run!r}),)))
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """A module name, unique for each test, as Python imports a name only once."""
    name = f"nets_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(NETS)
    (tmp_path / f"{name}_recipe.py").write_text(RECIPE.format(module=name))
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_the_function_is_called_with_classes_and_options(module):
    trusted.allow({module})
    network = create(f"{module}:SmallNet", 7, 32, options={"width": 4}, stages=("one", "two"))
    assert network.shapes == {"stage1": (4, 16, 16), "stage2": (8, 8, 8), "pooled": (8,)}
    assert network.classifiers[0] == "fc" and list(network.model.state_dict())[0] == "one.0.weight"
    images = torch.randn(3, 3, 32, 32)
    output = network.eval().output(images, ("stage2", "pooled"))
    with torch.no_grad():
        torch.testing.assert_close(output.logits, network.model(images))
        torch.testing.assert_close(output.features["stage2"], network.model.two(network.model.one(images)))
        torch.testing.assert_close(network.model.fc(output.features["pooled"]), output.logits)


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("SmallNet", {"options": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ("SmallNet", {"stages": ("three",)}, "no module 'three'"),
        ("nothing", {}, "defines no callable 'nothing'"),
        ("no_network", {}, "returned int"),
        ("other_logits", {}, r"outputs \[1, 8\] for one image, not the logits \[1, 7\]"),
        ("broken", {}, "KeyError: 'width'"),
        ("WithLoss", {}, r"in training mode it returns tuple, not a tensor of logits \[N, C\]"),
        ("WithName", {}, "in evaluation mode it returns dict, not a tensor"),
        ("WithBug", {}, r"in evaluation mode, for images \[2, 3, 32, 32\]: KeyError: 'rows'"),
        ("WithLabels", {}, "missing 1 required positional argument: 'labels'"),
        ("AtRandom", {}, "other logits when it is run again"),
        ("of_float64", {}, r"one.0.weight is float64 on cpu: return it in float32"),
        ("without_parameters", {}, "it has no parameters"),
        ("InAList", {}, "use nn.ModuleList for lists of modules"),
        ("Centred", {}, "persistent buffers for what training changes"),
        ("Counting", {}, "_extra_state of its state_dict is no tensor"),
        ("SmallNet", {"weights": "pretrained"}, "no published weights"),
    ],
)
def test_invalid_networks_are_rejected_in_one_line(module, name, more, message):
    trusted.allow({module})
    with pytest.raises(UserError, match=message) as caught:
        create(f"{module}:{name}", 7, 32, **more)
    assert "\n" not in str(caught.value)


def test_lazy_modules_get_their_parameters(module):
    trusted.allow({module})
    network = create(f"{module}:lazy", 7, 32)
    assert [tuple(p.shape) for p in network.parameters()] == [(8, 3, 3, 3), (8,), (7, 8), (7,)]
    assert network.classifiers == ("3",) and network.shapes == {"pooled": (8,)}


def test_checking_a_network_leaves_its_state_and_the_random_numbers_as_they_were(module):
    trusted.allow({module})
    torch.manual_seed(3)
    network, after = create(f"{module}:SmallNet", 7, 32), torch.rand(1)
    torch.manual_seed(3)
    plain = importlib.import_module(module).SmallNet(7)
    assert after == torch.rand(1) and all(
        torch.equal(value, network.model.state_dict()[key]) for key, value in plain.state_dict().items()
    )


def test_a_student_without_trainable_parameters_is_rejected(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    recipe = tmp_path / f"{module}_recipe.py"
    words = ["--student.name", f"{module}:frozen"]
    assert main(["train", str(recipe), *words, "--storage", str(tmp_path / "runs"), "--name", "n"]) == 2
    assert "has only frozen parameters" in capsys.readouterr().err


def test_what_an_exporter_cannot_do_with_a_network_is_said_in_one_line(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    text = (tmp_path / f"{module}_recipe.py").read_text().replace(":SmallNet", ":OfValues")
    (tmp_path / f"{module}_recipe.py").write_text(text)
    words = ["--storage", str(tmp_path / "runs"), "--name", "own"]
    assert main(["train", str(tmp_path / f"{module}_recipe.py"), *words]) == 0
    for suffix in ("onnx", "pt2"):
        capsys.readouterr()
        assert main(["export", str(tmp_path / "runs/own"), "--to", str(tmp_path / f"own.{suffix}")]) == 2
        out, error = capsys.readouterr()
        assert out == "" and error.count("\n") == 1 and f"can't be exported as .{suffix}" in error
        assert not (tmp_path / f"own.{suffix}").exists()


@pytest.mark.parametrize("name", ["os:system", "subprocess:getoutput", "builtins:exec", "raykd.models:create"])
def test_a_network_name_imports_no_untrusted_module(name, tmp_path):
    with pytest.raises(UserError, match="unknown library"):
        create(name, 7, 32, options={"command": f"touch {tmp_path}/ran"})
    assert not list(tmp_path.iterdir())


def test_imported_callables_are_not_networks(module, tmp_path):
    (tmp_path / f"{module}.py").write_text("from os import system")
    trusted.allow({module})
    with pytest.raises(UserError, match="defines no callable 'system'"):
        create(f"{module}:system", 7, 32, options={"command": f"touch {tmp_path}/ran"})


def test_an_own_network_trains_resumes_evaluates_exports_and_teaches(module, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    recipe, storage = tmp_path / f"{module}_recipe.py", ["--storage", str(tmp_path / "runs")]
    assert main(["train", str(recipe), *storage, "--name", "own"]) == 0
    run = tmp_path / "runs/own"
    assert json.loads((run / "result.json").read_text())["status"] == "finished"
    assert (run / "source" / f"{module}.py").read_text() == NETS
    assert main(["export", str(run), "--to", str(tmp_path / "own.pt2")]) == 0
    images = torch.randn(2, 3, 32, 32)
    assert torch.export.load(tmp_path / "own.pt2").module()(images).shape == (2, 10)
    student = tmp_path / f"{module}_student.py"
    student.write_text(STUDENT.format(module=module, run=str(run)))
    assert main(["train", str(student), *storage, "--name", "student"]) == 0


def test_its_source_is_fingerprinted_and_copied(module, tmp_path):
    loaded = load(tmp_path / f"{module}_recipe.py")
    assert loaded.sources[f"{module}.py"] == NETS
    before = fingerprint(loaded.recipe)
    Path(tmp_path / f"{module}.py").write_text(NETS + "\n# another\n")
    import linecache

    linecache.checkcache()
    assert fingerprint(loaded.recipe) != before


def test_an_untrusted_run_imports_nothing(module, tmp_path, monkeypatch, capsys):
    """The run names a module that exists next to the user: it is imported only with --trust-source."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    recipe = tmp_path / f"{module}_recipe.py"
    assert main(["train", str(recipe), "--storage", str(tmp_path / "runs"), "--name", "own"]) == 0
    monkeypatch.setattr(trusted, "_allowed", set())
    capsys.readouterr()
    assert main(["export", str(tmp_path / "runs/own"), "--to", str(tmp_path / "own.safetensors")]) == 2
    assert "--trust-source" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "runs/own"), "--trust-source", "--to", str(tmp_path / "o.safetensors")]) == 0
