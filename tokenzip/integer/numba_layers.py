"""Layers over rows of activations: products block by block, then what is made of the sums."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import borrowing, inner
from . import CELL_LIMIT, GATE_LIMIT, LARGEST
from .gemm import ROWS, pack, product, put_inputs, room
from .layers import Layer

#: Rows of sums that are kept before they are used: a multiple of the tallest tile.
BLOCK = 2 * ROWS


class LayerArrays(NamedTuple):
    """A layer as compiled functions take it; weight and bias are packed (gemm.py)."""

    weight: npt.NDArray[np.integer[Any]]
    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int64]
    shift: Any


def layer_arrays(layer: Layer) -> LayerArrays:
    """A layer in arrays."""
    return LayerArrays(
        *pack(layer.weight, layer.bias), layer.multiplier.astype(np.int64), np.int64(layer.shift)
    )


def stacked(layers: list[LayerArrays]) -> LayerArrays:
    """Layers of one shape as one, with an axis more in front."""
    return LayerArrays(*(np.stack(parts) for parts in zip(*layers, strict=True)))


@inner
def of_plane(layers, plane):  # type: ignore[no-untyped-def]
    """One of stacked layers."""
    return LayerArrays(
        layers.weight[plane], layers.bias[plane], layers.multiplier[plane], layers.shift[plane]
    )


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


@inner
def scaled(value, multiplier, shift):  # type: ignore[no-untyped-def]
    half = np.int64(1) << (shift - np.int64(1))
    return (np.int64(value) * multiplier + half) >> shift


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
    for m in range(target.size):
        y = scaled(sums[m], layer.multiplier[m], layer.shift)
        target[m] = min(max(y, np.int64(low)), np.int64(LARGEST))


@inner
def _arguments(sums, layer):  # type: ignore[no-untyped-def]
    """A row's sums become places in the tables of sigmoid and tanh."""
    for m in range(layer.multiplier.size):
        y = scaled(sums[m], layer.multiplier[m], layer.shift)
        y = min(max(y, np.int64(-GATE_LIMIT)), np.int64(GATE_LIMIT))
        sums[m] = np.int32(y) + np.int32(GATE_LIMIT)


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
    _arguments(gates, layer)
    width = target.size
    for d in range(width):
        target[d] = _gate(sigmoid[np.uint32(gates[d])], tanh[np.uint32(gates[width + d])])


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
                _arguments(gates, layer)
                _cell(gates, sigmoid, tanh, c[start + r], h[start + r])
                target, hidden = out[t, start + r], h[start + r]
                for d in range(width):
                    target[d] = hidden[d]


@inner
def _cell(gates, sigmoid, tanh, cell, hidden):  # type: ignore[no-untyped-def]
    """One row's new state from its gates' places in the tables, which are never negative."""
    width = np.uint32(cell.size)
    for d in range(width):
        enter, keep = sigmoid[np.uint32(gates[d])], sigmoid[np.uint32(gates[width + d])]
        show = sigmoid[np.uint32(gates[2 * width + d])]
        new = enter * tanh[np.uint32(gates[3 * width + d])] >> 3
        new = (keep * cell[d] + new + np.int32(1 << 14)) >> 15
        new = min(max(new, np.int32(-CELL_LIMIT)), np.int32(CELL_LIMIT))
        cell[d] = new
        at = min(max(new >> 4, np.int32(-GATE_LIMIT)), np.int32(GATE_LIMIT)) + GATE_LIMIT
        hidden[d] = _gate(show, tanh[np.uint32(at)])
