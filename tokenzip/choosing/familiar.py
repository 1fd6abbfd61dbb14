"""Whether models know tokens when they see them, told from next to nothing.

A model codes some frames, and the same frames with all symbols renamed, one for one. What repeats,
and how often, is the same in both, and a model of other tokens finds both alike. One of these
tokens finds them in what it was trained on, and the others strange: on 128 tokens of 47 clips of
video and audio it took 1.5 bits a token or more less, and models that did not fit (those of the
other kind of video, or of clips whose symbols had been renamed) at most 1.2. On 512 it was 1.6 and
0.8. That takes no more than the network alone, which is several times as fast as a predictor that
learns, and so little of it that trying predictors would tell nothing.

Of few different symbols a model may like one better than another by chance. So it must also take
less than how often each has come so far would, which models that fit did, if by little, on each of
these clips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..coding.constants import SCORE_ONE
from ..models import Model
from ..predictors import BatchPredictor
from .sample import Piece

#: Tokens that are coded, and as many renamed: fewer mislead, more are not needed. Two frames of
#: each place are coded anyhow.
LEAST_TOKENS, MOST_TOKENS = 128, 512
#: One part in so many of a token's bits is what a renamed one must cost more.
_PART = 8
#: What the first occurrence of a symbol counts beside later ones is one to so many.
_COUNT = 16


def most_familiar(
    pieces: Sequence[Piece],
    models: Sequence[Model],
    networks: Callable[[Model], BatchPredictor],
    *,
    any_of_them: bool = False,
) -> Model | None:
    """The model that codes the pieces in the fewest bytes, of those that know them.

    any_of_them: of all, known or not.
    """
    tokens = sum(piece.tokens.size for piece in pieces)
    alphabet = max((piece.grid.alphabet for piece in pieces), default=2)
    as_they_are = [piece.tokens for piece in pieces]
    by_frequency = plain_bits(np.concatenate([part.ravel() for part in as_they_are]), alphabet)
    strange = (alphabet - 1).bit_length() * tokens // _PART

    def bits(model: Model, parts: Sequence[npt.NDArray[np.uint16]]) -> int:
        return sum(8 * len(payload) for payload in networks(model).encode(parts))

    def renamed() -> list[npt.NDArray[np.uint16]]:
        return [_renamed(piece.tokens, piece.grid.alphabet) for piece in pieces]

    found: list[tuple[int, bytes, Model]] = []
    for model in models:
        own = bits(model, as_they_are)
        # Most models of other tokens fail the first question, and are not asked the second.
        if any_of_them or (own < by_frequency and bits(model, renamed()) - own > strange):
            found.append((own, model.identity, model))
    # Of equals the order must not depend on names of files.
    return min(found, key=lambda one: one[:2])[2] if found else None


def plain_bits(tokens: npt.NDArray[np.uint16], alphabet: int) -> int:
    """What tokens take by how often each symbol has come so far; in any order it is the same.

    The n-th token takes log2 of (16 n + A) / (16 c + 1) bits if its symbol came c times before.
    """
    counts = np.bincount(tokens)
    before = np.arange(len(tokens), dtype=np.int64)
    of_counts = np.concatenate([[0], np.cumsum(_log2_steps(_COUNT * before + 1))])
    steps = _log2_steps(_COUNT * before + alphabet).sum() - of_counts[counts].sum()
    return int(steps) // SCORE_ONE


def _log2_steps(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """coding/logarithms.log2_steps of each."""
    # Here, for it brings numba, which takes a while, and which stored blobs do without.
    from ..coding.logarithms import DIRECT, LOG2_STEPS

    bits = np.searchsorted(DIRECT << np.arange(32, dtype=np.int64), values, side="right")
    steps: npt.NDArray[np.int64] = LOG2_STEPS[values >> bits] + bits.astype(np.int64) * SCORE_ONE
    return steps


def _renamed(tokens: npt.NDArray[np.uint16], alphabet: int) -> npt.NDArray[np.uint16]:
    """Each symbol by another (one of them by itself at most), neighbours by distant ones."""
    names = np.arange(alphabet, dtype=np.int64)
    return ((names * _stride(alphabet) + 1) % alphabet).astype(np.uint16)[tokens]


def _stride(alphabet: int) -> int:
    """About 0.62 of the alphabet, and without a divisor in common with it."""
    stride = max(1, alphabet * 618 // 1000)
    while np.gcd(stride, alphabet) != 1:
        stride += 1
    return stride
