"""The gradient of a head's hidden layer, from how wrong the mixer's tables were (compiled).

Everything is integer, and sums do not depend on the order of their terms (FORMAT.md section 10.10).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tokenzip.coding.compiled import borrowing, inner
from tokenzip.integer import LARGEST
from tokenzip.integer.gemm import product, put_inputs, room
from tokenzip.integer.numba_layers import BLOCK

#: Errors are weighed in units of 2**-14, in two parts that fit into bytes: 128 high + low.
MOST_ERROR = 16319
#: Bits of the rates below the unit.
RATE_BITS = 32
#: Bits of the weights below the unit.
FINE_BITS = 16
#: By 2**-9 of what they have learned, weights return to what they were.
_RETURN = np.int32(9)
_MOST_FINE = np.int32(LARGEST << FINE_BITS)
_LEAST_FINE = np.int32(-(LARGEST + 1) << FINE_BITS)
_HALF_FINE = np.int32(1 << (FINE_BITS - 1))
_HALF_RATE = np.int64(1 << (RATE_BITS - 1))
# Symbols whose errors are multiplied together: two rows each.
_TOGETHER = BLOCK // 2


class GradientRoom(NamedTuple):
    """Room for what add_gradient works out, of a plane's A + C outputs."""

    inputs: npt.NDArray[np.integer[Any]]  # of products, and their
    sums: npt.NDArray[np.int32]
    weighed: npt.NDArray[np.int32]  # (A + C,), errors, and their two parts:
    high: npt.NDArray[np.int8]
    low: npt.NDArray[np.int8]
    steps: npt.NDArray[np.int32]  # (hidden, rows)
    active: npt.NDArray[np.int64]  # (rows + 3,)


def gradient_room(
    weight: npt.NDArray[np.integer[Any]], outputs: int, hidden: int, rows: int
) -> GradientRoom:
    """Room for so many rows; weight: the packed output layer the other way round."""
    high, low = (np.empty(outputs, np.int8) for _ in range(2))
    weighed, steps = np.empty(outputs, np.int32), np.empty((hidden, rows), np.int32)
    active = np.empty(rows + 3, np.int64)
    return GradientRoom(*room(2 * _TOGETHER, weight), weighed, high, low, steps, active)


@inner
def _weighed(error, share):  # type: ignore[no-untyped-def]
    weighed = (np.int32(error) * share + np.int32(1 << 14)) >> np.int32(15)
    return min(max(weighed, np.int32(-MOST_ERROR)), np.int32(MOST_ERROR))


@inner
def _weigh_errors(errors, candidates, shares, space):  # type: ignore[no-untyped-def]
    """The errors of all outputs, of symbols and then of bonuses, weighed and in two parts."""
    symbols, all_weighed = errors.size, space.weighed
    for s in range(symbols):
        all_weighed[s] = _weighed(errors[s], shares[s])
    for i in range(candidates.size):
        error = np.int16(0)
        if candidates[i] < symbols:
            error = errors[candidates[i]]
        all_weighed[symbols + i] = _weighed(error, shares[symbols + i])
    for s in range(all_weighed.size):
        part = (all_weighed[s] + np.int32(64)) >> np.int32(7)
        space.high[s] = part
        space.low[s] = all_weighed[s] - (part << np.int32(7))


@borrowing
def add_gradient(  # type: ignore[no-untyped-def]
    errors, plane, x, z, candidates, shares, weight, bias, rate, most, space, gradient
):
    """Add to `gradient`, int32 (hidden, K), what R symbols of a plane teach.

    errors int16 (R, P, A), in units of 2**-14; x int8 (R, K), z int8 (R, hidden) and candidates
    int32 (R, C) as the network saw them. shares int32 (A + C,): weights of the outputs' errors, in
    units of 2**-15. weight and bias: the packed output layer the other way round, from A + C to
    hidden. rate int64 (hidden,); most: the largest step of one symbol.
    """
    rows, hidden = z.shape
    wide, sums, steps = space.inputs, space.sums, space.steps
    for start in range(0, rows, _TOGETHER):
        count = min(_TOGETHER, rows - start)
        for r in range(count):
            _weigh_errors(errors[start + r, plane], candidates[start + r], shares, space)
            put_inputs(wide[2 * r], 0, space.high)
            put_inputs(wide[2 * r + 1], 0, space.low)
        product(wide[: 2 * count], weight, bias, sums)
        for r in range(count):
            for j in range(hidden):
                step = np.int64(0)
                if 0 < z[start + r, j] < LARGEST:
                    wrong = (np.int64(sums[2 * r, j]) << np.int64(7)) + np.int64(sums[2 * r + 1, j])
                    step = (wrong * rate[j] + _HALF_RATE) >> np.int64(RATE_BITS)
                    step = min(max(step, -most), most)
                steps[j, start + r] = step
    for j in range(hidden):
        _add_rows(steps[j, :rows], x, space.active, gradient[j])


@inner
def _add_rows(steps, x, active, target):  # type: ignore[no-untyped-def]
    """Add to target each row of x times its step. active: room for numbers of rows, and 3."""
    count = 0
    for r in range(steps.size):
        if steps[r] != 0:
            active[count] = r
            count += 1
    active[count : count + 3] = 0
    # Four at a time, which take one load and one store of the target.
    for i in range(0, count, 4):
        of_a, of_b = steps[active[i]], _step(steps, active, i + 1, count)
        of_c, of_d = _step(steps, active, i + 2, count), _step(steps, active, i + 3, count)
        a, b, c, d = x[active[i]], x[active[i + 1]], x[active[i + 2]], x[active[i + 3]]
        for k in range(target.size):
            target[k] += (
                of_a * np.int32(a[k]) + of_b * np.int32(b[k])
                + of_c * np.int32(c[k]) + of_d * np.int32(d[k])
            )  # fmt: skip


@inner
def _step(steps, active, i, count):  # type: ignore[no-untyped-def]
    return steps[active[i]] if i < count else np.int32(0)


@borrowing
def follow_gradient(gradient, rate, first, fine, weight):  # type: ignore[no-untyped-def]
    """Take a step, after which the gradient is 0 again.

    fine int32 (hidden, K): the weights in units of 2**-16; weight int8 (hidden, K): rounded; first:
    as they were trained. Where rate int64 (hidden,) is 0, nothing changes.
    """
    for j in range(rate.size):
        if rate[j] == 0:
            continue
        of_row, row, trained, rounded = gradient[j], fine[j], first[j], weight[j]
        for k in range(row.size):
            learned = row[k] - (np.int32(trained[k]) << np.int32(FINE_BITS))
            value = row[k] - of_row[k] - (learned >> _RETURN)
            value = min(max(value, _LEAST_FINE), _MOST_FINE)
            row[k] = value
            rounded[k] = (value + _HALF_FINE) >> np.int32(FINE_BITS)
            of_row[k] = 0
