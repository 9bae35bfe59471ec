import gc

import numpy as np
import pytest
import torch

from raykd.contract import Placement
from raykd.data.config import Data
from raykd.data.device.normalize import ArrayPool, Normalizer
from raykd.data.sources import Digits

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def normalizer(channels_last, size=12):
    return Normalizer(
        Data(source=Digits(), image_size=size, mean=MEAN, std=STD), Placement(torch.device("cpu"), 2), channels_last
    )


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_are_normalised_by_channel(channels_last):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), np.uint8)
    images = normalizer(channels_last).send(pixels)
    expected = ((pixels / 255.0 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(images.numpy(), expected, atol=2e-6)
    kept = torch.channels_last if channels_last else torch.contiguous_format
    assert images.is_contiguous(memory_format=kept)


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_cpu_and_another_device_give_the_same_bits(channels_last):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 12, 12, 3), np.uint8)
    here, there = normalizer(channels_last), normalizer(channels_last)
    on_host, on_device = here.on_host(pixels), there.on_device(torch.from_numpy(pixels))
    assert torch.equal(on_host, on_device) and on_host.stride() == on_device.stride()


def test_images_are_unchanged_while_they_are_referenced():
    draw, finish = np.random.default_rng(2), normalizer(True)
    pixels = [draw.integers(0, 256, (4, 12, 12, 3), np.uint8) for _ in range(6)]
    expected = [normalizer(True).send(each).clone() for each in pixels]
    weight = torch.ones(1, requires_grad=True)
    whole, view = finish.send(pixels[0]), finish.send(pixels[1])[1:, 0]
    array, saved = finish.send(pixels[2]).numpy()[::2], (finish.send(pixels[3]) * weight).sum()
    for each in pixels[4:] * 3:
        finish.send(each)
    assert torch.equal(whole, expected[0]) and torch.equal(view, expected[1][1:, 0])
    assert np.array_equal(array, expected[2][::2])
    saved.backward()  # reads the images that the graph holds
    torch.testing.assert_close(weight.grad, expected[3].sum()[None])


def test_memory_is_reused_for_batches_of_any_size():
    arrays = ArrayPool()
    first = arrays.take((4, 6)).data_ptr()
    gc.collect()
    assert arrays.take((3, 5)).data_ptr() == first
    held = arrays.take((4, 6))
    assert held.data_ptr() == first and arrays.take((4, 6)).data_ptr() != first
