"""tokenzip: lossless compression of VQ tokens.

    blob = tokenzip.encode(tokens)          # any integer array; axis 0 is time
    tokens = tokenzip.decode(blob)          # the same values, shape and dtype
    tokenzip.inspect(blob)                  # what the header says, without decoding
    tokenzip.open("data.tkz.h5")            # an archive: many clips in one file

Importing this package costs milliseconds: the names below load their modules when first used,
and torch, h5py and numba are never imported by `import tokenzip` itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import archive, errors, remote, samples
    from .archive import Archive, ArchivedClip, ArchiveWriter, open
    from .blob import BlobInfo, ChunkInfo, GridInfo
    from .codec import DEFAULT_MAX_TOKENS, Codec, decode, encode, inspect
    from .errors import TokenzipError
    from .fitting.api import fit
    from .limits import Limits
    from .models import Model
    from .training.api import train
    from .training.evaluate import Evaluation, evaluate

__version__ = "0.2.0"

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "Archive",
    "ArchiveWriter",
    "ArchivedClip",
    "BlobInfo",
    "ChunkInfo",
    "Codec",
    "Evaluation",
    "GridInfo",
    "Limits",
    "Model",
    "TokenzipError",
    "__version__",
    "archive",
    "decode",
    "encode",
    "errors",
    "evaluate",
    "fit",
    "inspect",
    "open",
    "remote",
    "report",
    "samples",
    "train",
]

# public name -> the module that defines it; "" where the name is a module itself
_HOME = {
    "Archive": "archive",
    "ArchiveWriter": "archive",
    "ArchivedClip": "archive",
    "archive": "",
    "open": "archive",
    "BlobInfo": "blob",
    "ChunkInfo": "blob",
    "GridInfo": "blob",
    "Limits": "limits",
    "Model": "models",
    "DEFAULT_MAX_TOKENS": "codec",
    "Codec": "codec",
    "decode": "codec",
    "encode": "codec",
    "inspect": "codec",
    "TokenzipError": "errors",
    "errors": "",
    "remote": "",
    "report": "",
    "samples": "",
    "torch": "",  # not in __all__: it needs torch
    "Evaluation": "training.evaluate",
    "evaluate": "training.evaluate",
    "fit": "fitting.api",
    "train": "training.api",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'tokenzip' has no attribute {name!r}")
    module = importlib.import_module(f".{home or name}", __name__)
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
