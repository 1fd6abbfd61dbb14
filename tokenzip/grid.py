"""TokenGrid: what an input must be, and the one form that everything behind it works on.

Whatever the caller has (any integer or bool dtype, byte order and memory layout, 0 to 32
dimensions, nested lists, torch tensors on any device) becomes a C-contiguous uint16 array
(T, *frame) together with what is needed to give the caller's own dtype and shape back.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .blob.fields import (
    MAX_ALPHABET,
    MAX_DIMENSIONS,
    MAX_EXTENT,
    MIN_ALPHABET,
    bits_per_raw_token,
    extent,
)
from .errors import DTypeError, InputError, OptionError, ShapeError, TokenRangeError


@dataclass(frozen=True, eq=False)
class TokenGrid:
    """One checked input.

    Attributes:
        tokens: C-contiguous native uint16 array (T, *frame), all values below `alphabet`. It may
            share memory with the caller's array; nothing in tokenzip writes to it.
        shape: the caller's shape; differs from tokens.shape only for (), which is held as (1,).
        dtype: the caller's dtype, byte order included.
        alphabet: number of symbols, 2 to 65,536.
    """

    tokens: npt.NDArray[np.uint16]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    alphabet: int

    @property
    def frames(self) -> int:
        return int(self.tokens.shape[0])

    @property
    def frame(self) -> tuple[int, ...]:
        return self.tokens.shape[1:]

    @property
    def frame_tokens(self) -> int:
        return math.prod(self.frame)

    @property
    def bits(self) -> int:
        """ceil(log2 alphabet): bits of one token when bit-packed."""
        return bits_per_raw_token(self.alphabet)

    @property
    def raw_bytes(self) -> int:
        """Size of the bit-packed tokens."""
        return (self.tokens.size * self.bits + 7) // 8

    @classmethod
    def of(cls, tokens: Any, alphabet: int | None = None) -> TokenGrid:
        """Check one input and normalise it.

        Args:
            tokens: array-like of integers or bools, any shape of up to 32 dimensions, axis 0 time.
            alphabet: number of symbols; None infers max(2, largest token + 1).

        Raises:
            DTypeError: the values are not integers; names the first that is not.
            TokenRangeError: a token is negative or not below the alphabet; .index and .value are
                those of the first one in C order.
            ShapeError: ragged nesting, more than 32 dimensions, or dimensions too large to record.
            OptionError: alphabet is not an integer from 2 to 65,536.
        """
        limit = None if alphabet is None else check_alphabet(alphabet)
        array = _as_array(tokens)
        if array.dtype.kind not in "bui":
            raise _not_integers(array)
        check_shape(array.shape)
        largest = _largest_token(array, MAX_ALPHABET if limit is None else limit)
        if limit is None:
            limit = max(MIN_ALPHABET, largest + 1)
        # Every value is known to fit by now, so this narrowing cast cannot change one.
        narrow = array.astype(np.uint16, order="C", copy=False)
        frames_first = narrow.reshape(1) if narrow.ndim == 0 else narrow
        return cls(frames_first, array.shape, array.dtype, limit)


def token_grids(tokens: Any, alphabet: int | None = None) -> tuple[list[TokenGrid], bool]:
    """All grids of an input, and whether it was a list of grids.

    A Python list or tuple whose elements are all arrays or tensors (they have .shape and .dtype)
    is several grids, and so is an empty one. Everything else is a single grid: nested lists of
    numbers, and also a list of nothing but numpy scalars.

    Raises:
        InputError: as TokenGrid.of; for a list the message begins with the number of the grid.
    """
    if not _is_list_of_grids(tokens):
        return [TokenGrid.of(tokens, alphabet)], False
    grids = []
    for number, item in enumerate(tokens):
        try:
            grids.append(TokenGrid.of(item, alphabet))
        except InputError as error:
            error.args = (f"grid {number} of the list: {error}",)
            raise
    return grids, True


def share_alphabets(grids: list[TokenGrid]) -> list[TokenGrid]:
    """Give grids of integers with the same frame shape and bits the largest of their alphabets.

    Alphabets that were inferred differ by chance from clip to clip; alike, the clips can share
    one coder state. Grids of bools keep theirs, and so do those whose raw size would change.
    """
    largest: dict[tuple[tuple[int, ...], int], int] = {}
    for grid in grids:
        if grid.dtype.kind != "b":
            key = grid.frame, grid.bits
            largest[key] = max(largest.get(key, 0), grid.alphabet)
    return [
        grid if grid.dtype.kind == "b" else replace(grid, alphabet=largest[grid.frame, grid.bits])
        for grid in grids
    ]


def check_alphabet(alphabet: Any) -> int:
    """The alphabet as an int from 2 to 65,536, or OptionError."""
    try:
        size = operator.index(alphabet)
    except TypeError:
        raise OptionError(f"alphabet must be an integer, not {alphabet!r}") from None
    if isinstance(alphabet, (bool, np.bool_)) or not MIN_ALPHABET <= size <= MAX_ALPHABET:
        raise OptionError(f"alphabet must be {MIN_ALPHABET} to {MAX_ALPHABET}, not {alphabet!r}")
    return size


def check_shape(shape: Sequence[int]) -> None:
    """Raise ShapeError when the format cannot record this shape."""
    if len(shape) > MAX_DIMENSIONS:
        raise ShapeError(
            f"{len(shape)} dimensions, but at most {MAX_DIMENSIONS} can be recorded; reshape first"
        )
    if extent(shape) > MAX_EXTENT:
        raise ShapeError(f"the shape {tuple(shape)} is too large to record")


def _is_list_of_grids(tokens: Any) -> bool:
    if not isinstance(tokens, (list, tuple)):
        return False
    typed = [item for item in tokens if hasattr(item, "shape") and hasattr(item, "dtype")]
    if typed and all(isinstance(item, np.generic) for item in typed):
        return False
    if typed and len(typed) < len(tokens):
        raise ShapeError(
            f"the list mixes {len(typed)} arrays with {len(tokens) - len(typed)} other items; give "
            "either arrays only (several grids) or numbers only (one grid)"
        )
    return len(typed) == len(tokens)


def _as_array(tokens: Any) -> npt.NDArray[Any]:
    """The input as a plain numpy array, without a copy where numpy can avoid one."""
    if isinstance(tokens, np.ma.MaskedArray):
        raise DTypeError("a masked array would lose its mask; fill it first with .filled(value)")
    try:
        if _is_torch_tensor(tokens):
            tokens = tokens.detach().cpu().numpy()
        array = np.asarray(tokens)
    except ValueError as error:
        raise ShapeError(f"the tokens do not form a regular array: {error}") from error
    except (TypeError, RuntimeError, OverflowError) as error:
        raise DTypeError(f"the tokens cannot be read as an integer array: {error}") from error
    if array.size == 0 and isinstance(tokens, (list, tuple)):
        # numpy calls an empty list float64; no element said so.
        array = array.astype(np.int64)
    return array


def _is_torch_tensor(value: Any) -> bool:
    # A caller who holds a tensor has imported torch; so nobody else needs to pay for it.
    tensor_type = getattr(sys.modules.get("torch"), "Tensor", None)
    return isinstance(tensor_type, type) and isinstance(value, tensor_type)


def _largest_token(array: npt.NDArray[Any], limit: int) -> int:
    """Largest value (-1 if empty) of an array whose values must all be 0 .. limit - 1."""
    if array.size == 0:
        return -1
    largest = int(array.max())
    if largest >= limit or (array.dtype.kind == "i" and int(array.min()) < 0):
        raise _out_of_range(array, limit)
    return largest


def _out_of_range(array: npt.NDArray[Any], limit: int) -> TokenRangeError:
    index: tuple[int, ...] = ()
    value = 0
    for first, block in _blocks(array):
        bad = np.flatnonzero((block < 0) | (block >= limit))
        if bad.size:
            index, value = _index(first + int(bad[0]), array.shape), int(block[bad[0]])
            break
    rule = (
        "tokens must not be negative; shift them first"
        if value < 0
        else f"tokens must be below the alphabet, {limit}"
        + ("; give a larger one" if limit < MAX_ALPHABET else ", which is the largest there is")
    )
    return TokenRangeError(f"token {value} at index {index}: {rule}", index=index, value=value)


def _not_integers(array: npt.NDArray[Any]) -> InputError:
    """The error for a dtype that is not bool or integer, naming the first element at fault."""
    position = 0
    value: Any = None
    if array.dtype.kind == "O":
        # Python integers beyond 64 bits end up here; they are integers out of range.
        for position, value in enumerate(array.flat):
            if not isinstance(value, (int, np.integer)):
                break
            if not 0 <= value < MAX_ALPHABET:
                index = _index(position, array.shape)
                return TokenRangeError(
                    f"token {value} at index {index}: tokens must be 0 to {MAX_ALPHABET - 1}",
                    index=index,
                    value=int(value),
                )
    elif array.size:
        value = next(iter(array.flat))
    if array.size == 0:
        where = "the array is empty, but its type counts"
    else:
        where = f"first at index {_index(position, array.shape)}: {_short(value)}"
    advice = {
        "f": "if they are whole numbers, convert with .astype(np.uint16)",
        "O": "build an integer array first",
        "S": "for raw bytes use np.frombuffer(data, np.uint8)",
    }.get(array.dtype.kind, "convert them to an integer dtype")
    return DTypeError(f"tokens must be integers or bools, not {array.dtype} ({where}); {advice}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _blocks(array: npt.NDArray[Any]) -> Any:
    """(flat position, 1-D block) pairs in C order, a few thousand elements each, no big copy."""
    position = 0
    block: Any
    for block in np.nditer(array, flags=["external_loop", "buffered", "zerosize_ok"], order="C"):
        yield position, block
        position += block.size


def _index(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(part) for part in np.unravel_index(position, shape)) if shape else ()
