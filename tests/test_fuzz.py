"""The quick part of fuzzing, with a fixed seed; and an input for everything that it has found."""

from __future__ import annotations

import io
import json
import random
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzz.edits import VALUES, edited_json
from fuzz.engine import loop
from fuzz.targets import TARGETS

from tokenzip.errors import FileFormatError
from tokenzip.files.npy import parse_npy
from tokenzip.files.npz import read_npz
from tokenzip.packing import shards

#: Few where one takes long: whole commands.
EXECUTIONS = {"blob": 800, "model": 400, "archive": 500, "files": 2000, "command": 300}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_hostile_gets_through(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = loop(TARGETS[name], EXECUTIONS[name], seed=7, folder=tmp_path)
    assert watch.findings == {}
    assert watch.accepted > 3  # of command lines few make sense


def test_edits_leave_their_values_as_they_are() -> None:
    """An edit inside a value put in by another made the next inputs circular."""
    before = repr(VALUES)
    for seed in range(300):
        rng, document = random.Random(seed), [{"a": [1]}]
        for _ in range(8):
            document = edited_json(document, rng)
            json.dumps(document)
    assert repr(VALUES) == before


class TestFound:
    """What fuzzing has found, each as small as it gets."""

    def test_a_tar_header_that_claims_more_than_there_is(self, tmp_path: Path) -> None:
        """tarfile skipped 2^88 bytes of a file that had ended: it hung."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.txt"))
        data = bytearray(out.getvalue())
        data[124:136] = b"\x80" + b"\x7f" * 11
        data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
        path = tmp_path / "a.tar"
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match="damaged tar"):
            list(shards.clips(str(path)))

    def test_a_gzip_header_that_is_cut_off(self, tmp_path: Path) -> None:
        """A TypeError of tarfile's came out."""
        path = tmp_path / "a.tar.gz"
        path.write_bytes(b"\x1f\x8b\x08\x05\x1f\x8b")
        with pytest.raises(FileFormatError, match="damaged tar"):
            list(shards.clips(str(path)))

    def test_a_length_that_is_true(self) -> None:
        """A TypeError of numpy's came out."""
        header = b"{'descr': '<i2', 'fortran_order': False, 'shape': (True, 3), }\n"
        data = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(6)
        with pytest.raises(FileFormatError, match="impossible header"):
            parse_npy(data, "a.npy")

    def test_a_zip_directory_that_claims_gigabytes(self) -> None:
        """zipfile made room for the claim: a gigabyte for a few hundred bytes."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            array = io.BytesIO()
            np.save(array, np.zeros(50, np.int16))
            archive.writestr("a.npy", array.getvalue())
        data = bytearray(out.getvalue())
        entry = data.rfind(b"PK\1\2")
        data[entry + 20 : entry + 28] = b"\xff\xff\xff\x7f" * 2
        tracemalloc.start()
        try:
            with pytest.raises(FileFormatError):
                read_npz(io.BytesIO(data), "a.npz", [])
            assert tracemalloc.get_traced_memory()[1] < 1 << 25
        finally:
            tracemalloc.stop()
