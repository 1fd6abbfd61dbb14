"""Checkpoints: what a run needs to go on as if it had never stopped, whole or not at all.

No pickled code is ever loaded: torch.load(weights_only=True).
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..files.atomic import atomic_output

FORMAT = "tokenzip-checkpoint"
VERSION = 1


def write(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Replace the checkpoint at `path`; FileError (the old one stays) if it cannot be written."""
    # By way of memory: torch.save on a full disk fails in ways of its own.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, **content}, buffer)
    with atomic_output(path, force=True) as file:
        file.write(buffer.getbuffer())


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        CheckpointError: it is none, is damaged, or of a newer version.
        OSError: it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle leak several kinds
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); remove it to begin anew"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a tokenzip checkpoint")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: a checkpoint of version {content.get('version')!r}; this tokenzip reads "
            f"{VERSION}: use the tokenzip that wrote it, or begin anew"
        )
    return content
