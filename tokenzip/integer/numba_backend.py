"""The integer operations on CPUs, compiled by numba; what they mean stands in __init__.py."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import compiled, inner
from ..coding.decoder import advance, all_exhausted, give_up, open_lanes, peek
from ..coding.tables import cumulative, frequencies_from_scores, steps_from_scores, symbol_at
from . import (
    CELL_LIMIT,
    GATE_LIMIT,
    LARGEST,
    ONE,
    SCORE_LIMIT,
)
from .gemm import ROWS, pack, product, put_inputs, room
from .head import Head, LaneRows
from .layers import Layer, Places

#: Multiply-accumulates below which a piece of work is not worth another thread.
_WORTH_A_THREAD = 2_000_000
#: Rows of sums that are kept before they are used: a multiple of the tallest tile.
_BLOCK = 2 * ROWS

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]


class LayerArrays(NamedTuple):
    """A layer as compiled functions take it; weight and bias are packed (gemm.py)."""

    weight: npt.NDArray[np.integer[Any]]
    bias: Int32
    multiplier: npt.NDArray[np.int64]
    shift: Any


class HeadArrays(NamedTuple):
    """A head (head.py) as compiled functions take it; layers have an axis of planes in front."""

    table: Int8
    sites: Int32
    starts: npt.NDArray[np.int64]
    back: Int32
    site: Int32
    back_a: Int32
    site_a: Int32
    back_b: Int32
    site_b: Int32
    back_candidates: Int32
    site_candidates: Int32
    hidden: LayerArrays
    output: LayerArrays


def _stacked(layers: list[LayerArrays]) -> LayerArrays:
    """Layers of one shape as one, with an axis more in front."""
    return LayerArrays(*(np.stack(parts) for parts in zip(*layers, strict=True)))


class Operations:
    """The operations on numpy arrays, by up to `threads` threads."""

    name = "numba"

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def running(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    # Arrays in and out

    def layer(self, layer: Layer) -> LayerArrays:
        return LayerArrays(
            *pack(layer.weight, layer.bias),
            layer.multiplier.astype(np.int64),
            np.int64(layer.shift),
        )

    def places(self, places: Places) -> Places:
        return places

    def lane_rows(self, rows: LaneRows) -> LaneRows:
        return rows

    def head(self, head: Head) -> HeadArrays:
        hidden, output = (
            _stacked([self.layer(layer) for layer in layers])
            for layers in (head.hidden, head.output)
        )
        a, b = head.pairs
        return HeadArrays(
            *(head.table, head.sites, head.starts, head.around.back, head.around.site),
            *(a.back, a.site, b.back, b.site, head.candidates.back, head.candidates.site),
            *(hidden, output),
        )

    def array(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array

    def numpy(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array

    def full(self, shape: tuple[int, ...], value: int, dtype: str) -> npt.NDArray[Any]:
        return np.full(shape, value, dtype)

    def concatenate(self, parts: list[npt.NDArray[Any]], axis: int) -> npt.NDArray[Any]:
        return np.concatenate(parts, axis)

    def stack(self, parts: list[npt.NDArray[Any]], axis: int) -> npt.NDArray[Any]:
        return np.stack(parts, axis)

    def contiguous(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(array)

    # What networks are made of

    def embed(self, table: Int8, symbols: Int32) -> Int8:
        out = np.empty((*symbols.shape[:-1], table.shape[0] * table.shape[2]), np.int8)
        _embed(table, symbols.reshape(-1, symbols.shape[-1]), out.reshape(-1, out.shape[-1]))
        return out

    def windows(
        self, values: npt.NDArray[Any], places: Places, first: int, frames: int
    ) -> npt.NDArray[Any]:
        count, sites = places.site.shape
        shape = (values.shape[0], frames, sites, count * values.shape[3])
        out = np.empty(shape, values.dtype)
        _windows(values, places.back, places.site, first, out)
        return out

    def matches(
        self, symbols: Int32, a: Places, b: Places, first: int, frames: int, none: int
    ) -> Int8:
        count, sites = a.site.shape
        out = np.empty((symbols.shape[0], frames, sites, count * symbols.shape[3]), np.int8)
        _matches(symbols, a.back, a.site, b.back, b.site, first, none, out)
        return out

    def inputs(
        self,
        embedded: Int8,
        symbols: Int32,
        places: Places,
        a: Places,
        b: Places,
        first: int,
        frames: int,
        none: int,
        known: int,
    ) -> Int8:
        clips, _, _, planes = symbols.shape
        width = places.back.size * embedded.shape[3] + a.back.size * planes
        out = np.empty((clips, frames, places.site.shape[1], width), np.int8)
        _inputs(
            *(embedded, symbols, places.back, places.site, a.back, a.site, b.back, b.site),
            *(first, none, known, out),
        )
        return out

    def site_inputs(
        self,
        embedded: Int8,
        symbols: Int32,
        window: Places,
        position: Int8,
        a: Places,
        b: Places,
        first: int,
        frames: int,
        none: int,
    ) -> Int8:
        clips, planes = symbols.shape[0], symbols.shape[3]
        sites, width = position.shape
        width += window.back.size * embedded.shape[3] + a.back.size * planes
        out = np.empty((clips, frames, sites, width), np.int8)
        _site_inputs(
            *(embedded, symbols, window.back, window.site, position),
            *(a.back, a.site, b.back, b.site, first, none, out),
        )
        return out

    def put(
        self,
        symbols: Int32,
        embedded: Int8,
        table: Int8,
        found: Int32,
        sites: npt.NDArray[np.int64],
        plane: int,
        frame: int,
    ) -> None:
        put(symbols, embedded, table, found, sites, plane, frame)

    def linear(self, x: Int8, layer: LayerArrays) -> Int32:
        rows = _rows(x)
        out = np.empty((len(rows), len(layer.multiplier)), np.int32)
        self._split(
            lambda s: _linear(rows[s], layer.weight, layer.bias, out[s]),
            len(rows),
            layer.weight.size,
        )
        return out.reshape(*x.shape[:-1], len(layer.multiplier))

    def dense(
        self,
        x: Int8,
        layer: LayerArrays,
        low: int,
        add: Int32 | None = None,
    ) -> Int8:
        rows, outputs = _rows(x), len(layer.multiplier)
        out = np.empty((len(rows), outputs), np.int8)
        # Without it an array of no rows is handed over, so that one version is compiled.
        adds = np.empty((0, outputs), np.int32) if add is None else add.reshape(-1, outputs)
        self._split(
            lambda s: _dense(
                *(rows[s], layer.weight, layer.bias, layer.multiplier, layer.shift),
                *(low, adds[s], out[s]),
            ),
            len(rows),
            layer.weight.size,
        )
        return out.reshape(*x.shape[:-1], len(layer.multiplier))

    def gated(self, x: Int8, layer: LayerArrays, tables: tuple[Int32, Int32]) -> Int8:
        rows, width = _rows(x), len(layer.multiplier) // 2
        out = np.empty((len(rows), width), np.int8)
        self._split(
            lambda s: _gated(
                *(rows[s], layer.weight, layer.bias, layer.multiplier, layer.shift),
                *(tables[0], tables[1], out[s]),
            ),
            len(rows),
            layer.weight.size,
        )
        return out.reshape(*x.shape[:-1], width)

    def lstm(
        self, x: Int8, layer: LayerArrays, state: tuple[Int8, Int32], tables: tuple[Int32, Int32]
    ) -> tuple[Int8, tuple[Int8, Int32]]:
        frames, rows, _ = x.shape
        h, c = state[0].copy(), state[1].copy()
        out = np.empty((frames, rows, h.shape[1]), np.int8)

        def work(s: slice) -> None:
            _lstm(
                *(x, layer.weight, layer.bias, layer.multiplier, layer.shift),
                *(tables[0], tables[1], h, c, out, s.start, s.stop),
            )

        self._split(work, rows, layer.weight.size * frames)
        return out, (h, c)

    def intervals(
        self, z: Int8, layer: LayerArrays, candidates: Int32, targets: Int32
    ) -> tuple[Int32, Int32]:
        cum, freq = np.empty(len(z), np.int32), np.empty(len(z), np.int32)
        self._split(
            lambda s: _intervals(
                *(z[s], layer.weight, layer.bias, layer.multiplier, layer.shift),
                *(candidates[s], targets[s], cum[s], freq[s]),
            ),
            len(z),
            layer.weight.size,
        )
        return cum, freq

    def scores(self, z: Int8, layer: LayerArrays, candidates: Int32) -> Int32:
        """The scores themselves, int32 (R, symbols): for tests and reports."""
        symbols = len(layer.multiplier) - candidates.shape[1]
        out = np.empty((len(z), symbols), np.int32)
        _score_rows(z, layer.weight, layer.bias, layer.multiplier, layer.shift, candidates, out)
        return out

    def priors(self, z: Int8, layer: LayerArrays, candidates: Int32) -> npt.NDArray[np.int16]:
        symbols = len(layer.multiplier) - candidates.shape[1]
        out = np.empty((len(z), symbols), np.int16)
        self._split(
            lambda s: prior_rows(
                *(z[s], layer.weight, layer.bias, layer.multiplier, layer.shift),
                *(candidates[s], out[s]),
            ),
            len(z),
            layer.weight.size,
        )
        return out

    def open_lanes(self, words: npt.NDArray[np.uint32], bounds: npt.NDArray[np.int64]) -> Any:
        """Lanes side by side: lane i is words[bounds[i]:bounds[i + 1]]."""
        return words, open_lanes(words, bounds)

    def lanes_exhausted(self, lanes: Any) -> bool:
        """Whether all lanes ended with their last word, as an encoder's do."""
        _, state = lanes
        return all_exhausted(state)

    def decode(
        self,
        z: Int8,
        layer: LayerArrays,
        candidates: Int32,
        lanes: Any,
        rows: npt.NDArray[np.int32],
    ) -> Int32:
        words, state = lanes
        out = np.empty(len(z), np.int32)
        _decode(
            *(z, layer.weight, layer.bias, layer.multiplier, layer.shift),
            *(candidates, words, state, rows.reshape(-1), out),
        )
        return out

    def decode_head(
        self,
        head: HeadArrays,
        symbols: Int32,
        embedded: Int8,
        bases: list[Int32],
        lanes: Any,
        rows: LaneRows,
    ) -> None:
        words, state = lanes
        base = bases[0] if len(bases) == 1 else np.concatenate(bases, axis=1)

        def work(s: slice) -> None:
            _decode_head(head, symbols[s], embedded[s], base[s], words, state, rows.lanes[s])

        of_site = head.hidden.weight.size + head.output.weight.size
        self._split(work, len(symbols), len(head.sites) * of_site)

    def repeat(
        self,
        step: Callable[[tuple[Any, ...]], tuple[tuple[Any, ...], Any]],
        carried: tuple[Any, ...],
        times: int,
    ) -> tuple[tuple[Any, ...], list[Any]]:
        """What is carried after so many steps, and the output of each."""
        outputs = []
        for _ in range(times):
            carried, output = step(carried)
            outputs.append(output)
        return carried, outputs

    def _split(self, work: Callable[[slice], None], rows: int, cost: int) -> None:
        """work on all rows, by threads where it pays."""
        parts = min(self._threads, rows, rows * cost // _WORTH_A_THREAD)
        if self._pool is None or parts <= 1:
            work(slice(0, rows))
            return
        bounds = [rows * part // parts for part in range(parts + 1)]
        slices = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        for _ in self._pool.map(work, slices):
            pass


def _rows(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """x as a matrix; not by -1, which does not work for rows of no entries."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@compiled
def _embed(table, symbols, out):  # type: ignore[no-untyped-def]
    planes, _, width = table.shape
    for i in range(symbols.shape[0]):
        for plane in range(planes):
            row = table[plane, symbols[i, plane]]
            for e in range(width):
                out[i, plane * width + e] = row[e]


@compiled
def _windows(values, back, site, first, out):  # type: ignore[no-untyped-def]
    width = np.uint64(values.shape[3])
    for n in range(out.shape[0]):
        for t in range(out.shape[1]):
            for s in range(out.shape[2]):
                target, start = out[n, t, s], np.uint64(0)
                for p in range(back.size):
                    row = values[n, first + t - back[p], site[p, s]]
                    for c in range(width):
                        target[start + c] = row[c]
                    start += width


@compiled
def _matches(symbols, back_a, site_a, back_b, site_b, first, none, out):  # type: ignore[no-untyped-def]
    planes = symbols.shape[3]
    for n in range(out.shape[0]):
        for t in range(out.shape[1]):
            target = out[n, t]
            # All sites of a place in turn, which takes a quarter of the time.
            for p in range(back_a.size):
                frame_a = symbols[n, first + t - back_a[p]]
                frame_b = symbols[n, first + t - back_b[p]]
                sites_a, sites_b = site_a[p], site_b[p]
                for plane in range(planes):
                    column = p * planes + plane
                    for s in range(sites_a.size):
                        a = frame_a[np.uint32(sites_a[s]), plane]
                        same = (a == frame_b[np.uint32(sites_b[s]), plane]) & (a != none)
                        target[s, column] = ONE if same else 0


@compiled
def _inputs(  # type: ignore[no-untyped-def]
    embedded, symbols, back, site, back_a, site_a, back_b, site_b, first, none, known, out
):
    width, planes = embedded.shape[3], symbols.shape[3]
    start = back.size * width
    windows, equal = out[:, :, :, :start], out[:, :, :, start:]
    _windows(embedded, back, site, first, windows)
    _matches(symbols, back_a, site_a, back_b, site_b, first, none, equal)
    if known < planes:
        if back.size:
            windows[:, :, :, start - (planes - known) * (width // planes) :] = 0
        if back_a.size:
            equal[:, :, :, (back_a.size - 1) * planes + known :] = 0


@compiled
def _site_inputs(  # type: ignore[no-untyped-def]
    embedded, symbols, back, site, position, back_a, site_a, back_b, site_b, first, none, out
):
    start = back.size * embedded.shape[3]
    stop = start + position.shape[1]
    _windows(embedded, back, site, first, out[:, :, :, :start])
    for n in range(out.shape[0]):
        for t in range(out.shape[1]):
            out[n, t, :, start:stop] = position
    _matches(symbols, back_a, site_a, back_b, site_b, first, none, out[:, :, :, stop:])


@compiled
def put(symbols, embedded, table, found, sites, plane, frame):  # type: ignore[no-untyped-def]
    width = table.shape[2]
    for n in range(symbols.shape[0]):
        for i in range(sites.size):
            symbol = found[n * sites.size + i]
            symbols[n, frame, sites[i], plane] = symbol
            for e in range(width):
                embedded[n, frame, sites[i], plane * width + e] = table[plane, symbol, e]


@inner
def _products(x, weight, bias, wide, out):  # type: ignore[no-untyped-def]
    """out[r, m] = x[r] . weight[m] + bias[m] for a few rows; wide: room for them."""
    for r in range(x.shape[0]):
        put_inputs(wide[r], 0, x[r])
    product(wide[: x.shape[0]], weight, bias, out)


@compiled
def _linear(x, weight, bias, out):  # type: ignore[no-untyped-def]
    wide, sums = room(_BLOCK, weight)
    for start in range(0, x.shape[0], _BLOCK):
        stop = min(start + _BLOCK, x.shape[0])
        _products(x[start:stop], weight, bias, wide, sums)
        # Not as slices, which numba copies entry by entry.
        for r in range(stop - start):
            row, target = sums[r], out[start + r]
            for m in range(target.size):
                target[m] = row[m]


@inner
def _scaled(value, multiplier, shift):  # type: ignore[no-untyped-def]
    half = np.int64(1) << (shift - np.int64(1))
    return (np.int64(value) * multiplier + half) >> shift


@compiled
def _dense(x, weight, bias, multiplier, shift, low, add, out):  # type: ignore[no-untyped-def]
    wide, sums = room(_BLOCK, weight)
    _dense_rows(x, weight, bias, multiplier, shift, low, add, wide, sums, out)


@compiled
def _dense_rows(x, weight, bias, multiplier, shift, low, add, wide, sums, out):  # type: ignore[no-untyped-def]
    for start in range(0, x.shape[0], _BLOCK):
        stop = min(start + _BLOCK, x.shape[0])
        _products(x[start:stop], weight, bias, wide, sums)
        for r in range(stop - start):
            row, target = sums[r], out[start + r]
            if add.shape[0]:
                extra = add[start + r]
                for m in range(target.size):
                    row[m] += extra[m]
            for m in range(target.size):
                y = _scaled(row[m], multiplier[m], shift)
                target[m] = min(max(y, np.int64(low)), np.int64(LARGEST))


@inner
def _arguments(sums, multiplier, shift):  # type: ignore[no-untyped-def]
    """A row's sums become places in the tables of sigmoid and tanh."""
    for m in range(multiplier.size):
        y = _scaled(sums[m], multiplier[m], shift)
        y = min(max(y, np.int64(-GATE_LIMIT)), np.int64(GATE_LIMIT))
        sums[m] = np.int32(y) + np.int32(GATE_LIMIT)


@inner
def _gate(opening, value):  # type: ignore[no-untyped-def]
    """The activation of a gate and what passes it, both Q15."""
    return min((opening * value + np.int32(1 << 22)) >> 23, np.int32(LARGEST))


@compiled
def _gated(x, weight, bias, multiplier, shift, sigmoid, tanh, out):  # type: ignore[no-untyped-def]
    width = out.shape[1]
    wide, sums = room(_BLOCK, weight)
    for start in range(0, x.shape[0], _BLOCK):
        stop = min(start + _BLOCK, x.shape[0])
        _products(x[start:stop], weight, bias, wide, sums)
        for r in range(stop - start):
            gates, target = sums[r], out[start + r]
            _arguments(gates, multiplier, shift)
            for d in range(width):
                target[d] = _gate(sigmoid[np.uint32(gates[d])], tanh[np.uint32(gates[width + d])])


@compiled
def _lstm(x, weight, bias, multiplier, shift, sigmoid, tanh, h, c, out, begin, end):  # type: ignore[no-untyped-def]
    """Rows begin .. end - 1 of all frames; h and c are the state, before and after."""
    inputs, width = x.shape[2], h.shape[1]
    wide, sums = room(_BLOCK, weight)
    for start in range(begin, end, _BLOCK):
        count = min(_BLOCK, end - start)
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


@inner
def _table(sums, multiplier, shift, candidates, scores, table):  # type: ignore[no-untyped-def]
    """The frequencies of one row: what encoder and decoder have in common."""
    _scores(sums, multiplier, shift, candidates, scores)
    frequencies_from_scores(scores, table)


@inner
def _scores(sums, multiplier, shift, candidates, scores):  # type: ignore[no-untyped-def]
    """The scores of one row from its sums: clipped, then bonuses to their candidates."""
    symbols = scores.size
    for s in range(symbols):
        y = _scaled(sums[s], multiplier[s], shift)
        scores[s] = min(max(y, np.int64(-SCORE_LIMIT)), np.int64(SCORE_LIMIT))
    for i in range(candidates.size):
        if candidates[i] < symbols:
            y = _scaled(sums[symbols + i], multiplier[symbols + i], shift)
            y = min(max(y, np.int64(-SCORE_LIMIT)), np.int64(SCORE_LIMIT))
            scores[candidates[i]] += np.int32(y)


@compiled
def _intervals(z, weight, bias, multiplier, shift, candidates, targets, cum, freq):  # type: ignore[no-untyped-def]
    symbols = multiplier.size - candidates.shape[1]
    wide, sums = room(_BLOCK, weight)
    scores = np.empty(symbols, np.int32)
    table = np.empty(symbols, np.int32)
    for start in range(0, z.shape[0], _BLOCK):
        stop = min(start + _BLOCK, z.shape[0])
        _products(z[start:stop], weight, bias, wide, sums)
        for r in range(start, stop):
            _table(sums[r - start], multiplier, shift, candidates[r], scores, table)
            cum[r] = cumulative(table, np.int64(targets[r]))
            freq[r] = table[targets[r]]


@compiled
def _score_rows(z, weight, bias, multiplier, shift, candidates, out):  # type: ignore[no-untyped-def]
    wide, sums = room(1, weight)
    for r in range(z.shape[0]):
        _products(z[r : r + 1], weight, bias, wide, sums)
        _scores(sums[0], multiplier, shift, candidates[r], out[r])


@compiled
def prior_rows(z, weight, bias, multiplier, shift, candidates, out):  # type: ignore[no-untyped-def]
    """out int16 (rows, symbols): steps below certainty of every symbol."""
    wide, sums = room(_BLOCK, weight)
    scores = np.empty(out.shape[1], np.int32)
    for start in range(0, z.shape[0], _BLOCK):
        stop = min(start + _BLOCK, z.shape[0])
        _products(z[start:stop], weight, bias, wide, sums)
        for r in range(start, stop):
            _scores(sums[r - start], multiplier, shift, candidates[r], scores)
            steps_from_scores(scores, out[r])


@compiled
def _decode(z, weight, bias, multiplier, shift, candidates, words, state, lanes, out):  # type: ignore[no-untyped-def]
    wide, sums = room(_BLOCK, weight)
    scores = np.empty(multiplier.size - candidates.shape[1], np.int32)
    _decode_rows(
        z, weight, bias, multiplier, shift, candidates, words, state, lanes, wide, sums, scores,
        np.empty_like(scores), out,
    )  # fmt: skip


@compiled
def _decode_rows(  # type: ignore[no-untyped-def]
    z, weight, bias, multiplier, shift, candidates, words, state, lanes, wide, sums, scores,
    table, out,
):  # fmt: skip
    for start in range(0, z.shape[0], _BLOCK):
        stop = min(start + _BLOCK, z.shape[0])
        _products(z[start:stop], weight, bias, wide, sums)
        for r in range(start, stop):
            _table(sums[r - start], multiplier, shift, candidates[r], scores, table)
            quantile = peek(state, lanes[r])
            if quantile < 0:
                # Words that no encoder wrote: any symbol will do.
                give_up(state, lanes[r])
                out[r] = 0
                continue
            symbol, low = symbol_at(table, quantile)
            advance(state, lanes[r], words, np.uint64(low), np.uint64(table[symbol]))
            out[r] = symbol


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
    wide, sums = room(_BLOCK, head.hidden.weight[0])
    return HeadRoom(
        np.empty(most * inputs, np.int8),
        np.empty((most, hidden), np.int32),
        np.empty((most, hidden), np.int8),
        np.empty(most * head.back_candidates.size, np.int32),
        wide,
        sums,
    )


@inner
def head_inputs(head, embedded, planes):  # type: ignore[no-untyped-def]
    """Inputs of the hidden layer besides the body's."""
    return head.back.size * embedded.shape[3] + head.back_a.size * planes


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
    _inputs(
        embedded, symbols, head.back, head.site[:, start:stop], head.back_a,
        head.site_a[:, start:stop], head.back_b, head.site_b[:, start:stop], frame,
        head.table.shape[1] - 1, known, x,
    )  # fmt: skip
    add, z = space.add[:rows], space.z[:rows]
    for n in range(clips):
        for i in range(count):
            target, given = add[n * count + i], base[n, plane, head.sites[start + i]]
            for m in range(target.size):
                target[m] = given[m]
    layer = head.hidden
    _dense_rows(
        x.reshape(rows, inputs), layer.weight[plane], layer.bias[plane], layer.multiplier[plane],
        layer.shift[plane], 0, add, space.wide, space.sums, z,
    )  # fmt: skip
    places = head.back_candidates.size
    candidates = space.candidates[: rows * places].reshape(clips, 1, count, places)
    of_plane = symbols[:, :, :, plane : plane + 1]
    around = head.site_candidates[:, start:stop]
    _windows(of_plane, head.back_candidates, around, frame, candidates)
    return z, candidates.reshape(rows, places)


@compiled
def _decode_head(head, symbols, embedded, base, words, state, lanes):  # type: ignore[no-untyped-def]
    """head.decode_by_steps, for all clips here: their rows share each product."""
    clips, planes, frame = symbols.shape[0], base.shape[1], symbols.shape[1] - 1
    output = head.output
    space = head_room(head, clips, head_inputs(head, embedded, planes))
    wide, sums = room(_BLOCK, output.weight[0])
    scores = np.empty(output.multiplier.shape[1] - head.back_candidates.size, np.int32)
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
            _decode_rows(
                z, output.weight[plane], output.bias[plane], output.multiplier[plane],
                output.shift[plane], candidates, words, state, of_lanes, wide, sums, scores, freq,
                found,
            )  # fmt: skip
            put(symbols, embedded, head.table, found, head.sites[start:stop], plane, frame)
