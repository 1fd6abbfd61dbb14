"""What every token costs, and how it was predicted: the coders' own tables, looked at.

A tracer goes through tokens as the encoder does, learning alike, and keeps of every table what a
report needs. Sums of costs are the payloads' sizes but for the range coder's rounding and the ends
of its lanes (tests/test_report.py says how near).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..coding.constants import USABLE
from ..coding.team import new_team
from ..integer import operations
from ..models import HISTORY, Geometry, Model
from ..predictors import HYBRID
from ..predictors.adaptive.coder import AdaptiveCoder
from ..predictors.adaptive.learner import Learner
from ..predictors.hybrid.coder import VERSION, HybridCoder, version_of
from ..predictors.network.network import Network
from .kernel import FULL_BITS, trace_blocks, trace_scores

Tokens = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]

#: Symbols of a network whose scores are held at a time.
_ROWS = 1 << 12


@dataclass(frozen=True, eq=False)
class Trace:
    """What is known of every token of a run; arrays of the tokens' shape (T, *frame).

    Attributes:
        cost: float32, bits that coding the token takes.
        entropy: float32, bits that its table expected; above cost: a lucky guess.
        best: float32, probability of the most probable symbol.
        rank: int64, how many symbols were more probable; 0: the best guess was right.
    """

    cost: Floats
    entropy: Floats
    best: Floats
    rank: npt.NDArray[np.int64]

    def flat(self) -> Trace:
        """The same, token after token."""
        return Trace(*(getattr(self, field.name).ravel() for field in fields(self)))


_FLOATS = np.empty(0, np.float32)
_NOTHING = Trace(_FLOATS, _FLOATS, _FLOATS, np.empty(0, np.int64))


def joined(traces: Sequence[Trace]) -> Trace:
    """Runs one after the other; of none: of no tokens."""
    if not traces:
        return _NOTHING
    return Trace(
        *(np.concatenate([getattr(one, field.name) for one in traces]) for field in fields(Trace))
    )


class Tracer(Protocol):
    """Goes through runs of tokens uint16 (T, *frame), T >= 1, one after the other."""

    def trace(self, tokens: Tokens) -> Trace:
        """Costs of the tokens; what they teach is learned."""


def tracer(
    predictor: str,
    model: Model | None,
    alphabet: int,
    frame: tuple[int, ...],
    coder_tokens: int,
    parameters: bytes | None = None,
) -> Tracer:
    """What looks at the tables of a predictor.

    Args:
        predictor: its name in blobs: "stored", "adaptive", "hybrid", "lstm" or "conv3d".
        model: of the last three.
        alphabet, frame, coder_tokens: as coders are made with; they size hashed tables, so they
            must be those of the blob.
        parameters: the blob's parameter bytes; None: of blobs that are written today.
    """
    if predictor == "stored":
        return StoredTracer(alphabet)
    if model is None:
        return AdaptiveTracer(alphabet, frame, coder_tokens)
    ops = operations("numba")
    network = ScoredNetwork(model, ops)
    if predictor == HYBRID:
        version = VERSION if parameters is None else version_of(parameters)
        return HybridTracer(network, ops, frame, coder_tokens, version)
    return NetworkTracer(network, ops)


class StoredTracer:
    """Bit-packed tokens: nothing is predicted, every token costs the same."""

    def __init__(self, alphabet: int) -> None:
        self._alphabet, self._bits = alphabet, (alphabet - 1).bit_length()

    def trace(self, tokens: Tokens) -> Trace:
        flat = np.full(tokens.shape, self._bits, np.float32)
        share = np.full(tokens.shape, 1 / self._alphabet, np.float32)
        # Every symbol is as likely as any other: ties are counted in the middle.
        rank = np.full(tokens.shape, self._alphabet // 2, np.int64)
        return Trace(flat, flat.copy(), share, rank)


class AdaptiveTracer(AdaptiveCoder):
    """The adaptive predictor."""

    def _new_learner(self, *arguments: Any, **others: Any) -> WatchedLearner:
        self._watched = WatchedLearner(*arguments, **others)
        return self._watched

    def trace(self, tokens: Tokens) -> Trace:
        self.observe(tokens)
        return _of_tokens(self._watched.seen, tokens.shape, self._layout.alphabet)


class HybridTracer(HybridCoder):
    """A network under the mixer."""

    def _new_learner(self, *arguments: Any) -> WatchedLearner:
        self._watched = WatchedLearner(*arguments)
        return self._watched

    def trace(self, tokens: Tokens) -> Trace:
        self.observe(tokens)
        return _of_tokens(self._watched.seen, tokens.shape, self._network.geometry.symbols)


class NetworkTracer:
    """A network alone: its state begins anew with every run."""

    def __init__(self, network: ScoredNetwork, ops: Any) -> None:
        self._network, self._ops = network, ops

    def trace(self, tokens: Tokens) -> Trace:
        network, ops = self._network, self._ops
        geometry: Geometry = network.geometry
        symbols = geometry.to_symbols(tokens)
        of_frame = geometry.sites * geometry.planes
        seen = _Seen(symbols.size)
        most = max(1, _ROWS // of_frame)
        with ops.running():
            state, history = network.begin(1), network.no_symbols(1, HISTORY)
            for start in range(0, len(symbols), most):
                run = symbols[start : start + most]
                history = network.followed(history, run[None])
                scores, state = network.scores(history, state)
                part = slice(start * of_frame, start * of_frame + run.size)
                targets = np.ascontiguousarray(run.reshape(-1))
                trace_scores(scores.reshape(run.size, -1), targets, *seen.part(part))
                history = ops.contiguous(history[:, -HISTORY:])
        return _of_tokens(seen, tokens.shape, geometry.symbols)


class ScoredNetwork(Network):
    """A network that also gives its scores, from which its tables are made."""

    def scores(self, symbols: Any, state: Any) -> tuple[npt.NDArray[np.int32], Any]:
        """int32 (N, T, S, P, symbols) of symbols (N, HISTORY + T, S + 1, P), and the state."""
        ops, sites = self._ops, self.geometry.sites
        shape = (len(symbols), symbols.shape[1] - HISTORY, sites, 1, self.geometry.symbols)
        embedded, features, state = self.look(symbols, state)
        parts = [
            ops.numpy(ops.scores(seen.z, head.output, seen.candidates)).reshape(shape)
            for seen, head in zip(self.seen(symbols, embedded, features), self._heads, strict=True)
        ]
        return np.ascontiguousarray(np.concatenate(parts, 3)), state


class _Seen:
    """What the compiled loops write down, of so many symbols."""

    def __init__(self, symbols: int) -> None:
        self.freq, self.best = (np.zeros(symbols, np.int64) for _ in range(2))
        self.rank, self.entropy = np.zeros(symbols, np.int64), np.zeros(symbols, np.float64)

    def part(self, part: slice) -> tuple[npt.NDArray[Any], ...]:
        return self.freq[part], self.best[part], self.rank[part], self.entropy[part]


class WatchedLearner(Learner):
    """A learner that writes down what its tables were."""

    seen = _Seen(0)

    def begin(self, symbols: Tokens) -> None:
        super().begin(symbols)
        self.seen = _Seen(symbols.size)

    def _encode_blocks(
        self,
        at: int,
        until: int,
        priors: npt.NDArray[np.int16],
        cum: npt.NDArray[np.uint32],
        freq: npt.NDArray[np.uint32],
    ) -> int:
        """As Learner's; cum and freq stay as they are."""
        seen = self.seen.part(slice(None))
        return int(trace_blocks(*self.mixer, new_team(), self._symbols, at, until, priors, *seen))


def _of_tokens(seen: _Seen, shape: tuple[int, ...], symbols: int) -> Trace:
    """Of tokens, from what was seen of their symbols: one each, or two halves one after another."""
    tokens = int(np.prod(shape))
    freq, best, rank, entropy = (part.reshape(tokens, -1) for part in seen.part(slice(None)))
    cost = (FULL_BITS - np.log2(freq)).sum(axis=1)
    # Of halves: ordered by the first one, as far as it decides.
    order = rank[:, 0] if rank.shape[1] == 1 else rank[:, 0] * symbols + rank[:, 1]
    return Trace(
        cost.reshape(shape).astype(np.float32),
        entropy.sum(axis=1).reshape(shape).astype(np.float32),
        (best / USABLE).prod(axis=1).reshape(shape).astype(np.float32),
        order.reshape(shape),
    )
