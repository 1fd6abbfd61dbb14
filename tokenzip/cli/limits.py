"""`--limit NAME=N`: tokenzip.Limits from the command line, and what their errors advise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from ..errors import OptionError
from ..limits import Limits

_NUMBER = re.compile(r"(\d{1,18})([kMGT]?)")
_FACTORS = {"": 1, "k": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_limits(texts: Sequence[str]) -> Limits | None:
    """Limits from "tokens=5M", "json_bytes=1000" ...; None if none are given.

    k, M, G and T are powers of 1024. Raises OptionError for anything else.
    """
    names = [field.name for field in fields(Limits)]
    values: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        found = _NUMBER.fullmatch(number)
        if name not in names or found is None:
            raise OptionError(f"--limit {text}: give NAME=N, NAME one of {', '.join(names)}")
        values[name] = int(found[1]) * _FACTORS[found[2]]
    return Limits(**values) if values else None


def by_option(text: str) -> str:
    """The text of a LimitError, naming the option that raises the limit in place of an argument."""
    text = text.replace("pass max_tokens=", "use --max-tokens ")
    return re.sub(r"pass limits=Limits\((\w+=\d+)\)", r"use --limit \1", text)
