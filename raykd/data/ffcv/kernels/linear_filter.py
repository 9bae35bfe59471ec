"""The antialiased linear filter (PIL's "bilinear"): its weights, and a plane's rows and columns weighted by them."""

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils
from numba.core.types import uintp, void
from numba.extending import intrinsic

from raykd.data.ffcv.kernels.compiled import STRICT


@njit(**STRICT)
def taps(start, length, size, low, high, first, count, weights):
    """Weights of the antialiased linear filter that resizes [start, start + length) to `size` (PIL's "bilinear").

    Output i reads weights[i, :count[i]] of the source from first[i]; only the pixels low … high − 1 count.
    """
    scale = length / size
    support = max(scale, 1.0)
    for i in range(size):
        center = start + (i + 0.5) * scale
        begin, end = max(int(center - support + 0.5), low), min(int(center + support + 0.5), high)
        first[i], count[i], total = begin, end - begin, 0.0
        for k in range(end - begin):
            weights[i, k] = max(1.0 - abs((begin + k + 0.5 - center) / support), 0.0)
            total += weights[i, k]
        for k in range(end - begin):
            weights[i, k] /= total


@njit(**STRICT)
def axis(start, length, size, limit, shrink, inner):
    """`taps` of one axis of a plane that holds one sample for `shrink` pixels, `limit` samples in all."""
    low, high = 0, limit
    if inner:  # what lies outside the box was cut away
        low, high = int(np.floor(start / shrink)), min(int(np.ceil((start + length) / shrink)), limit)
    width = int(2 * max(length / shrink / size, 1.0)) + 3
    first, count, weights = np.empty(size, np.int64), np.empty(size, np.int64), np.zeros((size, width), np.float32)
    taps(start / shrink, length / shrink, size, low, high, first, count, weights)
    return first, count, weights


@njit(**STRICT)
def squeeze(flat, stride, rows, y, begin, line):
    """line = the weighted sum of the source rows that make output row y, from flat[begin …] of each row on."""
    first, count, weights = rows
    line[:] = np.float32(0.0)
    for k in range(count[y]):
        weight, start = weights[y, k], (first[y] + k) * stride + begin
        source = flat[start : start + len(line)]
        for j in range(len(line)):
            line[j] += weight * np.float32(source[j])


@njit(**STRICT)
def column_taps(start, length, size, limit, shrink, inner, flip, channels):
    """How `widen` resizes a line to `size`, mirrored where flip.

    First sample of a line and their number; and of each output pixel the offset in bytes of its first sample in the
    line, [size], and its weights, [size, most].
    """
    first, count, weights = axis(start, length, size, limit, shrink, inner)
    begin, extent, most = first[0], first[-1] + count[-1] - first[0], count.max()
    offsets, packed = np.empty(size, np.uintp), np.zeros((size, most), np.float32)
    for x in range(size):
        source = size - 1 - x if flip else x
        offsets[x] = np.uintp((first[source] - begin) * channels * 4)
        packed[x, : count[source]] = weights[source, : count[source]]
    return begin, extent, offsets, packed


@njit(**STRICT)
def empty_line(columns, channels):
    """A line of floats for `widen`, and zeros after it, which pixels with fewer weights than others read too."""
    return np.zeros((columns[1] + columns[3].shape[1] + 4) * channels, np.float32)


@intrinsic
def weigh(typing, target, source, weights, count, step):
    """Four floats at address `target` = Σ_k weights[k] · four floats at source + k · step, all in one register.

    Stated as vector code because numba leaves arithmetic on neighbouring values scalar.
    """

    def generate(context, builder, signature, arguments):
        target, source, weights, count, step = arguments
        number, lanes = ir.FloatType(), ir.VectorType(ir.FloatType(), 4)
        undefined, all_first = ir.Constant(lanes, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 4), [0] * 4)
        total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * 4))
        with cgutils.for_range(builder, count, intp=count.type) as loop:
            at = builder.add(weights, builder.mul(loop.index, ir.Constant(count.type, 4)))
            weight = builder.load(builder.inttoptr(at, number.as_pointer()))
            first = builder.insert_element(undefined, weight, ir.Constant(ir.IntType(32), 0))
            at = builder.add(source, builder.mul(loop.index, step))
            values = builder.load(builder.inttoptr(at, lanes.as_pointer()), align=4)
            weighted = builder.fmul(builder.shuffle_vector(first, undefined, all_first), values)
            builder.store(builder.fadd(builder.load(total), weighted), total)
        builder.store(builder.load(total), builder.inttoptr(target, lanes.as_pointer()), align=4)
        return context.get_dummy_value()

    return void(uintp, uintp, uintp, uintp, uintp), generate


@njit(**STRICT)
def widen(line, columns, channels, row):
    """row = line, both of `channels` interleaved, resized along x; row has room for four values more.

    Each pixel writes four values, of which the next one overwrites what is not its own. Common counts of weights are
    constants here, so that the compiler unrolls their sums.
    """
    _, _, offsets, weights = columns
    count, step = np.uintp(weights.shape[1]), np.uintp(4 * channels)
    source, target, weight = np.uintp(line.ctypes.data), np.uintp(row.ctypes.data), np.uintp(weights.ctypes.data)
    for x in range(len(offsets)):
        to, at, by = target + np.uintp(x) * step, source + offsets[x], weight + np.uintp(4 * x) * count
        if count == 2:
            weigh(to, at, by, np.uintp(2), step)
        elif count == 3:
            weigh(to, at, by, np.uintp(3), step)
        elif count == 4:
            weigh(to, at, by, np.uintp(4), step)
        else:
            weigh(to, at, by, count, step)
