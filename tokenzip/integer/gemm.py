"""The matrix product of int8 numbers on CPUs: register tiles written in LLVM's own language.

numba's loops make multiply-adds of one dot product at a time, which is bound by loading weights. A
tile here keeps up to 8 rows x 32 outputs of sums in registers. Integer sums in any order are the
same sums. Inputs go by groups of 32 bits, which one instruction multiplies and adds up, in one of
two forms:

- Pairs of int16, on every processor: plain LLVM vectors (widen, multiply, add even and odd
  products), which LLVM turns into vpmaddwd or vpdpwssd on x86.
- Fours of bytes, twice as fast, where x86 has vpdpbusd on 512 bits (AVX512-VNNI). It multiplies
  unsigned bytes by signed ones, so an input x is written as x + 128, and 128 times the sum of an
  output's weights is taken off its bias beforehand. It wraps instead of saturating, so what is
  left is exact.

Weights are packed for it: those of 32 outputs lie together, group by group of inputs, and in a
group output by output, so that a tile reads them from first to last and needs no sum across a
register.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..coding.compiled import borrowing
from ..coding.processor import LANES, OF_THREE, VECTOR, can, splat
from .gemm_inputs import putting

#: Vectors of sums in a tile, of LANES outputs each, and rows of the tallest tile.
VECTORS = 2
ROWS = 8
_WIDTH = LANES * VECTORS

_INT16, _INT32, _INT64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_PAIRS = ir.VectorType(_INT16, 2 * LANES)
_PRODUCTS = ir.VectorType(_INT32, 2 * LANES)


@dataclass(frozen=True)
class _Form:
    """How groups of 32 bits hold inputs, plus `offset`, and weights, and how they are multiplied.

    multiply_add(builder, sums, inputs, weights): LLVM's code for what all lanes' groups add.
    """

    inputs: type[np.integer[Any]]
    weights: type[np.integer[Any]]
    offset: int
    multiply_add: Callable[[Any, Any, Any, Any], Any]

    @property
    def size(self) -> int:
        """Inputs in a group."""
        return 4 // np.dtype(self.inputs).itemsize


def _add_pairs(builder: Any, sums: Any, inputs: Any, weights: Any) -> Any:
    a, b = (builder.sext(builder.bitcast(v, _PAIRS), _PRODUCTS) for v in (inputs, weights))
    products, undefined = builder.mul(a, b), ir.Constant(_PRODUCTS, ir.Undefined)
    for first in (0, 1):
        chosen = ir.Constant(VECTOR, list(range(first, 2 * LANES, 2)))
        sums = builder.add(sums, builder.shuffle_vector(products, undefined, chosen))
    return sums


#: Declared as LLVM first knew it, with bytes in vectors of int32: newer LLVMs have vectors of bytes
#: there and turn this into their own, which older ones would not know.
_VPDPBUSD = "llvm.x86.avx512.vpdpbusd.512"


def _add_fours(builder: Any, sums: Any, inputs: Any, weights: Any) -> Any:
    function = cgutils.get_or_insert_function(builder.module, OF_THREE, _VPDPBUSD)
    return builder.call(function, [sums, inputs, weights])


_BY_PAIRS = _Form(np.int16, np.int16, 0, _add_pairs)
_BY_FOURS = _Form(np.uint8, np.int8, 128, _add_fours)


def _form() -> _Form:
    return _BY_FOURS if can({"+avx512vnni", "+avx512bw"}, _VPDPBUSD) else _BY_PAIRS


_FORM = _form()
_INPUTS, _SIZE, _OFFSET = _FORM.inputs, _FORM.size, _FORM.offset


def pack(
    weight: npt.NDArray[np.int8], bias: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.int32]]:
    """Weights (M, K) and biases (M,) as the functions below take them.

    The weights become (tiles, groups, outputs of a tile x inputs of a group), the biases
    (outputs of all tiles,), both padded by zeros.
    """
    outputs, inputs = weight.shape
    tiles, groups = -(-outputs // _WIDTH), -(-inputs // _SIZE)
    packed = np.zeros((tiles, groups, _WIDTH * _SIZE), _FORM.weights)
    shifted = np.zeros(tiles * _WIDTH, np.int32)
    _put_weights(weight, bias, packed, shifted)
    return packed, shifted


@borrowing
def _put_weights(weight, bias, packed, shifted):  # type: ignore[no-untyped-def]
    # Compiled, for the weights of a network that goes on learning are packed again and again.
    outputs, inputs = weight.shape
    for m in range(outputs):
        row, tile, first = weight[m], packed[m // _WIDTH], m % _WIDTH * _SIZE
        total = np.int64(0)
        for k in range(inputs):
            tile[k // _SIZE, first + k % _SIZE] = row[k]
            total += np.int64(row[k])
        shifted[m] = np.int64(bias[m]) - _OFFSET * total


def room(
    rows: int, weight: npt.NDArray[np.integer[Any]]
) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.int32]]:
    """Room for some rows of inputs (`put_inputs`) and of sums (`product`); weight is packed."""
    tiles, groups, _ = weight.shape[-3:]
    inputs = np.zeros((rows, _SIZE * groups), _INPUTS)
    return inputs, np.empty((rows, tiles * _WIDTH), np.int32)


#: put_inputs(row, first, values): writes int8 inputs into a row of the room, from `first` on.
put_inputs = putting(_OFFSET)


def _tile(rows: int, tiles: int = 1) -> Callable[..., Any]:
    """An intrinsic that writes the sums of `rows` rows and the outputs of so many tiles."""

    @intrinsic
    def tile(context, x, row, weight, bias, number, out):  # type: ignore[no-untyped-def]
        signature = types.void(x, types.intp, weight, bias, types.intp, out)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            _write_tile(rows, tiles, context, builder, signature, arguments)
            return context.get_dummy_value()

        return signature, generate

    made: Callable[..., Any] = tile
    return made


def _write_tile(
    rows: int, wide: int, context: Any, builder: Any, signature: Any, arguments: Any
) -> None:
    from numba.np.arrayobj import make_array

    _, row, _, _, number, _ = arguments

    def array(place: int) -> Any:
        return make_array(signature.args[place])(context, builder, arguments[place])

    def at(base: Any, index: Any, kind: Any) -> Any:
        return builder.gep(builder.bitcast(base, kind.as_pointer()), [index])

    def constant(value: int) -> Any:
        return ir.Constant(_INT64, value)

    def vector_at(tile: Any, vector: int) -> Any:
        """The place of a vector, counted from the first one of a tile."""
        return builder.add(builder.mul(tile, constant(VECTORS)), constant(vector))

    groups = builder.extract_value(array(2).shape, 1)
    tiles = builder.extract_value(array(2).shape, 0)
    x_data, weight_data, bias_data, out_data = (array(place).data for place in (0, 2, 3, 5))
    vectors = range(VECTORS * wide)
    sums = [[cgutils.alloca_once(builder, VECTOR) for _ in vectors] for _ in range(rows)]
    for v in vectors:
        first_sum = builder.load(at(bias_data, vector_at(number, v), VECTOR))
        first_sum.align = 4
        for line in sums:
            builder.store(first_sum, line[v])
    firsts = [builder.mul(builder.add(number, constant(tile)), groups) for tile in range(wide)]
    with cgutils.for_range(builder, groups) as loop:
        weights = []
        for v in vectors:
            group = builder.add(firsts[v // VECTORS], loop.index)
            loaded = builder.load(at(weight_data, vector_at(group, v % VECTORS), VECTOR))
            loaded.align = 1
            weights.append(loaded)
        for r in range(rows):
            index = builder.add(builder.mul(builder.add(row, constant(r)), groups), loop.index)
            group = builder.load(at(x_data, index, _INT32))
            group.align = 1
            inputs = splat(builder, group, VECTOR)
            for v in vectors:
                added = _FORM.multiply_add(builder, builder.load(sums[r][v]), inputs, weights[v])
                builder.store(added, sums[r][v])
    for r in range(rows):
        line = builder.add(builder.mul(builder.add(row, constant(r)), tiles), number)
        for v in vectors:
            target = at(out_data, vector_at(line, v), VECTOR)
            builder.store(builder.load(sums[r][v]), target).align = 4


_tile1, _tile2, _tile3, _tile4 = _tile(1), _tile(2), _tile(3), _tile(4)
_tile5, _tile6, _tile7, _tile8 = _tile(5), _tile(6), _tile(7), _tile(8)
# Of few rows several tiles at a time: sums that wait for one another take four cycles each.
_tile1x4, _tile2x2 = _tile(1, 4), _tile(2, 2)


@borrowing
def _product(x, weight, bias, out):  # type: ignore[no-untyped-def]
    rows, tiles = x.shape[0], weight.shape[0]
    whole, tile = rows - rows % 8, 0
    if rows == 1:
        while tile + 4 <= tiles:
            _tile1x4(x, 0, weight, bias, tile, out)
            tile += 4
    elif rows == 2:
        while tile + 2 <= tiles:
            _tile2x2(x, 0, weight, bias, tile, out)
            tile += 2
    while tile < tiles:
        for row in range(0, whole, 8):
            _tile8(x, row, weight, bias, tile, out)
        rest = rows - whole
        if rest == 1:
            _tile1(x, whole, weight, bias, tile, out)
        elif rest == 2:
            _tile2(x, whole, weight, bias, tile, out)
        elif rest == 3:
            _tile3(x, whole, weight, bias, tile, out)
        elif rest == 4:
            _tile4(x, whole, weight, bias, tile, out)
        elif rest == 5:
            _tile5(x, whole, weight, bias, tile, out)
        elif rest == 6:
            _tile6(x, whole, weight, bias, tile, out)
        elif rest == 7:
            _tile7(x, whole, weight, bias, tile, out)
        tile += 1


def _interpreted(x: Any, weight: Any, bias: Any, out: Any) -> None:
    """The same product without a compiler, for NUMBA_DISABLE_JIT."""
    tiles, groups, _ = weight.shape
    by_group = weight.reshape(tiles, groups, _WIDTH, _SIZE).astype(np.int64)
    rows = x.reshape(len(x), groups, _SIZE).astype(np.int64)
    out[: len(x)] = np.einsum("rgi,tgmi->rtm", rows, by_group).reshape(len(x), bias.size) + bias


#: product(x, weight, bias, out): out[r, m] is what the rows of x, full of inputs, and the bias give
#: output m (or one of those that pad the last tile). x and out are rows of `room`.
product: Callable[..., Any] = _interpreted if numba.config.DISABLE_JIT else _product
