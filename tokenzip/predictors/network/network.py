"""A network bound to a backend: symbols in, intervals out, or lanes in, symbols out.

Encoding and decoding call the same operations on the same integers: the encoder for many frames
and all sites at once, the decoder frame by frame and step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ...integer.head import Head, Seen, SeenByOutput, seen_by_output
from ...integer.layers import Layer, Places
from ...models import HISTORY, Model, Spec
from ...models.features import Place
from ...models.parts import layer
from ...models.steps import neighbour_sites, wavefronts
from .body import State, body

Array = Any
Result = TypeVar("Result")


class Network:
    """The tables of a model, by a backend's operations.

    A state that a method is given is used up: one goes on with the state that comes back.
    """

    def __init__(self, model: Model, ops: Any) -> None:
        self._ops, self.model = ops, model
        self.none = model.spec.geometry.symbols
        self._planes = model.spec.geometry.planes
        self._embedding = ops.array(model.tensors["embedding"])
        self._body = body(model, ops)
        self._heads = [_Head(model, plane, ops) for plane in range(self._planes)]
        self._kept: dict[str, Any] = {}
        self._look_at(model.spec, slice(None))

    def _look_at(self, spec: Spec, sites: Any) -> None:
        """Be for frames of this spec, whose sites are these of the model's."""
        ops, self._spec, self.geometry = self._ops, spec, spec.geometry
        self._position = ops.array(self.model.tensors["position"][sites])
        everywhere = _Around(spec, np.arange(spec.geometry.sites))
        places = everywhere.places
        self._window = ops.places(places(spec.features.window))
        self._past = tuple(
            ops.places(places([pair[side] for pair in spec.features.past])) for side in (0, 1)
        )
        a, b = everywhere.compared()
        self._seen = Seen(
            around=ops.places(everywhere.seen()),
            pairs=(ops.places(a), ops.places(b)),
            candidates=ops.places(places(spec.features.candidates)),
        )

    def middle(self, height: int, width: int) -> Network:
        """The network for the middle height x width sites of frames, not more than these have; it
        sees nothing beyond. Layers are shared. It encodes only."""
        geometry = self.geometry
        grid = np.arange(geometry.sites).reshape(geometry.height, geometry.width)
        sites = grid[geometry.middle(height, width)].reshape(-1)
        part = replace(geometry, height=height, width=width)
        other = copy(self)
        for made_once in ("decoder", "frame"):
            other.__dict__.pop(made_once, None)
        other._look_at(replace(self.model.spec, geometry=part), sites)
        other._body = self._body.of(part)
        other._heads = [head.of(sites) for head in self._heads]
        return other

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

    def followed(self, history: Array, symbols: npt.NDArray[np.int32]) -> Array:
        """The history (N, H, S + 1, P) with frames of symbols int32 (N, T, S, P) behind it."""
        frames = self.no_symbols(*symbols.shape[:2])
        frames[:, :, : self.geometry.sites] = self._ops.array(symbols)
        return self._ops.concatenate([history, frames], 1)

    def nothing(self, clips: int) -> tuple[Array, Array]:
        """A frame without symbols, and its embeddings."""
        symbols = self.no_symbols(clips, 1)
        return symbols, self.embed(symbols)

    def moved_on(
        self, symbols: Array, embedded: Array, nothing: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """The same frames less the first, with nothing behind them: where the next is decoded."""
        return (
            self._ops.concatenate([symbols[:, 1:], nothing[0]], 1),
            self._ops.concatenate([embedded[:, 1:], nothing[1]], 1),
        )

    def _features(
        self, symbols: Array, embedded: Array, frames: int, state: State
    ) -> tuple[Array, State]:
        """The body's output int8 (N, frames, S, state) for the frames after the first HISTORY."""
        x = self._ops.site_inputs(
            *(embedded, symbols, self._window, self._position, *self._past),
            *(HISTORY, frames, self.none),
        )
        return self._body(x, state)

    # Encoding

    def intervals(self, symbols: Array, state: State) -> tuple[Array, Array, State]:
        """cum and freq, int32 (N, T, S, P), of symbols (N, HISTORY + T, S + 1, P)."""
        ops, sites = self._ops, self.geometry.sites
        shape = (len(symbols), symbols.shape[1] - HISTORY, sites, 1)
        cums, freqs = [], []
        embedded, features, state = self.look(symbols, state)
        for plane, seen in enumerate(self.seen(symbols, embedded, features)):
            targets = ops.contiguous(symbols[:, HISTORY:, :sites, plane]).reshape(-1)
            output = self._heads[plane].output
            cum, freq = ops.intervals(seen.z, output, seen.candidates, targets)
            cums.append(cum.reshape(shape))
            freqs.append(freq.reshape(shape))
        return ops.concatenate(cums, 3), ops.concatenate(freqs, 3), state

    def look(self, symbols: Array, state: State) -> tuple[Array, Array, State]:
        """The embeddings of symbols (N, HISTORY + T, S + 1, P), the body's output for the last T
        frames, and the state after them."""
        embedded = self.embed(symbols)
        features, state = self._features(symbols, embedded, symbols.shape[1] - HISTORY, state)
        return embedded, features, state

    def seen(
        self, symbols: Array, embedded: Array, features: Array, planes: int | None = None
    ) -> Iterator[SeenByOutput]:
        """What the output layers of all planes, or of the first ones, see in the frames after the
        first HISTORY."""
        for plane, head in enumerate(self._heads[:planes]):
            yield seen_by_output(
                *(self._ops, symbols, embedded, head.base(features), head.hidden, self._seen),
                *(plane, HISTORY, symbols.shape[1] - HISTORY, self.none),
            )

    def priors(self, seen: Sequence[SeenByOutput]) -> Array:
        """Steps below certainty, int16 (R, P, alphabet of symbols), of what the outputs of all
        planes, or of the first ones, see in R rows each."""
        ops, shape = self._ops, (len(seen[0].z), 1, self.geometry.symbols)
        parts = [
            ops.priors(of_plane.z, head.output, of_plane.candidates).reshape(shape)
            for of_plane, head in zip(seen, self._heads[: len(seen)], strict=True)
        ]
        return ops.concatenate(parts, 1)

    # Decoding

    def decode_frame(
        self, symbols: Array, embedded: Array, state: State, lanes: Any, rows: Any
    ) -> State:
        """Fill in the last frame of symbols (N, HISTORY + 1, S + 1, P) and of their embeddings.

        rows: which lanes the sites (of all clips) are in.
        """
        bases, _, state = self.bases(symbols, embedded, state)
        self._ops.decode_head(self.decoder, symbols, embedded, bases, lanes, rows)
        return state

    def bases(
        self, symbols: Array, embedded: Array, state: State
    ) -> tuple[list[Array], Array, State]:
        """What `ops.decode_head` wants of the body for the last frame, plane by plane; the body's
        output, of which that is made; and the state after that frame."""
        features, state = self._features(symbols, embedded, 1, state)
        return [head.base(features) for head in self._heads], features, state

    @cached_property
    def decoder(self) -> Any:
        """The backend's head, made only where something is decoded."""
        waves = wavefronts(self.geometry)
        order = np.concatenate(waves)
        around = _Around(self._spec, order)
        head = Head(
            table=self.model.tensors["embedding"],
            hidden=tuple(head.hidden_layer for head in self._heads),
            output=tuple(head.output_layer for head in self._heads),
            sites=order,
            starts=np.cumsum([0, *map(len, waves)]),
            around=around.seen(),
            pairs=around.compared(),
            candidates=around.places(self.model.spec.features.candidates),
        )
        return self._ops.head(head)

    @cached_property
    def frame(self) -> Any:
        """All that a backend that decodes frames in one go wants (`ops.decode_frames`)."""
        base, site_bias = zip(*(head.of_body for head in self._heads), strict=True)
        return self._ops.frame(
            *(self._window, self._past, self._position, self._body.parts),
            *(base, site_bias, self.decoder),
        )

    def embed(self, symbols: Array) -> Array:
        return self._ops.embed(self._embedding, symbols)

    # Learning

    def once(self, name: str, make: Callable[[], Result]) -> Result:
        """What `make` works out of the model, the same for all coders, made once under its name."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: Result = self._kept[name]
        return kept

    @property
    def head_layers(self) -> list[tuple[Layer, npt.NDArray[np.int32], Layer]]:
        """Of every plane's head: the hidden layer, which sees the body's output first, what sites
        (S, hidden) add to its sums, and the output layer."""
        tensors = self.model.tensors
        return [
            (head.whole, tensors[f"head.{plane}.site_bias"], head.output_layer)
            for plane, head in enumerate(self._heads)
        ]

    def with_hidden(self, weights: Sequence[npt.NDArray[np.int8]]) -> Network:
        """This network with other weights of the heads' hidden layers.

        weights: int8 (hidden, K) of each plane, not to be changed afterwards.
        """
        other = copy(self)
        other._heads = [
            head.with_weight(weight) for head, weight in zip(self._heads, weights, strict=True)
        ]
        if "decoder" in self.__dict__:
            hidden = [head.hidden for head in other._heads]
            other.__dict__["decoder"] = self._ops.with_hidden(self.decoder, hidden)
        if "frame" in self.__dict__:
            base = [head.of_body[0] for head in other._heads]
            other.__dict__["frame"] = self._ops.with_base(self.frame, base, other.decoder)
        return other


class _Around:
    """Places around some sites, in the order of these."""

    def __init__(self, spec: Spec, sites: npt.NDArray[Any]) -> None:
        self._spec, self._sites = spec, sites

    def places(self, places: Sequence[Place]) -> Places:
        geometry = self._spec.geometry
        site = np.ascontiguousarray(neighbour_sites(geometry, list(places))[:, self._sites])
        return Places.around(list(places), site, geometry.sites)

    def seen(self) -> Places:
        """Whose embeddings the head sees, the site itself last if it has several planes."""
        own = [(0, 0, 0)] if self._spec.geometry.planes > 1 else []
        return self.places([*self._spec.features.neighbours, *own])

    def compared(self) -> tuple[Places, Places]:
        """Whose equalities the head sees, likewise with the site itself and the frame before."""
        own = [((0, 0, 0), (1, 0, 0))] if self._spec.geometry.planes > 1 else []
        pairs = [*self._spec.features.now, *own]
        return self.places([a for a, _ in pairs]), self.places([b for _, b in pairs])


class _Head:
    """The head of one plane: a hidden layer over the body's output and the causal window."""

    def __init__(self, model: Model, plane: int, ops: Any) -> None:
        self._ops = ops
        self._features = model.spec.body_outputs
        self._site_bias = ops.array(model.tensors[f"head.{plane}.site_bias"])
        self.output_layer = layer(model.tensors, f"output.{plane}")
        self.output = ops.layer(self.output_layer)
        self._take(layer(model.tensors, f"head.{plane}"))

    def _take(self, whole: Layer) -> None:
        # Split at the body's outputs, whose share of the sums is computed once per frame.
        self.whole, state = whole, self._features
        self._body = self._ops.layer(_part(whole, slice(0, state), whole.bias))
        self.hidden_layer = _part(whole, slice(state, None), np.zeros_like(whole.bias))
        self.hidden = self._ops.layer(self.hidden_layer)
        self.of_body = self._body, self._site_bias

    def of(self, sites: Any) -> _Head:
        """This head for these of its sites."""
        other = copy(self)
        other._site_bias = self._ops.contiguous(self._site_bias[sites])
        other.of_body = other._body, other._site_bias
        return other

    def with_weight(self, weight: npt.NDArray[np.int8]) -> _Head:
        """This head with another weight of the hidden layer."""
        other = copy(self)
        other._take(replace(self.whole, weight=weight))
        return other

    def base(self, features: Array) -> Array:
        """int32 (N, T, S, hidden): the sums as far as the body decides them."""
        return self._ops.linear(features, self._body, add=self._site_bias)


def _part(whole: Layer, columns: slice, bias: npt.NDArray[np.int32]) -> Layer:
    weight = np.ascontiguousarray(whole.weight[:, columns])
    return Layer(whole.name, weight, bias, whole.multiplier, whole.shift)
