"""Learner: the state that encoder and decoder build up alike, and when it changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.decoder import new_state as new_lanes
from tokenzip.coding.helpers import NOBODY, Helpers, Later
from tokenzip.coding.team import new_team

from .classes import find_classes
from .contexts import Geometry, context_set
from .kernel import DECODE, ENCODE, code_blocks, code_symbols, count_block, recount
from .state import (
    ADAPTIVE,
    Block,
    Job,
    Others,
    Scratch,
    State,
    Tuning,
    forget_classes,
    new_block,
    new_others,
    new_scratch,
    new_state,
    state_of_helper,
    with_more_room,
)

#: Symbols after which classes are learned for the first time; then again whenever their number has
#: grown twofold, and fourfold once it is large.
FIRST_CLASSES_AFTER = 1024
LARGE = 1 << 16

Symbols = NDArray[np.uint16]
_Result = TypeVar("_Result")
# Blocks of fewer symbols, or fewer in all, are coded and counted sooner than helpers have come, or
# than what they have learned has come back.
_WORTH_HELP = 64
NO_PRIORS = np.empty((0, 0), np.int16)
_NO_INTERVALS = np.empty(0, np.uint32)


class Learner:
    """Learns from runs of symbols, block by block: begin, code all of them, end.

    Args:
        layout: of the symbols.
        symbols_to_come: until the next reset, as far as known: sizes hashed tables.
        tuning: how contexts count at first, and how fast that is learned.
        errors: how many symbols' errors are kept in the block, for others to learn from.
        classes: of the symbols, int64 (planes, A), if they are known and need not be learned.
        helpers: who code symbols of a block that need not wait for one another.
    """

    def __init__(
        self,
        layout: Geometry,
        symbols_to_come: int,
        tuning: Tuning = ADAPTIVE,
        errors: int = 0,
        classes: NDArray[np.int64] | None = None,
        helpers: Helpers = NOBODY,
    ) -> None:
        self.layout, self._errors, self._classes = layout, errors, classes
        self._helpers = helpers
        self._raster = np.arange(layout.positions)
        self._learns_classes = layout.learns_classes and classes is None
        self._contexts = context_set(layout)
        self._symbols_to_come, self._tuning = symbols_to_come, tuning
        self._counting: Later[None] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        if self._counting is not None:
            # An interrupt may have left it behind.
            self._counting.cancel()
            self._counting = None
        self.state = new_state(self.layout, self._contexts, self._symbols_to_come, self._tuning)
        self.scratch = new_scratch(self.layout, self._contexts, self.state)
        self.block = new_block(self.layout, self._contexts, self._errors)
        self.others = new_others(self.state, self._helpers.count)
        self._room = [self._room_of_helper() for _ in range(self._helpers.count)]
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
        priors: NDArray[np.int16] = NO_PRIORS,
    ) -> None:
        """Write cum and freq, uint32 (T * positions,), of the symbols.

        priors: int16 (n, A), steps below certainty (1/64 bit) of the next n symbols, whole frames;
        only these are encoded. Without any, plain frequency is the prior, and all are.
        """
        first = self._at

        def blocks(at: int, until: int) -> int:
            return self._encode_blocks(at, until, priors[at - first :], cum, freq)

        self.code(first + len(priors) if len(priors) else self._symbols.size, blocks)

    def _encode_blocks(
        self,
        at: int,
        until: int,
        priors: NDArray[np.int16],
        cum: NDArray[np.uint32],
        freq: NDArray[np.uint32],
    ) -> int:
        """Encode blocks as `code` wants it; priors: of the symbols from `at` on."""
        job = self.job(ENCODE, priors=priors, cum=cum, freq=freq)
        lead = partial(code_blocks, *self.mixer)
        return int(self.together(job, until - at, lambda job: lead(job, at, until)))

    def decode(self, lanes: NDArray[np.uint64], words: NDArray[np.uint32]) -> bool:
        """Fill in all symbols, row r of a frame from lane r modulo the number of lanes; whether the
        words can come from an encoder."""
        lane_of = self._raster // self.layout.columns % len(lanes)

        def blocks(at: int, until: int) -> int:
            # By one thread: each symbol waits for the one before it.
            job = self.job(DECODE, lanes=lanes, words=words, lane_of=lane_of)
            return int(code_blocks(*self.mixer, job, at, until))

        return self.code(self._symbols.size, blocks)

    def code(self, stop: int, blocks: Callable[[int, int], int]) -> bool:
        """Go up to symbol `stop`, learning classes and making room where that is due.

        blocks(at, until) codes whole blocks from one symbol until another, and says how far it
        came, less far with a full pool, or -1. Returns whether it never did.
        """
        self._settle()
        while self._at < stop:
            until = stop
            if self._learns_classes:
                if self._seen >= self._next_classes:
                    self._learn_classes()
                until = min(stop, self._at + self._next_classes - self._seen)
            done = int(blocks(self._at, until))
            if done < 0:
                return False
            self._seen += done - self._at
            self._at = done
            if done < until:
                self._make_room()
        return True

    def count(self) -> None:
        """Count the symbols of the last block."""
        self._settle()
        self._count()

    def count_soon(self) -> None:
        """The same while things other than the state are worked on, if somebody helps with it and
        it is worth that; otherwise it waits for the next block."""
        if self._helpers.count and self.layout.block_symbols >= _WORTH_HELP:
            self._counting = Later(self._count)
            self._helpers.offer(self._counting)

    def job(self, mode: int, **parts: Any) -> Job:
        """The symbols of this run, to be coded by one thread in raster order.

        parts: of the Job, as far as it needs them.
        """
        nothing = Job(
            mode=mode,
            symbols=self._symbols,
            order=self._raster,
            lane_of=self._raster,
            priors=NO_PRIORS,
            cum=_NO_INTERVALS,
            freq=_NO_INTERVALS,
            lanes=new_lanes(1),
            words=_NO_INTERVALS,
            team=new_team(),
        )
        return nothing._replace(**parts)

    def together(self, job: Job, symbols: int, lead: Callable[[Job], _Result]) -> _Result:
        """lead(job), which codes so many symbols, with helpers for the tasks that it opens."""
        if min(symbols, self.layout.block_symbols) < _WORTH_HELP:
            return lead(job)

        def work(team: NDArray[np.int64], helper: int) -> None:
            state = state_of_helper(self.state, self.others, helper)
            own = job._replace(team=team)
            code_symbols(state, self.layout, self._room[helper], self.block, own, helper + 1)

        return self._helpers.run(lambda team: lead(job._replace(team=team)), work)

    @property
    def mixer(self) -> tuple[State, Others, Geometry, Scratch, Block]:
        """What the compiled loops take."""
        return self.state, self.others, self.layout, self.scratch, self.block

    def end(self) -> None:
        """All symbols of the run are coded."""
        self.count()
        if self._learns_classes:
            self._segments.append(self._symbols.copy())

    def _count(self) -> None:
        while not count_block(self.state, self.layout, self.block, self._symbols):
            self._make_room()

    def _settle(self) -> None:
        """Wait for a helper that counts."""
        if self._counting is not None:
            self._counting.result()
            self._counting = None

    def _room_of_helper(self) -> Scratch:
        # What the leader writes for all symbols of a block, all read.
        own = new_scratch(self.layout, self._contexts, self.state)
        return own._replace(plain=self.scratch.plain)

    def _make_room(self) -> None:
        """Enlarge what is full."""
        state = self.state
        token_lists = with_more_room(state.token_lists, state.token_terms.bits.size)
        mixed_lists = with_more_room(state.mixed_lists, state.mixed_terms.bits.size)
        self.state = state._replace(token_lists=token_lists, mixed_lists=mixed_lists)

    def _learn_classes(self) -> None:
        """Find the classes anew in all that was seen and count it again by them."""
        self.count()
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
