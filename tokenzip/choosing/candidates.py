"""What may be chosen, and roughly how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..blob import Choice
from ..errors import ShapeError
from ..grid import TokenGrid
from ..models import Geometry

if TYPE_CHECKING:
    from ..models import Model
    from ..models.bundled import Bundled

#: Fewer tokens in a call are not worth a model that nobody asked for: it would save some hundred
#: bytes at most, and may have to be loaded, and its code compiled, for them.
LEAST_FOR_MODEL = 1024

# Nanoseconds that each takes, measured on one machine; only their proportions matter.
_OF_SYMBOL, _OF_SYMBOL_OF_ALPHABET, _OF_THOUSAND_MACS, _OF_NETWORK = 1300, 5, 6, 700
# What asking networks takes, however few tokens they are asked about: all, each, for each plane.
OF_ASKING, _OF_QUESTION, _OF_PLANE = 200_000, 60_000, 25_000


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


def weight(candidate: Chosen, geometry: Geometry) -> int:
    """How long a token of this geometry takes to encode, beside others."""
    if candidate.model is None:
        return _of_mixer(geometry)
    spec = candidate.model.spec
    return _of_mixer(spec.geometry) + int(spec.macs["total"]) * _OF_THOUSAND_MACS // 1000


def weight_of_question(model: Model, codebooks: int) -> tuple[int, int]:
    """How long it takes to ask a model's network about tokens of the first codebooks: for however
    few, and for each."""
    geometry, macs = model.spec.geometry, model.spec.macs
    asked = min(codebooks, geometry.codebooks)
    planes = asked * geometry.planes // geometry.codebooks
    of_token = int(macs["body"] * geometry.codebooks) // asked + int(macs["head"] + macs["output"])
    return (
        _OF_QUESTION + _OF_PLANE * planes,
        _OF_NETWORK * planes // asked + of_token * _OF_THOUSAND_MACS // 2000,
    )


def _of_mixer(geometry: Geometry) -> int:
    symbols = geometry.planes // geometry.codebooks
    return symbols * (_OF_SYMBOL + _OF_SYMBOL_OF_ALPHABET * geometry.symbols)
