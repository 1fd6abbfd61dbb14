"""Finding the model that a blob needs, by its identity."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import MissingModelError, OptionError
from .file import Model, read_identity

#: What `model=` of decode accepts: models, model files, folders of them, or several of these.
Where: TypeAlias = "Model | str | os.PathLike[str] | Iterable[Any] | None"

#: Folders that are always searched, separated like PATH.
VARIABLE = "TOKENZIP_MODELS"
SUFFIX = ".safetensors"


def as_model(model: Any) -> Model:
    """The model itself, or the one in a file.

    Raises:
        OptionError: neither a Model nor a path.
        ModelError, OSError: the file cannot be used.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, (str, os.PathLike)):
        return Model.load(model)
    raise OptionError(f"model must be a Model or the path of a model file, not {model!r}")


def read_model(data: bytes) -> Model:
    """The model in the content of a model file, or in packed bytes as blobs have them.

    Raises:
        ModelError: neither.
        CorruptError: packed, but damaged.
    """
    # A model file begins with a length that is below its own; packed bytes, read so, never are.
    if int.from_bytes(data[:8], "little") <= len(data):
        return Model.from_bytes(data)
    from .packed import unpack

    return unpack(data)


def find(identity: bytes, where: Where = None) -> Model:
    """The model of this identity among what was given and in the folders of $TOKENZIP_MODELS.

    Files are told apart by the identity in their metadata; only the right one is loaded.

    Raises:
        MissingModelError: it is nowhere; says which identity is wanted and how to supply it.
        ModelError: it is there, but cannot be used.
        OptionError: `where` is no place.
    """
    wanted = identity.hex()
    for candidate in _candidates(where):
        if isinstance(candidate, Model):
            if candidate.identity == identity:
                return candidate
        elif read_identity(candidate) == wanted:
            return Model.load(candidate)
    raise MissingModelError(
        f"the blob needs the model {wanted}; give it as model=..., a Model, its file or a folder "
        f"that holds it (on the command line --model), or set {VARIABLE} to that folder",
        identity=wanted,
    )


def _candidates(where: Where) -> Iterator[Model | Path]:
    folders = os.environ.get(VARIABLE, "")
    for place in [*_flat(where), *(Path(f) for f in folders.split(os.pathsep) if f)]:
        if isinstance(place, Model) or not place.is_dir():
            yield place
        else:
            yield from sorted(place.glob(f"*{SUFFIX}"))


def _flat(where: Any) -> list[Model | Path]:
    if where is None:
        return []
    if isinstance(where, Model):
        return [where]
    if isinstance(where, (str, os.PathLike)):
        path = Path(where)
        if not path.exists():
            raise OptionError(f"model: there is no file or folder {path}")
        return [path]
    if isinstance(where, Iterable) and not isinstance(where, (bytes, bytearray, memoryview)):
        try:
            return [place for part in where for place in _flat(part)]
        except RecursionError:
            raise OptionError("model: the list holds itself") from None
    raise OptionError(f"model must be a Model, a path, or a list of these, not {where!r}")
