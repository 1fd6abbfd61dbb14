"""What the tests of the command line share: running it as a process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np

import tokenzip

ROOT = Path(tokenzip.__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONWARNINGS": "error",
}
# Streams are then not what they are for most users.
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)
PROGRAM = [sys.executable, "-m", "tokenzip"]
STORED = ["--predictor", "stored"]


def run(*arguments: object, cwd: Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run one command line in `cwd` to its end."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def run_unread(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """The same, into a pipe whose reader is gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as gone:
        return run_into(gone, *arguments, cwd=cwd)


def run_into(
    output: IO[bytes], *arguments: object, cwd: Path
) -> subprocess.CompletedProcess[bytes]:
    """The same, with standard output going to a file."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=output,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )


def saved(array: np.ndarray) -> bytes:
    """The .npy file of an array."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def make_clip(folder: Path) -> np.ndarray:
    """Write clip.npy of 25,600 tokens into `folder`."""
    tokens = np.random.default_rng(5).integers(0, 1024, (200, 8, 16)).astype(">u2")
    np.save(folder / "clip.npy", tokens)
    return tokens
