"""Powers of two for rows of scores: tables of 64 in registers, where the processor can.

A weight is EXP2[d], d a score's distance below the best. Reading 1602 entries one by one, as the
vectors of many processors do, takes more time than all else that a row of scores needs. All of them
follow from the first 64, kept twice as fine and rounded down (TWICE):

    EXP2[d] = ((TWICE[d % 64] >> (d // 64)) + 1) >> 1

which is checked for every entry when this is imported. Where x86 has AVX-512, two instructions look
up 16 of these at once (vpermi2d, in one half of TWICE each).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload, register_jitable
from numpy.typing import NDArray

from tokenzip.coding.constants import PRECISION, SCORE_BITS, SCORE_ONE
from tokenzip.coding.processor import LANES, OF_THREE, VECTOR, can, splat

#: So many weights add up below 2**31.
_MOST_VECTORS = 64
_INT64 = ir.IntType(64)
_VPERMI2D = "llvm.x86.avx512.vpermi2var.d.512"


def _exp2_entry(distance: int) -> int:
    """2**PRECISION * 2**(-distance / SCORE_ONE), rounded to the nearest integer, halves up."""
    return (_twice(distance) + 1) >> 1


def _twice(distance: int) -> int:
    """Twice that, rounded down.

    floor(2 * x) is the 64th root of (2 * x)**64, a power of two, and the root of a root's floor is
    the root's floor: six integer square roots give it exactly. No float is asked.
    """
    exponent = (PRECISION + 1) * SCORE_ONE - distance
    twice = 1 << exponent if exponent >= 0 else 0
    for _ in range(SCORE_BITS):
        twice = isqrt(twice)
    return twice


# Entry d is the weight of a score d below the best; from the last entry on it is 0.
EXP2: NDArray[np.int64] = np.array(
    [_exp2_entry(d) for d in range((PRECISION + 1) * SCORE_ONE + 2)], np.int64
)
EXP2.setflags(write=False)
_WEIGHTS: NDArray[np.int32] = EXP2.astype(np.int32)
_LAST = np.uint32(EXP2.size - 1)

_TWICE = [_twice(d) for d in range(SCORE_ONE)]
_IN_REGISTERS = can({"+avx512f"}, _VPERMI2D) and all(
    ((_TWICE[d % SCORE_ONE] >> (d // SCORE_ONE)) + 1) >> 1 == weight
    for d, weight in enumerate(EXP2.tolist())
)


@register_jitable
def _from(first, scores, high, weights):  # type: ignore[no-untyped-def]
    """The weights from a score on, one by one; their sum."""
    total = np.int64(0)
    for s in range(first, scores.size):
        below = np.uint32(np.uint32(high) - np.uint32(scores[s]))
        weight = _WEIGHTS[min(below, _LAST)]
        weights[s] = weight
        total += np.int64(weight)
    return total


def _one_by_one(scores, high, weights):  # type: ignore[no-untyped-def]
    return _from(0, scores, high, weights)


def _by_vectors(scores, high, weights):  # type: ignore[no-untyped-def]
    total, done = np.int64(0), np.int64(0)
    while done + LANES <= scores.size:
        vectors = min((scores.size - done) // LANES, _MOST_VECTORS)
        total += _run(scores, done, vectors, np.uint32(high), weights)
        done += vectors * LANES
    return total + _from(done, scores, high, weights)


@overload(_one_by_one)
def _chosen(scores, high, weights):  # type: ignore[no-untyped-def]
    side_by_side = scores.layout == weights.layout == "C"
    return _by_vectors if _IN_REGISTERS and side_by_side else _one_by_one


#: weigh(scores, high, weights): weights[s] = EXP2[high - scores[s]], from its end on 0; their sum,
#: int64. scores: integers of at most 32 bits, none above high, which is of their kind. weights:
#: int32.
weigh: Callable[..., Any] = _one_by_one


@intrinsic
def _run(context, scores, first, vectors, high, weights):  # type: ignore[no-untyped-def]
    """The weights of up to _MOST_VECTORS times 16 scores from `first` on; their sum."""
    return types.int64(scores, types.intp, types.intp, types.uint32, weights), _write_run


def _write_run(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    _, first, vectors, _, _ = arguments
    sums = cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0] * LANES))
    with cgutils.for_range(builder, vectors) as loop:
        at = builder.add(first, builder.mul(loop.index, ir.Constant(loop.index.type, LANES)))
        made = _write_sixteen(context, builder, signature, arguments, at)
        builder.store(builder.add(builder.load(sums), made), sums)
    total = ir.Constant(_INT64, 0)
    last = builder.load(sums)
    for lane in range(LANES):
        of_lane = builder.extract_element(last, ir.Constant(ir.IntType(32), lane))
        total = builder.add(total, builder.zext(of_lane, _INT64))
    return total


def _write_sixteen(context: Any, builder: Any, signature: Any, arguments: Any, first: Any) -> Any:
    """Code that writes the weights of 16 scores, and has them as a vector."""
    from numba.np.arrayobj import make_array

    def place(argument: int, vector: Any) -> Any:
        kind = signature.args[argument]
        array = make_array(kind)(context, builder, arguments[argument])
        one = builder.gep(array.data, [first])
        return builder.bitcast(one, vector.as_pointer()), kind.dtype.bitwidth // 8

    def constant(value: int) -> Any:
        return ir.Constant(VECTOR, [value] * LANES)

    of_scores = signature.args[0].dtype
    at, align = place(0, ir.VectorType(ir.IntType(of_scores.bitwidth), LANES))
    scores = builder.load(at, align=align)
    if of_scores.bitwidth < 32:
        scores = (builder.sext if of_scores.signed else builder.zext)(scores, VECTOR)
    below = builder.sub(splat(builder, arguments[3], VECTOR), scores)
    last = constant(int(_LAST))
    below = builder.select(builder.icmp_unsigned("<", below, last), below, last)
    look_up = cgutils.get_or_insert_function(builder.module, OF_THREE, _VPERMI2D)
    tables = [ir.Constant(VECTOR, _TWICE[i : i + LANES]) for i in range(0, SCORE_ONE, LANES)]
    near, far = (builder.call(look_up, [a, below, b]) for a, b in (tables[:2], tables[2:]))
    is_far = builder.icmp_unsigned("!=", builder.and_(below, constant(2 * LANES)), constant(0))
    twice = builder.select(is_far, far, near)
    shift = builder.lshr(below, constant(SCORE_BITS))
    rounded = builder.add(builder.lshr(twice, shift), constant(1))
    weights = builder.lshr(rounded, constant(1))
    at, align = place(4, VECTOR)
    builder.store(weights, at, align=align)
    return weights
