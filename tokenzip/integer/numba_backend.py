"""The integer operations on CPUs, compiled by numba; what they mean stands in __init__.py."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from ..coding.decoder import all_exhausted, open_lanes
from .head import Head, LaneRows
from .layers import Layer, Places
from .numba_bodies import body_arrays
from .numba_frames import FrameArrays, decode_frames, frame_room
from .numba_gather import (
    embed_rows,
    gather_inputs,
    gather_matches,
    gather_site_inputs,
    gather_windows,
    put,
)
from .numba_head import HeadArrays, decode_steps, head_arrays, head_room
from .numba_layers import (
    LayerArrays,
    dense_rows,
    gated_rows,
    layer_arrays,
    linear_rows,
    lstm_rows,
    room_for,
    stacked,
)
from .numba_scores import decode_rows, interval_rows, prior_rows, score_rows, table_room

#: Multiply-accumulates below which a piece of work is not worth another thread.
_WORTH_A_THREAD = 2_000_000

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
#: Places of this backend (Places.rows).
Rows = npt.NDArray[np.int64]


class Operations:
    """The operations on numpy arrays, by up to `threads` threads."""

    name = "numba"
    concurrent = True

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def running(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    # Arrays in and out

    def layer(self, layer: Layer) -> LayerArrays:
        return layer_arrays(layer)

    def places(self, places: Places) -> Rows:
        return places.rows()

    def lane_rows(self, rows: LaneRows) -> LaneRows:
        return rows

    def head(self, head: Head) -> HeadArrays:
        return head_arrays(head)

    def with_hidden(self, head: HeadArrays, hidden: list[LayerArrays]) -> HeadArrays:
        return head._replace(hidden=stacked(hidden))

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
        embed_rows(table, symbols.reshape(-1, symbols.shape[-1]), out.reshape(-1, out.shape[-1]))
        return out

    def windows(
        self, values: npt.NDArray[Any], places: Rows, first: int, frames: int
    ) -> npt.NDArray[Any]:
        n, count = places.shape
        out = np.empty((values.shape[0], frames, n, count * values.shape[3]), values.dtype)
        gather_windows(values, places, first, out, 0)
        return out

    def matches(self, symbols: Int32, a: Rows, b: Rows, first: int, frames: int, none: int) -> Int8:
        n, count = a.shape
        planes = symbols.shape[3]
        out = np.empty((symbols.shape[0], frames, n, count * planes), np.int8)
        gather_matches(symbols, a * planes, b * planes, first, none, out, 0)
        return out

    def inputs(
        self,
        embedded: Int8,
        symbols: Int32,
        places: Rows,
        a: Rows,
        b: Rows,
        first: int,
        frames: int,
        none: int,
        known: int,
    ) -> Int8:
        clips, _, _, planes = symbols.shape
        width = places.shape[1] * embedded.shape[3] + a.shape[1] * planes
        out = np.empty((clips, frames, len(places), width), np.int8)
        pairs = a * planes, b * planes
        gather_inputs(embedded, symbols, places, *pairs, first, none, known, out)
        return out

    def site_inputs(
        self,
        embedded: Int8,
        symbols: Int32,
        window: Rows,
        position: Int8,
        a: Rows,
        b: Rows,
        first: int,
        frames: int,
        none: int,
    ) -> Int8:
        clips, planes = symbols.shape[0], symbols.shape[3]
        sites, width = position.shape
        width += window.shape[1] * embedded.shape[3] + a.shape[1] * planes
        out = np.empty((clips, frames, sites, width), np.int8)
        pairs = a * planes, b * planes
        gather_site_inputs(embedded, symbols, window, position, *pairs, first, none, out)
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

    def linear(self, x: Int8, layer: LayerArrays, add: Int32 | None = None) -> Int32:
        rows, outputs = _rows(x), len(layer.multiplier)
        out = np.empty((len(rows), outputs), np.int32)
        # As in dense.
        adds = np.empty((0, outputs), np.int32) if add is None else add
        self._split(
            lambda s: linear_rows(rows[s], layer, adds, s.start, room_for(layer), out[s]),
            len(rows),
            layer.weight.size,
        )
        return out.reshape(*x.shape[:-1], outputs)

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
            lambda s: dense_rows(rows[s], layer, low, adds[s], room_for(layer), out[s]),
            len(rows),
            layer.weight.size,
        )
        return out.reshape(*x.shape[:-1], len(layer.multiplier))

    def gated(self, x: Int8, layer: LayerArrays, tables: tuple[Int32, Int32]) -> Int8:
        rows, width = _rows(x), len(layer.multiplier) // 2
        out = np.empty((len(rows), width), np.int8)
        self._split(
            lambda s: gated_rows(rows[s], layer, *tables, room_for(layer), out[s]),
            len(rows),
            layer.weight.size,
        )
        return out.reshape(*x.shape[:-1], width)

    def lstm(
        self, x: Int8, layer: LayerArrays, state: tuple[Int8, Int32], tables: tuple[Int32, Int32]
    ) -> tuple[Int8, tuple[Int8, Int32]]:
        frames, rows, _ = x.shape
        h, c = state
        out = np.empty((frames, rows, h.shape[1]), np.int8)

        def work(s: slice) -> None:
            lstm_rows(x, layer, *tables, h, c, room_for(layer), out, s.start, s.stop)

        self._split(work, rows, layer.weight.size * frames)
        return out, (h, c)

    def intervals(
        self, z: Int8, layer: LayerArrays, candidates: Int32, targets: Int32
    ) -> tuple[Int32, Int32]:
        cum, freq = np.empty(len(z), np.int32), np.empty(len(z), np.int32)
        symbols = len(layer.multiplier) - candidates.shape[1]

        def work(s: slice) -> None:
            room = table_room(layer, symbols)
            interval_rows(z[s], layer, candidates[s], targets[s], room, cum[s], freq[s])

        self._split(work, len(z), layer.weight.size)
        return cum, freq

    def scores(self, z: Int8, layer: LayerArrays, candidates: Int32) -> Int32:
        """The scores themselves, int32 (R, symbols): for tests and reports."""
        symbols = len(layer.multiplier) - candidates.shape[1]
        out = np.empty((len(z), symbols), np.int32)
        score_rows(z, layer, candidates, room_for(layer), out)
        return out

    def priors(self, z: Int8, layer: LayerArrays, candidates: Int32) -> npt.NDArray[np.int16]:
        symbols = len(layer.multiplier) - candidates.shape[1]
        out = np.empty((len(z), symbols), np.int16)
        self._split(
            lambda s: prior_rows(z[s], layer, candidates[s], table_room(layer, symbols), out[s]),
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
        room = table_room(layer, len(layer.multiplier) - candidates.shape[1])
        decode_rows(z, layer, candidates, words, state, rows.reshape(-1), room, out)
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

        def work(s: slice) -> None:
            base, room = np.stack([base[s, 0] for base in bases]), head_room(head, s.stop - s.start)
            decode_steps(head, symbols[s], embedded[s], base, words, state, rows.lanes[s], room)

        of_site = head.hidden.weight.size + head.output.weight.size
        self._split(work, len(symbols), len(head.sites) * of_site)

    def frame(
        self,
        window: Rows,
        past: tuple[Rows, Rows],
        position: Int8,
        body: dict[str, Any],
        base: list[LayerArrays],
        site_bias: list[Int32],
        head: HeadArrays,
    ) -> FrameArrays:
        """What `decode_frames` takes; body: its layers, places and tables by name."""
        a, b = (rows * len(base) for rows in past)
        return FrameArrays(
            *(window, position, a, b, body_arrays(body)),
            *(stacked(base), np.stack(site_bias), head),
        )

    def with_base(
        self, frame: FrameArrays, base: list[LayerArrays], head: HeadArrays
    ) -> FrameArrays:
        """The frame with other shares of the body, and another head."""
        return frame._replace(base=stacked(base), head=head)

    def decode_frames(
        self,
        frame: FrameArrays,
        carried: tuple[Any, ...],
        frames: int,
        lanes: Any,
        rows: LaneRows,
    ) -> Int32:
        """The symbols of so many frames, int32 (N, frames, S, P).

        carried: the last symbols, their embeddings, and the body's state, which go on with them.
        """
        words, lane_state = lanes
        symbols, embedded, *state = carried
        clips, _, of_frame, planes = symbols.shape
        found = np.empty((clips, frames, of_frame - 1, planes), np.int32)

        def work(s: slice) -> None:
            of_clips = tuple(_of_clips(part, clips, s) for part in state)
            room = frame_room(frame, s.stop - s.start)
            decode_frames(
                *(frame, symbols[s], embedded[s], of_clips),
                *(words, lane_state, rows.lanes[s], room, found[s]),
            )

        of_site = frame.head.hidden.weight.size + frame.head.output.weight.size
        self._split(work, clips, frames * (of_frame - 1) * of_site)
        return found

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


def _of_clips(part: npt.NDArray[Any], clips: int, wanted: slice) -> npt.NDArray[Any]:
    """What a part of so many clips' state holds of some of them."""
    rows = len(part) // clips
    return part[wanted.start * rows : wanted.stop * rows]


def _rows(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """x as a matrix; not by -1, which does not work for rows of no entries."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
