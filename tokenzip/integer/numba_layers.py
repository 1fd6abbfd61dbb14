"""Layers over rows of activations: products block by block, then what is made of the sums."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import borrowing, inner
from . import CELL_LIMIT, GATE_LIMIT, LARGEST
from .gemm import ROWS, pack, product, put_inputs, room
from .layers import Layer
from .requantise import factors, requantise

#: Rows of sums that are kept before they are used: a multiple of the tallest tile.
BLOCK = 2 * ROWS


class LayerArrays(NamedTuple):
    """A layer as compiled functions take it.

    weight and bias are packed (gemm.py); factor: of requantise.py.
    """

    weight: npt.NDArray[np.integer[Any]]
    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int64]
    shift: Any
    factor: npt.NDArray[np.int32]


def layer_arrays(layer: Layer) -> LayerArrays:
    """A layer in arrays."""
    weight, bias = pack(layer.weight, layer.bias)
    factor = factors(layer.multiplier, layer.shift, bias.size)
    multiplier, shift = layer.multiplier.astype(np.int64), np.int64(layer.shift)
    return LayerArrays(weight, bias, multiplier, shift, factor)


def stacked(layers: list[LayerArrays]) -> LayerArrays:
    """Layers of one shape as one, with an axis more in front."""
    if any(layer.factor.size == 0 for layer in layers):
        layers = [layer._replace(factor=layer.factor[:0]) for layer in layers]
    return LayerArrays(*(np.stack(parts) for parts in zip(*layers, strict=True)))


@inner
def of_plane(layers, plane):  # type: ignore[no-untyped-def]
    """One of stacked layers."""
    return LayerArrays(
        layers.weight[plane], layers.bias[plane], layers.multiplier[plane], layers.shift[plane],
        layers.factor[plane],
    )  # fmt: skip


class Room(NamedTuple):
    """Room for a block of rows: inputs as gemm.py takes them, and sums."""

    inputs: npt.NDArray[np.integer[Any]]
    sums: npt.NDArray[np.int32]


def room_for(layer: LayerArrays) -> Room:
    """Room for a block's product with the weights of a layer, or of stacked ones."""
    return Room(*room(BLOCK, layer.weight))


@inner
def products(x, start, layer, space):  # type: ignore[no-untyped-def]
    """space.sums[r, m] = x[start + r] . weight[m] + bias[m] for a block of rows: their number."""
    count = min(BLOCK, x.shape[0] - start)
    for r in range(count):
        put_inputs(space.inputs[r], 0, x[start + r])
    multiply(layer, count, space)
    return count


@inner
def multiply(layer, count, space):  # type: ignore[no-untyped-def]
    """space.sums of as many rows of space.inputs."""
    product(space.inputs[:count], layer.weight, layer.bias, space.sums)


@borrowing
def linear_rows(x, layer, adds, first, space, out):  # type: ignore[no-untyped-def]
    """adds (S, outputs) or (0, outputs); to row r here comes the one of row (first + r) % S."""
    for start in range(0, x.shape[0], BLOCK):
        count = products(x, start, layer, space)
        # Not as slices, which numba copies entry by entry.
        for r in range(count):
            row, target = space.sums[r], out[start + r]
            if adds.shape[0]:
                add_row(row, adds[(first + start + r) % adds.shape[0]])
            for m in range(target.size):
                target[m] = row[m]


@inner
def copy_row(source, target):  # type: ignore[no-untyped-def]
    for i in range(source.size):
        target[i] = source[i]


@inner
def add_row(sums, extra):  # type: ignore[no-untyped-def]
    for m in range(extra.size):
        sums[m] += extra[m]


@borrowing
def dense_rows(x, layer, low, add, space, out):  # type: ignore[no-untyped-def]
    for start in range(0, x.shape[0], BLOCK):
        count = products(x, start, layer, space)
        for r in range(count):
            if add.shape[0]:
                add_row(space.sums[r], add[start + r])
            dense_row(space.sums[r], layer, low, out[start + r])


@inner
def dense_row(sums, layer, low, target):  # type: ignore[no-untyped-def]
    """One row's activations from its sums, which are used up."""
    requantise(sums, layer, low, LARGEST)
    for m in range(target.size):
        target[m] = sums[m]


@inner
def _at(table, argument):  # type: ignore[no-untyped-def]
    """An entry of the tables of sigmoid and tanh, for an argument from -GATE_LIMIT to GATE_LIMIT.

    Places are unsigned: numba looks whether others are below 0.
    """
    return table[np.uint32(argument + np.int32(GATE_LIMIT))]


@inner
def _gate(opening, value):  # type: ignore[no-untyped-def]
    """The activation of a gate and what passes it, both Q15."""
    return min((opening * value + np.int32(1 << 22)) >> 23, np.int32(LARGEST))


@borrowing
def gated_rows(x, layer, sigmoid, tanh, space, out):  # type: ignore[no-untyped-def]
    for start in range(0, x.shape[0], BLOCK):
        count = products(x, start, layer, space)
        for r in range(count):
            gate_row(space.sums[r], layer, sigmoid, tanh, out[start + r])


@inner
def gate_row(gates, layer, sigmoid, tanh, target):  # type: ignore[no-untyped-def]
    """One row's activations from its sums, which are used up."""
    requantise(gates, layer, -GATE_LIMIT, GATE_LIMIT)
    width = target.size
    for d in range(width):
        target[d] = _gate(_at(sigmoid, gates[d]), _at(tanh, gates[width + d]))


@borrowing
def lstm_rows(x, layer, sigmoid, tanh, h, c, space, out, begin, end):  # type: ignore[no-untyped-def]
    """Rows begin .. end - 1 of all frames; h and c are the state, before and after."""
    inputs, width = x.shape[2], h.shape[1]
    for start in range(begin, end, BLOCK):
        count = min(BLOCK, end - start)
        for t in range(x.shape[0]):
            for r in range(count):
                put_inputs(space.inputs[r], 0, x[t, start + r])
                put_inputs(space.inputs[r], inputs, h[start + r])
            multiply(layer, count, space)
            for r in range(count):
                gates = space.sums[r]
                requantise(gates, layer, -GATE_LIMIT, GATE_LIMIT)
                _cell(gates, sigmoid, tanh, c[start + r], h[start + r])
                target, hidden = out[t, start + r], h[start + r]
                for d in range(width):
                    target[d] = hidden[d]


@inner
def _cell(gates, sigmoid, tanh, cell, hidden):  # type: ignore[no-untyped-def]
    """One row's new state from its gates' arguments."""
    width = np.uint32(cell.size)
    for d in range(width):
        enter, keep = _at(sigmoid, gates[d]), _at(sigmoid, gates[width + d])
        show = _at(sigmoid, gates[2 * width + d])
        new = enter * _at(tanh, gates[3 * width + d]) >> 3
        new = (keep * cell[d] + new + np.int32(1 << 14)) >> 15
        new = min(max(new, np.int32(-CELL_LIMIT)), np.int32(CELL_LIMIT))
        cell[d] = new
        shown = min(max(new >> 4, np.int32(-GATE_LIMIT)), np.int32(GATE_LIMIT))
        hidden[d] = _gate(show, _at(tanh, shown))
