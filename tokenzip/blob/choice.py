"""The choice note: what an encoder tried before it chose a predictor, and what each would cost.

    tokens      varint: how many tokens every candidate was tried on
    candidates  the chosen one first, two or more of:
                u8 predictor; varint model: 0 none, 1 one that the caller gave, n + 1 the bundled
                model number n; varint estimated cost, in 1/1000 bits a token

It is there to be read by people: decoding needs none of it. So a predictor of a newer tokenzip
among those that were not chosen makes no blob unreadable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import CorruptError
from .fields import MAX_NOTE, PREDICTORS
from .varint import Reader, varint

#: `Candidate.model` of a model that the caller gave: a file or an object, not a bundled one.
GIVEN = "given"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A predictor that was tried.

    Attributes:
        predictor: its name, or its number as text if this tokenzip does not know it.
        model: None; GIVEN; or the number of a bundled model.
        millibits: what it would cost, in 1/1000 bits a token.
    """

    predictor: str
    model: int | str | None
    millibits: int

    @property
    def bits_per_token(self) -> float:
        return self.millibits / 1000

    def to_dict(self) -> dict[str, Any]:
        """JSON-able copy."""
        return {
            "predictor": self.predictor,
            "model": self.model,
            "bits_per_token": self.bits_per_token,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """What an encoder tried.

    Attributes:
        tokens: how many tokens each candidate was tried on.
        candidates: the chosen one first; two or more.
    """

    tokens: int
    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able copy."""
        return {
            "tokens": self.tokens,
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }


def write_choice(choice: Choice) -> bytes:
    """The note, its length first; nothing at all where it would be longer than MAX_NOTE."""
    parts = [varint(choice.tokens)]
    for candidate in choice.candidates:
        model = candidate.model
        code = 0 if model is None else 1 if isinstance(model, str) else model + 1
        parts += [bytes([PREDICTORS.index(candidate.predictor)])]
        parts += [varint(code), varint(candidate.millibits)]
    note = b"".join(parts)
    return varint(len(note)) + note if len(note) <= MAX_NOTE else b""


def note_size(choice: Choice) -> int:
    """Bytes of the note, its length included."""
    return len(write_choice(choice))


def read_choice(reader: Reader, predictor: str, model: int | str | None) -> Choice:
    """The note at the reader's place, of a blob of this predictor and model (as in Candidate).

    Raises:
        CorruptError: no note, or of another choice.
    """
    length = reader.varint("choice note")
    if length > MAX_NOTE:
        raise CorruptError(f"a choice note of {length} bytes", where="header")
    note = Reader(reader.take(length, "choice note"))
    tokens = note.varint("choice note")
    candidates = []
    while note.left:
        number, code = note.byte("choice note"), note.varint("choice note")
        name = PREDICTORS[number] if number < len(PREDICTORS) else str(number)
        which = None if code == 0 else GIVEN if code == 1 else code - 1
        candidates.append(Candidate(name, which, note.varint("choice note")))
    chosen = [(one.predictor, one.model) for one in candidates[:1]]
    if not tokens or len(candidates) < 2 or chosen != [(predictor, model)]:
        raise CorruptError("the choice note is of another choice", where="header")
    return Choice(tokens, tuple(candidates))
