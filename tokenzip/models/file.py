"""Model files: safetensors with integers, and a JSON description of the network in the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileError, MissingDependencyError, ModelFormatError, UnsupportedModelError
from ..files.atomic import atomic_output
from ..files.reasons import os_error_text
from ..limits import DEFAULTS, Limits
from .bounds import prove
from .parts import tensor_forms
from .spec import Spec

FORMAT = "tokenzip-model"
VERSION = 1
_MAX_HEADER = 2**24


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """An integer network: spec, weights, and what is known of its training.

    Attributes:
        spec: what the network looks like.
        tensors: the integers, by name (parts.tensor_forms).
        summary: JSON-able facts about the training; not part of the identity.

    Raises:
        ModelFormatError: a tensor is missing, superfluous, or of another dtype or shape.
        UnsafeModelError: a sum could overflow; names the layer.
    """

    spec: Spec
    tensors: Mapping[str, npt.NDArray[Any]]
    summary: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        forms = tensor_forms(self.spec)
        if set(forms) != set(self.tensors):
            odd = sorted(set(forms) ^ set(self.tensors))
            raise ModelFormatError(f"tensors are missing or superfluous: {', '.join(odd[:5])}")
        clean = {}
        for name, (dtype, shape) in forms.items():
            tensor = np.asarray(self.tensors[name])
            if tensor.dtype != np.dtype(dtype) or tensor.shape != shape:
                raise ModelFormatError(
                    f"tensor {name} is {tensor.dtype} {tensor.shape}, not {dtype} {shape}"
                )
            clean[name] = np.array(tensor, order="C")
            clean[name].setflags(write=False)
        object.__setattr__(self, "tensors", MappingProxyType(clean))
        prove(self.spec, clean)

    def __repr__(self) -> str:
        geometry = self.spec.geometry
        sites = f"{geometry.height} x {geometry.width} x {geometry.codebooks}"
        return f"<Model {self.name}: {self.spec.family}, {sites}, alphabet {geometry.alphabet}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled arrays come back writable: the model would not be safe from changes any more, and
        # numba would compile its code once more for them.
        return Model, (self.spec, dict(self.tensors), self.summary)

    @cached_property
    def identity(self) -> bytes:
        """SHA-256 of all that decides the tables: format version, spec and tensors."""
        digest = hashlib.sha256()
        spec = json.dumps(self.spec.to_dict(), sort_keys=True, separators=(",", ":"))
        digest.update(f"{FORMAT} {VERSION}\n{spec}\n".encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tensor.dtype.name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.digest()

    @property
    def name(self) -> str:
        """A short form of the identity, for people."""
        return self.identity.hex()[:12]

    def to_bytes(self) -> bytes:
        """The content of a model file."""
        metadata = {
            "format": FORMAT,
            "version": str(VERSION),
            "identity": self.identity.hex(),
            "spec": json.dumps(self.spec.to_dict()),
            "summary": json.dumps(self.summary),
        }
        data: bytes = _safetensors().save(dict(self.tensors), metadata)
        return _in_order(data, metadata)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write a model file, which appears whole or not at all.

        Raises:
            FileExistsRefusedError: it exists, and overwrite is False.
            FileError: it cannot be written.
        """
        with atomic_output(path, force=overwrite) as file:
            file.write(self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, limits: Limits = DEFAULTS) -> Model:
        """Read a model file, check it, and prove that it cannot overflow.

        limits: of which `model_bytes` counts; the file is read whole.

        Raises:
            ModelFormatError: not a model file, or a damaged one.
            UnsupportedModelError: of a newer version.
            UnsafeModelError: a sum could overflow; names the layer.
            LimitError: the file is longer than the limits allow.
            FileError: it cannot be read.
            MissingDependencyError: safetensors is not installed.
        """
        path = Path(path)
        try:
            limits.check("model_bytes", path.stat().st_size, f"{path}: bytes of the file")
            data = path.read_bytes()
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {os_error_text(error)}") from error
        try:
            return cls.from_bytes(data)
        except (ModelFormatError, UnsupportedModelError) as error:
            raise type(error)(f"{path}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Model:
        """The model in the content of a model file; raises as load does."""
        metadata = _metadata(data)
        if metadata.get("format") != FORMAT:
            raise ModelFormatError("a safetensors file, but not a tokenzip model")
        if metadata.get("version") != str(VERSION):
            raise UnsupportedModelError(
                f"the model is of version {metadata.get('version')!r}; this tokenzip reads "
                f"{VERSION}: upgrade"
            )
        try:
            spec = Spec.from_dict(json.loads(metadata["spec"]))
            summary = json.loads(metadata.get("summary", "{}"))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ModelFormatError(f"the model's description is wrong: {error!r}") from error
        package = _safetensors()
        try:
            tensors = package.load(data)
        except Exception as error:  # safetensors has its own exception, in Rust
            raise ModelFormatError(f"not a sound safetensors file: {error}") from error
        model = cls(spec, tensors, summary if isinstance(summary, dict) else {})
        if metadata.get("identity") != model.identity.hex():
            raise ModelFormatError(
                "the weights are not those of the identity in the file: it was damaged or changed"
            )
        return model


def _in_order(data: bytes, metadata: dict[str, str]) -> bytes:
    """The same file with its metadata in this order, so that a model has one file.

    safetensors keeps metadata in a hash table, whose order is another one every time.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = metadata
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def _safetensors() -> Any:
    """The package that reads and writes model files; models in blobs do without it."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependencyError(
            "model files need the package safetensors: pip install safetensors"
        ) from error
    return safetensors.numpy


def read_identity(path: str | os.PathLike[str]) -> str | None:
    """The identity that a model file claims; None if it is no model file."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            start += file.read(min(int.from_bytes(start, "little"), _MAX_HEADER))
        return _metadata(start).get("identity")
    except (OSError, ModelFormatError):
        return None


def _metadata(data: bytes) -> dict[str, str]:
    """The safetensors metadata, read by hand as safetensors gives it for files only."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _MAX_HEADER):
        raise ModelFormatError("not a safetensors file")
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header["__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFormatError("not a safetensors file with a description") from error
    if not isinstance(metadata, dict):
        raise ModelFormatError("not a safetensors file with a description")
    return metadata
