"""Raw binary files: bytes whose dtype and shape only the caller knows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, FileFormatError, OptionError


def parse_dtype(text: str) -> np.dtype[Any]:
    """An integer or bool dtype from its numpy name: uint16, u2, >i4, bool ...

    Raises OptionError for a name numpy does not know, DTypeError for anything but integers.
    """
    try:
        # Aliases that numpy is about to drop are no names to keep data under.
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError, DeprecationWarning) as error:
        raise OptionError(
            f"unknown dtype {text!r}; give one such as uint16, int32 or >u2"
        ) from error
    if dtype.kind not in "biu":
        raise DTypeError(f"dtype {text!r} is not an integer type; tokens are integers")
    return dtype


def parse_shape(text: str) -> tuple[int, ...]:
    """A shape from "1200,8,16" or "1200x8x16"; one dimension may be -1, "()" is a single token.

    Raises OptionError for anything else.
    """
    body = text.strip().strip("()[]").replace("x", ",").replace(" ", "").rstrip(",")
    try:
        shape = tuple(int(part) for part in body.split(",")) if body else ()
    except ValueError:
        shape = (-2,)
    if any(n < -1 for n in shape) or shape.count(-1) > 1:
        raise OptionError(
            f"bad shape {text!r}; give lengths such as -1,8,16, at most one of them -1"
        )
    return shape


def parse_raw(
    data: bytes, name: str, dtype: np.dtype[Any], shape: Sequence[int]
) -> np.ndarray[Any, Any]:
    """`data` as an array of `dtype` and `shape`, C order, at most one length -1: a view, no copy.

    Raises FileFormatError if the number of bytes does not fit.
    """
    known = math.prod(n for n in shape if n != -1)
    if -1 in shape:
        row = known * dtype.itemsize
        if row == 0 or len(data) % row:
            raise FileFormatError(
                f"{name}: {len(data):,} bytes do not divide into {dtype} of shape {tuple(shape)}"
            )
        shape = [len(data) // row if n == -1 else n for n in shape]
    elif known * dtype.itemsize != len(data):
        raise FileFormatError(
            f"{name}: {len(data):,} bytes, but {dtype} of shape {tuple(shape)} needs "
            f"{known * dtype.itemsize:,}"
        )
    try:
        flat = np.frombuffer(data, dtype=dtype) if data else np.empty(0, dtype)
        return flat.reshape(tuple(shape))
    except ValueError as error:
        raise FileFormatError(f"{name}: impossible shape {tuple(shape)} ({error})") from error
