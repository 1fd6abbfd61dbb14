"""Bit packing against an independent one made of text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenzip.errors import CorruptError
from tokenzip.predictors.stored import pack, packed_size, unpack


def pack_as_text(tokens: list[int], bits: int) -> bytes:
    """The same by writing the bits as characters: MSB first, zeros at the end."""
    text = "".join(f"{token:0{bits}b}" for token in tokens)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


@given(bits=st.integers(1, 16), data=st.data())
def test_same_bits_as_text(bits: int, data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    payload = pack(np.array(tokens, np.uint16), bits)
    assert payload == pack_as_text(tokens, bits)
    assert len(payload) == packed_size(len(tokens), bits)
    assert unpack(payload, len(tokens), bits).tolist() == tokens


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("count", [131_071, 131_072, 131_073])
def test_round_trip_across_blocks(bits: int, count: int, rng: np.random.Generator) -> None:
    tokens = rng.integers(0, 2**bits, count).astype(np.uint16)
    payload = pack(tokens, bits)
    assert len(payload) == packed_size(count, bits)
    assert np.array_equal(unpack(payload, count, bits), tokens)


def test_known_bytes() -> None:
    assert pack(np.array([0x3FF, 0, 1], np.uint16), 10).hex() == "ffc00004"
    assert pack(np.array([[1, 0], [1, 1]], np.uint16), 1).hex() == "b0"
    assert pack(np.array([0x1234], np.uint16), 16).hex() == "1234"


def test_any_layout_is_packed_in_c_order(rng: np.random.Generator) -> None:
    tokens = rng.integers(0, 1024, (7, 5)).astype(np.uint16)
    assert pack(tokens.T, 10) == pack(np.ascontiguousarray(tokens.T), 10)


@pytest.mark.parametrize("change", [-1, 1, 5])
def test_wrong_length(change: int) -> None:
    payload = pack(np.arange(16, dtype=np.uint16), 10)
    wrong = payload[:change] if change < 0 else payload + bytes(change)
    with pytest.raises(CorruptError, match="16 tokens of 10 bits need 20 bytes"):
        unpack(wrong, 16, 10)


def test_filling_must_be_zero() -> None:
    payload = pack(np.array([5, 6], np.uint16), 3)
    for bit in range(2):
        with pytest.raises(CorruptError, match="filled up with zeros"):
            unpack(bytes([payload[0] | 1 << bit]), 2, 3)
