"""HybridCoder: chunks of frames to payloads and back (FORMAT.md sections 10.8 and 10.10)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...coding.decoder import all_exhausted, open_lanes
from ...coding.helpers import NOBODY, Helpers, Later
from ...errors import CorruptError
from ...integer.head import SeenByOutput
from ...models import HISTORY
from ...models.geometry import Geometry
from ...models.steps import coding_order, lane_count, lane_of
from .. import check_version
from ..adaptive.classes import classes_of_vectors
from ..adaptive.contexts import Geometry as Layout
from ..adaptive.contexts import classes_for
from ..adaptive.kernel import DECODE
from ..adaptive.learner import Learner
from ..adaptive.state import Job, Tuning
from ..lanes import split_lanes
from ..network.batch import payload_of
from ..network.network import Network
from .frames import frames_decoder
from .head_learner import head_learner

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
        threads: how many code a chunk.
    """

    def __init__(
        self,
        network: Network,
        ops: Any,
        frame: tuple[int, ...],
        chunk_tokens: int,
        version: int = VERSION,
        threads: int = 1,
    ) -> None:
        self._trained, self._ops, self._frame = network, ops, tuple(frame)
        self._version, geometry = version, network.geometry
        symbols = chunk_tokens * geometry.planes // geometry.codebooks
        layout = layout_of(geometry)
        self._helpers = Helpers(threads - 1)
        self._heads = head_learner(network, ops) if version > 1 else None
        self._run = self._ahead = max(1, _ROWS // layout.positions)
        errors, classes = 0, None
        if self._heads is not None:
            self._run = self._heads.period
            self._ahead = max(self._ahead // self._run, 1) * self._run
            errors = self._run * layout.positions
        if version > 1 and layout.learns_classes:
            classes = symbol_classes(network, layout.classes)
        self._learner = self._new_learner(
            layout, symbols, TUNING[version], errors, classes, self._helpers
        )

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
        coded = np.zeros((frames, self._learner.layout.positions), np.uint16)
        self._learner.begin(coded)
        job = self._learner.job(
            DECODE,
            order=coding_order(geometry),
            lane_of=lane_of(geometry, lanes),
            lanes=open_lanes(words, bounds),
            words=words,
        )
        with self._ops.running():
            self._decode_frames(job)
        self._learner.end()
        if not all_exhausted(job.lanes):
            raise CorruptError("the payload has words left over", where="payload")
        shape = (frames, geometry.sites, geometry.planes)
        tokens = geometry.to_tokens(coded.reshape(shape).astype(np.int32))
        return tokens.reshape(frames, *self._frame)

    def _intervals(self, tokens: Tokens) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """cum and freq of all symbols, uint32 (T, positions); the learner has seen them all."""
        ops, learner = self._ops, self._learner
        symbols = self._network.geometry.to_symbols(tokens)
        cum, freq = (np.empty(symbols.size, np.uint32) for _ in range(2))
        learner.begin(symbols.reshape(len(symbols), -1).astype(np.uint16))
        with ops.running():
            for history, embedded, features in self._looked_at(symbols):
                for first in range(0, features.shape[1], self._run):
                    now = slice(first, min(first + self._run, features.shape[1]))
                    before = slice(now.start, HISTORY + now.stop)
                    last = history[:, before], embedded[:, before], features[:, now]
                    self._encode_run([ops.contiguous(part) for part in last], cum, freq)
        learner.end()
        return cum.reshape(len(symbols), -1), freq.reshape(len(symbols), -1)

    def _looked_at(self, symbols: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Of the next frames, as many as the body looks at in one go: these and the HISTORY before
        them, their embeddings, and the body's output for them.

        What learns is behind the body, so helpers may look at some while others are coded.
        """
        network, ops = self._network, self._ops
        helpers = self._helpers if ops.concurrent else NOBODY

        def look(start: int, history: Any, state: Any) -> tuple[Any, Any, Any, Any]:
            some = symbols[None, start : start + self._ahead]
            history = network.followed(history, some)
            return history, *network.look(history, state)

        looking = Later(partial(look, 0, network.no_symbols(1, HISTORY), network.begin(1)))
        for start in range(self._ahead, len(symbols) + self._ahead, self._ahead):
            history, embedded, features, state = looking.result()
            if start < len(symbols):
                last = ops.contiguous(history[:, -HISTORY:])
                looking = Later(partial(look, start, last, state))
                helpers.offer(looking)
            yield history, embedded, features

    def _encode_run(
        self, last: Sequence[Any], cum: npt.NDArray[np.uint32], freq: npt.NDArray[np.uint32]
    ) -> None:
        """Write cum and freq of the next frames; last: as _looked_at gives it, of these."""
        network = self._network
        history, embedded, features = last
        seen = list(network.seen(history, embedded, features))
        shape = -1, network.geometry.symbols
        self._learner.encode(cum, freq, self._ops.numpy(network.priors(seen)).reshape(shape))
        if self._heads is not None:
            self._learner.count_soon()
            self._learn(features, seen)

    def _learn(self, features: Any, seen: Sequence[SeenByOutput]) -> None:
        """Let the network learn from the last frames, all since it did so before."""
        if self._heads is not None:
            self._heads.learn(features, seen, self._learner.block.errors)

    def _learn_decoded(self, history: Any, features: Any, run: Tokens) -> Any:
        """The same of frames uint16 (T, positions) just decoded, and those before them; the last
        frames of all, to go on with."""
        network, ops, geometry = self._network, self._ops, self._network.geometry
        shape = 1, len(run), geometry.sites, geometry.planes
        history = network.followed(history, run.astype(np.int32).reshape(shape))
        self._learn(features, list(network.seen(history, network.embed(history), features)))
        return ops.contiguous(history[:, -HISTORY:])

    def _decode_frames(self, job: Job) -> None:
        """Fill in the chunk: the network learns after each run of frames."""
        learner, coded = self._learner, job.symbols
        of_frame = learner.layout.positions
        frames = frames_decoder(self._network, self._ops, learner, job, self._run)
        history = self._network.no_symbols(1, HISTORY)
        for start in range(0, len(coded), self._run):
            stop = min(start + self._run, len(coded))
            if not learner.code(stop * of_frame, frames.decode):
                raise CorruptError("the payload's words lead outside the tables", where="payload")
            if self._heads is not None:
                learner.count_soon()
                history = self._learn_decoded(history, frames.features, coded[start:stop])
                frames.network = self._network


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
