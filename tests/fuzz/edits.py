"""Edits that know no format: of bytes, and of the values in a JSON document."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

Edit = Callable[[bytes, random.Random], bytes]

#: Numbers at the edges of what fields hold.
NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 127, 128, 255, 256, 1023, 1024, 4096, 65535, 65536)
NUMBERS += (2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**60, 2**63 - 1, 2**64 - 1)
NUMBERS += (-1, -2, -128, -(2**31), -(2**63))

#: What JSON can hold besides numbers, and names that a careless program would obey.
VALUES: tuple[Any, ...] = (None, True, False, "", "a", [], {}, [[]], 1.5, -0.0, float("nan"))
VALUES += (float("inf"), 10**30, "../../etc/passwd", "/etc/passwd", "a\0b", "C:\\x", ".", "..")
VALUES += ("a/../b", "\ud800", "x" * 2000, "int16", "object", ">u8", "V8", [1] * 40, [-1, 2**70])


def edited(data: bytes, rng: random.Random) -> bytes:
    """One to three edits: bytes changed, removed, repeated, inserted, moved, or a number set."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randint(0, len(out)), rng.randint(0, len(out))
        length = rng.randint(1, 9)
        kind = rng.randrange(8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = rng.randbytes(length)
        elif kind == 4:
            out[at:at] = out[other : other + length]
        elif kind == 5:
            out[at : at + 1] = bytes([rng.choice((0, 1, 2, 15, 0x7F, 0x80, 0xFE, 0xFF))])
        elif kind == 6:
            size = rng.choice((2, 4, 8))
            number = rng.choice(NUMBERS) % (1 << 8 * size)
            out[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif len(out) > 1:
            del out[max(1, at) :]
    return bytes(out)


def edited_json(document: Any, rng: random.Random) -> Any:
    """A copy of a JSON document in which one to three values are others, gone, or twice there."""
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        holder, key = None, None
        inside = document
        # A way down to some value, which may be a branch.
        while (
            isinstance(inside, (dict, list)) and inside and (holder is None or rng.random() < 0.8)
        ):
            holder = inside
            key = (
                rng.choice(list(inside)) if isinstance(inside, dict) else rng.randrange(len(inside))
            )
            inside = holder[key]
        if holder is None:
            return _value(rng)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = _value(rng)
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(inside))
        elif kind == 2:
            holder[str(rng.choice(VALUES))[:100]] = copy.deepcopy(inside)
        elif kind == 3 and type(inside) is int:
            holder[key] = inside + rng.choice((-1, 1, 2, -inside, inside))
        else:
            holder[key] = rng.choice(NUMBERS)
    return document


def _value(rng: random.Random) -> Any:
    """One of VALUES, as a copy: the next edit may be made inside of it."""
    return copy.deepcopy(rng.choice(VALUES))
