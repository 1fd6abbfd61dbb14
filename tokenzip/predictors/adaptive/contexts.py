"""Which contexts a grid's geometry gets: pure description, no state.

Frames of any shape are seen as planes of H x W positions. A context is a set of terms; a term is a
neighbour's token (``a``) or its class (``ka``), a neighbour being named by where it lies:

    a b c d          the same position 1, 2, 3, 4 frames before
    W WW WWW N NN    left, two left, three left, up, two up, in the same frame
    NW NE            up-left, up-right
    aW aE aN aS ...  the neighbours of a (and of b: bE, bS)
    pos              not a neighbour: the position in the frame

Every neighbour lies in an earlier frame or, within a frame, so that row r can be coded two
columns behind row r - 1 (DESIGN.md section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

#: Largest alphabet coded in one piece; larger ones are split in two halves of their bits.
LARGEST_WHOLE_ALPHABET = 4096
#: Up to this alphabet every symbol is a class of its own.
LARGEST_IDENTITY_ALPHABET = 16
#: Number of learned classes, and for each plane where there are several.
CLASSES = 32
CLASSES_OF_A_PLANE = 16
#: Frames of one dimension and at most this many positions (codebooks of a residual quantiser, for
#: instance) have statistics of their own at every position.
MOST_PLANES = 32
#: Symbols between two changes of state, at most; in codes and streams, whose past is near, fewer.
BLOCK_SYMBOLS = 128
BLOCK_SYMBOLS_OF_A_ROW = 8

_OFFSETS = {
    "W": (0, 0, 1), "WW": (0, 0, 2), "WWW": (0, 0, 3), "N": (0, 1, 0), "NN": (0, 2, 0),
    "NW": (0, 1, 1), "NE": (0, 1, -1),
}  # fmt: skip
_AROUND = {"": (0, 0), "W": (0, 1), "E": (0, -1), "N": (1, 0), "S": (-1, 0),
           "NW": (1, 1), "NE": (1, -1)}  # fmt: skip

# The lists of each family of geometries. `tokens`: contexts of tokens whose symbols are counted.
# `classes`: contexts in which the classes of symbols are counted. `mixed`: contexts with classes
# whose symbols are counted. `pattern`: pairs of neighbours whose equality says how the
# neighbourhood behaves, for the bonuses of candidates. `copies`: neighbours whose token is itself
# a candidate.
_VIDEO = {
    "tokens": "pos; a; b; c; W; N; NW; NE; WW; aE; aN; aS",
    "classes": "a; b; W; N; NE; aE; aS; pos; kW kN; ka kW kN; ka kaE; ka kaS; a kW; a kN;"
    " kW kN kNW kNE; ka kb kc; kaE kaS; a kb; c; NN; aW",
    "mixed": "kW ka; kW kN; ka kb; a kW; a kN; W kN; kW kN ka",
    "pattern": "W aW; N aN; a b; NW aNW; NE aNE; b c",
    "copies": "a; b; W; N",
}
_ROW = {
    "tokens": "pos; a; b; c; d; W; WW; aW; aE; bW; bE; WWW",
    "classes": "a; b; W; WW; pos; ka kW; ka kb; kW kWW; a kW; W ka; kaE ka; kW kWW kWWW;"
    " kW kaW ka; ka kb kc; a kb; kaE kW ka",
    "mixed": "a kW; W ka; W kWW",
    "pattern": "W aW; a b; b c; W WW; a W; aE a",
    "copies": "a; b; W; aE",
}
_STREAM = {
    "tokens": "a; b; c; d",
    "classes": "a; b; c; ka kb; ka kb kc; ka kb kc kd; a kb; b ka; kb kc",
    "mixed": "ka kb; a kb; b ka; ka kb kc; a b",
    "pattern": "a b; b c; c d; a c; b d; a d",
    "copies": "a; b; c; d",
}
# Few symbols: longer contexts, of tokens only (classes are the symbols themselves).
_FEW_SYMBOLS = {
    "video": "a b c; a W N; a b W N; W N NW NE; a W N NW NE; a aE aS aW aN;"
    " a b c W N; a b W N NW NE WW NN; a b W N NW NE aE aS aW aN;"
    " a b c d W N NW NE WW NN aE aS aW aN",
    "row": "a b W; a b c W WW; a W WW; a b c d W WW WWW aE; W WW WWW; a aE aW b W WW",
    "stream": "a b c; a b c d; a b c d e; a b c d e f g; a b c d e f g h i j k l",
}


@dataclass(frozen=True)
class Neighbour:
    """A position relative to the one being coded: frames back, rows up, columns to the left."""

    frames: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Context:
    """Terms that are hashed together: (neighbour, whether its class is meant), and position."""

    terms: tuple[tuple[Neighbour, bool], ...]
    position: bool = False


@dataclass(frozen=True)
class ContextSet:
    """All that is looked at around a token; see the lists above for the fields' meaning."""

    tokens: tuple[Context, ...]
    classes: tuple[Context, ...]
    mixed: tuple[Context, ...]
    pattern: tuple[tuple[Neighbour, Neighbour], ...]
    copies: tuple[Neighbour, ...]


class Geometry(NamedTuple):
    """How a chunk of frames over an alphabet is laid out for coding.

    Frames of rows x columns symbols of `alphabet`, `planes` kinds of positions (position p belongs
    to plane p % planes), `split` where a token is two symbols side by side, the high half first,
    with `low_bits` bits in the low one; `step` positions beside each other make what a context
    counts as a column.
    """

    rows: int
    columns: int
    positions: int
    planes: int
    alphabet: int
    classes: int
    split: bool
    low_bits: int
    block_symbols: int
    step: int

    @property
    def learns_classes(self) -> bool:
        return self.classes < self.alphabet


def _rows_and_columns(frame: tuple[int, ...]) -> tuple[int, int]:
    if not frame:
        return 1, 1
    return prod(frame[:-1]), frame[-1]


def _block_symbols(rows: int, columns: int) -> int:
    """Symbols between two changes of state.

    A block holds whole frames, or whole rows of one frame, or parts of one row.
    """
    positions = rows * columns
    most = BLOCK_SYMBOLS if rows > 1 else BLOCK_SYMBOLS_OF_A_ROW
    if positions <= most:
        return positions * (most // positions)
    if columns <= most:
        blocks = -(-positions // most)
        return -(-rows // blocks) * columns
    return -(-columns // -(-columns // most))


def classes_for(symbols: int, planes: int) -> int:
    """How many classes an alphabet of so many symbols has in each plane."""
    if symbols <= LARGEST_IDENTITY_ALPHABET:
        return symbols
    return CLASSES if planes == 1 else CLASSES_OF_A_PLANE


def geometry(alphabet: int, frame: tuple[int, ...], tokens: int) -> Geometry:
    """The layout of `tokens` tokens in frames of this shape.

    A lone frame has no past: its first dimension of more than one position takes the place of
    time, so that an image is coded as a film of rows.
    """
    lone = tokens == prod(frame)
    while tokens == prod(frame) and frame:
        frame = frame[1:]
    rows, columns = _rows_and_columns(frame)
    codebooks = len(frame) == 1 and columns <= MOST_PLANES and not lone
    planes = columns if codebooks else 1
    split = alphabet > LARGEST_WHOLE_ALPHABET
    low_bits = 0
    symbols = alphabet
    if split:
        low_bits = ((alphabet - 1).bit_length()) // 2
        symbols = 1 << ((alphabet - 1).bit_length() - low_bits)
        columns *= 2
        planes = max(2, 2 * planes)
    return Geometry(
        rows, columns, rows * columns, planes, symbols, classes_for(symbols, planes), split,
        low_bits, _block_symbols(rows, columns), 2 if split else 1,
    )  # fmt: skip


def _neighbour(name: str, step: int) -> Neighbour:
    """The neighbour of this name; `step` columns make one token."""
    if name in _OFFSETS:
        frames, rows, columns = _OFFSETS[name]
        return Neighbour(frames, rows, columns * step)
    back = ord(name[0]) - ord("a") + 1
    rows, columns = _AROUND[name[1:]]
    return Neighbour(back, rows, columns * step)


def _context(text: str, step: int) -> Context:
    words = text.split()
    terms = []
    for word in words:
        if word == "pos":
            continue
        is_class = word[0] == "k" and len(word) > 1
        terms.append((_neighbour(word[1:] if is_class else word, step), is_class))
    return Context(tuple(terms), "pos" in words)


def _contexts(text: str, step: int) -> tuple[Context, ...]:
    return tuple(_context(part, step) for part in text.split(";"))


def _usable(context: Context, layout: Geometry) -> bool:
    return not context.position or layout.positions > layout.planes


def context_set(layout: Geometry) -> ContextSet:
    """The contexts for a layout, chosen from its shape and alphabet alone."""
    step = layout.step
    if layout.columns == step and layout.rows == 1:
        kind, lists = "stream", _STREAM
    elif layout.rows == 1:
        kind, lists = "row", _ROW
    else:
        kind, lists = "video", _VIDEO
    mixed = _contexts(lists["mixed"], step)
    if not layout.learns_classes:
        # Classes are the symbols: long contexts say more than pairs of pairs.
        mixed = ()
    classes = _contexts(lists["classes"], step)
    if not layout.learns_classes:
        classes += _contexts(_FEW_SYMBOLS[kind], step)
    keep = [
        tuple(c for c in contexts if _usable(c, layout))
        for contexts in (_contexts(lists["tokens"], step), classes, mixed)
    ]
    pattern = tuple(
        (_neighbour(p.split()[0], step), _neighbour(p.split()[1], step))
        for p in lists["pattern"].split(";")
    )
    copies = tuple(_neighbour(c.strip(), step) for c in lists["copies"].split(";"))
    return ContextSet(keep[0], keep[1], keep[2], pattern, copies)
