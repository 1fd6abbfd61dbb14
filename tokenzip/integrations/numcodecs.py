"""The numcodecs codec "tokenzip": `numcodecs.get_codec({"id": "tokenzip", "alphabet": 1024})`.

It is registered by entry point, so get_codec and Zarr find it without an import of this module. A
numcodecs codec maps memory to memory: what decode returns has the bytes of what encode was given in
the same order, which Zarr relies upon for arrays in Fortran order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..codec import DEFAULT_MAX_TOKENS
from ..errors import CorruptError, DTypeError, OptionError
from .chunks import Settings, check_dtype, decode_tokens, only_grid
from .requirements import missing

try:
    from numcodecs.abc import Codec
    from numcodecs.compat import ensure_ndarray_like
    from numcodecs.registry import register_codec
except ImportError as error:
    raise missing("numcodecs", extra="numcodecs") from error

Array = npt.NDArray[Any]


class Tokenzip(Codec):
    """Lossless compression of integer buffers of 0 to 65,535.

    Args:
        alphabet: number of symbols; None takes the largest token of each buffer plus one.
        predictor: "auto", "adaptive" or "stored", as in tokenzip.encode.
        chunk_frames: frames per chunk inside one buffer's blob; seldom of use.
        frame: shape of a frame, such as (8, 16), for buffers that are flat or hold several clips.
            None takes a buffer's first axis longer than one as time.

    Raises:
        OptionError: a setting is wrong.
    """

    codec_id = "tokenzip"

    def __init__(
        self,
        alphabet: int | None = None,
        predictor: str = "auto",
        chunk_frames: int | None = None,
        frame: Any = None,
    ) -> None:
        settings = Settings(alphabet, predictor, chunk_frames, frame)
        self.alphabet = settings.alphabet
        self.predictor = settings.predictor
        self.chunk_frames = settings.chunk_frames
        self.frame = None if settings.frame is None else list(settings.frame)
        self._settings = settings

    def encode(self, buf: Any) -> bytes:
        """The blob of any contiguous buffer of integers; bytes count as uint8.

        Raises:
            DTypeError: not integers, or not contiguous.
            TokenRangeError: a value is negative, above 65,535, or not below the alphabet.
        """
        return self._settings.encode(_in_order_of_memory(buf))

    def decode(self, buf: Any, out: Any = None) -> Array:
        """The array of a blob, or `out` filled with its bytes.

        Raises:
            BlobError: not a blob, damaged, or not of the size of `out`.
        """
        data = _flat_bytes(buf)
        grid = only_grid(data)
        if out is None:
            return decode_tokens(data, DEFAULT_MAX_TOKENS)
        target = _flat_bytes(out)
        if not target.flags.writeable:
            raise OptionError("the output buffer is read-only")
        if grid.tokens * grid.dtype.itemsize != target.size:
            raise CorruptError(
                f"a blob of shape {grid.shape} and dtype {grid.dtype} for an output of "
                f"{target.size:,} bytes"
            )
        target[...] = _flat_bytes(decode_tokens(data, grid.tokens))
        filled: Array = out
        return filled


register_codec(Tokenzip)


def _in_order_of_memory(buf: Any) -> Array:
    """The buffer as an array whose C order is its order in memory, without a copy."""
    array: Array = np.asarray(ensure_ndarray_like(buf))
    check_dtype(array.dtype, "the buffer")
    if not array.flags.c_contiguous:
        array = array.transpose()
    if not array.flags.c_contiguous:
        raise DTypeError("the buffer is not contiguous; make a copy first")
    return array


def _flat_bytes(buf: Any) -> npt.NDArray[np.uint8]:
    """A flat view of a contiguous buffer's bytes."""
    flat: npt.NDArray[np.uint8] = _in_order_of_memory(buf).reshape(-1).view(np.uint8)
    return flat
