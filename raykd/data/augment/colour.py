"""Colour augmentation: each image's list of (operation, value), which both engines execute."""

from collections.abc import Sequence

import numpy as np

from raykd.data import transforms as t
from raykd.data.config import Transform
from raykd.data.order import numbers

IDENTITY, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, ROTATE, BRIGHTNESS, SATURATION = range(8)
CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE, AUTOCONTRAST, EQUALIZE, HUE, CUTOUT = range(8, 16)
RANDAUGMENT = EQUALIZE + 1  # operations 0 … 13 are RandAugment's
WIDTH = 3  # numbers of an entry: operation and value, or Cutout and the two coordinates of its corner
BUILT_IN = (t.ColorJitter, t.RandAugment, t.Cutout)
STEP = 64  # random numbers of each step; the first 64 are the geometry's


def colour_steps(transforms: Sequence[Transform]) -> tuple[Transform, ...]:
    """The colour steps among a pipeline's transforms."""
    return tuple(step for step in transforms if isinstance(step, (*BUILT_IN, t.Operation)))


def program(steps: Sequence[Transform], keys: np.ndarray, size: int, first: int = 1) -> np.ndarray:
    """The operations for the images with these keys [B], in order: float64 [B, operations, WIDTH].

    first: position of the first step in its pipeline, from 1.
    """
    parts = [np.zeros((len(keys), 0, WIDTH))]
    for position, step in enumerate(steps, first):
        draws = step_draws(position, keys)
        match step:
            case t.ColorJitter():
                parts.append(_jitter(step, draws))
            case t.RandAugment():
                parts.append(_rand_augment(step, draws, size))
            case t.Cutout(side=side):
                corner = np.floor(draws[:, :2] * size) - side // 2
                parts.append(np.concatenate([np.full((len(keys), 1), CUTOUT), corner], 1)[:, None])
    return np.concatenate(parts, 1)


def step_draws(position: int, keys: np.ndarray) -> np.ndarray:
    """The random numbers [B, STEP] of the step at a position, from 1."""
    return numbers(keys[:, None], STEP * position + np.arange(STEP))


def _jitter(step: t.ColorJitter, draws: np.ndarray) -> np.ndarray:
    ranges = [(BRIGHTNESS, step.brightness), (CONTRAST, step.contrast), (SATURATION, step.saturation), (HUE, step.hue)]
    result = np.zeros((len(draws), 4, WIDTH))
    for k, (operation, extent) in enumerate(ranges):
        if extent == 0:
            continue
        low, high = (-extent, extent) if operation == HUE else (max(0.0, 1.0 - extent), 1.0 + extent)
        result[:, k, 0], result[:, k, 1] = operation, low + (high - low) * draws[:, k]
    order = np.argsort(draws[:, 4:8], axis=1, kind="stable")
    return np.take_along_axis(result, order[..., None], 1)


def _rand_augment(step: t.RandAugment, draws: np.ndarray, size: int) -> np.ndarray:
    operation = np.floor(draws[:, : 2 * step.operations : 2] * RANDAUGMENT).astype(np.int64)
    sign = np.where(draws[:, 1 : 2 * step.operations : 2] < 0.5, -1.0, 1.0)
    strength = step.magnitude / 30
    value = np.zeros(RANDAUGMENT)
    value[[SHEAR_X, SHEAR_Y]], value[[TRANSLATE_X, TRANSLATE_Y]] = 0.3 * strength, 150 / 331 * size * strength
    value[ROTATE], value[[BRIGHTNESS, SATURATION, CONTRAST, SHARPNESS]] = 30 * strength, 0.9 * strength
    value[POSTERIZE], value[SOLARIZE] = 8 - np.rint(4 * strength), 255 * (1 - strength)
    values = np.where((operation >= SHEAR_X) & (operation <= SHARPNESS), sign, 1.0) * value[operation]
    values = np.where((operation >= BRIGHTNESS) & (operation <= SHARPNESS), 1.0 + values, values)
    values = np.where((operation == TRANSLATE_X) | (operation == TRANSLATE_Y), np.trunc(values), values)
    return np.stack([operation.astype(np.float64), values, np.zeros_like(values)], 2)
