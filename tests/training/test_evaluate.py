import contextlib
import math

import numpy as np
import pytest
import torch

from raykd.contract import Batch
from raykd.training.evaluation.ensemble import combined, evaluate_members
from raykd.training.evaluation.evaluate import BINS, evaluate, figures, sums
from tests.support.gloo_workers import run_workers


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reference(z, y, t):
    """The same figures, sample by sample, in float64 NumPy."""
    p, q = softmax(z), softmax(t)
    order = np.argsort(-z, axis=1)
    right = order[:, 0] == y
    confidence = p.max(1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    ece = sum(
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in range(BINS)
        if (bins == b).any()
    )
    return {
        "top1": right.mean(),
        "top5": (order[:, :5] == y[:, None]).any(1).mean(),
        "loss": -np.log(p[np.arange(len(y)), y]).mean(),
        "ece": ece,
        "per_class": [right[y == c].mean() if (y == c).any() else 0 for c in range(z.shape[1])],
        "agree": (z.argmax(1) == t.argmax(1)).mean(),
        "kl": (q * np.log(q / p)).sum(1).mean(),
    }


@pytest.mark.parametrize(("samples", "classes", "scale"), [(257, 10, 3.0), (50, 3, 1.0), (8, 2, 0.1), (1, 7, 1.0)])
def test_metrics_equal_numpys(samples, classes, scale):
    rng = np.random.default_rng(samples)
    z, t = scale * rng.normal(size=(2, samples, classes))
    y = rng.integers(classes, size=samples)
    total = sums(torch.tensor(z), torch.tensor(y), [torch.tensor(t)])
    found, wanted = figures(total, classes, ["teacher"]), reference(z, y, t)
    assert [found.top1, found.top5, found.loss, found.ece] == pytest.approx(
        [wanted["top1"], wanted["top5"], wanted["loss"], wanted["ece"]], rel=1e-9
    )
    assert found.per_class == pytest.approx(wanted["per_class"])
    assert found.per_class_count == np.bincount(y, minlength=classes).tolist()
    assert found.agreement["teacher"]["top1"] == pytest.approx(wanted["agree"])
    assert found.agreement["teacher"]["kl"] == pytest.approx(wanted["kl"], rel=1e-8)
    assert sum(count for count, _, _ in found.calibration) == samples


def test_every_sample_counts_once_for_any_batch_size():
    rng = torch.Generator().manual_seed(0)
    images, labels = torch.randn(103, 4, generator=rng), torch.randint(4, (103,), generator=rng)

    def predict(x):
        return {"a": x, "b": -x}

    def batches(size):
        for i in range(0, 103, size):
            yield Batch(images[i : i + size], labels[i : i + size], torch.arange(i, min(i + size, 103)))

    def measure(logits):
        return {"distance": (logits["a"] - logits["b"]).norm(dim=1)}

    context = torch.enable_grad
    whole = evaluate(predict, batches(103), context, {}, measure)
    parts = evaluate(predict, batches(10), context, {}, measure)
    assert list(whole[0]) == ["a", "b"]
    for name in ("a", "b"):
        assert whole[0][name].top1 == parts[0][name].top1 and whole[0][name].per_class == parts[0][name].per_class
        assert whole[0][name].loss == pytest.approx(parts[0][name].loss, rel=1e-9)
    assert (
        whole[1]["distance"]
        == pytest.approx(parts[1]["distance"])
        == pytest.approx((2 * images).norm(dim=1).mean().item())
    )


def uneven_worker(rank):
    """Worker 0 has 7 samples, worker 1 has 2."""
    logits = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    mine = slice(0, 7) if rank == 0 else slice(7, 9)
    labels = torch.tensor([0, 1, 2, 3, 3, 0, 0, 0, 4])
    batch = Batch(logits[mine], labels[mine], torch.arange(9)[mine])
    found, _ = evaluate(lambda x: {"net": x}, [batch], torch.enable_grad, {})
    assert found["net"].top1 == pytest.approx(reference(logits.numpy(), labels.numpy(), logits.numpy())["top1"])
    assert sum(found["net"].per_class_count) == 9


def test_workers_with_unequal_parts_agree_on_the_whole_split(tmp_path):
    run_workers(uneven_worker, world=2, folder=tmp_path)


def test_metrics_of_large_logits_and_half_precision_are_finite():
    z = torch.tensor([[80.0, -80.0, 0.0], [-80.0, 80.0, 80.0]])
    for kind in (torch.float32, torch.bfloat16, torch.float16):
        found = figures(sums(z.to(kind), torch.tensor([1, 0]), [z.to(kind)]), 3, ["t"])
        assert math.isfinite(found.loss) and found.loss == pytest.approx((160 + 160 + math.log(2)) / 2, rel=1e-3)


def test_ensemble_metrics_equal_the_formulas():
    """As in numpy: accuracy and loss of the mean of probabilities, accuracy of the vote; none for a single member."""
    rng = np.random.default_rng(3)
    logits, labels = 3 * rng.standard_normal((3, 40, 5)), rng.integers(0, 5, 40)
    members = {name: torch.from_numpy(values).float() for name, values in zip("abc", logits)}
    batch = Batch(torch.zeros(40, 1), torch.from_numpy(labels), torch.arange(40))
    networks = {name: lambda images, values=values: values for name, values in members.items()}
    found = evaluate_members(networks, [batch], contextlib.nullcontext)
    mean = softmax(logits).mean(0)
    assert found["mean"]["top1"] == (mean.argmax(-1) == labels).mean()
    np.testing.assert_allclose(found["mean"]["loss"], -np.log(mean[range(40), labels]).mean(), rtol=1e-5)
    counts = np.stack([np.bincount(row, minlength=5) for row in logits.argmax(-1).T])
    elected = (counts + 0.5 * mean).argmax(-1)
    assert found["vote"] == {"top1": (elected == labels).mean()}
    assert combined({"a": members["a"]}) == {}
