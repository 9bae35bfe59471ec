"""Cache formats against numpy's rounding and float64 formulas."""

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.teachers.cache.formats import Full, TopK, compress, decompress, mark_of


def layouts(values):
    yield values
    yield values.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", ["float32", "float16"])
@pytest.mark.parametrize("live", [torch.float32, torch.bfloat16, torch.float16])
def test_values_are_rounded_once_and_keep_type_and_layout(kind, live):
    exact = torch.from_numpy(np.random.default_rng(0).normal(0, 4, (6, 5, 3, 4)).astype("float32")).to(live)
    form = Full((5, 3, 4), kind)
    for values in layouts(exact):
        rows = form.pack(values)
        assert rows.shape == (6, form.bytes) and rows.dtype == torch.uint8
        back = form.unpack(rows, mark_of(values))
        expected = torch.from_numpy(values.float().numpy().astype(kind).astype("float32")).to(live)
        assert torch.equal(back, expected) and (back.dtype, back.stride()) == (live, values.stride())


def test_vectors_are_restored(tmp_path):
    values = torch.randn(4, 7)
    form = Full((7,), "float32")
    assert torch.equal(form.unpack(form.pack(values), mark_of(values)), values)


def test_values_outside_float16_are_rejected():
    for values in (torch.tensor([[1.0, 7e4]]), torch.tensor([[float("nan"), 0.0]])):
        with pytest.raises(UserError, match="teacher's pooled .* float32"):
            Full((2,), "float16").expect_exact(Full((2,), "float16").pack(values).numpy(), "teacher's pooled")
        Full((2,), "float32").expect_exact(Full((2,), "float32").pack(values).numpy(), "teacher's pooled")
    with pytest.raises(UserError, match="float32"):
        form = TopK(3, 1)
        form.expect_exact(form.pack(torch.tensor([[1.0, 7e4, 0.0]])).numpy(), "teacher's logits")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits.astype(np.float64)).sum(1, keepdims=True))


@pytest.mark.parametrize("k", [1, 3, 9, 10])
def test_top_k_keeps_the_largest_logits_and_the_remainder(k):
    logits = np.random.default_rng(k).normal(0, 4, (50, 10)).astype("float32")
    form = TopK(10, k)
    packed = form.pack(torch.from_numpy(logits))
    assert packed.shape == (50, 4 * k + 4) and packed.dtype == torch.uint8
    back = form.unpack(packed, 0).numpy()
    exact, largest = log_softmax(logits), np.argsort(-logits, axis=1)[:, :k]
    ours = log_softmax(back)
    there = np.zeros_like(logits, bool)
    np.put_along_axis(there, largest, True, 1)
    np.testing.assert_allclose(ours[there], exact[there], atol=0.02)  # float16's rounding of logits up to 16
    np.testing.assert_array_equal(back[there], logits.astype("float16")[there])
    if k < 10:
        others, wanted = (np.where(there, 0, np.exp(each)).sum(1) for each in (ours, exact))
        np.testing.assert_allclose(others, wanted, rtol=0.02)
        for line, mask in zip(back, there, strict=True):
            assert len(set(line[~mask])) == 1


def test_top_k_supports_65536_classes():
    logits = torch.zeros(2, 65_536)
    logits[0, 40_000], logits[1, 65_535] = 5.0, 6.0
    form = TopK(65_536, 1)
    assert form.unpack(form.pack(logits), 0).argmax(1).tolist() == [40_000, 65_535]


def test_more_logits_than_classes_are_rejected():
    with pytest.raises(UserError, match="top_k: 11 must be from 1 to 10"):
        TopK(10, 11)
    with pytest.raises(UserError, match="65,536"):
        TopK(100_000, 5)


@pytest.mark.parametrize("width", [2, 4])
def test_compression_is_lossless(width):
    draw = np.random.default_rng(1)
    activations = np.maximum(draw.normal(size=4096 * 4 // width), 0).astype(f"float{8 * width}").view(np.uint8)
    noise = draw.integers(0, 256, 4096, np.uint8)
    for row in (activations, noise):
        packed = compress(row, width)
        assert np.array_equal(decompress(packed, len(row), width), row)
    assert len(compress(activations, width)) < 0.9 * len(activations) and len(compress(noise, width)) == len(noise)
