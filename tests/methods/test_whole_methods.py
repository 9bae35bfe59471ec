"""Whole distillers on tiny networks: what they train, deploy and log; five steps of those without golden runs."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raykd.commands import list as list_command
from raykd.contract import Batch, Distiller
from raykd.losses import ramp_up, warm_up
from raykd.methods.dist import DIST
from raykd.methods.dkd import DKD
from raykd.methods.funmatch import FunMatch
from raykd.methods.kd import KD
from raykd.methods.sum import Sum
from raykd.methods.supervised import Supervised
from raykd.models.staged import Parts, Staged
from tests.methods import formulas
from tests.support.every_method import classes
from tests.support.tiny_methods import (
    CLASSES,
    EVERY,
    SIZE,
    data,
    distiller_for,
    new_tiny,
    outputs_of,
    run,
    teachers_for,
    tiny,
)

BRANCHED = ("okddip", "okddip without leader", "okddip from stage2", "one", "cl_ilr", "individual")
WITH_FEATURES = (
    "fitnet_mkd",
    "ca_mkd",
    "multi_teacher hints",
    "multi_teacher agreeing hints",
    "multi_teacher embeddings",
)
every = pytest.mark.parametrize("name", EVERY)


@every
def test_every_registered_parameter_is_trained(name: str):
    """Every parameter gets a gradient (those for features from the second epoch on), and teachers register nothing."""
    teachers = teachers_for(name)
    distiller = distiller_for(name, teachers).double().train()
    for epoch in (0.0, 0.5, 1.0, 40.0):
        distiller.zero_grad()
        step = run(distiller, teachers, data(4), epoch)
        sum(step.terms.values()).backward()
        waiting = [key for key, p in distiller.named_parameters() if p.grad is None]
        if name.split()[0] in ("fsp", "ab", "ft") or "with ab" in name:  # each phase trains its own part
            assert len(waiting) < len(list(distiller.parameters()))
            continue
        if name == "simkd":  # the student's own head: in a sum, another method may train it
            assert [key for key in waiting if not key.startswith("student.model.fc.")] == []
            continue
        assert all(name in WITH_FEATURES and epoch < 1 and key.startswith("features") for key in waiting)
        assert bool(waiting) == (name in WITH_FEATURES and epoch < 1)
    owned = {id(p) for p in distiller.parameters()}
    assert not any(id(p) in owned or p.grad is not None for teacher in teachers for p in teacher.parameters())


@every
def test_terms_are_scalars_and_notes_are_detached(name: str):
    teachers = teachers_for(name)
    step = run(distiller_for(name, teachers).double().train(), teachers, data(4))
    assert all(term.shape == () and torch.isfinite(term) for term in step.terms.values())
    assert all(note.dim() <= 1 and not note.requires_grad for note in step.notes.values())


@every
def test_bf16_autocast_trains(name: str):
    teachers = [teacher.float() for teacher in teachers_for(name)]
    distiller = distiller_for(name, teachers).train()
    batch = data(4)
    with torch.autocast("cpu", torch.bfloat16):
        step = run(distiller, teachers, batch._replace(images=batch.images.float()))
    assert all(term.dtype == torch.float32 for term in step.terms.values())
    sum(step.terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in distiller.parameters() if p.grad is not None)


@every
def test_one_hot_soft_labels_equal_hard_labels(name: str):
    if EVERY[name].hard_labels:
        pytest.skip("says that it takes classes only")
    teachers, batch = teachers_for(name), data(4)
    soft = batch._replace(labels=nn.functional.one_hot(batch.labels, CLASSES).double())
    distiller = distiller_for(name, teachers).double()
    hard_terms = run(copy.deepcopy(distiller), teachers, batch).terms
    for key, term in run(distiller, teachers, soft).terms.items():
        assert torch.allclose(term, hard_terms[key], rtol=1e-12)


@every
def test_predict_equals_the_separate_networks(name: str):
    distiller = distiller_for(name, teachers_for(name)).double().eval()
    images = data(3).images
    with torch.no_grad():
        predicted, networks = distiller.predict(images), distiller.networks()
        assert next(iter(predicted)) == next(iter(networks))
        for key, network in networks.items():
            assert torch.allclose(network(images), predicted[key], atol=1e-12), key
    for figure in distiller.measure(predicted).values():
        assert figure.shape == (3,)


@pytest.mark.parametrize("name", ("okddip", "okddip without leader", "one", "dml"))
def test_peers_log_ensemble_accuracy_and_diversity(name: str):
    distiller = distiller_for(name, []).double().eval()
    with torch.no_grad():
        predicted = distiller.predict(data(3).images)
    members = [predicted[key] for key in distiller.names]
    assert torch.allclose(predicted["ensemble"], torch.stack(members).mean(0), atol=1e-12)
    peers = torch.stack([predicted[key] for key in distiller.peers]).numpy()
    assert len(peers) == len(members) - (name == "okddip")
    measured = distiller.measure(predicted)["diversity"].mean().item()
    assert measured == pytest.approx(formulas.diversity(peers), rel=1e-12)


@pytest.mark.parametrize("name", BRANCHED)
def test_branches_share_only_the_trunk(name: str):
    distiller = distiller_for(name, [])
    first, second = (set(map(id, branch.parameters())) for branch in list(distiller.branches)[:2])
    trunk = 4 if name == "okddip from stage2" else 8  # parameters of stem and stages before the split
    assert len(first & second) == trunk
    assert len(first) == len(second) == 12
    moved = copy.deepcopy(distiller).double()
    assert len(set(map(id, moved.branches[0].parameters())) & set(map(id, moved.branches[1].parameters()))) == trunk


class Counted(nn.Module):
    """A stem that counts its calls."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)


@pytest.mark.parametrize("name", BRANCHED)
def test_the_trunk_runs_once(name: str):
    distiller = distiller_for(name, []).double()
    counted = Counted(distiller.branches[0].model.stem)
    distiller.branches[0].model.stem = counted
    run(distiller.train(), [], data(4))
    assert counted.calls == 1
    with torch.no_grad():
        distiller.eval().predict(data(4).images)
    assert counted.calls == 2


def test_networks_share_their_trunk_after_module_replacement():
    distiller = distiller_for("okddip", [])
    for branch in distiller.branches:
        branch.model.stem = copy.deepcopy(branch.model.stem)
    networks = distiller.networks()
    assert networks["leader"].model.stem is networks["branch0"].model.stem


def test_only_needed_features_are_requested():
    teachers = teachers_for("ca_mkd")
    assert distiller_for("ca_mkd", teachers).teacher_features == (("stage4",),) * 3
    assert distiller_for("fitnet_mkd", teachers).teacher_features == (("stage2",),) * 3
    assert distiller_for("ebkd", teachers).teacher_features == ((),) * 3


def test_ca_mkd_skips_features_only_in_the_first_epoch():
    teachers = teachers_for("ca_mkd")
    distiller = distiller_for("ca_mkd", teachers).double()
    terms = [run(distiller, teachers, data(4), epoch).terms for epoch in (0.0, 0.99, 1.0)]
    assert ["feature" in found for found in terms] == [False, False, True] and terms[2]["feature"].item() > 0


@pytest.mark.parametrize("name", ("okddip", "one", "cl_ilr"))
def test_divergence_weights_ramp_up_by_whole_epochs(name: str):
    distiller = distiller_for(name, []).double().eval()
    parts = {epoch: run(distiller, [], data(4), epoch).terms["kd"].item() for epoch in (0.0, 0.9, 40.0, 80.0, 200.0)}
    assert parts[0.0] == parts[0.9] and parts[80.0] == parts[200.0]
    assert parts[0.0] / parts[80.0] == pytest.approx(np.exp(-5.0), rel=1e-9)
    assert parts[40.0] / parts[80.0] == pytest.approx(ramp_up(40.0, 80.0), rel=1e-9)


def test_dkd_warm_up_starts_at_one_twentieth():
    assert [warm_up(epoch, 20.0) for epoch in (0.0, 0.99, 1.0, 18.9, 19.0, 100.0)] == [0.05, 0.05, 0.1, 0.95, 1, 1]
    assert warm_up(0.0, 0.0) == 1.0


def test_cl_ilr_divides_the_trunk_gradient_by_the_number_of_branches():
    shared, scaled = (distiller_for(name, []).double() for name in ("individual", "cl_ilr"))
    scaled.config = type(scaled.config)(alpha=0.0)
    for distiller in (shared, scaled):
        sum(run(distiller, [], data(4)).terms.values()).backward()
    trunk, head = (
        [d.branches[0].model.get_parameter(key).grad for d in (shared, scaled)] for key in ("stem.weight", "fc.weight")
    )
    assert torch.allclose(trunk[0] / 4, trunk[1], rtol=1e-9)
    assert torch.allclose(head[0], head[1], rtol=1e-9)


def test_kd_without_a_teacher_term_equals_supervised_bit_for_bit():
    teachers = [tiny(width=6).eval().requires_grad_(False)]
    trained = {}
    for config, taught in ((Supervised.Config(), []), (KD.Config(gamma=1.0, alpha=0.0), teachers)):
        torch.manual_seed(0)
        distiller = config.build(new_tiny, taught)
        sgd = torch.optim.SGD(distiller.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
        for k in range(8):
            batch = data(6, seed=k)
            sgd.zero_grad()
            sum(run(distiller, taught, batch._replace(images=batch.images.float())).terms.values()).backward()
            sgd.step()
        trained[type(config)] = distiller.state_dict()
    first, second = trained.values()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


# Five steps of the methods that have no golden run, against the paper's formula in numpy: the student's logits come
# from a linear model, whose gradient is written out, so nothing of the code under test is in the reference.

REFERENCES = {
    "kd standardised": (
        KD.Config(standardize=True, temperature=2.0, alpha=9.0, gamma=0.1),
        lambda z, ts, y, e: (
            0.1 * formulas.ce(z, y).mean()
            + 9 * formulas.kl(formulas.standardised(z), formulas.standardised(ts[0]), 2.0).mean()
        ),
    ),
    "dkd": (
        DKD.Config(),
        lambda z, ts, y, e: formulas.ce(z, y).mean() + min((e + 1) / 20, 1) * formulas.dkd(z, ts[0], y, 4.0, 1.0, 8.0),
    ),
    "dist": (
        DIST.Config(temperature=4.0, beta=2.0, gamma=2.0),
        lambda z, ts, y, e: formulas.ce(z, y).mean() + formulas.dist(z, ts[0], 4.0, 2.0, 2.0),
    ),
    "funmatch": (FunMatch.Config(temperature=2.0), lambda z, ts, y, e: formulas.funmatch(z, ts, 2.0, True)),
}


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Flatten()
        self.fc = nn.Linear(3 * SIZE * SIZE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stem(x))


def linear() -> Staged:
    parts = {"stem": ["stem"], "stages": [], "pool": [], "head": ["fc"]}
    return Staged(Parts(Linear(), **parts), name="linear", num_classes=CLASSES, image_size=SIZE)


def numeric_gradient(loss, z: np.ndarray) -> np.ndarray:
    """Fourth-order central differences."""
    gradient, h = np.zeros_like(z), 1e-3
    for place in np.ndindex(*z.shape):
        values = []
        for shift in (-2, -1, 1, 2):
            moved = z.copy()
            moved[place] += shift * h
            values.append(loss(moved))
        gradient[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    return gradient


@pytest.mark.parametrize("name", REFERENCES)
def test_five_steps_equal_the_papers_formula(name: str):
    config, reference = REFERENCES[name]
    torch.manual_seed(3)
    teachers = [tiny(width=6).double().eval().requires_grad_(False) for _ in range(2 if name == "funmatch" else 1)]
    for teacher in teachers:
        teacher.model.fc.weight.mul_(20)
    distiller = config.build(linear, teachers).double()
    sgd = torch.optim.SGD(distiller.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    w, b = (distiller.student.model.get_parameter(f"fc.{key}").detach().numpy().copy() for key in ("weight", "bias"))
    velocity = [np.zeros_like(w), np.zeros_like(b)]
    for k in range(5):
        batch, epoch = data(4, seed=k), 5.0 * k
        losses = sum(run(distiller, teachers, batch, epoch).terms.values())
        sgd.zero_grad()
        losses.backward()
        sgd.step()
        x, y = batch.images.flatten(1).numpy(), batch.labels.numpy()
        ts = np.stack([output.logits.numpy() for output in outputs_of(distiller, teachers, batch.images)])
        z = x @ w.T + b
        assert losses.item() == pytest.approx(reference(z, ts, y, epoch), rel=1e-8)
        gz = numeric_gradient(partial(reference, ts=ts, y=y, e=epoch), z)
        for i, (value, g) in enumerate(((w, gz.T @ x), (b, gz.sum(0)))):
            velocity[i] = 0.9 * velocity[i] + g
            value -= 1e-3 * (g + 0.9 * velocity[i])


def test_batches_of_one_sample_work_without_batch_norm():
    for name in EVERY:
        if name in ("one", *WITH_FEATURES, "teskd", "reviewkd", "srrl pooled", "sum over teachers"):
            continue  # their own modules hold BatchNorm
        teachers = teachers_for(name)
        distiller: Distiller = distiller_for(name, teachers).double()
        batch: Batch = data(1)
        sum(run(distiller, teachers, batch).terms.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in distiller.parameters() if p.grad is not None), name


def test_list_groups_methods_by_their_kind_of_teacher(capsys):
    assert list_command.run(["methods"]) == 0
    groups = [group.splitlines() for group in capsys.readouterr().out.split("\n\n") if group.strip()]
    listed = {line.split()[0]: title for title, *lines in groups for line in map(str.strip, lines)}
    expected = {
        f"{cls.__module__.removeprefix('raykd.methods.')}.{cls.__name__}": cls.Config.kind for cls in (*classes(), Sum)
    }
    assert {name: f"methods: {kind}" for name, kind in expected.items()} == {
        name: title.strip() for name, title in listed.items()
    }


def test_the_distillation_weight_fades_linearly():
    teachers = teachers_for("multi_teacher embeddings")
    distiller = distiller_for("multi_teacher embeddings", teachers).double()
    for module in distiller.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    terms = {epoch: run(distiller, teachers, data(4), epoch).terms for epoch in (0.0, 20.0, 45.0, 70.0, 99.0)}
    for name, start in (("kd", 0.0), ("feature", 20.0)):
        shares = [(terms[epoch][name] / terms[start][name]).item() for epoch in (20.0, 45.0, 70.0, 99.0)]
        assert shares == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-12)
    assert len({terms[epoch]["ce"].item() for epoch in terms}) == 1


@every
def test_the_deployed_networks_training_accuracy_is_logged(name: str):
    """The deployed network's fraction of correct predictions in the batch, also for soft labels."""
    teachers, batch = teachers_for(name), data(8)
    distiller = distiller_for(name, teachers).double().eval()
    soft = nn.functional.one_hot(batch.labels, CLASSES).double() * 0.6 + 0.08
    with torch.no_grad():
        deployed = next(iter(distiller.predict(batch.images).values()))
    expected = (deployed.argmax(1) == batch.labels).double().mean().item()
    labels = [batch.labels] if EVERY[name].hard_labels else [batch.labels, soft]
    for given in labels:
        note = run(distiller, teachers, batch._replace(labels=given)).notes["train_top1"]
        assert note.item() == pytest.approx(expected)
