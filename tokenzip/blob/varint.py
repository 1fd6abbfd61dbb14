"""Canonical variable-length integers, and a reader that cannot run past the end.

Little-endian base 128: seven bits a byte, low ones first, the high bit says that more follow.
At most nine bytes (63 bits). Only the shortest form is valid, so that a value has one encoding.
"""

from __future__ import annotations

from ..errors import CorruptError, TruncatedError

MAX_BYTES = 9


def varint(value: int) -> bytes:
    """The canonical encoding of 0 <= value < 2**63."""
    if not 0 <= value < 1 << 63:
        raise ValueError(f"a varint holds 0 to 2**63 - 1, not {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Reads fields from bytes, from `position` on, and never past their end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; TruncatedError when there are fewer."""
        if count > self.left:
            raise TruncatedError(
                f"the blob ends inside its {what}: {count} bytes needed, {self.left} left"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def varint(self, what: str) -> int:
        value = 0
        for number in range(MAX_BYTES):
            byte = self.byte(what)
            value |= (byte & 0x7F) << 7 * number
            if byte < 0x80:
                if byte == 0 and number:
                    break
                return value
        raise CorruptError(f"the {what} is not a canonical varint", where="header")
