"""Whether models know tokens when they see them, told from next to nothing.

Where a symbol comes that nothing around it has, a network that was trained on such tokens expected
it more than others, and any other network did not. So every such symbol is asked for how much less
it surprises than any other would have in its place. That does not depend on what repeats, and how
often, which is alike in most tokens. Of 128 tokens of video and audio it was 2 to 20 bits a symbol
if the model fits, and within 1 of 0 if it is one of other tokens, or 4 where there were only a few
such symbols. benchmarks/familiar.py measures it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..coding.constants import SCORE_ONE
from ..models import HISTORY, Geometry
from .sample import Piece

if TYPE_CHECKING:
    from ..predictors.network.surprisal import Surprisals

#: Networks are asked about so many codebooks only: each takes its time, and later ones tell less.
CODEBOOKS = 4
#: Where fewer than so many of them change, they are asked about as if nothing came before.
_LEAST_CHANGES = 8
#: Symbols are known if on average they surprise by so much less, in hundredths of the bits of a
#: symbol, over the square root of how many there are, and by so much at least: of an alphabet of
#: 1,024, one of them by 12 bits, 16 of them by 3 each, more than 64 by 1.5.
_LESS, _LEAST = 120, 15

Tokens = npt.NDArray[np.uint16]


def surprise(answers: Sequence[Sequence[Surprisals]]) -> int:
    """By how many steps all symbols, of all planes of some pieces, surprise."""
    return sum(int(of_plane.own.sum()) for answer in answers for of_plane in answer)


def knows(answers: Sequence[Sequence[Surprisals]], alphabet: int) -> bool:
    """Whether new symbols, of all planes of some pieces, surprise clearly less than any would."""
    less, count = how_much_less(answers)
    return less > enough(count, alphabet)


def enough(count: int, alphabet: int) -> int:
    """How many steps less so many different symbols must surprise in sum to be known."""
    hundredths = max(math.isqrt(_LESS**2 * count), _LEAST * count)
    return hundredths * (alphabet - 1).bit_length() * SCORE_ONE // 100


def how_much_less(answers: Sequence[Sequence[Surprisals]]) -> tuple[int, int]:
    """How many steps less the different ones of them surprise in sum, and how many these are."""
    seen = [of_plane for answer in answers for of_plane in answer]
    symbols = np.concatenate([one.symbols[one.new] for one in seen])
    less = np.concatenate([(one.others - one.own)[one.new] for one in seen])
    # Each symbol counts once, for a network may like a few by chance, and they may come often, and
    # in several codebooks.
    different, which, times = np.unique(symbols, return_inverse=True, return_counts=True)
    by_symbol = np.zeros(len(different), np.int64)
    np.add.at(by_symbol, which, less)
    return int((by_symbol // times).sum()), len(different)


def liveliest(piece: Piece, tokens: int) -> tuple[Tokens, int]:
    """Of the middle of the piece's frames, about so many tokens where the most of them change.

    Returns:
        uint16 (T, height, width, codebooks), and how many of the first frames are known already:
        one at most, for what comes and goes is new then.
    """
    frames, count = _middle(piece, tokens)
    changes = (frames[1:] != frames[:-1])[..., :CODEBOOKS].sum(axis=(1, 2, 3))
    before = np.concatenate([[0], np.cumsum(changes)])
    of_runs = before[count:] - before[:-count]
    if int(of_runs.max(initial=0)) < _LEAST_CHANGES:
        return frames[:count], 0
    first = int(of_runs.argmax())
    return frames[first : first + 1 + count], 1


def latest(piece: Piece, tokens: int) -> tuple[Tokens, int]:
    """The same where the piece ends, after as many frames as a network can know."""
    frames, count = _middle(piece, tokens)
    known = min(HISTORY, len(frames) - count)
    return frames[len(frames) - count - known :], known


def _middle(piece: Piece, tokens: int) -> tuple[Tokens, int]:
    """The middle of all frames, and how many of them have so many tokens of the codebooks asked
    about: not all, for one should be known, unless there is only one."""
    geometry = Geometry.of(piece.grid.frame, piece.grid.alphabet)
    height, width = geometry.height, geometry.width
    frames = piece.tokens.reshape(-1, height, width, geometry.codebooks)
    asked = min(geometry.codebooks, CODEBOOKS)
    while height * width > 1 and height * width * asked > tokens:
        height, width = (height // 2, width) if height >= width else (height, width // 2)
    rows, columns = geometry.middle(height, width)
    count = max(1, min(tokens // (height * width * asked), len(frames) - 1))
    return frames[:, rows, columns], count
