"""Token files as others make them: .npy, .npz, .h5, raw, tar shards, and names around a blob.

The first byte of an input says which of them the rest is.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tokenzip.errors import TokenzipError
from tokenzip.files import split_names
from tokenzip.files.npy import parse_npy
from tokenzip.files.read import read_tokens
from tokenzip.packing import shards

from ..edits import VALUES, edited, edited_json
from ..target import Target, WrongError

KINDS = ("npy", "npz", "h5", "raw", "tar", "tar.gz", "names")

#: What raw files are read as, by a checksum of their bytes.
_RAW = (("uint16", "-1"), (">u2", "-1,2,3"), ("u1", "4,-1"), ("int64", "2x3"), ("bool", "()"))

_scratch: dict[int, Path] = {}


def run(data: bytes) -> bool:
    """Read; every array is one of a real dtype with all its bytes there."""
    kind, content = KINDS[(data[0] if data else 0) % len(KINDS)], data[1:]
    if kind == "names":
        members, blob = split_names(content)
        for member in members or ():
            if os.path.isabs(member.name) or ".." in member.name.split("/"):
                raise WrongError(f"a file name that leads elsewhere: {member.name!r}")
        return members is not None and len(blob) <= len(content)
    path = _folder() / f"input.{kind}"
    path.write_bytes(content)
    if kind.startswith("tar"):
        arrays = []
        for clip, _ in shards.clips(str(path)):
            with contextlib.suppress(TokenzipError):
                arrays.append(clip.load())
    elif kind == "raw":
        dtype, shape = _RAW[zlib.crc32(content) % len(_RAW)]
        arrays = [array for _, array in read_tokens(path, dtype=dtype, shape=shape).arrays]
    else:
        arrays = [array for _, array in read_tokens(path).arrays]
    for array in arrays:
        if array.dtype.hasobject:
            raise WrongError("an array of Python objects")
        array.tobytes()  # every byte is there
    return True


def _folder() -> Path:
    """A folder of this process, in memory where the system has that."""
    if os.getpid() not in _scratch:
        room = "/dev/shm" if os.path.isdir("/dev/shm") else None
        _scratch[os.getpid()] = Path(tempfile.mkdtemp(prefix="tokenzip-fuzz-", dir=room))
    return _scratch[os.getpid()]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage inside what the file holds, packed again; or anywhere."""
    first, content = data[:1], data[1:]
    if not first or rng.random() < 0.01:
        return edited(data, rng)
    kind = KINDS[first[0] % len(KINDS)]
    inner = {"npy": _npy, "npz": _npz, "tar": _tar, "tar.gz": _tar_gz, "names": _names}
    if kind in inner and rng.random() < 0.6:
        with contextlib.suppress(Exception):  # not what it was any more: edited as it is
            return first + inner[kind](content, rng)
    return first + edited(content, rng)


def _npy(data: bytes, rng: random.Random) -> bytes:
    """Another header of a right length, often with other values."""
    (length,) = struct.unpack_from("<H", data, 8)
    text = data[10 : 10 + length].decode("latin1")
    old = rng.choice(("'descr': '", "'shape': (", "'fortran_order': "))
    new = old + rng.choice(
        ("|O", ">u8", "", "-1, ", "0, ", f"{2**62}, ", "True, ", "1e9, ", "(" * 50)
    )
    text = (
        text.replace(old, new)
        if rng.random() < 0.7
        else edited(text.encode(), rng).decode("latin1")
    )
    header = text.encode("latin1")
    version = rng.choice((data[6:8], b"\1\0", b"\2\0", b"\3\0"))
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return data[:6] + version + size + header + data[10 + length :]


def _npz(data: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(4)
    if kind == 0:
        name = str(rng.choice(VALUES))[:60] + rng.choice((".npy", ""))
    elif kind == 1:
        content = np.lib.format.magic(1, 0) + edited(content[8:], rng)
    elif kind == 2:
        content = _npy(content, rng)
    members[at] = (name, content)
    if rng.random() < 0.1:
        members.append(members[0])
    out = io.BytesIO()
    how = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, content in members:
            archive.writestr(name.replace("\0", "_"), content)
    whole = out.getvalue()
    if kind == 3:  # lengths in the directory at the end
        start = whole.rfind(b"PK\1\2")
        place = start + rng.choice((16, 20, 24, 42))
        whole = whole[:place] + rng.randbytes(4) + whole[place + 4 :]
    return whole


def _tar(data: bytes, rng: random.Random) -> bytes:
    """Headers and members changed; their checksums right again."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar, tarfile.open(fileobj=out, mode="w") as new:
        for member in tar.getmembers():
            source = tar.extractfile(member)
            content = source.read() if source else b""
            kind = rng.randrange(8)
            if kind == 0:
                member.name = rng.choice(
                    ("../../x.npy", "/x.npy", "a.npy", "x" * 300 + ".npy", ".")
                )
            elif kind == 1:
                member.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"S"))
                member.linkname = "/etc/passwd"
            elif kind == 2:
                content = edited(content, rng)
            elif kind == 3 and content[:6] == b"\x93NUMPY":
                content = _npy(content, rng)
            if member.isreg():
                member.size = len(content)
            new.addfile(member, io.BytesIO(content) if member.isreg() else None)
    whole = bytearray(out.getvalue())
    if rng.random() < 0.2:  # another length in a header, whose checksum is mended
        number = rng.choice((b"77777777777\0", b"00000000001\0", b"\x80" + b"\xff" * 11))
        whole[124:136] = number
        total = sum(whole[:148]) + 8 * 32 + sum(whole[156:512])
        whole[148:156] = b"%06o\0 " % total
    return bytes(whole)


def _tar_gz(data: bytes, rng: random.Random) -> bytes:
    import gzip

    return gzip.compress(_tar(gzip.decompress(data), rng), 1, mtime=0)


def _names(data: bytes, rng: random.Random) -> bytes:
    import json

    magic, version, length, _ = struct.unpack_from("<4sBII", data)
    document = json.loads(zlib.decompress(data[13 : 13 + length]))
    text = json.dumps(edited_json(document, rng)).encode()
    packed = zlib.compress(edited(text, rng) if rng.random() < 0.2 else text, 1)
    return (
        struct.pack("<4sBII", magic, version, len(packed), zlib.crc32(packed))
        + packed
        + data[13 + length :]
    )


__all__ = ["KINDS", "TARGET", "parse_npy"]

TARGET = Target("files", run, mutate)
