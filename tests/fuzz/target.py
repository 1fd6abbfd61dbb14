"""What a target is: a door of tokenzip, good inputs, and mutations that know its form."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenzip.errors import TokenzipError

from .edits import Edit

CORPUS = Path(__file__).parent / "corpus"


class WrongError(Exception):
    """An input was taken as good, and something about the result is wrong."""


class Run(Protocol):
    def __call__(self, data: bytes) -> bool:
        """Put the input in; whether it was taken as good. Raises what comes out."""


@dataclass(frozen=True)
class Target:
    """One door.

    Attributes:
        name: also of its folder in the corpus.
        run: one execution.
        mutate: a mutation that mends checksums and lengths, so that it gets past them.
        allowed: exceptions that may come out.
        most_bytes: most bytes that an execution may allocate.
    """

    name: str
    run: Run
    mutate: Edit
    allowed: tuple[type[Exception], ...] = (TokenzipError,)
    most_bytes: int = 1 << 28

    def seeds(self) -> list[bytes]:
        """The committed inputs, all of them good."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())]

    def prepare(self) -> None:
        """Run the seeds, and with them compile what runs need: no input is to be slow for that."""
        for data in self.seeds():
            with suppress(*self.allowed):
                self.run(data)
