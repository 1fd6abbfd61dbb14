"""The array-to-bytes codec "tokenzip" of Zarr format 3.

    zarr.create_array(store, ..., serializer=TokenzipCodec(alphabet=1024))

It is registered by entry point, so opening such an array needs no import of this module. Every
chunk (inside a shard: every inner chunk) is a blob and decodes on its own. No compressor should
follow: create_array adds one for integers unless `compressors=None`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from .chunks import Settings, check_dtype, decode_chunk
from .requirements import missing

try:
    from zarr.abc.codec import ArrayBytesCodec
    from zarr.registry import register_codec
except ImportError as error:
    raise missing("zarr", extra="zarr") from error

NAME = "tokenzip"


@dataclass(frozen=True, init=False)
class TokenzipCodec(ArrayBytesCodec):
    """Lossless compression of integer arrays whose values (fill value included) are 0 to 65,535.

    Args:
        alphabet: number of symbols; None takes the largest token of each chunk plus one.
        predictor: "auto", "adaptive" or "stored", as in tokenzip.encode.
        chunk_frames: frames per chunk inside the blob of one Zarr chunk; seldom of use.
        frame: shape of a frame, such as (8, 16), for chunks that hold several clips. None takes a
            chunk's first axis longer than one as time: right for (T, 8, 16) and (1, T, 8, 16).

    Raises:
        OptionError: a setting is wrong.
    """

    is_fixed_size = False

    settings: Settings

    def __init__(
        self,
        *,
        alphabet: int | None = None,
        predictor: str = "auto",
        chunk_frames: int | None = None,
        frame: Any = None,
    ) -> None:
        settings = Settings(alphabet, predictor, chunk_frames, frame)
        object.__setattr__(self, "settings", settings)

    @classmethod
    def from_dict(cls, data: Any) -> TokenzipCodec:
        """From the metadata of an array: {"name": "tokenzip", "configuration": {...}}."""
        configuration = data.get("configuration", {})
        if data.get("name") != NAME or not isinstance(configuration, dict):
            raise OptionError(f"not the configuration of a {NAME} codec: {data!r}")
        try:
            return cls(**configuration)
        except TypeError as error:
            raise OptionError(f"a setting that this tokenzip does not know: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        return {"name": NAME, "configuration": self.settings.to_dict()}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise DTypeError unless the array holds integers."""
        check_dtype(_native(dtype), "the array")

    def evolve_from_array_spec(self, array_spec: Any) -> TokenzipCodec:
        """Unchanged; OptionError if chunks that are not full could not be written."""
        native = _native(array_spec.dtype)
        check_dtype(native, "the array")
        fill, most = int(array_spec.fill_value or 0), (self.settings.alphabet or 65_536) - 1
        if not 0 <= fill <= most:
            raise OptionError(
                f"the fill value {fill} fills up chunks at the edges, so it must be a token, "
                f"0 to {most:,}"
            )
        return self

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        raise NotImplementedError("the size of compressed chunks is known only afterwards")

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    def _encode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        blob = self.settings.encode(np.ascontiguousarray(chunk_data.as_numpy_array()))
        return chunk_spec.prototype.buffer.from_bytes(blob)

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        dtype = _native(chunk_spec.dtype)
        tokens = decode_chunk(chunk_data.as_numpy_array(), tuple(chunk_spec.shape), dtype)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(tokens)


def _native(dtype: Any) -> np.dtype[Any]:
    """The numpy dtype of Zarr's; Zarr 3.0 has numpy's own."""
    native: np.dtype[Any] = np.dtype(
        dtype.to_native_dtype() if hasattr(dtype, "to_native_dtype") else dtype
    )
    return native


register_codec(NAME, TokenzipCodec)
