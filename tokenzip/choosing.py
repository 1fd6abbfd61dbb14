"""The choice of predictor and model where the caller leaves it open: by trying them on a sample.

Every candidate codes the same parts of chunks, as it would code them in the blob. The model of the
fewest bytes is taken if it beats the adaptive predictor, which has had less time to learn than it
will have, by a margin. Sizes are whole numbers that are the same on every machine, backend
and number of threads, so the choice is, too. What trying costs is bounded by the number of tokens
tried; benchmarks/choice.py measures how good the choices are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .blob import GIVEN, Candidate, Choice, chunk_bounds, default_chunk_frames
from .errors import ShapeError
from .grid import TokenGrid
from .models import Geometry
from .predictors import HYBRID, Coder, CoderFactory

if TYPE_CHECKING:
    from .models import Model
    from .models.bundled import Bundled

#: Fewer tokens in a call are never worth a model: it would save some hundred bytes at most, and may
#: have to be loaded, and its code compiled, for them.
LEAST_FOR_MODEL = 1024

#: So many tokens, from several places, tell candidates apart: on those of each of 32 clips of video
#: and audio a model that fits saved 0.9 bits a token or more, and one that does not cost 0.16 or
#: more. On 1,024 tokens of the beginnings, which may stand still, it seemed to save some in six of
#: 22.
LEAST_SAMPLE = 512

#: Where that is more, candidates are tried on so many of 100 tokens, all of them together ...
SHARE_PERCENT = 15
#: ... weighted by how long they take, the adaptive predictor being 4.
_WEIGHT_ADAPTIVE, _WEIGHT_HYBRID = 4, 5
#: More than this is not needed to tell them apart.
MOST_SAMPLE = 32_768

#: A sample comes from so many places, and has so many frames at each, or more.
_PLACES = 4
_LEAST_FRAMES = 2

#: Tokens looked at to tell whether there is anything to predict.
_LOOK = 8192

Tokens = npt.NDArray[np.uint16]
#: predictor name, its model -> what makes its coders.
Coding = Callable[[str, "Model | None"], CoderFactory]


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a blob is to be written with.

    Attributes:
        predictor: its name.
        model: its model, or None.
        choice: what was tried; None if nothing was.
    """

    predictor: str
    model: Model | None = None
    choice: Choice | None = None


def fits(geometry: Geometry, grids: Sequence[TokenGrid]) -> bool:
    """Whether a model of this geometry can code all grids that have tokens."""
    for grid in grids:
        if not grid.tokens.size:
            continue
        try:
            own = Geometry.of(grid.frame, grid.alphabet)
        except ShapeError:
            return False
        sides = [(g.height, g.width, g.codebooks) for g in (own, geometry)]
        if sides[0] != sides[1] or grid.alphabet > geometry.alphabet:
            return False
    return True


def likely(entries: Sequence[Bundled], grids: Sequence[TokenGrid]) -> list[Bundled]:
    """The bundled models that are worth trying on these grids; nothing is loaded.

    Tokens that use a quarter of a model's alphabet or less are of another tokenizer.
    """
    if sum(grid.tokens.size for grid in grids) < LEAST_FOR_MODEL:
        return []
    largest = max(grid.alphabet for grid in grids)
    return [
        entry for entry in entries if 4 * largest > entry.alphabet and fits(entry.geometry, grids)
    ]


def choose(
    grids: Sequence[TokenGrid],
    models: Sequence[Model],
    coding: Coding,
    *,
    numbers: Callable[[Model], int | None],
    adaptive: bool = True,
    chunk_frames: int | None = None,
    solid: bool = False,
) -> Chosen:
    """The best of hybrids with these models and, if `adaptive`, of the adaptive predictor.

    Nothing is tried where one is left, or where the tokens look like noise: then it is the first.

    Args:
        grids: of the blob; the models fit all of them.
        models: the candidates; not none of them if adaptive is False.
        coding: makes what codes.
        numbers: of bundled models; None for others.
        chunk_frames, solid: as for encoding.
    """
    candidates: list[Chosen] = [Chosen("adaptive")] if adaptive else []
    candidates += [Chosen(HYBRID, model) for model in models]
    if len(candidates) == 1 or _is_noise(grids):
        return candidates[0]
    pieces = _sample(grids, _sample_tokens(grids, candidates), chunk_frames)
    tokens = sum(piece.tokens.size for piece in pieces)
    if not tokens:
        return candidates[0]
    tried: list[tuple[int, bytes, Candidate, Chosen]] = []
    for candidate in candidates:
        size = _cost(coding(candidate.predictor, candidate.model), pieces, solid)
        model = candidate.model
        which = None if model is None else numbers(model) or GIVEN
        note = Candidate(candidate.predictor, which, 8000 * size // tokens)
        tried.append((size, b"" if model is None else model.identity, note, candidate))
    # Of equals the order must not depend on names of files.
    tried.sort(key=lambda one: one[:2])
    plain = next((one for one in tried if one[3].model is None), None)
    if plain is not None and 1000 * tried[0][0] > (1000 - margin(tokens)) * plain[0]:
        tried.remove(plain)
        tried.insert(0, plain)
    return replace(tried[0][3], choice=Choice(tokens, tuple(one[2] for one in tried)))


def margin(tokens: int) -> int:
    """By how many thousandths a model must beat the adaptive predictor on a sample of so many.

    The less that predictor has seen, the worse it looks beside what it will do in the end: 5 % on
    512 tokens, 1.1 % on 10,000.
    """
    return math.isqrt(50 * 50 * 512 // tokens)


def sample_tokens(total: int, weights: Sequence[int]) -> int:
    """How many of `total` tokens each candidate is tried on, weights being what a token takes."""
    share = total * SHARE_PERCENT * min(weights) // (100 * sum(weights))
    return min(total, max(LEAST_SAMPLE, min(share, MOST_SAMPLE)))


def _sample_tokens(grids: Sequence[TokenGrid], candidates: Sequence[Chosen]) -> int:
    weights = [_WEIGHT_ADAPTIVE if c.model is None else _WEIGHT_HYBRID for c in candidates]
    return sample_tokens(sum(grid.tokens.size for grid in grids), weights)


@dataclass(frozen=True, eq=False)
class _Piece:
    """A part of a chunk. coder_tokens: what its coder is made for."""

    grid: TokenGrid
    tokens: Tokens
    coder_tokens: int


def _sample(grids: Sequence[TokenGrid], wanted: int, chunk_frames: int | None) -> list[_Piece]:
    """Parts of chunks, evenly spread over all grids, of about `wanted` tokens together."""
    chunks = [
        (grid, start, stop)
        for grid in grids
        if grid.tokens.size
        for start, stop in chunk_bounds(
            grid.frames, chunk_frames or default_chunk_frames(grid.frame_tokens)
        )
    ]
    if not chunks:
        return []
    sizes = [(stop - start) * grid.frame_tokens for grid, start, stop in chunks]
    ends = np.cumsum(sizes)
    # More than a few places only where chunks are too short for a part of the sample.
    places = max(_PLACES, -(-wanted // max(sizes)))
    places = max(1, min(places, wanted // (_LEAST_FRAMES * chunks[0][0].frame_tokens)))
    pieces = []
    for place in range(places):
        target = (2 * place + 1) * int(ends[-1]) // (2 * places)
        number = int(np.searchsorted(ends, target, side="right"))
        grid, start, stop = chunks[number]
        frames = max(_LEAST_FRAMES, wanted // places // grid.frame_tokens)
        frames = min(stop - start, frames)
        middle = start + (target - int(ends[number]) + sizes[number]) // grid.frame_tokens
        first = min(max(start, middle - frames // 2), stop - frames)
        tokens = np.require(grid.tokens[first : first + frames], requirements=["C", "W"])
        # A coder for a single frame is another than one for the first frame of many.
        least = min(_LEAST_FRAMES, stop - start) * grid.frame_tokens
        pieces.append(_Piece(grid, tokens, max(tokens.size, least)))
    return pieces


def _cost(factory: CoderFactory, pieces: Sequence[_Piece], solid: bool) -> int:
    """Bytes of all pieces, also where storing one would take fewer: chunks are longer."""
    total = 0
    kept: dict[tuple[int, tuple[int, ...]], Coder] = {}
    for piece in pieces:
        group = piece.grid.alphabet, piece.grid.frame
        coder = kept.get(group) if solid else None
        if coder is None:
            coder = factory(*group, piece.coder_tokens)
            kept[group] = coder
        total += len(coder.encode(piece.tokens))
    return total


def _is_noise(grids: Sequence[TokenGrid]) -> bool:
    """Whether some tokens look drawn at random, all alike: no predictor is worth trying then.

    Each of three things would show otherwise: how often two of the tokens are equal, a token and
    the one before it, and a token and that of the frame before. By chance one of A is, and no
    more than five standard deviations more or fewer.
    """
    for grid in grids:
        if grid.tokens.size:
            frames = max(2, _LOOK // max(1, grid.frame_tokens))
            if not _looks_random(grid.tokens[:frames], grid.alphabet):
                return False
    return True


def _looks_random(frames: Tokens, alphabet: int) -> bool:
    tokens = frames.reshape(-1)
    counts = np.bincount(tokens, minlength=alphabet).astype(np.int64)
    pairs = tokens.size * (tokens.size - 1) // 2
    equal = [
        (int((counts * (counts - 1)).sum()) // 2, pairs),
        (int((tokens[1:] == tokens[:-1]).sum()), tokens.size - 1),
        (int((frames[1:] == frames[:-1]).sum()), frames[1:].size),
    ]
    # |found - n / A| <= 3 + 5 sqrt(n / A), in whole numbers; the 3 is for where next to none are.
    beyond = [(max(0, abs(found * alphabet - n) - 3 * alphabet), n) for found, n in equal]
    return all(excess**2 <= 25 * n * alphabet for excess, n in beyond)
