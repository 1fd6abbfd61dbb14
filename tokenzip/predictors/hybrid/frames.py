"""The frames of a chunk decoded: by compiled loops, or by a device's operations, step by step."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ...integer.head import decode_by_steps
from ...integer.numba_frames import frame_room
from ...models import HISTORY
from ..adaptive.kernel import end_block
from ..adaptive.learner import Learner
from ..adaptive.state import Job
from ..network.network import Network
from .kernel import decode_frames, decode_symbols

Array = Any


class FramesDecoder(Protocol):
    """Decodes the frames of a chunk, one after another.

    Attributes:
        network: by which; it may be replaced by one that has learned.
        features: int8 (1, T, S, F), the body's output for the frames of this run.
    """

    network: Network

    @property
    def features(self) -> Array: ...

    def decode(self, at: int, until: int) -> int:
        """Decode whole frames from symbol `at` until another, as Learner.code wants it."""


def frames_decoder(
    network: Network, ops: Any, learner: Learner, job: Job, run: int
) -> FramesDecoder:
    """What decodes a chunk, from its first frame on, in runs of so many frames.

    job: of the chunk, in the order of coding.
    """
    made = _AtOnce if ops.name == "numba" else _BySteps
    return made(network, ops, learner, job, run)


class _AtOnce:
    """Frames in one compiled loop."""

    def __init__(self, network: Network, ops: Any, learner: Learner, job: Job, run: int) -> None:
        self.network, self._learner = network, learner
        self._room = frame_room(network.frame, 1)
        most = len(self._room.head.found)
        priors = np.empty((most, network.geometry.symbols), np.int16)
        self._job = job._replace(priors=priors)
        # Symbols of a lane follow one another.
        self._alone = min(most, len(job.lanes)) == 1
        self._symbols = network.no_symbols(1, HISTORY + 1)
        self._embedded = network.embed(self._symbols)
        self._state = network.begin(1)
        self._run, self._last = run, 0
        self._features = np.empty((run, *self._room.body.features.shape), np.int8)

    @property
    def features(self) -> Array:
        return self._features[None, : (self._last - 1) % self._run + 1]

    def decode(self, at: int, until: int) -> int:
        carried = self._symbols, self._embedded, self._state
        mixer = self._learner.mixer

        def lead(job: Job) -> int:
            rest = job, at, until, self._room, self._features
            return int(decode_frames(self.network.frame, *carried, *mixer, *rest))

        if self._alone:
            done = lead(self._job)
        else:
            done = self._learner.together(self._job, until - at, lead)
        self._last = done // self._learner.layout.positions
        return done


class _BySteps:
    """Frames step by step, the network's part on its device, and the mixer's on the CPU."""

    def __init__(self, network: Network, ops: Any, learner: Learner, job: Job, run: int) -> None:
        self.network, self._ops, self._learner = network, ops, learner
        self._job, self._run = job, run
        self._symbols = network.no_symbols(1, HISTORY + 1)
        self._embedded = network.embed(self._symbols)
        self._nothing = network.nothing(1)
        self._state = network.begin(1)
        self._features: list[Array] = []

    @property
    def features(self) -> Array:
        return self._ops.concatenate(self._features, 1)

    def decode(self, at: int, until: int) -> int:
        while 0 <= at < until:
            at = self._decode_frame(at)
        return at

    def _decode_frame(self, at: int) -> int:
        """One frame; the index of the next symbol, or -1."""
        self._learner.count()
        network, decoder = self.network, self.network.decoder
        bases, features, self._state = network.bases(self._symbols, self._embedded, self._state)
        mixing = _Mixing(self._ops, self._learner, self._job, at)
        # It knows which lanes are whose.
        rows = [None] * len(decoder.steps)
        decode_by_steps(mixing, decoder, self._symbols, self._embedded, bases, None, rows)
        if len(self._features) == self._run:
            self._features = []
        self._features.append(features)
        self._symbols, self._embedded = network.moved_on(
            self._symbols, self._embedded, self._nothing
        )
        return mixing.end()


class _Mixing:
    """The operations of a backend, which decode the symbols of a frame through the mixer."""

    def __init__(self, ops: Any, learner: Learner, job: Job, begin: int) -> None:
        self._ops, self._learner, self._job = ops, learner, job
        self._begin = self._at = begin
        self._intact = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)

    def decode(self, z: Any, layer: Any, candidates: Any, _: Any, __: Any) -> Any:
        """The symbols of the next step, or of one of its planes, in the order of the job."""
        priors = self._ops.numpy(self._ops.priors(z, layer, candidates))
        at, stop = self._at, self._at + len(priors)
        self._at = stop
        if self._intact:
            job = self._job._replace(priors=priors)
            self._intact = bool(decode_symbols(*self._learner.mixer, job, self._begin, at, stop))
        places = self._job.order[at - self._begin : stop - self._begin]
        frame = self._job.symbols[self._begin // self._learner.layout.positions]
        return self._ops.array(frame[places].astype(np.int32))

    def end(self) -> int:
        """The frame is decoded: the index of the next symbol, or -1."""
        if not self._intact:
            return -1
        state, others, _, _, block = self._learner.mixer
        end_block(state, others, block, self._job.team, self._begin, self._at)
        return self._at
