"""The feature methods' losses at critical inputs (one sample, equal samples, zero and large features), and CRD's
memory: the drawn negatives, and what a step changes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from raykd import UserError
from raykd.methods import ab, at, cc, crd, fsp, ft, kdsvd, nst, pkt, rkd, sp, vid
from tests.support.tiny_methods import CLASSES, data, distiller_for, run, teachers_for

KINDS = ("random", "one sample", "equal samples", "dead sample", "dead", "large", "equal networks")


def maps(kind: str) -> tuple[list[Tensor], list[Tensor]]:
    """Three maps of a student and of a teacher, with equal numbers of channels."""
    generator = torch.Generator().manual_seed(0)
    batch = 1 if kind == "one sample" else 4
    made = []
    for _ in range(2):
        widths = zip((4, 6, 6), (8, 4, 4), strict=True)
        made.append([torch.randn(batch, d, n, n, generator=generator) for d, n in widths])
    student, teacher = made
    if kind == "equal samples":
        student, teacher = ([x[:1].repeat(4, 1, 1, 1) for x in each] for each in made)
    if kind == "dead sample":
        student = [x * torch.tensor([0.0, 1.0, 1.0, 1.0]).view(4, 1, 1, 1) for x in student]
    if kind == "dead":
        student, teacher = ([torch.zeros_like(x) for x in each] for each in made)
    if kind == "large":
        student, teacher = ([80 * x.sign() for x in each] for each in made)
    return student, [x.clone() for x in student] if kind == "equal networks" else teacher


def layers(loss):
    return lambda s, t: sum(loss(a, b) for a, b in zip(s, t, strict=True))


def vectors(loss):
    return lambda s, t: loss(s[0].mean((2, 3)), t[0].mean((2, 3)))


def crd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    embedding = crd.unit_length(student.float())
    memory, indices = crd.unit_length(teacher.float()), torch.arange(3 * len(student)).view(-1, 3) % len(student)
    scores = (crd.products(embedding, memory, indices) / 0.07).exp()
    return crd.contrastive_loss(embedding, memory, indices, scores / scores.sum().clamp_min(1e-30), 0.07, 10)


LOSSES = {
    "at": layers(at.at_loss),
    "sp": layers(sp.sp_loss),
    "nst": layers(nst.nst_loss),
    "vid": layers(lambda s, t: vid.vid_loss(s, t, torch.zeros(s.shape[1]))),
    "ft": layers(ft.ft_loss),
    "ab": lambda s, t: ab.ab_loss(s, t, 2.0),
    "fsp": fsp.fsp_loss,
    "kdsvd": lambda s, t: kdsvd.kdsvd_loss(
        [kdsvd.right_vectors(x, 4) for x in s], [kdsvd.teacher_vectors(x, 1) for x in t]
    ),
    "cc": vectors(cc.cc_loss),
    "pkt": vectors(pkt.pkt_loss),
    "rkd": vectors(lambda s, t: sum(rkd.rkd_loss(s, t).values())),
    "crd": vectors(crd_loss),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", (False, True), ids=("float32", "bf16 autocast"))
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_finite(name: str, half: bool, kind: str):
    student, teacher = maps(kind)
    if half:
        student, teacher = ([x.bfloat16() for x in each] for each in (student, teacher))
    student = [x.requires_grad_() for x in student]
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = LOSSES[name](student, teacher)
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    loss.backward()
    for x in student:
        assert x.grad is None or (torch.isfinite(x.grad).all() and x.grad.abs().max() < 1e4)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("vid", "crd", "ab")])
def test_the_loss_is_0_if_student_equals_teacher(name: str):
    student, teacher = maps("equal networks")
    assert LOSSES[name](student, teacher).item() == pytest.approx(0.0, abs=1e-6)


def test_relational_losses_of_one_sample_are_0():
    one = torch.randn(1, 5)
    assert cc.cc_loss(one, -one).item() == 0.0
    assert [value.item() for value in rkd.rkd_loss(one, -one).values()] == [0.0, 0.0]


def remembering(count: int = 60, negatives: int = 400) -> tuple[crd.CRD, Tensor]:
    labels = torch.arange(count) % CLASSES
    labels[::7] = -1
    distiller = distiller_for("crd", teachers_for("crd"))
    distiller.config = crd.CRD.Config(negatives=negatives)
    distiller.set_training_labels(labels)
    return distiller.double().train(), labels


def test_negatives_are_uniform_over_samples_of_other_classes():
    distiller, labels = remembering()
    batch = data(4)._replace(index=torch.tensor([1, 2, 3, 4]), labels=labels[[1, 2, 3, 4]])
    drawn = []
    for step in range(50):
        distiller.steps.fill_(step)
        drawn.append(distiller.negatives(batch))
    for row, label in zip(torch.cat(drawn, dim=1), batch.labels, strict=True):
        others = torch.where((labels >= 0) & (labels != label))[0]
        indices, counts = row.unique(return_counts=True)
        assert torch.equal(indices, others)
        expected = len(row) / len(others)
        chi_squared = ((counts - expected) ** 2 / expected).sum().item()
        assert chi_squared < len(others) + 6 * np.sqrt(2 * len(others))


def test_negatives_depend_only_on_step_seed_and_sample():
    distiller, labels = remembering()
    index = torch.tensor([1, 2, 3, 4])
    batch = data(4)._replace(index=index, labels=labels[index])
    whole = distiller.negatives(batch)
    part = distiller.negatives(batch._replace(index=index[2:], labels=labels[index[2:]]))
    assert torch.equal(whole[2:], part)
    distiller.steps += 1
    assert not torch.equal(distiller.negatives(batch), whole)
    distiller.steps -= 1
    distiller.seed += 1
    assert not torch.equal(distiller.negatives(batch), whole)


def test_a_step_updates_only_its_samples_memory():
    distiller, labels = remembering()
    index = torch.tensor([8, 2, 2, 5])
    batch = data(4)._replace(index=index, labels=labels[index])
    before = {name: getattr(distiller, name).clone() for name in ("student_memory", "teacher_memory")}
    run(distiller, teachers_for("crd"), batch)
    assert int(distiller.steps) == 1 and (distiller.normalisers > 0).all()
    for name, old in before.items():
        new = getattr(distiller, name)
        moved = (new != old).any(1)
        assert torch.where(moved)[0].tolist() == [2, 5, 8]
        assert torch.allclose(new[moved].norm(dim=1), torch.ones(3, dtype=torch.float64))
    distiller.eval()
    kept = distiller.student_memory.clone()
    run(distiller, teachers_for("crd"), batch)
    assert torch.equal(distiller.student_memory, kept) and int(distiller.steps) == 1


def test_checkpoints_contain_memories_and_counters_but_not_the_data():
    distiller, _ = remembering()
    state = {name for name in distiller.state_dict() if not name.startswith(("student.", "student_e", "teacher_e"))}
    assert state == {"student_memory", "teacher_memory", "normalisers", "steps"}
    halves = distiller_for("crd of halves", teachers_for("crd"))
    assert halves.student_memory.dtype == torch.float16


def test_a_single_class_is_rejected():
    with pytest.raises(UserError, match="at least two classes"):
        distiller_for("crd", teachers_for("crd")).set_training_labels(torch.tensor([3, 3, -1]))
