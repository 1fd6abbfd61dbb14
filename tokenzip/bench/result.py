"""One line of a comparison."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tokenzip.blob.fields import bits_per_raw_token


@dataclass(frozen=True)
class Result:
    """What one compressor made of some grids; every token came back as it was.

    Attributes:
        compressor: e.g. "tokenzip adaptive" or "xz -9e".
        layout: the byte layout that served it best; "tokens" for tokenzip.
        solid: all grids in one stream; otherwise each grid is compressed on its own.
        grids, tokens, alphabet: what was compressed.
        compressed_bytes: everything that decoding needs, container and headers included.
        encode_seconds, decode_seconds: for all grids, after a warm-up call, laying out included.
        peak_bytes: the largest resident memory of the process that did both, Python, numpy, data
            and program included; None where the system does not tell.
    """

    compressor: str
    layout: str
    solid: bool
    grids: int
    tokens: int
    alphabet: int
    compressed_bytes: int
    encode_seconds: float
    decode_seconds: float
    peak_bytes: int | None

    @property
    def raw_bytes(self) -> float:
        """Size of the tokens at ceil(log2 alphabet) bits each."""
        return self.tokens * bits_per_raw_token(self.alphabet) / 8

    @property
    def ratio(self) -> float:
        """How many times smaller than the packed tokens."""
        return self.raw_bytes / self.compressed_bytes

    @property
    def bits_per_token(self) -> float:
        return self.compressed_bytes * 8 / max(self.tokens, 1)

    @property
    def encode_rate(self) -> float:
        """Tokens per second."""
        return self.tokens / max(self.encode_seconds, 1e-9)

    @property
    def decode_rate(self) -> float:
        """Tokens per second."""
        return self.tokens / max(self.decode_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Every field and derived figure, for JSON."""
        return {
            **asdict(self),
            "ratio": round(self.ratio, 4),
            "bits_per_token": round(self.bits_per_token, 4),
            "encode_tokens_per_second": round(self.encode_rate),
            "decode_tokens_per_second": round(self.decode_rate),
        }
