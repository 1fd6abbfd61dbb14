"""What bytes from elsewhere may ask of this machine, all in one place."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass, fields
from typing import Any

from .errors import LimitError, OptionError

#: Tokens that one call of decode may make: half a gigabyte of uint16, some two hours of work.
DEFAULT_MAX_TOKENS = 2**28


@dataclass(frozen=True)
class Limits:
    """The most that a blob, archive or model may ask for; see SECURITY.md.

        tokenzip.decode(blob, limits=tokenzip.Limits(tokens=10**6, array_bytes=2**24))

    Attributes:
        tokens: tokens that one call of decode, or one read of a clip, has to decode; whole chunks
            are counted, and of a solid blob all. They decide how long decoding takes.
        array_bytes: bytes of the arrays that one call of decode returns; None is main memory.
        model_bytes: length of a model file.
        model_weights: weights of a model in a blob or archive, which few bytes can make many of.
        json_bytes: bytes of a JSON text, unpacked: the names in a .tkz file, the attributes of a
            clip, and what an archive's index has besides the names of its clips.
        clips: clips of an archive; opening one takes some 200 bytes of memory for each.

    Raises:
        OptionError: a limit is no integer of at least 0.
    """

    tokens: int = DEFAULT_MAX_TOKENS
    array_bytes: int | None = None
    model_bytes: int = 2**31
    model_weights: int = 2**26
    json_bytes: int = 2**26
    clips: int = 2**26

    def __post_init__(self) -> None:
        for one in fields(self):
            value: Any = getattr(self, one.name)
            if value is None and one.default is None:
                continue
            try:
                number = -1 if isinstance(value, bool) else operator.index(value)
            except TypeError:
                number = -1
            if number < 0:
                raise OptionError(f"the limit {one.name} must be an integer >= 0, not {value!r}")
            object.__setattr__(self, one.name, number)

    def check(self, name: str, wanted: int, what: str) -> None:
        """LimitError if `what` asks for more than the limit `name` allows."""
        most = getattr(self, name)
        if most is None:
            most = physical_memory()
        if most is not None and wanted > most:
            raise LimitError(
                f"{what}: {wanted:,}, but the limit {name} is {most:,}; if you trust it, "
                f"pass limits=Limits({name}={wanted})"
            )


def physical_memory() -> int | None:
    """Bytes of main memory, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


#: Those of who does not say otherwise.
DEFAULTS = Limits()
