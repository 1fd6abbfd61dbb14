"""The four kinds of token file, told apart by suffix first and by content where there is none."""

from __future__ import annotations

import os
from typing import Literal, get_args

Format = Literal["npy", "npz", "h5", "raw"]

FORMATS: tuple[Format, ...] = get_args(Format)

COMPRESSED_SUFFIX = ".tkz"

# The first suffix of a format is the one it is written with.
SUFFIXES: dict[str, Format] = {
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "h5",
    ".hdf5": "h5",
    ".raw": "raw",
    ".bin": "raw",
    ".dat": "raw",
}

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"PK\x05\x06", "npz"),  # a zip file without members
    (b"\x89HDF\r\n\x1a\n", "h5"),
)
MAGIC_LENGTH = 8


def format_of_suffix(path: str | os.PathLike[str]) -> Format | None:
    """The format that the suffix of `path` stands for, or None if it stands for none."""
    return SUFFIXES.get(os.path.splitext(os.fspath(path))[1].lower())


def format_of_content(head: bytes) -> Format | None:
    """The format whose magic number the first `MAGIC_LENGTH` bytes are, or None."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return None


def suffix_of(name: Format) -> str:
    """The suffix that files of this format are written with, dot included."""
    return next(suffix for suffix, value in SUFFIXES.items() if value == name)


def as_format(text: str) -> Format | None:
    """`text` as a format name, or None; a suffix's spelling (hdf5, bin) counts too."""
    lowered = text.lower().lstrip(".")
    for name in FORMATS:
        if lowered == name:
            return name
    return SUFFIXES.get("." + lowered)
