"""What is in an archive: a table of clips that grows, and what belongs to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..blob import BlobInfo, dtype_name

#: A row of the index, as it is in the file: 36 bytes. `offset` is where the blob begins.
ROW = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u8"),
        ("frames", "<u8"),
        ("kind", "<u4"),
        ("crc", "<u4"),
        ("attributes", "<u4"),
    ]
)

_FEWEST_ROWS = 16


@dataclass(frozen=True, slots=True)
class Kind:
    """What many clips have in common.

    Attributes:
        frame: shape of a frame; None for an array without dimensions.
        dtype: numpy's short name, byte order included.
        alphabet: number of symbols.
        predictor: name of the predictor.
    """

    frame: tuple[int, ...] | None
    dtype: str
    alphabet: int
    predictor: str

    @classmethod
    def of(cls, info: BlobInfo) -> Kind:
        """The kind of a blob of a single grid."""
        grid = info.grids[0]
        frame = grid.frame if grid.shape else None
        return cls(frame, dtype_name(grid.dtype), grid.alphabet, info.predictor)


@dataclass(frozen=True, slots=True)
class Entry:
    """One clip: where it is in the file and what it decodes to.

    Attributes:
        name: its name.
        offset: where its blob begins in the file.
        length: bytes of the blob.
        frames: number of frames.
        kind: what it shares with others.
        crc: CRC-32 of the blob.
        attributes: bytes of the attributes' text, which stands right before the blob.
    """

    name: str
    offset: int
    length: int
    frames: int
    kind: Kind
    crc: int
    attributes: int

    @property
    def shape(self) -> tuple[int, ...]:
        return () if self.kind.frame is None else (self.frames, *self.kind.frame)


@dataclass
class Contents:
    """The clips of an archive in order, and the rest.

    Attributes:
        kinds: of all clips.
        attrs: the archive's attributes.
        changed: attributes of clips that were set after the clip was written.
        models: (offset, length, CRC-32) of the models by their identity.
        end: where the next record goes.
        problems: what was found to be damaged.
        lost: whether clips may be missing.
        ruins: (from, to) of damaged parts with sound ones behind them.
    """

    kinds: list[Kind] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    end: int = 0
    problems: list[str] = field(default_factory=list)
    lost: bool = False
    ruins: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rows: npt.NDArray[Any] = np.zeros(_FEWEST_ROWS, ROW)
        self._count = 0
        self._numbers: dict[str, int] = {}  # of the rows; in the order of the clips
        self._kind_numbers: dict[Kind, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def entry(self, name: str) -> Entry:
        """The clip of this name; KeyError if there is none."""
        offset, length, frames, kind, crc, attributes = self._rows[self._numbers[name]].tolist()
        return Entry(name, offset, length, frames, self.kinds[kind], crc, attributes)

    def fill(self, kinds: list[Kind], names: list[str], rows: npt.NDArray[Any]) -> None:
        """Take over what an index says."""
        self.kinds = kinds
        self._kind_numbers = {kind: number for number, kind in enumerate(kinds)}
        self._rows, self._count = rows, len(rows)
        self._numbers = {name: number for number, name in enumerate(names)}

    def add(self, entry: Entry) -> None:
        """A clip more, or another one of the same name, which then takes the last place."""
        number = self._kind_numbers.setdefault(entry.kind, len(self.kinds))
        if number == len(self.kinds):
            self.kinds.append(entry.kind)
        if self._count == len(self._rows):
            more = np.zeros(max(_FEWEST_ROWS, 2 * self._count), ROW)
            more[: self._count] = self._rows
            self._rows = more
        self._rows[self._count] = (
            entry.offset,
            entry.length,
            entry.frames,
            number,
            entry.crc,
            entry.attributes,
        )
        self._numbers.pop(entry.name, None)
        self._numbers[entry.name] = self._count
        self._count += 1
        self.changed.pop(entry.name, None)

    def remove(self, name: str) -> None:
        """A clip less; KeyError if there is none of this name."""
        del self._numbers[name]
        self.changed.pop(name, None)

    def rows(self) -> npt.NDArray[Any]:
        """The rows of all clips, in order."""
        return self._rows[np.fromiter(self._numbers.values(), np.int64, len(self._numbers))]
