"""A model in few bytes, for blobs that carry their own: entropy-coded weights.

    version   u8, 1 or 2
    spec      varint length, then zlib of the spec's JSON
    tensors   in the order of their names

    version 1, int8:   257 cumulative counts as zlib of u32 (varint length first), then range coder
                       words (varint number first) of weight + 128 under these counts
    version 2, int8:   u8, a number that divides all entries, then the words (varint number first)
                       of magnitudes.py for what is left of them, as a matrix of the last axis
    version 2, int16:  as below, of each entry's difference from the one that the two before lead to
    other:             varint length, then zlib of the little-endian bytes, of which byte k of every
                       entry comes before byte k + 1 of any

Version 2 is smaller where weights are small numbers, as those are that were trained to cost little.

The training summary stays behind. Whether the model is the right one, and whole, is told by its
identity, which the blob's header has.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ..blob.varint import Reader, varint
from ..coding.constants import USABLE
from ..errors import CorruptError, LimitError, ModelError
from ..limits import DEFAULTS, Limits
from .file import Model
from .parts import tensor_forms
from .spec import Spec

VERSIONS = (1, 2)
_MAX_SPEC = 1 << 20
#: Weights that an embedded model may have, unless limits say otherwise: bounds what a few hostile
#: bytes can allocate.
MAX_WEIGHTS = DEFAULTS.model_weights


def pack(model: Model, version: int | None = None) -> bytes:
    """The model in few bytes; version: 1 or 2, None for the one that takes fewer."""
    if version is None:
        return min((pack(model, version) for version in VERSIONS), key=len)
    spec = zlib.compress(json.dumps(model.spec.to_dict(), separators=(",", ":")).encode(), 9)
    parts = [bytes([version]), varint(len(spec)), spec]
    for name in sorted(model.tensors):
        tensor = model.tensors[name]
        if tensor.dtype == np.int8:
            parts += _pack_bytes(tensor) if version == 1 else _pack_matrix(tensor)
            continue
        if tensor.dtype == np.int16 and version > 1:
            tensor = np.diff(tensor, 2, prepend=np.zeros(2, np.int16))
        planes = tensor.astype(tensor.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
        planes = planes.reshape(-1, tensor.dtype.itemsize).T
        data = zlib.compress(planes.tobytes(), 9)
        parts += [varint(len(data)), data]
    return b"".join(parts)


def unpack(data: bytes, limits: Limits = DEFAULTS) -> Model:
    """The model in packed bytes.

    Raises:
        CorruptError: no model.
            Also if its sums could overflow.
        LimitError: it has more weights than the limits allow.
    """
    try:
        return _unpack(Reader(data), limits)
    except ModelError as error:
        raise CorruptError(f"the embedded model: {error}", where="model") from error
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, (CorruptError, LimitError)):
            raise
        raise CorruptError(f"the embedded model is damaged: {error}", where="model") from error


def _unpack(reader: Reader, limits: Limits) -> Model:
    version = reader.byte("model")
    if version not in VERSIONS:
        raise CorruptError("an embedded model of an unknown version", where="model")
    spec = Spec.from_dict(json.loads(_inflated(reader, _MAX_SPEC)))
    forms = tensor_forms(spec)
    weights = sum(math.prod(shape) for _, shape in forms.values())
    limits.check("model_weights", weights, "weights of the embedded model")
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name in sorted(forms):
        dtype, shape = np.dtype(forms[name][0]).newbyteorder("<"), forms[name][1]
        count = math.prod(shape)
        if dtype == np.int8:
            read = _unpack_bytes if version == 1 else _unpack_matrix
            tensors[name] = read(reader, count, shape[-1]).reshape(shape)
            continue
        planes = np.frombuffer(_inflated(reader, count * dtype.itemsize), np.uint8)
        if planes.size != count * dtype.itemsize:
            raise CorruptError(f"tensor {name} has another size", where="model")
        entries = np.ascontiguousarray(planes.reshape(dtype.itemsize, count).T)
        tensor = entries.view(dtype).reshape(shape).astype(dtype.newbyteorder("="))
        if dtype.itemsize == 2 and version > 1:
            tensor = np.cumsum(np.cumsum(tensor, dtype=np.int16), dtype=np.int16)
        tensors[name] = tensor
    if reader.left:
        raise CorruptError(f"{reader.left} bytes follow the model", where="model")
    return Model(spec, tensors)


def _inflated(reader: Reader, most: int) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(reader.take(reader.varint("model"), "model"), most + 1)
    if len(data) > most or not inflater.eof or inflater.unused_data:
        raise CorruptError("a part of the embedded model has another size", where="model")
    return data


def _pack_bytes(tensor: npt.NDArray[np.int8]) -> list[bytes]:
    from ..coding.encoder import encode_lane

    symbols = tensor.reshape(-1).astype(np.int64) + 128
    cdf = _counts(np.bincount(symbols, minlength=256))
    words = encode_lane(cdf[symbols], (cdf[1:] - cdf[:-1])[symbols])
    table = zlib.compress(cdf.astype("<u4").tobytes(), 9)
    return [varint(len(table)), table, varint(len(words)), words.astype("<u4").tobytes()]


def _counts(found: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Cumulative counts (257,) up to USABLE, near what was found, each count at least 1."""
    total = max(int(found.sum()), 1)
    counts = 1 + found * (USABLE - len(found)) // total
    counts[int(found.argmax())] += USABLE - int(counts.sum())
    return np.concatenate([[0], np.cumsum(counts)])


def _unpack_bytes(reader: Reader, count: int, _: int) -> npt.NDArray[np.int8]:
    from .weights import decode_weights

    table = np.frombuffer(_inflated(reader, 257 * 4), "<u4")
    steps = np.diff(table.astype(np.int64))
    if len(table) != 257 or table[0] or table[-1] != USABLE or steps.min() < 1:
        raise CorruptError("an impossible table of weights", where="model")
    words = _words(reader)
    weights = np.empty(count, np.int8)
    if not decode_weights(words, table.astype(np.uint32), weights):
        raise CorruptError("the weights' words are not those of their table", where="model")
    return weights


def _pack_matrix(tensor: npt.NDArray[np.int8]) -> list[bytes]:
    from .magnitudes import encode_matrix

    entries = tensor.reshape(-1, tensor.shape[-1]).astype(np.int16)
    grid = max(1, int(np.gcd.reduce(entries, axis=None)))
    words = encode_matrix(entries // grid)
    return [bytes([grid]), varint(len(words)), words.astype("<u4").tobytes()]


def _unpack_matrix(reader: Reader, count: int, columns: int) -> npt.NDArray[np.int8]:
    from .magnitudes import decode_matrix

    grid = reader.byte("model")
    if not 1 <= grid <= 128:
        raise CorruptError("an impossible grid of weights", where="model")
    words = _words(reader)
    entries = np.empty((count // columns, columns), np.int8)
    if not decode_matrix(words, grid, entries):
        raise CorruptError("the weights' words do not make weights", where="model")
    return entries


def _words(reader: Reader) -> npt.NDArray[np.uint32]:
    """A number of words, and the words."""
    size = reader.varint("model")
    return np.frombuffer(reader.take(size * 4, "model"), "<u4").astype(np.uint32)
