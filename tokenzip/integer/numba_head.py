"""The head of a network (head.py), decoded in one loop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import compiled, inner
from .gemm import room
from .head import Head
from .numba_gather import gather_candidates, gather_inputs, put
from .numba_layers import BLOCK, LayerArrays, dense_rows, layer_arrays
from .numba_scores import decode_rows

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]


class HeadArrays(NamedTuple):
    """A head (head.py) as compiled functions take it; layers have an axis of planes in front."""

    table: Int8
    sites: Int32
    starts: npt.NDArray[np.int64]
    around: npt.NDArray[np.int64]
    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    candidates: npt.NDArray[np.int64]
    hidden: LayerArrays
    output: LayerArrays


def head_arrays(head: Head) -> HeadArrays:
    """A head in arrays."""
    hidden, output = (
        stacked([layer_arrays(layer) for layer in layers]) for layers in (head.hidden, head.output)
    )
    seen = (head.around, *head.pairs, head.candidates)
    around, a, b, candidates = (places.rows() for places in seen)
    return HeadArrays(head.table, head.sites, head.starts, around, a, b, candidates, hidden, output)


def stacked(layers: list[LayerArrays]) -> LayerArrays:
    """Layers of one shape as one, with an axis more in front."""
    return LayerArrays(*(np.stack(parts) for parts in zip(*layers, strict=True)))


class HeadRoom(NamedTuple):
    """Room for the rows of one step of a head, kept from step to step."""

    x: Int8
    add: Int32
    z: Int8
    candidates: Int32
    wide: npt.NDArray[np.integer[Any]]
    sums: Int32


@inner
def head_room(head, clips, inputs):  # type: ignore[no-untyped-def]
    """Room for the step of most sites, of so many clips; inputs: of the hidden layer."""
    most = 0
    for step in range(head.starts.size - 1):
        most = max(most, clips * (head.starts[step + 1] - head.starts[step]))
    hidden = head.hidden.multiplier.shape[1]
    wide, sums = room(BLOCK, head.hidden.weight[0])
    return HeadRoom(
        np.empty(most * inputs, np.int8),
        np.empty((most, hidden), np.int32),
        np.empty((most, hidden), np.int8),
        np.empty(most * head.candidates.shape[1], np.int32),
        wide,
        sums,
    )


@inner
def head_inputs(head, embedded, planes):  # type: ignore[no-untyped-def]
    """Inputs of the hidden layer besides the body's."""
    return head.around.shape[1] * embedded.shape[3] + head.a.shape[1] * planes


@inner
def step_rows(head, symbols, embedded, base, step, plane, space):  # type: ignore[no-untyped-def]
    """What the output layer of a plane sees at a step's sites of all clips.

    symbols int32 (N, F, S + 1, P), embedded int8 and base int32 (N, P, S, hidden), of the last
    frame -> z int8 (rows, hidden) and candidates int32 (rows, C), in `space`.
    """
    clips, planes, frame = symbols.shape[0], base.shape[1], symbols.shape[1] - 1
    start, stop = head.starts[step], head.starts[step + 1]
    count = stop - start
    rows = clips * count
    inputs = head_inputs(head, embedded, planes)
    x = space.x[: rows * inputs].reshape(clips, 1, count, inputs)
    # Of the site itself, the planes before this one.
    known = plane if planes > 1 else 1
    gather_inputs(
        embedded, symbols, head.around[start:stop], head.a[start:stop], head.b[start:stop],
        frame, head.table.shape[1] - 1, known, x,
    )  # fmt: skip
    add, z = space.add[:rows], space.z[:rows]
    for n in range(clips):
        for i in range(count):
            target, given = add[n * count + i], base[n, plane, head.sites[start + i]]
            for m in range(target.size):
                target[m] = given[m]
    layer = head.hidden
    dense_rows(
        x.reshape(rows, inputs), layer.weight[plane], layer.bias[plane], layer.multiplier[plane],
        layer.shift[plane], 0, add, space.wide, space.sums, z,
    )  # fmt: skip
    places = head.candidates.shape[1]
    candidates = space.candidates[: rows * places].reshape(rows, places)
    gather_candidates(symbols, head.candidates[start:stop], plane, candidates)
    return z, candidates


@compiled
def decode_steps(head, symbols, embedded, base, words, state, lanes):  # type: ignore[no-untyped-def]
    """head.decode_by_steps, for all clips here: their rows share each product."""
    clips, planes, frame = symbols.shape[0], base.shape[1], symbols.shape[1] - 1
    output = head.output
    space = head_room(head, clips, head_inputs(head, embedded, planes))
    wide, sums = room(BLOCK, output.weight[0])
    scores = np.empty(output.multiplier.shape[1] - head.candidates.shape[1], np.int32)
    freq = np.empty_like(scores)
    all_found = np.empty(len(space.z), np.int32)
    of_lanes = np.empty(len(space.z), np.int32)
    for step in range(head.starts.size - 1):
        start, stop = head.starts[step], head.starts[step + 1]
        count = stop - start
        found = all_found[: clips * count]
        for n in range(clips):
            for i in range(count):
                of_lanes[n * count + i] = lanes[n, start + i]
        for plane in range(planes):
            z, candidates = step_rows(head, symbols, embedded, base, step, plane, space)
            decode_rows(
                z, output.weight[plane], output.bias[plane], output.multiplier[plane],
                output.shift[plane], candidates, words, state, of_lanes, wide, sums, scores, freq,
                found,
            )  # fmt: skip
            put(symbols, embedded, head.table, found, head.sites[start:stop], plane, frame)
