"""The table of the models that come with tokenzip, and loading them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import BlobError, ModelError, ModelFormatError, UnsupportedVersionError
from ...files.reasons import os_error_text
from ..file import Model
from ..geometry import Geometry
from ..packed import unpack

#: Where table, models and cards are.
FOLDER = Path(__file__).resolve().parent
TABLE = "table.json"
PACKED_SUFFIX = ".packed"
CARD_SUFFIX = ".md"

#: What names look like: a series, and a version of it.
NAME = re.compile(r"[a-z][a-z0-9-]*-[1-9][0-9]*")

#: Most bytes of a packed model: all of them are in every installation.
MAX_BYTES = 3_000_000

#: Loaded models that are kept: those of a few tokenizers.
_KEPT = 4


@dataclass(frozen=True)
class Bundled:
    """A model that comes with tokenzip, as the table has it; its weights are loaded on demand.

    Attributes:
        number: 1 or more; it stands for the model in blobs, for ever.
        name: with its version, as "commavq-1".
        identity: SHA-256 of the model, in hexadecimal.
        family: "lstm" or "conv3d".
        height, width, codebooks, alphabet: of the frames that it fits (models.Geometry).
        packed_bytes: size of its file.
    """

    number: int
    name: str
    identity: str
    family: str
    height: int
    width: int
    codebooks: int
    alphabet: int
    packed_bytes: int

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name")

    @property
    def series(self) -> str:
        """The name without the version: "commavq"."""
        return self.name.rpartition("-")[0]

    @property
    def version(self) -> int:
        """1 or more; of a series, the highest is the best."""
        return int(self.name.rpartition("-")[2])

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.height, self.width, self.codebooks, self.alphabet)

    @property
    def path(self) -> Path:
        """The packed model."""
        return FOLDER / (self.name + PACKED_SUFFIX)

    @property
    def card(self) -> Path:
        """What is known of it, for people: Markdown."""
        return FOLDER / (self.name + CARD_SUFFIX)

    def load(self) -> Model:
        """The model; kept for later calls.

        Raises:
            ModelFormatError: its file is missing or is not what was installed.
        """
        return _load(self.path, self.identity, self.name)


def entries() -> tuple[Bundled, ...]:
    """All models that come with this tokenzip, by rising numbers; none if there are none yet.

    Raises:
        ModelFormatError: the table is damaged.
    """
    return _read(FOLDER / TABLE)


def newest() -> list[Bundled]:
    """Of each series the newest: what new blobs are written with. Older ones are there to decode.

    Raises:
        ModelFormatError: the table is damaged.
    """
    found: dict[str, Bundled] = {}
    for entry in sorted(entries(), key=lambda entry: entry.version):
        found[entry.series] = entry
    return sorted(found.values(), key=lambda entry: entry.number)


def by_name(name: str) -> Bundled | None:
    """The model of this name, or None."""
    return next((entry for entry in entries() if entry.name == name), None)


def by_identity(identity: str) -> Bundled | None:
    """The model of this identity (hexadecimal), or None."""
    return next((entry for entry in entries() if entry.identity == identity), None)


def by_number(number: int) -> Bundled:
    """The model that has this number in blobs.

    Raises:
        UnsupportedVersionError: this tokenzip has no such model; a newer one may have.
    """
    for entry in entries():
        if entry.number == number:
            return entry
    raise UnsupportedVersionError(
        f"the blob needs the bundled model number {number}, which this version does not have: "
        "update tokenzip"
    )


@lru_cache(maxsize=_KEPT)
def _read(path: Path) -> tuple[Bundled, ...]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
        found = tuple(Bundled(**row) for row in rows)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        raise ModelFormatError(f"{path}: no table of models ({error}): install again") from error
    return tuple(sorted(found, key=lambda entry: entry.number))


@lru_cache(maxsize=_KEPT)
def _load(path: Path, identity: str, name: str) -> Model:
    try:
        model = unpack(path.read_bytes())
    except OSError as error:
        raise ModelFormatError(
            f"the bundled model {name} cannot be read: {os_error_text(error)}: install again"
        ) from error
    except (BlobError, ModelError) as error:
        raise ModelFormatError(f"the bundled model {name} is damaged: install again") from error
    if model.identity.hex() != identity:
        raise ModelFormatError(f"the file of the bundled model {name} is another: install again")
    return model
