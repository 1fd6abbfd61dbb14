"""The registry: a folder of model files on this machine, each called by its identity.

    <data folder of the user>/tokenzip/models/<identity>.safetensors

tokenzip searches it for the models that blobs need, after the places that were given and the
folders of $TOKENZIP_MODELS, and before the models that come with it. Files appear whole or not at
all, and are checked before they do, so several processes may share it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError, MissingModelError, ModelMismatchError, OptionError
from ..files.atomic import atomic_output
from ..files.reasons import os_error_text
from . import bundled
from .file import Model

_SUFFIX = ".safetensors"
_IDENTITY = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{8,64}")

#: Where the registry is, instead of the user's data folder.
VARIABLE = "TOKENZIP_REGISTRY"


@dataclass(frozen=True)
class Registered:
    """A model in the registry.

    Attributes:
        identity: its SHA-256, in hexadecimal.
        path: its file.
        bytes: size of the file.
    """

    identity: str
    path: Path
    bytes: int


def folder() -> Path:
    """Where the registry is, or would be: $TOKENZIP_REGISTRY, or in the user's data folder.

    Raises:
        OptionError: this user has no home.
    """
    own = os.environ.get(VARIABLE)
    return Path(own) if own else _user_data() / "tokenzip" / "models"


def entries() -> list[Registered]:
    """The models in the registry, by identity; none if it cannot be read."""
    found = []
    with contextlib.suppress(OSError, OptionError):
        for path in sorted(folder().iterdir()):
            if path.suffix == _SUFFIX and _IDENTITY.fullmatch(path.stem):
                found.append(Registered(path.stem, path, path.stat().st_size))
    return found


def path_of(identity: str) -> Path | None:
    """The file of the model of this identity (hexadecimal), or None."""
    with contextlib.suppress(OSError, OptionError):
        path = folder() / (identity + _SUFFIX)
        if path.is_file():
            return path
    return None


def is_prefix(text: str) -> bool:
    """Whether `text` can be the beginning of an identity: 8 hexadecimal digits or more."""
    return bool(_PREFIX.fullmatch(text))


def lookup(prefix: str) -> Path | None:
    """The file of the one model whose identity begins so, or None.

    Raises:
        OptionError: several do.
    """
    found = [entry for entry in entries() if entry.identity.startswith(prefix)]
    if len(found) > 1:
        names = ", ".join(entry.identity[:16] for entry in found)
        raise OptionError(f"{prefix} is the beginning of several identities, {names}: say more")
    return found[0].path if found else None


def add(path: str | os.PathLike[str], *, identity: str | None = None) -> Registered:
    """Copy a model file into the registry, after checking it wholly. One that is there stays.

    Args:
        path: the file.
        identity: what it must be; None takes any.

    Raises:
        ModelMismatchError: it has another identity. Nothing is kept.
        ModelError: it is no model, or could overflow. Nothing is kept.
        FileError: it cannot be read, or the registry cannot be written.
        OptionError: `identity` is none.
    """
    wanted = None if identity is None else checked_identity(identity)
    model = Model.load(path)
    found = model.identity.hex()
    if wanted is not None and found != wanted:
        raise ModelMismatchError(f"{path}: is the model {found}, not {wanted}; nothing was kept")
    target = folder() / (found + _SUFFIX)
    if not (target.is_file() and _is_sound(target, found)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{target.parent}: cannot be made: {os_error_text(error)}") from error
        with atomic_output(target, force=True) as file:
            file.write(model.to_bytes())
    return Registered(found, target, target.stat().st_size)


def remove(identity: str) -> Registered:
    """Remove the model whose identity begins so (8 digits or more).

    Raises:
        OptionError: it is a bundled model, which cannot be removed; or several begin so.
        MissingModelError: it is not in the registry.
        FileError: it cannot be removed.
    """
    path = lookup(identity) if is_prefix(identity) else None
    if path is None:
        named = [
            entry
            for entry in bundled.entries()
            if entry.name == identity
            or (is_prefix(identity) and entry.identity.startswith(identity))
        ]
        if named:
            raise OptionError(f"{named[0].name} comes with tokenzip and cannot be removed")
        raise MissingModelError(
            f"there is no model {identity} in the registry {folder()}; tokenzip models list shows "
            "what there is",
            identity=identity,
        )
    try:
        entry = Registered(path.stem, path, path.stat().st_size)
        path.unlink()
    except OSError as error:
        raise FileError(f"{path}: cannot be removed: {os_error_text(error)}") from error
    return entry


def checked_identity(text: str) -> str:
    """The identity in `text`; OptionError unless it is 64 hexadecimal digits."""
    identity = text.strip().lower()
    if not _IDENTITY.fullmatch(identity):
        raise OptionError(f"an identity is 64 hexadecimal digits, not {text!r}")
    return identity


def _is_sound(path: Path, identity: str) -> bool:
    try:
        return Model.load(path).identity.hex() == identity
    except (ValueError, OSError):  # of these are ModelError and FileError
        return False


def _user_data() -> Path:
    """The folder of the user's data, as each system has it."""
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA")
            return Path(base) if base else Path.home() / "AppData" / "Local"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support"
        base = os.environ.get("XDG_DATA_HOME")
        return Path(base) if base else Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise OptionError(f"there is no home folder for models: set {VARIABLE}") from error
