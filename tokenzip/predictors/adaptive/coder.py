"""AdaptiveCoder: chunks of frames to payloads and back (FORMAT.md section 9)."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.decoder import all_exhausted, open_lanes
from tokenzip.coding.encoder import encode_lane
from tokenzip.coding.helpers import Helpers
from tokenzip.errors import CorruptError

from .. import check_version
from ..lanes import join_lanes, split_lanes
from .contexts import geometry
from .learner import Learner

#: Version of everything in this package that a blob's bits depend on.
VERSION = 1
#: A chunk of fewer symbols is one lane: a lane costs about five bytes.
SYMBOLS_FOR_LANES = 1 << 14
MOST_LANES = 8

Tokens = NDArray[np.uint16]


class AdaptiveCoder:
    """Codes runs of frames, learning from all that it has seen since the last reset.

    Args:
        alphabet: number of symbols, 2 to 65,536.
        frame: shape of a frame, without empty dimensions.
        chunk_tokens: tokens that will be coded before the next reset, as far as known; it sizes
            hashed tables and tells a lone frame (coded as a film of its rows).
        threads: how many encode a block together.
    """

    def __init__(
        self, alphabet: int, frame: tuple[int, ...], chunk_tokens: int, threads: int = 1
    ) -> None:
        self._frame = tuple(frame)
        self._layout = geometry(alphabet, self._frame, chunk_tokens)
        symbols = chunk_tokens * (2 if self._layout.split else 1)
        self._learner = self._new_learner(self._layout, symbols, helpers=Helpers(threads - 1))

    def _new_learner(self, *arguments: Any, **others: Any) -> Learner:
        """What learns the statistics."""
        return Learner(*arguments, **others)

    def parameters(self) -> bytes:
        """One byte: the version of the predictor."""
        return bytes([VERSION])

    @classmethod
    def from_parameters(
        cls,
        parameters: bytes,
        alphabet: int,
        frame: tuple[int, ...],
        chunk_tokens: int,
        threads: int = 1,
    ) -> AdaptiveCoder:
        """The coder for a blob's parameter bytes.

        Raises:
            UnsupportedVersionError: the blob was written by a newer predictor.
            CorruptError: the bytes are no parameters.
        """
        check_version("adaptive", parameters, VERSION)
        return cls(alphabet, frame, chunk_tokens, threads)

    def reset(self) -> None:
        """Forget everything."""
        self._learner.reset()

    def encode(self, tokens: Tokens) -> bytes:
        """The payload of tokens uint16 (T, *frame), T >= 1."""
        symbols = self._to_symbols(tokens)
        cum = np.empty(symbols.size, np.uint32)
        freq = np.empty(symbols.size, np.uint32)
        self._learner.begin(symbols)
        self._learner.encode(cum, freq)
        self._learner.end()
        lanes = self._lanes(symbols.size)
        by_row = (len(symbols), self._layout.rows, self._layout.columns)
        words = [
            encode_lane(
                cum.reshape(by_row)[:, lane::lanes].ravel(),
                freq.reshape(by_row)[:, lane::lanes].ravel(),
            )
            for lane in range(lanes)
        ]
        return join_lanes(words)

    def decode(self, payload: bytes, frames: int) -> Tokens:
        """The tokens uint16 (frames, *frame) of a payload.

        Raises:
            CorruptError: no encoder writes these bytes.
        """
        shape = (frames * prod(self._frame) * (2 if self._layout.split else 1),)
        symbols = np.zeros(shape, np.uint16).reshape(-1, self._layout.positions)
        words, bounds = split_lanes(payload, self._lanes(symbols.size))
        lanes = open_lanes(words, bounds)
        self._learner.begin(symbols)
        if not self._learner.decode(lanes, words):
            raise CorruptError("the payload's words lead outside the tables", where="payload")
        self._learner.end()
        if not all_exhausted(lanes):
            raise CorruptError("the payload has words left over", where="payload")
        return self._to_tokens(symbols, frames)

    def observe(self, tokens: Tokens) -> None:
        """Learn from tokens uint16 (T, *frame) as if they had been coded."""
        symbols = self._to_symbols(tokens)
        unused = np.empty(symbols.size, np.uint32)
        self._learner.begin(symbols)
        self._learner.encode(unused, unused)
        self._learner.end()

    def _lanes(self, symbols: int) -> int:
        return min(self._layout.rows, MOST_LANES) if symbols >= SYMBOLS_FOR_LANES else 1

    def _to_symbols(self, tokens: Tokens) -> Tokens:
        """(T, positions) of what is coded: the tokens, or their high and low halves in turn."""
        layout = self._layout
        if layout.split:
            halves = np.empty((tokens.size, 2), np.uint16)
            halves[:, 0] = tokens.ravel() >> layout.low_bits
            halves[:, 1] = tokens.ravel() & ((1 << layout.low_bits) - 1)
            return halves.reshape(-1, layout.positions)
        return tokens.reshape(-1, layout.positions)

    def _to_tokens(self, symbols: Tokens, frames: int) -> Tokens:
        layout = self._layout
        if layout.split:
            halves = symbols.reshape(-1, 2).astype(np.uint32)
            if (halves[:, 1] >> layout.low_bits).any():
                raise CorruptError("a token's low half is too large", where="payload")
            symbols = ((halves[:, 0] << layout.low_bits) | halves[:, 1]).astype(np.uint16)
        return symbols.reshape(frames, *self._frame)
