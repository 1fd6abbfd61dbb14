"""General-purpose compressors behind one interface, each at its strongest usual setting."""

from __future__ import annotations

import bz2
import importlib
import lzma
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol


class Peer(Protocol):
    """A compressor of bytes."""

    name: str

    def missing(self) -> str | None:
        """What must be installed before this can be used; None when it can."""

    def compress(self, data: bytes) -> bytes:
        """The compressed bytes."""

    def decompress(self, data: bytes, size: int) -> bytes:
        """The original bytes, of which there were ``size``."""


class _Standard:
    """A compressor of Python's standard library."""

    def __init__(
        self, name: str, compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]
    ) -> None:
        self.name = name
        self._compress = compress
        self._decompress = decompress

    def missing(self) -> str | None:
        return None

    def compress(self, data: bytes) -> bytes:
        return self._compress(data)

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._decompress(data)


class Zstandard:
    """Zstandard at level 22, with a window over all the data."""

    name = "zstd -22"

    def missing(self) -> str | None:
        return None if find_spec("zstandard") else "the Python package zstandard"

    def compress(self, data: bytes) -> bytes:
        module = _module("zstandard")
        settings = module.ZstdCompressionParameters.from_level(
            22, window_log=min(27, max(10, len(data).bit_length()))
        )
        return bytes(module.ZstdCompressor(compression_params=settings).compress(data))

    def decompress(self, data: bytes, size: int) -> bytes:
        module = _module("zstandard")
        return bytes(module.ZstdDecompressor().decompress(data, max_output_size=max(size, 1)))


class Brotli:
    """Brotli at quality 11 with its largest standard window (16 MB)."""

    name = "brotli -11"

    def missing(self) -> str | None:
        return None if find_spec("brotli") else "the Python package brotli"

    def compress(self, data: bytes) -> bytes:
        return bytes(_module("brotli").compress(data, quality=11, lgwin=24))

    def decompress(self, data: bytes, size: int) -> bytes:
        return bytes(_module("brotli").decompress(data))


class Zpaq:
    """zpaq -m5: context mixing. A program of its own, run on one thread in a folder of its own."""

    name = "zpaq -m5"

    def missing(self) -> str | None:
        return None if shutil.which("zpaq") else "the program zpaq"

    def compress(self, data: bytes) -> bytes:
        with tempfile.TemporaryDirectory(prefix="tokenzip-zpaq-") as folder:
            Path(folder, "t").write_bytes(data)
            _zpaq(folder, "add", "a.zpaq", "t", "-m5", "-noattributes")
            return Path(folder, "a.zpaq").read_bytes()

    def decompress(self, data: bytes, size: int) -> bytes:
        with tempfile.TemporaryDirectory(prefix="tokenzip-zpaq-") as folder:
            Path(folder, "a.zpaq").write_bytes(data)
            _zpaq(folder, "extract", "a.zpaq")
            return Path(folder, "t").read_bytes()


def all_peers() -> list[Peer]:
    """Every peer, installed or not, in the order of reports."""
    xz = 9 | lzma.PRESET_EXTREME
    return [
        _Standard("zlib -9", lambda data: zlib.compress(data, 9), zlib.decompress),
        _Standard("bz2 -9", lambda data: bz2.compress(data, 9), bz2.decompress),
        _Standard("xz -9e", lambda data: lzma.compress(data, preset=xz), lzma.decompress),
        Zstandard(),
        Brotli(),
        Zpaq(),
    ]


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _zpaq(folder: str, *arguments: str) -> None:
    done = subprocess.run(
        ["zpaq", *arguments, "-t1"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"zpaq {arguments[0]} failed: {(done.stderr or done.stdout)[-500:]}")
