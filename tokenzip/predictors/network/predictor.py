"""A model, ready to code chunks: on which backend, how many at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ...errors import ModelMismatchError, ShapeError
from ...integer import operations
from ...models import Geometry, Model
from .. import check_version
from .batch import decode_batch, encode_batch
from .network import Network
from .surprisal import Surprisals, surprisals

Tokens = npt.NDArray[np.uint16]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Of how a network's tables are made (FORMAT.md, section 10), as the only parameter byte in blobs.
VERSION = 1

#: Chunks coded together when the caller does not say: a GPU wants many rows, a CPU caches them.
_BATCH = {"numba": 8, "torch": 8}
_BATCH_CUDA = 512

_KEPT = 4


@dataclass(frozen=True)
class Backend:
    """Where and how a network runs; no result depends on it.

    Attributes:
        name: "auto", "numba" or "torch".
        device: a torch device, or None.
        threads: for CPUs.
        batch: chunks at a time; None chooses.
    """

    name: str = "auto"
    device: str | None = None
    threads: int = 1
    batch: int | None = None


class NetworkPredictor:
    """Codes chunks by a model.

    Attributes:
        ops: the backend's operations.
        network: the model's, by these.

    Raises:
        OptionError: the backend or the device is unknown.
        MissingDependencyError: the backend's package is not installed.
    """

    def __init__(self, model: Model, backend: Backend) -> None:
        self.ops = operations(backend.name, backend.device, backend.threads)
        self.network = Network(model, self.ops)
        cuda = str(getattr(self.ops, "device", "cpu")).startswith("cuda")
        self._middles: dict[tuple[int, ...], Network] = {}
        self._batch = backend.batch or (_BATCH_CUDA if cuda else _BATCH[self.ops.name])

    def parameters(self) -> bytes:
        """The parameter bytes of blobs."""
        return bytes([VERSION])

    def encode(self, chunks: Sequence[Tokens]) -> list[bytes]:
        """The payloads of chunks, tokens uint16 (frames, *frame) each."""
        sizes = [len(chunk) for chunk in chunks]
        return _batched(
            lambda some: encode_batch(self.network, self.ops, some), chunks, sizes, self._batch
        )

    def decode(self, payloads: Sequence[bytes], frames: Sequence[int]) -> list[Tokens]:
        """The tokens of payloads, uint16 (frames, tokens of a frame) each.

        Raises:
            CorruptError: no encoder writes one of these payloads.
        """

        def work(some: Sequence[tuple[bytes, int]]) -> list[Tokens]:
            of, lengths = zip(*some, strict=True)
            return decode_batch(self.network, self.ops, of, lengths)

        pairs = list(zip(payloads, frames, strict=True))
        return _batched(work, pairs, frames, self._batch)

    def surprisals(self, tokens: Tokens, known: int, codebooks: int) -> list[Surprisals]:
        """How much the symbols of some frames surprise the network, plane by plane.

        Args:
            tokens: uint16 (T, height, width, codebooks), the middle of frames, or all of them.
            known: first frames that are only looked at (surprisal.py).
            codebooks: which are of interest, the first ones.
        """
        part = tokens.shape[1:3]
        if part not in self._middles:
            self._middles[part] = self.network.middle(*part)
        network = self._middles[part]
        geometry = network.geometry
        planes = codebooks * geometry.planes // geometry.codebooks
        with self.ops.running():
            symbols = geometry.to_symbols(tokens)
            return list(surprisals(network, self.ops, symbols, known, planes))


def predictor_for(model: Model, backend: Backend) -> NetworkPredictor:
    """The predictor of a model, made once for several calls."""
    key = (model.identity, backend)
    with _lock:
        found = _kept.pop(key, None) or NetworkPredictor(model, backend)
        _kept[key] = found
        while len(_kept) > _room:
            _kept.popitem(last=False)
    return found


def make_room(predictors: int) -> None:
    """Keep so many from now on: for calls that choose from as many models."""
    global _room
    _room = max(_room, predictors)


_kept: OrderedDict[Any, NetworkPredictor] = OrderedDict()
_lock = Lock()
_room = _KEPT


def _forget() -> None:
    """After a fork: the child has none of the predictors' threads, and the lock may be held."""
    global _kept, _lock
    _kept, _lock = OrderedDict(), Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def check_match(model: Model, frame: tuple[int, ...], alphabet: int) -> None:
    """ModelMismatchError unless the model is for frames of this shape and has these symbols."""
    geometry = model.spec.geometry
    try:
        given = Geometry.of(frame, alphabet)
    except ShapeError as error:
        raise ModelMismatchError(str(error)) from error
    sides = [(g.height, g.width, g.codebooks) for g in (given, geometry)]
    if sides[0] != sides[1]:
        raise ModelMismatchError(
            f"the model {model.name} is for frames of {_frame_text(geometry)}, not {frame}"
        )
    if alphabet > geometry.alphabet:
        raise ModelMismatchError(
            f"the model {model.name} knows {geometry.alphabet} symbols; these tokens need "
            f"{alphabet}"
        )


def check_parameters(parameters: bytes) -> None:
    """Whether a blob's network parameters are of this version.

    Raises:
        UnsupportedVersionError: of a newer one.
        CorruptError: they make no sense.
    """
    check_version("network", parameters, VERSION)


def _frame_text(geometry: Geometry) -> str:
    sites = f"{geometry.height} x {geometry.width} sites"
    return sites if geometry.codebooks == 1 else f"{sites} of {geometry.codebooks} codebooks"


def _batched(
    work: Callable[[Sequence[_Item]], list[_Result]],
    items: Sequence[_Item],
    sizes: Sequence[int],
    batch: int,
) -> list[_Result]:
    """work on all items, those of like size together; results in the order of the items."""
    order = sorted(range(len(items)), key=lambda i: -sizes[i])
    results: dict[int, _Result] = {}
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        results.update(zip(some, work([items[i] for i in some]), strict=True))
    return [results[i] for i in range(len(items))]
