"""The predictor that predicts nothing: tokens bit-packed with ceil(log2 alphabet) bits each.

Tokens follow one another most significant bit first, without gaps; the last byte is filled up
with zero bits. Eight tokens of b bits are exactly b bytes, so packing works on groups of eight.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from ..errors import CorruptError

_GROUP = 8
_GROUPS_AT_ONCE = 1 << 14  # the working memory stays at a few MB whatever the size of the chunk


def packed_size(count: int, bits: int) -> int:
    """Bytes of `count` packed tokens."""
    return (count * bits + 7) // 8


def pack(tokens: npt.NDArray[np.uint16], bits: int) -> bytes:
    """Pack uint16 tokens of any shape, in C order, each below 2**bits (1 to 16)."""
    flat = np.ascontiguousarray(tokens).reshape(-1)
    if bits == 16:
        return flat.astype(">u2").tobytes()
    parts = []
    step = _GROUP * _GROUPS_AT_ONCE
    for start in range(0, flat.size, step):
        block = flat[start : start + step]
        groups = np.zeros((-(-block.size // _GROUP), _GROUP), np.uint16)
        groups.reshape(-1)[: block.size] = block
        parts.append(_pack_groups(groups, bits).tobytes())
    return b"".join(parts)[: packed_size(flat.size, bits)]


def unpack(payload: bytes, count: int, bits: int) -> npt.NDArray[np.uint16]:
    """The `count` tokens of a packed payload, as a flat uint16 array.

    Raises:
        CorruptError: the payload has another length, or the bits that fill it up are not zero.
    """
    if len(payload) != packed_size(count, bits):
        raise CorruptError(
            f"{count} tokens of {bits} bits need {packed_size(count, bits)} bytes, "
            f"not {len(payload)}",
            where="stored payload",
        )
    filling = 8 * len(payload) - count * bits
    if filling and payload[-1] & ((1 << filling) - 1):
        raise CorruptError("the last byte is not filled up with zeros", where="stored payload")
    if bits == 16:
        return np.frombuffer(payload, ">u2").astype(np.uint16)
    tokens = np.empty(count, np.uint16)
    step = _GROUP * _GROUPS_AT_ONCE
    for start in range(0, count, step):
        part = payload[start // _GROUP * bits : (start + step) // _GROUP * bits]
        groups = np.zeros((-(-len(part) // bits), bits), np.uint8)
        groups.reshape(-1)[: len(part)] = np.frombuffer(part, np.uint8)
        block = tokens[start : start + step]
        block[:] = _unpack_groups(groups, bits).reshape(-1)[: block.size]
    return tokens


def _pack_groups(groups: npt.NDArray[np.uint16], bits: int) -> npt.NDArray[np.uint8]:
    """(n, 8) tokens -> (n, bits) bytes."""
    out = np.zeros((groups.shape[0], bits), np.uint8)
    for token in range(_GROUP):
        for byte, shift in _overlaps(token, bits):
            column = groups[:, token]
            shifted = column >> shift if shift >= 0 else column << -shift
            out[:, byte] |= (shifted & 0xFF).astype(np.uint8)
    return out


def _unpack_groups(groups: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint16]:
    """(n, bits) bytes -> (n, 8) tokens."""
    out = np.zeros((groups.shape[0], _GROUP), np.uint16)
    mask = np.uint16((1 << bits) - 1)
    for token in range(_GROUP):
        for byte, shift in _overlaps(token, bits):
            column = groups[:, byte].astype(np.uint16)
            out[:, token] |= column << shift if shift >= 0 else column >> -shift
        out[:, token] &= mask
    return out


@cache
def _overlaps(token: int, bits: int) -> tuple[tuple[int, int], ...]:
    """(byte, shift) for each byte that holds bits of this token of a group.

    The byte's part of the token is `token >> shift` (to the left when shift is negative), cut to
    eight bits.
    """
    first, end = token * bits, (token + 1) * bits
    return tuple((byte, end - 8 * (byte + 1)) for byte in range(first // 8, (end + 7) // 8))
