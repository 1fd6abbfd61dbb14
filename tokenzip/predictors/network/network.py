"""A network bound to a backend: symbols in, intervals out, or lanes in, symbols out.

Encoding and decoding call the same operations on the same integers: the encoder for many frames
and all sites at once, the decoder frame by frame and step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...integer.layers import LaneRows, Layer, Places
from ...models import HISTORY, Model
from ...models.features import Place
from ...models.parts import layer
from ...models.steps import neighbour_sites, wavefronts
from .body import State, body

Array = Any


@dataclass(frozen=True, eq=False)
class _View:
    """What the head sees around some sites: all of a frame, or those of a wavefront.

    Attributes:
        sites: their numbers.
        rows: where they stand among the sites in the order of wavefronts.
        places: whose embeddings it sees, the site itself last if that has several planes.
        pairs: whose equalities it sees, likewise.
        candidates: whose symbols get bonuses.
    """

    sites: Array
    rows: slice
    places: Places
    pairs: tuple[Places, Places]
    candidates: Places


class Network:
    """The tables of a model, by a backend's operations."""

    def __init__(self, model: Model, ops: Any) -> None:
        spec = model.spec
        self._ops, self._model, self.geometry = ops, model, spec.geometry
        self.none = spec.geometry.symbols
        self._planes = spec.geometry.planes
        self._embedding = ops.array(model.tensors["embedding"])
        self._width = spec.embedding
        self._position = ops.array(model.tensors["position"])
        self._window = self._places(spec.features.window)
        self._past = self._pairs(spec.features.past)
        self._body = body(model, ops)
        self._heads = [_Head(model, plane, ops) for plane in range(self._planes)]
        self._everywhere = self._view(np.arange(spec.geometry.sites, dtype=np.int32), 0)
        self._order = ops.array(np.concatenate(wavefronts(spec.geometry)).astype(np.int64))
        self._steps: list[_View] | None = None

    # Both ways

    def begin(self, clips: int) -> State:
        """The body's state before the first frame of so many clips."""
        return self._body.begin(clips)

    def first(self, state: State, clips: int) -> State:
        """The state of the first clips alone."""
        return self._body.first(state, clips)

    def no_symbols(self, clips: int, frames: int) -> Array:
        """Frames before the first one: (clips, frames, S + 1, P), no symbol anywhere.

        Site S of a frame stands for all places outside of it.
        """
        shape = (clips, frames, self.geometry.sites + 1, self._planes)
        return self._ops.full(shape, self.none, "int32")

    def _features(
        self, symbols: Array, embedded: Array, frames: int, state: State
    ) -> tuple[Array, State]:
        """The body's output int8 (N, frames, S, state) for the frames after the first HISTORY."""
        ops = self._ops
        window = ops.windows(embedded, self._window, HISTORY, frames)
        shape = (*window.shape[:3], self._width)
        parts = [window, ops.broadcast(self._position, shape)]
        if len(self._past[0].back):
            parts.append(ops.matches(symbols, *self._past, HISTORY, frames, self.none))
        return self._body(ops.concatenate(parts, 3), state)

    def _inputs(
        self, symbols: Array, embedded: Array, frames: int, view: _View, plane: int
    ) -> Array:
        """What the head of a plane sees besides the body: int8 (N, frames, n, symbol inputs)."""
        # Of the site itself, the planes before this one.
        known = plane if self._planes > 1 else 1
        return self._ops.inputs(
            *(embedded, symbols, view.places, *view.pairs),
            *(HISTORY, frames, self.none, known),
        )

    def _candidates(self, symbols: Array, frames: int, view: _View, plane: int) -> Array:
        """The symbols that get bonuses: int32 (rows, candidates)."""
        of_plane = symbols
        if self._planes > 1:
            of_plane = self._ops.contiguous(symbols[..., plane : plane + 1])
        found = self._ops.windows(of_plane, view.candidates, HISTORY, frames)
        # Not by -1, which does not work where there are no candidates.
        return found.reshape(math.prod(found.shape[:3]), found.shape[3])

    # Encoding

    def intervals(self, symbols: Array, state: State) -> tuple[Array, Array, State]:
        """cum and freq, int32 (N, T, S, P), of symbols (N, HISTORY + T, S + 1, P)."""
        ops, view = self._ops, self._everywhere
        frames, sites = symbols.shape[1] - HISTORY, self.geometry.sites
        embedded = ops.embed(self._embedding, symbols)
        features, state = self._features(symbols, embedded, frames, state)
        cums, freqs = [], []
        for plane, head in enumerate(self._heads):
            x = self._inputs(symbols, embedded, frames, view, plane)
            z = head.hidden(x, head.base(features))
            targets = ops.contiguous(symbols[:, HISTORY:, :sites, plane]).reshape(-1)
            candidates = self._candidates(symbols, frames, view, plane)
            cum, freq = ops.intervals(z, head.output, candidates, targets)
            shape = (len(symbols), frames, sites, 1)
            cums.append(cum.reshape(shape))
            freqs.append(freq.reshape(shape))
        return ops.concatenate(cums, 3), ops.concatenate(freqs, 3), state

    # Decoding

    def decode_frame(
        self, symbols: Array, embedded: Array, state: State, lanes: Any, rows: list[LaneRows]
    ) -> State:
        """Fill in the last frame of symbols (N, HISTORY + 1, S + 1, P) and of their embeddings.

        rows: for every wavefront, which lanes its sites (of all clips) are in.
        """
        ops = self._ops
        features, state = self._features(symbols, embedded, 1, state)
        # In the order of wavefronts, so that each one's sites are side by side.
        bases = [ops.contiguous(head.base(features)[:, :, self._order]) for head in self._heads]
        for view, lane_rows in zip(self._wavefronts(), rows, strict=True):
            for plane, head in enumerate(self._heads):
                x = self._inputs(symbols, embedded, 1, view, plane)
                z = head.hidden(x, ops.contiguous(bases[plane][:, :, view.rows]))
                candidates = self._candidates(symbols, 1, view, plane)
                found = ops.decode(z, head.output, candidates, lanes, lane_rows)
                ops.put(symbols, embedded, self._embedding, found, view.sites, plane, HISTORY)
        return state

    def embed(self, symbols: Array) -> Array:
        return self._ops.embed(self._embedding, symbols)

    # Places

    def _wavefronts(self) -> list[_View]:
        if self._steps is None:
            steps, start = [], 0
            for sites in wavefronts(self.geometry):
                steps.append(self._view(sites, start))
                start += len(sites)
            self._steps = steps
        return self._steps

    def _view(self, sites: npt.NDArray[np.int32], start: int) -> _View:
        features = self._model.spec.features
        places, pairs = list(features.neighbours), list(features.now)
        if self._planes > 1:
            here, before = (0, 0, 0), (1, 0, 0)
            places.append(here)
            pairs.append((here, before))
        return _View(
            self._ops.array(sites.astype(np.int64)),
            slice(start, start + len(sites)),
            self._places(places, sites),
            self._pairs(pairs, sites),
            self._places(features.candidates, sites),
        )

    def _places(self, places: Any, sites: npt.NDArray[np.int32] | None = None) -> Places:
        places = list(places)
        found = Places.around(places, neighbour_sites(self.geometry, places))
        placed: Places = self._ops.places(found if sites is None else found.at(sites))
        return placed

    def _pairs(
        self, pairs: Sequence[tuple[Place, Place]], sites: npt.NDArray[np.int32] | None = None
    ) -> tuple[Places, Places]:
        return self._places([a for a, _ in pairs], sites), self._places(
            [b for _, b in pairs], sites
        )


class _Head:
    """The head of one plane: a hidden layer over the body's output and the causal window."""

    def __init__(self, model: Model, plane: int, ops: Any) -> None:
        self._ops = ops
        whole = layer(model.tensors, f"head.{plane}")
        state = model.spec.body_outputs
        nothing = np.zeros_like(whole.bias)
        # Split at the body's outputs, whose share of the sums is computed once per frame.
        self._body = ops.layer(_part(whole, slice(0, state), whole.bias))
        self._symbols = ops.layer(_part(whole, slice(state, None), nothing))
        self._site_bias = ops.array(model.tensors[f"head.{plane}.site_bias"])
        self.output = ops.layer(layer(model.tensors, f"output.{plane}"))

    def base(self, features: Array) -> Array:
        """int32 (N, T, S, hidden): the sums as far as the body decides them."""
        return self._ops.linear(features, self._body) + self._site_bias

    def hidden(self, x: Array, base: Array) -> Array:
        """int8 (rows, hidden)."""
        z = self._ops.dense(x, self._symbols, 0, add=base)
        return z.reshape(-1, z.shape[-1])


def _part(whole: Layer, columns: slice, bias: npt.NDArray[np.int32]) -> Layer:
    weight = np.ascontiguousarray(whole.weight[:, columns])
    return Layer(whole.name, weight, bias, whole.multiplier, whole.shift)
