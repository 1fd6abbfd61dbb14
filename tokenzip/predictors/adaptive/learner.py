"""Learner: the state that encoder and decoder build up alike, and when it changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.decoder import new_state as new_lanes

from .classes import find_classes
from .contexts import Geometry, context_set
from .kernel import DECODE, ENCODE, code_blocks, count_block, recount
from .state import (
    ADAPTIVE,
    Tuning,
    forget_classes,
    new_block,
    new_scratch,
    new_state,
    with_more_room,
)

#: Symbols after which classes are learned for the first time; then again whenever their number has
#: grown twofold, and fourfold once it is large.
FIRST_CLASSES_AFTER = 1024
LARGE = 1 << 16

Symbols = NDArray[np.uint16]
_NO_PRIORS = np.empty((0, 0), np.int16)
_NO_INTERVALS = np.empty(0, np.uint32)


class Learner:
    """Learns from runs of symbols, block by block: begin, code all of them, end.

    Args:
        layout: of the symbols.
        symbols_to_come: until the next reset, as far as known: sizes hashed tables.
        tuning: how contexts count at first, and how fast that is learned.
        errors: how many symbols' errors are kept in the block, for others to learn from.
        classes: of the symbols, int64 (planes, A), if they are known and need not be learned.
    """

    def __init__(
        self,
        layout: Geometry,
        symbols_to_come: int,
        tuning: Tuning = ADAPTIVE,
        errors: int = 0,
        classes: NDArray[np.int64] | None = None,
    ) -> None:
        self.layout, self._errors, self._classes = layout, errors, classes
        self._learns_classes = layout.learns_classes and classes is None
        self._contexts = context_set(layout)
        self._symbols_to_come, self._tuning = symbols_to_come, tuning
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.state = new_state(self.layout, self._contexts, self._symbols_to_come, self._tuning)
        self.scratch = new_scratch(self.layout, self._contexts, self.state)
        self.block = new_block(self.layout, self._contexts, self._errors)
        if self._classes is not None:
            self.state.shared.classes[:] = self._classes
        self._segments: list[Symbols] = []
        self._seen = 0
        self._next_classes = FIRST_CLASSES_AFTER
        self.begin(np.empty((0, self.layout.positions), np.uint16))

    def begin(self, symbols: Symbols) -> None:
        """Turn to symbols uint16 (T, positions), which a decoder fills in."""
        self._symbols, self._at = symbols, 0

    def encode(
        self,
        cum: NDArray[np.uint32],
        freq: NDArray[np.uint32],
        priors: NDArray[np.int16] = _NO_PRIORS,
    ) -> None:
        """Write cum and freq, uint32 (T * positions,), of the symbols.

        priors: int16 (n, A), steps below certainty (1/64 bit) of the next n symbols, whole frames;
        only these are encoded. Without any, plain frequency is the prior, and all are.
        """
        stop = self._at + len(priors) if len(priors) else self._symbols.size
        self._code(ENCODE, stop, priors, cum, freq, new_lanes(1), _NO_INTERVALS)

    def decode(self, lanes: NDArray[np.uint64], words: NDArray[np.uint32]) -> bool:
        """Fill in all symbols; whether the words can come from an encoder."""
        return self._code(
            DECODE, self._symbols.size, _NO_PRIORS, _NO_INTERVALS, _NO_INTERVALS, lanes, words
        )

    def before_block(self) -> None:
        """Learn the classes, where that is due, before the next block is coded elsewhere."""
        if self._learns_classes and self._seen >= self._next_classes:
            self._learn_classes()

    def after_block(self, symbols: int) -> None:
        """Count a block that was coded elsewhere (kernel.end_block)."""
        self._seen += symbols
        self._at += symbols
        while self._pending:
            count_block(self.state, self.layout, self.block, self._symbols)
            if self._pending:
                self._make_room()

    def end(self) -> None:
        """All symbols of the run are coded."""
        if self._learns_classes:
            self._segments.append(self._symbols.copy())

    def _code(
        self,
        mode: int,
        stop: int,
        priors: NDArray[np.int16],
        cum: NDArray[np.uint32],
        freq: NDArray[np.uint32],
        lanes: NDArray[np.uint64],
        words: NDArray[np.uint32],
    ) -> bool:
        """Take the state through the symbols up to `stop`; whether the words make sense."""
        first = self._at
        return self._go(
            stop,
            lambda at, until: code_blocks(
                self.state, self.layout, self.scratch, self.block, self._symbols, at, until, mode,
                priors[at - first :], cum, freq, lanes, words,
            ),
        )  # fmt: skip

    def _go(self, stop: int, blocks: Callable[[int, int], int]) -> bool:
        """Take the state up to `stop`, learning classes and making room where that is due.

        blocks(at, until) goes from one symbol towards another, and says how far it came, or -1.
        """
        while self._at < stop or self._pending:
            if not self._pending:
                self.before_block()
            until = stop
            if self._learns_classes:
                until = min(stop, self._at + self._next_classes - self._seen)
            done = blocks(self._at, until)
            if done < 0:
                return False
            self._seen += done - self._at
            self._at = done
            if self._pending:
                self._make_room()
        return True

    @property
    def _pending(self) -> bool:
        """Whether symbols of the last block wait for room in a pool."""
        return bool(self.block.pending[0] < self.block.pending[1])

    def _make_room(self) -> None:
        """Enlarge what is full."""
        state = self.state
        token_lists = with_more_room(state.token_lists, state.token_terms.bits.size)
        mixed_lists = with_more_room(state.mixed_lists, state.mixed_terms.bits.size)
        self.state = state._replace(token_lists=token_lists, mixed_lists=mixed_lists)

    def _learn_classes(self) -> None:
        """Find the classes anew in all that was seen and count it again by them."""
        layout, symbols = self.layout, self._symbols
        self._next_classes = self._seen * (2 if self._seen < LARGE else 4)
        segments = [*self._segments, symbols[: self._at // layout.positions]]
        if not any(len(s) for s in segments):
            return
        self.state.shared.classes[:] = find_classes(segments, layout)
        forget_classes(self.state)
        for segment, stop in [*((s, s.size) for s in self._segments), (symbols, self._at)]:
            done = 0
            while done < stop:
                done = recount(self.state, layout, self.scratch, segment, done, stop)
                if done < stop:
                    self._make_room()
