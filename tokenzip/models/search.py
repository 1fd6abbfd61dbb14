"""Finding models: the one that a blob needs, by its identity, and those that a caller names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import MissingModelError, OptionError
from ..limits import DEFAULTS, Limits
from . import bundled, registry
from .file import Model, read_identity

#: What `model=` accepts: models, model files, folders of them, names of bundled models, identities
#: of models in the registry, or several of these.
Where: TypeAlias = "Model | str | os.PathLike[str] | Iterable[Any] | None"

#: Folders that are always searched, separated like PATH.
VARIABLE = "TOKENZIP_MODELS"
SUFFIX = ".safetensors"

#: A model, a model file, or a folder of such files.
Place: TypeAlias = "Model | Path"


def as_model(model: Any) -> Model:
    """The one model that is meant: itself, or by its file, name or identity.

    Raises:
        OptionError: it is none of these, or stands for several.
        ModelError, OSError: the file cannot be used.
    """
    if not is_single(model):
        raise OptionError(f"model must be a single Model, file, name or identity, not {model!r}")
    return as_models(model)[0]


def as_models(models: Any) -> list[Model]:
    """All models that are meant, each once, in the order that was given (folders by file names).

    Raises:
        OptionError: there is no such model, file or folder; or there are no models in them.
        ModelError, OSError: a file cannot be used.
    """
    found: dict[bytes, Model] = {}
    single = isinstance(models, (str, os.PathLike)) and not _is_word(models)
    # The path of a file is opened at once: what is wrong with it the system says best.
    given = [Path(models)] if single and not Path(models).is_dir() else _flat(models)
    for place in _models_in(given):
        model = place if isinstance(place, Model) else Model.load(place)
        found.setdefault(model.identity, model)
    if not found:
        raise OptionError(f"there are no models in {models!r}")
    return list(found.values())


def is_single(model: Any) -> bool:
    """Whether `model=` stands for one model, and not for a list or folder to choose from."""
    if isinstance(model, Model):
        return True
    return isinstance(model, (str, os.PathLike)) and not (
        _named(model) is None and Path(model).is_dir()
    )


def read_model(data: bytes, limits: Limits = DEFAULTS) -> Model:
    """The model in the content of a model file, or in packed bytes as blobs have them.

    Raises:
        ModelError: neither.
        CorruptError: packed, but damaged.
        LimitError: longer, or of more weights, than the limits allow.
    """
    # A model file begins with a length that is below its own; packed bytes, read so, never are.
    if int.from_bytes(data[:8], "little") <= len(data):
        limits.check("model_bytes", len(data), "bytes of the model")
        return Model.from_bytes(data)
    from .packed import unpack

    return unpack(data, limits)


def find(identity: bytes, where: Where = None) -> Model:
    """The model of this identity: among what was given, then in the folders of $TOKENZIP_MODELS,
    in the registry, and among the bundled ones.

    Files are told apart by the identity in their metadata; only the right one is loaded.

    Raises:
        MissingModelError: it is nowhere; says which identity is wanted and how to supply it.
        ModelError: it is there, but cannot be used.
        OptionError: `where` is no place.
    """
    wanted = identity.hex()
    for candidate in _models_in([*_flat(where), *_folders()]):
        if isinstance(candidate, Model):
            if candidate.identity == identity:
                return candidate
        elif read_identity(candidate) == wanted:
            return Model.load(candidate)
    path = registry.path_of(wanted)
    if path is not None:
        return Model.load(path)
    entry = bundled.by_identity(wanted)
    if entry is not None:
        return entry.load()
    raise MissingModelError(
        f"the blob needs the model {wanted}; give it as model=..., a Model, its file or a folder "
        f"that holds it (on the command line --model), set {VARIABLE} to that folder, or put it "
        "into the registry: tokenzip models add FILE",
        identity=wanted,
    )


def _folders() -> list[Place]:
    return [Path(f) for f in os.environ.get(VARIABLE, "").split(os.pathsep) if f]


def _models_in(places: Iterable[Place]) -> Iterator[Place]:
    for place in places:
        if isinstance(place, Model) or not place.is_dir():
            yield place
        else:
            yield from sorted(place.glob(f"*{SUFFIX}"))


def _flat(where: Any) -> list[Place]:
    if where is None:
        return []
    if isinstance(where, Model):
        return [where]
    if isinstance(where, (str, os.PathLike)):
        named = _named(where)
        if named is not None:
            return [named]
        path = Path(where)
        if not path.exists():
            raise OptionError(
                f"model: there is no file or folder {path}, and no model of that name or identity; "
                "tokenzip models list shows what there is"
            )
        return [path]
    if isinstance(where, Iterable) and not isinstance(where, (bytes, bytearray, memoryview)):
        try:
            return [place for part in where for place in _flat(part)]
        except RecursionError:
            raise OptionError("model: the list holds itself") from None
    raise OptionError(f"model must be a Model, a path, or a list of these, not {where!r}")


def _is_word(text: str | os.PathLike[str]) -> bool:
    """Whether `text` can be a name or an identity: no path of a folder, no suffix."""
    return isinstance(text, str) and not set(text) & {os.sep, "/", "."}


def _named(text: str | os.PathLike[str]) -> Place | None:
    """The model of a bundled name or, unless there is such a file, of an identity's beginning.

    A file that is called like a bundled model is meant by ./NAME.
    """
    if not isinstance(text, str):
        return None
    entry = bundled.by_name(text)
    if entry is None and registry.is_prefix(text) and not os.path.exists(text):
        path = registry.lookup(text)
        if path is not None:
            return path
        found = [one for one in bundled.entries() if one.identity.startswith(text)]
        entry = found[0] if len(found) == 1 else None
    return None if entry is None else entry.load()
