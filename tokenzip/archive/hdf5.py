"""The few HDF5 structures that an archive consists of, written byte by byte.

libhdf5 changes the metadata of a file in place, so a process that is killed while it writes can
leave a file that nothing opens. An archive's metadata is written anew behind everything else, and
becomes valid by the new superblock alone. Only what is needed for that is here: superblock version
2, groups with their links inside, and contiguous datasets. The structures are those of the "HDF5
File Format Specification" 3.0; h5py reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_BYTES = 48

_UNDEFINED = b"\xff" * 8

# Types of header messages.
_DATASPACE, _LINK_INFO, _DATATYPE, _FILL, _LINK, _LAYOUT, _GROUP_INFO, _ATTRIBUTE = (
    0x01,
    0x02,
    0x03,
    0x05,
    0x06,
    0x08,
    0x0A,
    0x0C,
)


def superblock(end_of_file: int, root: int) -> bytes:
    """The superblock: 48 bytes for the beginning of the file.

    Args:
        end_of_file: what the file holds from here on is not HDF5's.
        root: address of the root group.
    """
    head = (
        SIGNATURE
        + bytes([2, 8, 8, 0])  # version, bytes of an address, bytes of a length, flags
        + bytes(8)  # base address
        + _UNDEFINED  # no extension
        + struct.pack("<QQ", end_of_file, root)
    )
    return head + struct.pack("<I", lookup3(head))


@dataclass(frozen=True)
class Dataset:
    """A contiguous, one-dimensional dataset.

    Attributes:
        datatype: a datatype message, from `unsigned` or `compound`.
        item: bytes of an element.
        count: number of elements.
        address: where its bytes are in the file.
    """

    datatype: bytes
    item: int
    count: int
    address: int

    def header(self) -> bytes:
        """Its object header."""
        size = self.item * self.count
        # A dataset without elements has no address.
        address = struct.pack("<Q", self.address) if size else _UNDEFINED
        return _object_header(
            [
                (_DATASPACE, bytes([2, 1, 0, 1]) + struct.pack("<Q", self.count)),
                (_DATATYPE, self.datatype),
                (
                    _FILL,
                    bytes([3, 0x0A]),
                ),  # space allocated late, filled if a value is set; none is
                (_LAYOUT, bytes([3, 1]) + address + struct.pack("<Q", size)),
            ]
        )


def group(links: Mapping[str, int], attributes: Mapping[str, str] | None = None) -> bytes:
    """The object header of a group: addresses of its members by name, and attributes of text."""
    messages = [
        (_LINK_INFO, bytes(2) + _UNDEFINED * 2),
        (_GROUP_INFO, bytes(2)),
    ]
    for name, text in (attributes or {}).items():
        messages.append((_ATTRIBUTE, _attribute(name.encode(), text.encode())))
    for name, address in links.items():
        # Flags: the name's length in one byte, and its character set is given.
        raw = name.encode()
        messages.append((_LINK, bytes([1, 0x10, 1, len(raw)]) + raw + struct.pack("<Q", address)))
    return _object_header(messages)


def unsigned(size: int) -> bytes:
    """The datatype message of a little-endian unsigned integer of `size` bytes."""
    return bytes([0x10, 0, 0, 0]) + struct.pack("<IHH", size, 0, 8 * size)


def compound(fields: Sequence[tuple[str, int]]) -> bytes:
    """The datatype message of a packed record of unsigned integers: (name, bytes) each."""
    members = b""
    offset = 0
    for name, size in fields:
        members += name.encode() + b"\0" + bytes([offset]) + unsigned(size)
        offset += size
    return bytes([0x36]) + struct.pack("<HBI", len(fields), 0, offset) + members


def _attribute(name: bytes, text: bytes) -> bytes:
    datatype = bytes([0x13, 0x11, 0, 0]) + struct.pack("<I", len(text))  # UTF-8, padded with zeros
    dataspace = bytes([2, 0, 0, 0])  # a scalar
    sizes = struct.pack("<HHH", len(name) + 1, len(datatype), len(dataspace))
    return bytes([3, 0]) + sizes + b"\1" + name + b"\0" + datatype + dataspace + text


def _object_header(messages: Sequence[tuple[int, bytes]]) -> bytes:
    body = b"".join(
        bytes([kind]) + struct.pack("<HB", len(content), 0) + content for kind, content in messages
    )
    # Flags: the length of the messages takes four bytes; no times, no order of attributes.
    head = b"OHDR" + bytes([2, 2]) + struct.pack("<I", len(body)) + body
    return head + struct.pack("<I", lookup3(head))


def lookup3(data: bytes) -> int:
    """Bob Jenkins's hash of 2006 with initial value 0, which HDF5 uses as its checksum."""
    mask = 0xFFFFFFFF

    def turn(value: int, bits: int) -> int:
        return (value << bits | value >> (32 - bits)) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    if not data:
        return c
    # All but the last one to twelve bytes are mixed in, twelve at a time; a short end is padded.
    blocks = (len(data) + 11) // 12
    words = struct.unpack(f"<{3 * blocks}I", data.ljust(12 * blocks, b"\0"))
    for position in range(0, 3 * blocks, 3):
        a = (a + words[position]) & mask
        b = (b + words[position + 1]) & mask
        c = (c + words[position + 2]) & mask
        if position == 3 * blocks - 3:
            break
        for shift_a, shift_b, shift_c in ((4, 6, 8), (16, 19, 4)):
            a = (a - c & mask) ^ turn(c, shift_a)
            c = (c + b) & mask
            b = (b - a & mask) ^ turn(a, shift_b)
            a = (a + c) & mask
            c = (c - b & mask) ^ turn(b, shift_c)
            b = (b + a) & mask
    c = (c ^ b) - turn(b, 14) & mask
    a = (a ^ c) - turn(c, 11) & mask
    b = (b ^ a) - turn(a, 25) & mask
    c = (c ^ b) - turn(b, 16) & mask
    a = (a ^ c) - turn(c, 4) & mask
    b = (b ^ a) - turn(a, 14) & mask
    return (c ^ b) - turn(b, 24) & mask
