"""The matrix product of int8 numbers on CPUs: register tiles written in LLVM's own language.

numba's loops make multiply-adds of one dot product at a time, which is bound by loading weights. A
tile here keeps up to 8 rows x 32 outputs of sums in registers and multiplies pairs of int16
numbers. The code is plain LLVM vectors (widen, multiply, add even and odd products), so it is right
on every processor; on x86 LLVM turns it into vpmaddwd or, with VNNI, vpdpwssd. Integer sums in any
order are the same sums.

Weights are packed for it: output m of a pair of inputs k, k + 1 stands next to output m + 1 of the
same pair, so that a tile loads outputs side by side and needs no sum across a register.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..coding.compiled import compiled

#: Outputs in a vector of sums, vectors in a tile, and rows of the tallest tile.
LANES = 16
VECTORS = 2
ROWS = 8

_INT16, _INT32, _INT64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_SUMS = ir.VectorType(_INT32, LANES)
_PAIRS = ir.VectorType(_INT16, 2 * LANES)
_PRODUCTS = ir.VectorType(_INT32, 2 * LANES)


def pack(weight: npt.NDArray[np.int8]) -> npt.NDArray[np.int16]:
    """Weights (M, K) as `product` takes them: int16 (pairs of K, 2 x padded M), padded by zeros."""
    outputs, inputs = weight.shape
    pairs = -(-inputs // 2)
    padded = np.zeros((padded_outputs(outputs), 2 * pairs), np.int16)
    padded[:outputs, :inputs] = weight
    by_pair = padded.reshape(len(padded), pairs, 2).transpose(1, 0, 2)
    return np.ascontiguousarray(by_pair).reshape(pairs, 2 * len(padded))


def padded_outputs(outputs: int) -> int:
    """Outputs rounded up to whole tiles."""
    return -(-outputs // (LANES * VECTORS)) * LANES * VECTORS


def _tile(rows: int) -> Callable[..., Any]:
    """An intrinsic that writes the sums of `rows` rows and VECTORS vectors of outputs."""

    @intrinsic
    def tile(context, x, row, weight, vector, out):  # type: ignore[no-untyped-def]
        signature = types.void(x, types.intp, weight, types.intp, out)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            _write_tile(rows, context, builder, signature, arguments)
            return context.get_dummy_value()

        return signature, generate

    made: Callable[..., Any] = tile
    return made


def _write_tile(rows: int, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
    from numba.np.arrayobj import make_array

    _, row, _, vector, _ = arguments

    def array(number: int) -> Any:
        return make_array(signature.args[number])(context, builder, arguments[number])

    def at(base: Any, index: Any, kind: Any) -> Any:
        return builder.gep(builder.bitcast(base, kind.as_pointer()), [index])

    def constant(value: int) -> Any:
        return ir.Constant(_INT64, value)

    pairs = builder.extract_value(array(2).shape, 0)
    vectors = builder.udiv(builder.extract_value(array(4).shape, 1), constant(LANES))
    x_data, weight_data, out_data = array(0).data, array(2).data, array(4).data
    zeros = ir.Constant(_SUMS, [0] * LANES)
    even = ir.Constant(_SUMS, list(range(0, 2 * LANES, 2)))
    odd = ir.Constant(_SUMS, list(range(1, 2 * LANES, 2)))
    undefined = ir.Constant(_PRODUCTS, ir.Undefined)
    sums = [[cgutils.alloca_once(builder, _SUMS) for _ in range(VECTORS)] for _ in range(rows)]
    for line in sums:
        for place in line:
            builder.store(zeros, place)
    with cgutils.for_range(builder, pairs) as loop:
        weights = []
        first = builder.add(builder.mul(loop.index, vectors), vector)
        for v in range(VECTORS):
            loaded = builder.load(at(weight_data, builder.add(first, constant(v)), _PAIRS))
            loaded.align = 2
            weights.append(builder.sext(loaded, _PRODUCTS))
        for r in range(rows):
            index = builder.add(builder.mul(builder.add(row, constant(r)), pairs), loop.index)
            pair = builder.load(at(x_data, index, _INT32))
            pair.align = 2
            one = builder.insert_element(ir.Constant(_SUMS, ir.Undefined), pair, constant(0))
            spread = builder.shuffle_vector(one, ir.Constant(_SUMS, ir.Undefined), zeros)
            inputs = builder.sext(builder.bitcast(spread, _PAIRS), _PRODUCTS)
            for v in range(VECTORS):
                products = builder.mul(inputs, weights[v])
                both = builder.add(
                    builder.shuffle_vector(products, undefined, even),
                    builder.shuffle_vector(products, undefined, odd),
                )
                builder.store(builder.add(builder.load(sums[r][v]), both), sums[r][v])
    for r in range(rows):
        line = builder.mul(builder.add(row, constant(r)), vectors)
        for v in range(VECTORS):
            index = builder.add(builder.add(line, vector), constant(v))
            builder.store(builder.load(sums[r][v]), at(out_data, index, _SUMS)).align = 4


_tile8, _tile4, _tile2, _tile1 = _tile(8), _tile(4), _tile(2), _tile(1)


@compiled
def _product(x, weight, out):  # type: ignore[no-untyped-def]
    vectors = out.shape[1] // LANES
    rows = x.shape[0]
    row = 0
    while row + 8 <= rows:
        for vector in range(0, vectors, VECTORS):
            _tile8(x, row, weight, vector, out)
        row += 8
    if row + 4 <= rows:
        for vector in range(0, vectors, VECTORS):
            _tile4(x, row, weight, vector, out)
        row += 4
    if row + 2 <= rows:
        for vector in range(0, vectors, VECTORS):
            _tile2(x, row, weight, vector, out)
        row += 2
    if row < rows:
        for vector in range(0, vectors, VECTORS):
            _tile1(x, row, weight, vector, out)


def _interpreted(x: Any, weight: Any, out: Any) -> None:
    """The same product without a compiler, for NUMBA_DISABLE_JIT."""
    pairs = weight.reshape(len(weight), -1, 2).astype(np.int64)
    out[:] = np.einsum("rkp,kmp->rm", x.reshape(len(x), -1, 2).astype(np.int64), pairs)


#: product(x, weight, out): out[r, m] = sum_k x[r, k] * weight[m, k] for C-contiguous x int16
#: (R, 2 * pairs), weight as of `pack` and out int32 (R, padded M).
product: Callable[..., Any] = _interpreted if numba.config.DISABLE_JIT else _product
