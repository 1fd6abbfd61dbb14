"""What a network looks at: lists of places relative to the symbol that it predicts.

A place is (frames back, rows down, columns right). Places of the same frame must lie before the
symbol in the order of steps (steps.py). Places outside the frame, or before the first frame, hold
"no symbol".

The lists for a geometry are chosen here once, when training begins; a model file carries its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .geometry import Geometry

Place = tuple[int, int, int]

#: Frames that a place may lie back.
HISTORY = 4
#: Rows and columns that a place may lie away.
REACH = 3

AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
_BESIDE = [place for place in AROUND if place != (0, 0)]
_CROSS = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
_CAUSAL = [
    *[(0, -1), (0, -2), (0, -3)],
    *[(-1, -2), (-1, -1), (-1, 0), (-1, 1)],
    *[(-2, -1), (-2, 0), (-2, 1)],
]


@dataclass(frozen=True)
class Features:
    """Places, by use.

    Attributes:
        window: symbols of past frames whose embeddings the body sees.
        past: pairs of places in past frames; the body sees whether their symbols are equal.
        neighbours: symbols of the frame being coded whose embeddings the head sees.
        now: pairs of places; the head sees whether their symbols are equal.
        candidates: places whose symbols get a bonus that the head learns (a pointer or copy term).
    """

    window: tuple[Place, ...]
    past: tuple[tuple[Place, Place], ...]
    neighbours: tuple[Place, ...]
    now: tuple[tuple[Place, Place], ...]
    candidates: tuple[Place, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Features:
        """The inverse of to_dict, also of its JSON; otherwise ValueError, TypeError or KeyError."""
        return cls(
            window=_places(fields["window"]),
            past=_pairs(fields["past"]),
            neighbours=_places(fields["neighbours"]),
            now=_pairs(fields["now"]),
            candidates=_places(fields["candidates"]),
        )

    @property
    def places(self) -> list[Place]:
        """All of them."""
        pairs = [place for pair in (*self.past, *self.now) for place in pair]
        return [*self.window, *self.neighbours, *self.candidates, *pairs]


def features(family: str, geometry: Geometry) -> Features:
    """The places that a new network of this family looks at."""
    window = [(1, *place) for place in AROUND]
    if family == "conv3d":
        window += [(2, *place) for place in _CROSS] + [(3, 0, 0)]
    past = [((1, *place), (2, *place)) for place in AROUND]
    past += [((1, 0, 0), (2, *place)) for place in _BESIDE] + [((1, 0, 0), (3, 0, 0))]
    neighbours = [(0, *place) for place in _CAUSAL]
    now = [((0, *place), (1, *place)) for place in _CAUSAL]
    now += [
        ((0, y, x), (1, y + down, x + right))
        for y, x in ((0, -1), (-1, 0))
        for down, right in _BESIDE
    ]
    left, up = (0, 0, -1), (0, -1, 0)
    now += [((1, 0, 0), left), ((1, 0, 0), up), (left, up)]
    candidates = [(1, *place) for place in AROUND] + [(2, 0, 0)]
    if geometry.sites == 1:
        candidates += [(3, 0, 0), (4, 0, 0)]
    candidates += [left, up, (0, -1, -1), (0, -1, 1)]

    def inside(*places: Place) -> bool:
        # What lies outside of every frame would be "no symbol" everywhere.
        return all(abs(y) < geometry.height and abs(x) < geometry.width for _, y, x in places)

    return Features(
        window=tuple(place for place in window if inside(place)),
        past=tuple(pair for pair in past if inside(*pair)),
        neighbours=tuple(place for place in neighbours if inside(place)),
        now=tuple(pair for pair in now if inside(*pair)),
        candidates=tuple(place for place in candidates if inside(place)),
    )


def _places(items: Any) -> tuple[Place, ...]:
    return tuple(_place(item) for item in items)


def _pairs(items: Any) -> tuple[tuple[Place, Place], ...]:
    return tuple((_place(a), _place(b)) for a, b in items)


def _place(item: Any) -> Place:
    back, down, right = item
    if not all(type(value) is int for value in (back, down, right)):
        raise TypeError("a place is three integers")
    if not 0 <= back <= HISTORY or max(abs(down), abs(right)) > REACH + 1:
        raise ValueError(f"the place {(back, down, right)} is out of reach")
    return back, down, right
