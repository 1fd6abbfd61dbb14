"""Compressors that their users build: run as programs, with a file in and a file out."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """`PROGRAM -c IN OUT` compresses and `PROGRAM -d IN OUT` restores: cmix and lstm-compress."""

    name: str
    path: str

    def missing(self) -> str | None:
        """What must be installed before this can be used; None when it can."""
        return None if shutil.which(self.path) else f"the program {self.path}"

    def compress(self, data: bytes) -> bytes:
        """The compressed bytes."""
        return self._run("-c", data)

    def decompress(self, data: bytes, size: int) -> bytes:
        """The original bytes."""
        return self._run("-d", data)

    def _run(self, flag: str, data: bytes) -> bytes:
        with tempfile.TemporaryDirectory(prefix="tokenzip-peer-") as folder:
            source, target = Path(folder, "in"), Path(folder, "out")
            source.write_bytes(data)
            done = subprocess.run(
                [self.path, flag, str(source), str(target)], capture_output=True, check=False
            )
            if done.returncode or not target.is_file():
                raise RuntimeError(f"{self.name} {flag} failed: {done.stderr[-300:]!r}")
            return target.read_bytes()
