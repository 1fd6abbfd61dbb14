"""The best predictor and model for some tokens, by trying them on a sample.

Every candidate codes the same parts of chunks, as it would code them in the blob. The model of the
fewest bytes is taken if it beats the adaptive predictor, which has had less time to learn than it
will have, by a margin. Where that would take too large a part of the time, networks are asked
whether they know these tokens (asking.py). Sizes are whole numbers that are the same on every
machine, backend and number of threads, so the choice is, too. benchmarks/choice.py measures how
good choices are, and what they cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..blob import GIVEN, Candidate, Choice
from ..grid import TokenGrid
from ..models import Geometry, Model
from ..predictors import HYBRID, Coder, CoderFactory
from .asking import most_familiar
from .candidates import Chosen, weight
from .noise import is_noise
from .sample import LEAST_FRAMES, Piece, sample

if TYPE_CHECKING:
    from ..predictors.network.predictor import NetworkPredictor

#: Trying takes about so many hundredths of the time that the fastest candidate takes, and 15 at
#: most.
PERCENT = 12
#: Fewer tokens do not tell candidates apart by their bytes: on 512, from several places, of each of
#: 32 clips of video and audio a model that fits saved 0.9 bits a token or more, and one that does
#: not cost 0.16 or more. On 1,024 tokens of the beginnings, which may stand still, it seemed to
#: save some in six of 22.
LEAST_SAMPLE = 512
#: More than this is not needed.
MOST_SAMPLE = 32_768

#: predictor name, its model -> what makes its coders.
Coding = Callable[[str, Model | None], CoderFactory]


def choose(
    grids: Sequence[TokenGrid],
    models: Sequence[Model],
    coding: Coding,
    networks: Callable[[Model], NetworkPredictor],
    *,
    numbers: Callable[[Model], int | None],
    adaptive: bool = True,
    chunk_frames: int | None = None,
    solid: bool = False,
    threads: int = 1,
) -> Chosen:
    """The best of hybrids with these models and, if `adaptive`, of the adaptive predictor.

    Nothing is tried where one is left, or where the tokens look like noise: then it is the first.

    Args:
        grids: of the blob; the models fit all of them.
        models: the candidates; not none of them if adaptive is False.
        coding: makes what codes; networks: whom to ask whether a model knows tokens.
        numbers: of bundled models; None for others.
        chunk_frames, solid, threads: as for encoding.
    """
    candidates: list[Chosen] = [Chosen("adaptive")] if adaptive else []
    # Whatever is first must not depend on names of files.
    models = sorted(models, key=lambda model: model.identity)
    candidates += [Chosen(HYBRID, model) for model in models]
    total = sum(grid.tokens.size for grid in grids)
    if len(candidates) == 1 or not total or is_noise(grids):
        return candidates[0]
    largest = max((grid for grid in grids if grid.tokens.size), key=lambda grid: grid.alphabet)
    geometry = Geometry.of(largest.frame, largest.alphabet)
    weights = [weight(candidate, geometry) for candidate in candidates]
    tokens = share(total, weights, min(weights))
    if tokens >= max(LEAST_SAMPLE, LEAST_FRAMES * largest.frame_tokens):
        pieces = sample(grids, min(tokens, MOST_SAMPLE), chunk_frames)
        return _cheapest(candidates, pieces, coding, numbers, solid, threads)
    model = most_familiar(
        *(grids, models, networks, weights[-len(models) :]),
        fastest=min(weights) if adaptive else None,
        chunk_frames=chunk_frames,
    )
    return next(one for one in candidates if one.model is model)


def share(total: int, weights: Sequence[int], fastest: int) -> int:
    """How many of `total` tokens candidates of these weights are tried on, the same ones.

    A weight is what a token takes; fastest: of the fastest candidate.
    """
    return total * PERCENT * fastest // (100 * sum(weights))


def margin(tokens: int) -> int:
    """By how many thousandths a model must beat the adaptive predictor on a sample of so many.

    The less that predictor has seen, the worse it looks beside what it will do in the end: 5 % on
    512 tokens, 1.1 % on 10,000.
    """
    return math.isqrt(50 * 50 * 512 // tokens)


def _cheapest(
    candidates: Sequence[Chosen],
    pieces: Sequence[Piece],
    coding: Coding,
    numbers: Callable[[Model], int | None],
    solid: bool,
    threads: int,
) -> Chosen:
    tokens = sum(piece.tokens.size for piece in pieces)
    tried: list[tuple[int, bytes, Candidate, Chosen]] = []
    for candidate in candidates:
        size = _cost(coding(candidate.predictor, candidate.model), pieces, solid, threads)
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


def _cost(factory: CoderFactory, pieces: Sequence[Piece], solid: bool, threads: int) -> int:
    """Bytes of all pieces, also where storing one would take fewer: chunks are longer."""
    total = 0
    kept: dict[tuple[int, tuple[int, ...]], Coder] = {}
    for piece in pieces:
        group = piece.grid.alphabet, piece.grid.frame
        coder = kept.get(group) if solid else None
        if coder is None:
            coder = factory(*group, piece.coder_tokens, threads)
            kept[group] = coder
        total += len(coder.encode(piece.tokens))
    return total
