"""How the tokens of a frame are laid out for a network: sites on a plane, symbols in a site.

Networks see every frame as a grid of `height x width` *sites*, each holding `planes` symbols:

    frame (8, 16)      8 x 16 sites, 1 plane       video tokens
    frame (8,)         1 x 1 site, 8 planes        residual codebooks of an audio frame
    frame (100,)       1 x 100 sites, 1 plane      a long row
    frame ()           1 x 1 site, 1 plane         a stream
    frame (4, 8, 16)   4 x 8 sites, 16 planes      a last axis of up to 32 is a stack of codebooks

An alphabet above MAX_SYMBOLS is split: a token becomes two symbols of half its bits, high and low,
in two planes, so that no network needs an output for each of 65,536 tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import CorruptError, ShapeError

#: Largest alphabet that gets one symbol a token.
MAX_SYMBOLS = 4096
#: A last axis of at most this many entries (of a frame that is not 2-D) is a stack of codebooks.
MAX_PLANES = 32
MAX_SITES = 4096


@dataclass(frozen=True)
class Geometry:
    """Sites and planes of a frame, and the alphabet of the symbols in them.

    Attributes:
        height, width: the grid of sites.
        codebooks: tokens in a site.
        alphabet: of the tokens.
    """

    height: int
    width: int
    codebooks: int
    alphabet: int

    @classmethod
    def of(cls, frame: tuple[int, ...], alphabet: int) -> Geometry:
        """The geometry of frames of this shape.

        Raises:
            ShapeError: more than 4096 sites, or an empty frame.
        """
        height, width, codebooks = _sites(frame)
        if not 0 < height * width <= MAX_SITES:
            raise ShapeError(
                f"frames of shape {frame} are {height} x {width} sites; networks take 1 to "
                f"{MAX_SITES} sites: use predictor='adaptive'"
            )
        return cls(height, width, codebooks, alphabet)

    @property
    def sites(self) -> int:
        return self.height * self.width

    @property
    def split(self) -> int:
        """Bits of a token's low symbol if tokens are split in two, else 0."""
        return (self.alphabet - 1).bit_length() // 2 if self.alphabet > MAX_SYMBOLS else 0

    @property
    def planes(self) -> int:
        """Symbols in a site."""
        return self.codebooks * (2 if self.split else 1)

    @property
    def symbols(self) -> int:
        """Alphabet of a symbol; also the number that stands for "no symbol here"."""
        if not self.split:
            return self.alphabet
        return max(1 << self.split, ((self.alphabet - 1) >> self.split) + 1)

    @property
    def frame_tokens(self) -> int:
        return self.sites * self.codebooks

    def middle(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the middle height x width sites."""
        top, left = (self.height - height) // 2, (self.width - width) // 2
        return slice(top, top + height), slice(left, left + width)

    def to_symbols(self, tokens: npt.NDArray[np.uint16]) -> npt.NDArray[np.int32]:
        """Tokens (T, *frame) to symbols int32 (T, sites, planes)."""
        flat = tokens.reshape(len(tokens), self.sites, self.codebooks).astype(np.int32)
        if not self.split:
            return flat
        pair = np.stack([flat >> self.split, flat & ((1 << self.split) - 1)], axis=-1)
        return pair.reshape(len(tokens), self.sites, self.planes)

    def to_tokens(self, symbols: npt.NDArray[np.int32]) -> npt.NDArray[np.uint16]:
        """Symbols (T, sites, planes) to flat tokens uint16 (T, tokens of a frame).

        A pair of symbols may be no token of the alphabet: the caller checks the range.

        Raises:
            CorruptError: a low symbol has too many bits; no token is split so.
        """
        if self.split:
            pair = symbols.reshape(len(symbols), self.frame_tokens, 2)
            if int(pair[..., 1].max(initial=0)) >> self.split:
                raise CorruptError("half a token is too large", where="payload")
            symbols = (pair[..., 0] << self.split) | pair[..., 1]
        return symbols.reshape(len(symbols), self.frame_tokens).astype(np.uint16)


def _sites(frame: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, codebooks) of a frame shape."""
    if len(frame) == 0:
        return 1, 1, 1
    if len(frame) == 1:
        return (1, 1, frame[0]) if frame[0] <= MAX_PLANES else (1, frame[0], 1)
    if len(frame) == 2:
        return frame[0], frame[1], 1
    if frame[-1] <= MAX_PLANES:
        return math.prod(frame[:-2]), frame[-2], frame[-1]
    return math.prod(frame[:-1]), frame[-1], 1
