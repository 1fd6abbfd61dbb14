"""The bodies of networks: what sees past frames only, and runs once per frame over all sites.

A body takes inputs int8 (N, T, S, K) and its state, and gives int8 (N, T, S, state width) and the
state after these T frames. States are tuples of arrays whose first axis is N (times S).
"""

from __future__ import annotations

from typing import Any, Protocol

from ...integer import LARGEST
from ...integer.layers import Places
from ...models import CONV_SPACE, CONV_TIMES, Model
from ...models.parts import layer
from ...models.steps import neighbour_sites

Array = Any
State = tuple[Array, ...]


class Body(Protocol):
    def begin(self, clips: int) -> State:
        """The state before the first frame."""

    def first(self, state: State, clips: int) -> State:
        """The state of the first clips alone."""

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        """Go through the frames of x."""


def body(model: Model, ops: Any) -> Body:
    return Lstm(model, ops) if model.spec.family == "lstm" else Conv3d(model, ops)


class Lstm:
    """An LSTM cell at every site, carried from frame to frame."""

    def __init__(self, model: Model, ops: Any) -> None:
        self._ops = ops
        self._sites, self._width = model.spec.geometry.sites, model.spec.state
        self._layer = ops.layer(layer(model.tensors, "lstm"))
        self._tables = tuple(
            ops.array(model.tensors[name].astype("int32")) for name in ("sigmoid", "tanh")
        )

    def begin(self, clips: int) -> State:
        shape = (clips * self._sites, self._width)
        return self._ops.full(shape, 0, "int8"), self._ops.full(shape, 0, "int32")

    def first(self, state: State, clips: int) -> State:
        return tuple(part[: clips * self._sites] for part in state)

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        clips, frames, sites, inputs = x.shape
        by_frame = self._ops.contiguous(x.swapaxes(0, 1)).reshape(frames, clips * sites, inputs)
        h, state = self._ops.lstm(by_frame, self._layer, state, self._tables)
        y = h.reshape(frames, clips, sites, self._width).swapaxes(0, 1)
        return self._ops.contiguous(y), state


class Conv3d:
    """Causal 3-D convolution, factorised: in time at each site, over the sites of a frame, in time.

    A stream of channels runs through; each layer adds to it what it makes of the positive part:

        window      embedded tokens of the last frames                  -> stream
        time_near   the frame and the two before it, at the site        -> added
        squeeze     fewer channels, for
        space       the site, and the squeezed 3 x 3 sites around it    -> added
        time_far    the frame and those three and six before it         -> added

    The positive parts that later frames need are kept, so that a new frame costs one pass.
    """

    def __init__(self, model: Model, ops: Any) -> None:
        spec = model.spec
        self._ops = ops
        self._sites, self._width = spec.geometry.sites, spec.state
        self._layers = {
            name: ops.layer(layer(model.tensors, name))
            for name in ("window", "time_near", "squeeze", "space", "time_far")
        }
        places = list(CONV_SPACE)
        self._around = ops.places(Places.around(places, neighbour_sites(spec.geometry, places)))

    def begin(self, clips: int) -> State:
        return tuple(
            self._ops.full((clips, max(times), self._sites, self._width), 0, "int8")
            for times in CONV_TIMES
        )

    def first(self, state: State, clips: int) -> State:
        return tuple(part[:clips] for part in state)

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        ops = self._ops
        y = ops.dense(x, self._layers["window"], -LARGEST)
        y, near = self._in_time("time_near", y, state[0], CONV_TIMES[0])
        positive = ops.relu(y)
        squeezed = ops.dense(positive, self._layers["squeeze"], 0)
        clips, frames, _, channels = squeezed.shape
        outside = ops.full((clips, frames, 1, channels), 0, "int8")
        around = ops.windows(ops.concatenate([squeezed, outside], 2), self._around, 0, frames)
        y = ops.dense(
            ops.concatenate([positive, around], 3), self._layers["space"], -LARGEST, residual=y
        )
        y, far = self._in_time("time_far", y, state[1], CONV_TIMES[1])
        return y, (near, far)

    def _in_time(
        self, name: str, y: Array, kept: Array, times: tuple[int, ...]
    ) -> tuple[Array, Array]:
        ops, frames, span = self._ops, y.shape[1], max(times)
        positive = ops.concatenate([kept, ops.relu(y)], 1)
        x = ops.concatenate([positive[:, span - t : span - t + frames] for t in times], 3)
        y = ops.dense(x, self._layers[name], -LARGEST, residual=y)
        return y, ops.contiguous(positive[:, frames:])
