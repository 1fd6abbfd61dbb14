"""Layers over rows of activations: products block by block, then what is made of the sums."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import compiled, inner
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


@inner
def products(x, start, weight, bias, wide, sums):  # type: ignore[no-untyped-def]
    """sums[r, m] = x[start + r] . weight[m] + bias[m] for a block of rows; how many these are.

    wide and sums are room for a block.
    """
    count = min(BLOCK, x.shape[0] - start)
    for r in range(count):
        put_inputs(wide[r], 0, x[start + r])
    product(wide[:count], weight, bias, sums)
    return count


@compiled
def linear_rows(x, weight, bias, adds, first, out):  # type: ignore[no-untyped-def]
    """adds (S, outputs) or (0, outputs); to row r here comes the one of row (first + r) % S."""
    wide, sums = room(BLOCK, weight)
    for start in range(0, x.shape[0], BLOCK):
        count = products(x, start, weight, bias, wide, sums)
        # Not as slices, which numba copies entry by entry.
        for r in range(count):
            row, target = sums[r], out[start + r]
            if adds.shape[0]:
                extra = adds[(first + start + r) % adds.shape[0]]
                for m in range(target.size):
                    row[m] += extra[m]
            for m in range(target.size):
                target[m] = row[m]


@inner
def scaled(value, multiplier, shift):  # type: ignore[no-untyped-def]
    half = np.int64(1) << (shift - np.int64(1))
    return (np.int64(value) * multiplier + half) >> shift


@compiled
def dense_alone(x, weight, bias, multiplier, shift, low, add, out):  # type: ignore[no-untyped-def]
    wide, sums = room(BLOCK, weight)
    dense_rows(x, weight, bias, multiplier, shift, low, add, wide, sums, out)


@compiled
def dense_rows(x, weight, bias, multiplier, shift, low, add, wide, sums, out):  # type: ignore[no-untyped-def]
    for start in range(0, x.shape[0], BLOCK):
        count = products(x, start, weight, bias, wide, sums)
        for r in range(count):
            row, target = sums[r], out[start + r]
            if add.shape[0]:
                extra = add[start + r]
                for m in range(target.size):
                    row[m] += extra[m]
            for m in range(target.size):
                y = scaled(row[m], multiplier[m], shift)
                target[m] = min(max(y, np.int64(low)), np.int64(LARGEST))


@inner
def _arguments(sums, multiplier, shift):  # type: ignore[no-untyped-def]
    """A row's sums become places in the tables of sigmoid and tanh."""
    for m in range(multiplier.size):
        y = scaled(sums[m], multiplier[m], shift)
        y = min(max(y, np.int64(-GATE_LIMIT)), np.int64(GATE_LIMIT))
        sums[m] = np.int32(y) + np.int32(GATE_LIMIT)


@inner
def _gate(opening, value):  # type: ignore[no-untyped-def]
    """The activation of a gate and what passes it, both Q15."""
    return min((opening * value + np.int32(1 << 22)) >> 23, np.int32(LARGEST))


@compiled
def gated_rows(x, weight, bias, multiplier, shift, sigmoid, tanh, out):  # type: ignore[no-untyped-def]
    width = out.shape[1]
    wide, sums = room(BLOCK, weight)
    for start in range(0, x.shape[0], BLOCK):
        count = products(x, start, weight, bias, wide, sums)
        for r in range(count):
            gates, target = sums[r], out[start + r]
            _arguments(gates, multiplier, shift)
            for d in range(width):
                target[d] = _gate(sigmoid[np.uint32(gates[d])], tanh[np.uint32(gates[width + d])])


@compiled
def lstm_rows(x, weight, bias, multiplier, shift, sigmoid, tanh, h, c, out, begin, end):  # type: ignore[no-untyped-def]
    """Rows begin .. end - 1 of all frames; h and c are the state, before and after."""
    inputs, width = x.shape[2], h.shape[1]
    wide, sums = room(BLOCK, weight)
    for start in range(begin, end, BLOCK):
        count = min(BLOCK, end - start)
        for t in range(x.shape[0]):
            for r in range(count):
                put_inputs(wide[r], 0, x[t, start + r])
                put_inputs(wide[r], inputs, h[start + r])
            product(wide[:count], weight, bias, sums)
            for r in range(count):
                gates = sums[r]
                _arguments(gates, multiplier, shift)
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
