"""The few functions of the HDF5 library that a filter needs and h5py does not have, by ctypes.

They are those of the very library that h5py uses: found through one of h5py's own modules.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

import numpy as np

from ..errors import MissingDependencyError, OptionError

REVERSE = 0x100  # H5Z_FLAG_REVERSE: decode

_INTEGER, _ENUM = 0, 8
_ORDERS = {0: "<", 1: ">"}
_MOST_VALUES = 64 + 3 * 32

FILTER = ctypes.CFUNCTYPE(
    c_size_t, c_uint, c_size_t, POINTER(c_uint), c_size_t, POINTER(c_size_t), POINTER(c_void_p)
)
CAN_APPLY = ctypes.CFUNCTYPE(c_int, c_int64, c_int64, c_int64)


class _FilterClass(ctypes.Structure):
    """H5Z_class2_t"""

    _fields_ = (
        ("version", c_int),
        ("id", c_int),
        ("encoder_present", c_uint),
        ("decoder_present", c_uint),
        ("name", c_char_p),
        ("can_apply", CAN_APPLY),
        ("set_local", CAN_APPLY),
        ("filter", FILTER),
    )


def filter_class(number: int, name: bytes, can_apply: Any, set_local: Any, function: Any) -> Any:
    """The structure whose address h5py.h5z.register_filter takes."""
    return _FilterClass(1, number, 1, 1, name, can_apply, set_local, function)


def _load() -> ctypes.CDLL:
    from h5py import h5z

    for name in (h5z.__file__, *(("hdf5.dll",) if os.name == "nt" else ())):
        try:
            library = ctypes.CDLL(name)
            library.H5allocate_memory  # noqa: B018
        except (OSError, AttributeError):
            continue
        return library
    raise MissingDependencyError(
        "the HDF5 library of this h5py cannot be reached from Python, which the filter needs: "
        "pip install --upgrade h5py"
    )


_library = _load()


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_library, name)
    function.restype, function.argtypes = result, arguments
    return function


_allocate = _function("H5allocate_memory", c_void_p, c_size_t, ctypes.c_bool)
_free = _function("H5free_memory", c_int, c_void_p)
_get_chunk = _function("H5Pget_chunk", c_int, c_int64, c_int, POINTER(c_uint64))
_get_filter = _function(
    "H5Pget_filter_by_id2",
    c_int,
    c_int64,
    c_int,
    POINTER(c_uint),
    POINTER(c_size_t),
    POINTER(c_uint),
    c_size_t,
    c_char_p,
    POINTER(c_uint),
)
_modify_filter = _function(
    "H5Pmodify_filter", c_int, c_int64, c_int, c_uint, c_size_t, POINTER(c_uint)
)
_type_class = _function("H5Tget_class", c_int, c_int64)
_type_size = _function("H5Tget_size", c_size_t, c_int64)
_type_sign = _function("H5Tget_sign", c_int, c_int64)
_type_order = _function("H5Tget_order", c_int, c_int64)
_push = _function(
    "H5Epush2", c_int, c_int64, c_char_p, c_char_p, c_uint, c_int64, c_int64, c_int64, c_char_p
)


def replace(buffer: Any, size: Any, content: bytes) -> None:
    """Give HDF5 `content` in memory of its own instead of the buffer that it handed over."""
    memory = _allocate(len(content), False)
    if not memory:
        raise MemoryError(f"HDF5 has no {len(content):,} bytes left")
    ctypes.memmove(memory, content, len(content))
    _free(buffer[0])
    buffer[0] = memory
    size[0] = len(content)


def integer_dtype(datatype: int) -> np.dtype[Any] | None:
    """The numpy dtype of an HDF5 type of integers (h5py's bools are one), None for any other."""
    size, order = _type_size(datatype), _ORDERS.get(_type_order(datatype))
    if _type_class(datatype) not in (_INTEGER, _ENUM) or size not in (1, 2, 4, 8) or not order:
        return None
    return np.dtype(f"{order}{'i' if _type_sign(datatype) else 'u'}{size}")


def chunk_shape(properties: int) -> tuple[int, ...]:
    """The chunks of a dataset to be created."""
    sizes = (c_uint64 * 32)()
    rank = _get_chunk(properties, 32, sizes)
    if rank < 1:
        raise OptionError("the dataset has no chunks")
    return tuple(sizes[:rank])


def filter_values(properties: int, number: int) -> tuple[int, ...]:
    """The values that a property list keeps for a filter."""
    flags, count, config = c_uint(), c_size_t(_MOST_VALUES), c_uint()
    values = (c_uint * _MOST_VALUES)()
    done = _get_filter(properties, number, flags, count, values, 0, None, config)
    if done < 0 or count.value > _MOST_VALUES:
        raise OptionError("the filter's values cannot be read")
    return tuple(values[: count.value])


def set_filter_values(properties: int, number: int, values: Sequence[int]) -> None:
    """Replace the values that a property list keeps for a filter, and nothing else about it."""
    if any(value >= 2**32 for value in values):
        raise OptionError("a chunk is too large for the filter")
    flags, count, config = c_uint(), c_size_t(0), c_uint()
    _get_filter(properties, number, flags, count, None, 0, None, config)
    array = (c_uint * len(values))(*values)
    if _modify_filter(properties, number, flags, len(values), array) < 0:
        raise OptionError("the filter's values cannot be set")


def push_message(message: str) -> None:
    """Let the exception that h5py makes of the failure that follows have this message."""
    numbers = [
        c_int64.in_dll(_library, name).value
        for name in ("H5E_ERR_CLS_g", "H5E_PLINE_g", "H5E_CANTFILTER_g")
    ]
    # The last argument is a format for printf.
    text = message.replace("%", "%%").encode("ascii", "replace")
    _push(0, b"tokenzip", b"filter", 0, *numbers, text)
