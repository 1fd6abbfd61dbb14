"""Requantisation on CPUs: (sum * multiplier + half) >> shift, clipped, for a whole row of sums.

A product has 64 bits, of which those above the lowest 32 are wanted where the shift is 32. So a
multiplier is kept as the factor that belongs to a shift of 32, `multiplier << (32 - shift)`, where
that fits into 31 bits, as it does in networks that were trained: 16 sums then are two vectors of
eight products each, and the halves that are wanted of both one vector again. With factors and sums
below 2**31, products are below 2**62, and what is wanted of them is below 2**30.

numba's own loops over int64 take up to four times as long, for processors multiply 32 bits by 32
in one instruction, and 64 by 64 in several or in a slow one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload, register_jitable

from ..coding.processor import LANES, VECTOR, has, splat

Int32 = npt.NDArray[np.int32]

_SHIFT = 32
_INT64 = ir.IntType(64)
_WIDE = ir.VectorType(_INT64, LANES // 2)
#: Where one instruction multiplies 32 bits by 32.
_BY_VECTORS = has({"+sse4.1"})


def factors(multiplier: Int32, shift: int, width: int) -> Int32:
    """The multipliers for a shift of 32, int32 (width,), zeros behind them; (0,) if there are none.

    width: a multiple of 16.
    """
    up = _SHIFT - shift
    if up < 0 or int(multiplier.max(initial=0)) << up >= 2**31:
        return np.zeros(0, np.int32)
    found = np.zeros(width, np.int32)
    found[: len(multiplier)] = multiplier << up
    return found


@register_jitable
def _one_by_one(sums, layer, low, high):  # type: ignore[no-untyped-def]
    half = np.int64(1) << (layer.shift - np.int64(1))
    for m in range(layer.multiplier.size):
        y = (np.int64(sums[m]) * layer.multiplier[m] + half) >> layer.shift
        sums[m] = min(max(y, np.int64(low)), np.int64(high))


def _requantise(sums, layer, low, high):  # type: ignore[no-untyped-def]
    _one_by_one(sums, layer, low, high)


@overload(_requantise)
def _chosen(sums, layer, low, high):  # type: ignore[no-untyped-def]
    def vectors(sums, layer, low, high):  # type: ignore[no-untyped-def]
        if layer.factor.size:
            _run(sums, layer.factor, np.int32(low), np.int32(high))
        else:
            _one_by_one(sums, layer, low, high)

    return vectors if _BY_VECTORS else _requantise


#: requantise(sums, layer, low, high): a row of sums, int32, becomes what a layer's outputs are
#: (numba_layers.LayerArrays), int32 from low to high. The row is as long as the layer's factors.
requantise: Callable[..., Any] = _requantise


@intrinsic
def _run(context, sums, factor, low, high):  # type: ignore[no-untyped-def]
    return types.void(sums, factor, types.int32, types.int32), _write_run


def _write_run(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    from numba.np.arrayobj import make_array

    of_sums, of_factors = (
        make_array(signature.args[i])(context, builder, arguments[i]) for i in range(2)
    )
    low, high = (splat(builder, arguments[i], VECTOR) for i in (2, 3))
    length = ir.Constant(_INT64, LANES)
    vectors = builder.udiv(builder.extract_value(of_factors.shape, 0), length)
    with cgutils.for_range(builder, vectors) as loop:
        at = builder.mul(loop.index, length)
        place, factor = (
            builder.bitcast(builder.gep(array.data, [at]), VECTOR.as_pointer())
            for array in (of_sums, of_factors)
        )
        found = _high_halves(builder, builder.load(place, align=4), builder.load(factor, align=4))
        found = builder.select(builder.icmp_signed("<", found, low), low, found)
        found = builder.select(builder.icmp_signed(">", found, high), high, found)
        builder.store(found, place, align=4)
    return context.get_dummy_value()


def _high_halves(builder: Any, a: Any, b: Any) -> Any:
    """Code for (a * b + 2**31) >> 32 of 16 lanes, those of even and of odd numbers by themselves.

    What sign extensions these shifts make, LLVM knows as the one instruction's own.
    """

    def constant(value: int) -> Any:
        return ir.Constant(_WIDE, [value] * _WIDE.count)

    def products(*lanes: Any) -> Any:
        return builder.add(builder.mul(*lanes), constant(2**31))

    bits, wide = constant(_SHIFT), [builder.bitcast(vector, _WIDE) for vector in (a, b)]
    even = products(*(builder.ashr(builder.shl(vector, bits), bits) for vector in wide))
    odd = products(*(builder.ashr(vector, bits) for vector in wide))
    upper = builder.and_(odd, constant(-(2**32)))
    return builder.bitcast(builder.or_(builder.lshr(even, bits), upper), VECTOR)
