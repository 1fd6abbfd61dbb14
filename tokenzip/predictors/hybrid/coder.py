"""HybridCoder: chunks of frames to payloads and back (FORMAT.md sections 10.8 and 10.10)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...coding.decoder import all_exhausted, open_lanes
from ...errors import CorruptError
from ...integer.head import LaneRows, SeenByOutput, decode_by_steps
from ...models import HISTORY
from ...models.geometry import Geometry
from ...models.steps import lane_count, wavefronts
from .. import check_version
from ..adaptive.classes import classes_of_vectors
from ..adaptive.contexts import Geometry as Layout
from ..adaptive.contexts import classes_for
from ..adaptive.kernel import end_block
from ..adaptive.learner import Learner
from ..adaptive.state import Tuning
from ..lanes import split_lanes
from ..network.batch import lane_rows, payload_of
from ..network.network import Network
from .head_learner import head_learner
from .kernel import StepRoom, decode_frame, decode_rows, step_room

#: Version of everything that the bits of such blobs depend on, networks' tables included. In
#: version 1 networks do not learn, and classes are learned from the clip.
VERSION = 2

#: On top of a network contexts know what is special about a clip: they begin quietly, and a count
#: is worth as much as the network is wrong.
_TUNING_1 = Tuning(
    first_weight=4980,
    first_class_weight=2949,
    token_alpha=0,
    mixed_alpha=1 * 64,
    class_alpha=5 * 64,
    weight_rate=120,
    sharpness_rate=2000,
    bonus_rate=9000,
)
#: By version.
TUNING = {1: _TUNING_1, 2: _TUNING_1._replace(weight_rate=80, sharpness_rate=1000)}

#: Symbols that an encoder looks at in one go. Where the network does not learn it has their priors,
#: too: 8 MiB for an alphabet of 1024.
_ROWS = 1 << 12

#: Numbers of an embedding that classes are found by, the first ones.
_MOST_NUMBERS = 64

Tokens = npt.NDArray[np.uint16]


class HybridCoder:
    """Codes runs of frames by a network and by what it has seen since the last reset.

    The network's own state begins anew with every run; what its heads have learned stays.

    Args:
        network: of the model, by the operations `ops`.
        frame: shape of a frame.
        chunk_tokens: tokens that will be coded before the next reset, as far as known.
        version: of the predictor, 1 to VERSION.
    """

    def __init__(
        self,
        network: Network,
        ops: Any,
        frame: tuple[int, ...],
        chunk_tokens: int,
        version: int = VERSION,
    ) -> None:
        self._trained, self._ops, self._frame = network, ops, tuple(frame)
        self._version, geometry = version, network.geometry
        symbols = chunk_tokens * geometry.planes // geometry.codebooks
        layout = layout_of(geometry)
        self._heads = head_learner(network, ops) if version > 1 else None
        self._run = self._ahead = max(1, _ROWS // layout.positions)
        errors, classes = 0, None
        if self._heads is not None:
            self._run = self._heads.period
            self._ahead = max(self._ahead // self._run, 1) * self._run
            errors = self._run * layout.positions
        if version > 1 and layout.learns_classes:
            classes = symbol_classes(network, layout.classes)
        self._learner = self._new_learner(layout, symbols, TUNING[version], errors, classes)
        self._waves = wavefronts(geometry)

    def _new_learner(self, *arguments: Any) -> Learner:
        """What learns the clip's statistics on top of the network."""
        return Learner(*arguments)

    @property
    def _network(self) -> Network:
        """The network as it is now."""
        return self._trained if self._heads is None else self._heads.network

    def parameters(self) -> bytes:
        """One byte: the version of the predictor."""
        return bytes([self._version])

    def reset(self) -> None:
        """Forget everything."""
        self._learner.reset()
        if self._heads is not None:
            self._heads.reset()

    def encode(self, tokens: Tokens) -> bytes:
        """The payload of tokens uint16 (T, *frame), T >= 1."""
        return payload_of(self._network.geometry, *self._intervals(tokens))

    def observe(self, tokens: Tokens) -> None:
        """Learn from tokens uint16 (T, *frame) as if they had been coded."""
        self._intervals(tokens)

    def decode(self, payload: bytes, frames: int) -> Tokens:
        """The tokens uint16 (frames, *frame) of a payload.

        Raises:
            CorruptError: no encoder writes these bytes.
        """
        geometry = self._network.geometry
        lanes = lane_count(geometry, frames)
        words, bounds = split_lanes(payload, lanes)
        chunk = _Chunk(
            coded=np.zeros((frames, self._learner.layout.positions), np.uint16),
            words=words,
            lanes=open_lanes(words, bounds),
            rows=lane_rows(geometry, [lanes]),
        )
        self._learner.begin(chunk.coded)
        with self._ops.running():
            self._decode_frames(chunk)
        self._learner.end()
        if not all_exhausted(chunk.lanes):
            raise CorruptError("the payload has words left over", where="payload")
        shape = (frames, geometry.sites, geometry.planes)
        tokens = geometry.to_tokens(chunk.coded.reshape(shape).astype(np.int32))
        return tokens.reshape(frames, *self._frame)

    def _intervals(self, tokens: Tokens) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """cum and freq of all symbols, uint32 (T, positions); the learner has seen them all."""
        ops, learner, network = self._ops, self._learner, self._network
        geometry = network.geometry
        symbols = geometry.to_symbols(tokens)
        cum, freq = (np.empty(symbols.size, np.uint32) for _ in range(2))
        learner.begin(symbols.reshape(len(symbols), -1).astype(np.uint16))
        with ops.running():
            state, history = network.begin(1), network.no_symbols(1, HISTORY)
            for start in range(0, len(symbols), self._ahead):
                some = symbols[start : start + self._ahead]
                history = network.followed(history, some[None])
                # What learns is behind the body, which can look at many frames in one go.
                embedded, features, state = network.look(history, state)
                for first in range(0, len(some), self._run):
                    now = slice(first, min(first + self._run, len(some)))
                    before = slice(now.start, HISTORY + now.stop)
                    last = history[:, before], embedded[:, before], features[:, now]
                    self._encode_run([ops.contiguous(part) for part in last], cum, freq)
                history = ops.contiguous(history[:, -HISTORY:])
        learner.end()
        return cum.reshape(len(symbols), -1), freq.reshape(len(symbols), -1)

    def _encode_run(
        self, last: Sequence[Any], cum: npt.NDArray[np.uint32], freq: npt.NDArray[np.uint32]
    ) -> None:
        """Write cum and freq of the next frames.

        last: these and the HISTORY before them, their embeddings, and the body's output for them.
        """
        network = self._network
        history, embedded, features = last
        seen = list(network.seen(history, embedded, features))
        shape = -1, network.geometry.symbols
        self._learner.encode(cum, freq, self._ops.numpy(network.priors(seen)).reshape(shape))
        self._learn(features, seen)

    def _learn(self, features: Any, seen: Sequence[SeenByOutput]) -> None:
        """Let the network learn from the last frames, all since it did so before."""
        if self._heads is not None:
            self._heads.learn(features, seen, self._learner.block.errors)

    def _learn_decoded(self, history: Any, features: list[Any], run: Tokens) -> Any:
        """The same of frames uint16 (T, positions) just decoded, and those before them; the last
        frames of all, to go on with."""
        network, ops, geometry = self._network, self._ops, self._network.geometry
        shape = 1, len(run), geometry.sites, geometry.planes
        history = network.followed(history, run.astype(np.int32).reshape(shape))
        of_run = ops.concatenate(features, 1)
        self._learn(of_run, list(network.seen(history, network.embed(history), of_run)))
        return ops.contiguous(history[:, -HISTORY:])

    def _decode_frames(self, chunk: _Chunk) -> None:
        """Fill in the chunk, frame by frame."""
        network, learner = self._network, self._learner
        state = network.begin(1)
        nothing = network.nothing(1)
        symbols = network.no_symbols(1, HISTORY + 1)
        embedded = network.embed(symbols)
        decode = self._decode_by_steps
        if self._ops.name == "numba":
            decode = partial(self._decode_at_once, step_room(network.decoder))
        history = network.no_symbols(1, HISTORY)
        waiting: list[Any] = []
        for t in range(len(chunk.coded)):
            network = self._network
            learner.before_block()
            bases, features, state = network.bases(symbols, embedded, state)
            if not decode(chunk, t, symbols, embedded, bases):
                raise CorruptError("the payload's words lead outside the tables", where="payload")
            learner.after_block(learner.layout.positions)
            if self._heads is not None:
                waiting.append(features)
                if len(waiting) == self._run or t + 1 == len(chunk.coded):
                    run = chunk.coded[t + 1 - len(waiting) : t + 1]
                    history = self._learn_decoded(history, waiting, run)
                    waiting = []
            symbols, embedded = network.moved_on(symbols, embedded, nothing)

    def _decode_at_once(
        self,
        room: StepRoom,
        chunk: _Chunk,
        t: int,
        symbols: Any,
        embedded: Any,
        bases: list[Any],
    ) -> bool:
        """Frame t in one compiled loop; whether the words can come from an encoder."""
        learner = self._learner
        base = np.stack([of_plane[:, 0] for of_plane in bases])
        return bool(
            decode_frame(
                *(self._network.decoder, symbols, embedded, base, learner.state, learner.layout),
                *(learner.scratch, learner.block, chunk.coded, t, chunk.words, chunk.lanes),
                *(chunk.rows.lanes, room),
            )
        )

    def _decode_by_steps(
        self, chunk: _Chunk, t: int, symbols: Any, embedded: Any, bases: list[Any]
    ) -> bool:
        """The same with the network's part on its device, and the mixer's on the CPU."""
        learner, planes = self._learner, self._network.geometry.planes
        # The positions in the order in which decode_by_steps comes to them.
        positions = iter(
            [
                wave.astype(np.int64) * planes + plane
                for wave in self._waves
                for plane in range(planes)
            ]
        )
        mixing = _Mixing(self._ops, learner, chunk, t, positions)
        decode_by_steps(
            *(mixing, self._network.decoder, symbols, embedded, bases, None),
            chunk.rows.of_steps(),
        )
        of_frame = learner.layout.positions
        end_block(learner.state, learner.block, t * of_frame, (t + 1) * of_frame)
        return mixing.intact


@dataclass(frozen=True, eq=False)
class _Chunk:
    """A chunk that is being decoded.

    Attributes:
        coded: uint16 (T, positions), what is known of it.
        words, lanes: the payload, and how far it is decoded.
        rows: the lanes that its sites are in.
    """

    coded: Tokens
    words: npt.NDArray[np.uint32]
    lanes: npt.NDArray[np.uint64]
    rows: LaneRows


class _Mixing:
    """The operations of a backend, which decode symbols through the mixer."""

    def __init__(
        self,
        ops: Any,
        learner: Learner,
        chunk: _Chunk,
        t: int,
        positions: Iterator[npt.NDArray[np.int64]],
    ) -> None:
        self._ops, self._learner, self._chunk = ops, learner, chunk
        self._t, self._positions = t, positions
        self.intact = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)

    def decode(self, z: Any, layer: Any, candidates: Any, _: Any, rows: Any) -> Any:
        learner, chunk = self._learner, self._chunk
        priors = self._ops.numpy(self._ops.priors(z, layer, candidates))
        positions = next(self._positions)
        found = np.zeros(len(positions), np.int32)
        self.intact = self.intact and decode_rows(
            *(learner.state, learner.layout, learner.scratch, learner.block, chunk.coded, self._t),
            *(priors, positions, chunk.words, chunk.lanes, rows.reshape(-1), found),
        )
        return self._ops.array(found)


def symbol_classes(network: Network, classes: int) -> npt.NDArray[np.int64]:
    """The classes of a network's symbols, int64 (planes, A), by their embeddings."""

    def find() -> npt.NDArray[np.int64]:
        tables = network.model.tensors["embedding"][:, :-1, :_MOST_NUMBERS]
        return np.stack([classes_of_vectors(table.astype(np.int64), classes) for table in tables])

    return network.once("classes", find)


def layout_of(geometry: Geometry) -> Layout:
    """How the mixer sees a network's sites and planes: a block is a frame."""
    positions = geometry.sites * geometry.planes
    split = geometry.split > 0
    return Layout(
        rows=geometry.height,
        columns=geometry.width * geometry.planes,
        positions=positions,
        planes=geometry.planes,
        alphabet=geometry.symbols,
        classes=classes_for(geometry.symbols, geometry.planes),
        split=split,
        low_bits=geometry.split,
        block_symbols=positions,
        # The codebooks of a lone site are what stands beside one another.
        step=geometry.planes if geometry.sites > 1 else 2 if split else 1,
    )


def version_of(parameters: bytes) -> int:
    """The version of the predictor that a blob's parameters name.

    Raises:
        UnsupportedVersionError: a newer one.
        CorruptError: they make no sense.
    """
    check_version("hybrid", parameters, VERSION)
    return parameters[0]
