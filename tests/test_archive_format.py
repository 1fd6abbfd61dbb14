"""The bytes of archives: pinned, read by a second reader and by h5py."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from reference.archive_reader import by_index, by_walking, records

import tokenzip
from tokenzip.archive.contents import ROW

CLIP = np.arange(60, dtype=np.uint16).reshape(10, 2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.tkz.h5"
    with tokenzip.open(path, "w", predictor="stored", alphabet=64) as archive:
        archive.add("a", CLIP, attrs={"fps": 20})
        archive["b/c"] = CLIP[:4]
        archive["gone"] = CLIP
        archive.add_model("0f" * 32, b"model")
    with tokenzip.open(path, "a", predictor="stored", alphabet=64) as archive:
        del archive["gone"]
        archive.attrs["n"] = [1, "ü"]
        archive["b/c"].attrs["x"] = None
        archive.add("a", CLIP[1:], attrs={"fps": 10}, replace=True)
    return path


def test_a_second_reader_finds_the_same(path: Path) -> None:
    data = path.read_bytes()
    clips, attrs = by_walking(data)
    assert by_index(data) == (clips, attrs) and list(clips) == ["b/c", "a"]
    assert attrs == {"n": [1, "ü"]}
    assert clips["a"][1] == {"fps": 10} and clips["b/c"][1] == {"x": None}
    with tokenzip.open(path) as archive:
        assert list(archive) == list(clips) and dict(archive.attrs) == attrs
        for name, (blob, attributes) in clips.items():
            assert archive[name].blob() == blob and dict(archive[name].attrs) == attributes
    assert np.array_equal(tokenzip.decode(clips["a"][0]), CLIP[1:])


def test_h5py_sees_what_the_text_says(path: Path) -> None:
    with h5py.File(path) as file:
        assert set(file) == {"payload", "index", "catalog", "models"}
        assert file.attrs["format"] == b"tokenzip archive 1"
        rows = file["index"]
        assert rows.dtype == ROW and rows.shape == (2,)
        payload = file["payload"]
        assert payload.dtype == np.uint8 and payload.id.get_offset() == 128
        blob = payload[rows[1]["offset"] : rows[1]["offset"] + rows[1]["length"]].tobytes()
        assert np.array_equal(tokenzip.decode(blob), CLIP[1:])
        assert file["models"]["0f" * 32][:].tobytes() == b"model"
        assert zlib.decompress(file["catalog"][:].tobytes()).startswith(b'{"attrs":')


def test_what_was_not_closed_is_the_old_archive_to_h5py(path: Path) -> None:
    before = path.read_bytes()
    writer = tokenzip.open(path, "a", predictor="stored")
    writer["more"] = CLIP
    during = path.read_bytes()
    assert during[: len(before)] == before and len(during) > len(before)
    copy = path.with_name("copy.h5")
    copy.write_bytes(during)
    with h5py.File(copy) as file:
        assert len(file["index"]) == 2
    assert list(tokenzip.open(copy)) == ["b/c", "a", "more"]
    writer.close()


def test_an_archive_that_is_opened_and_not_changed_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    with tokenzip.open(path, "a"):
        pass
    assert path.read_bytes() == before


def test_the_bytes_of_an_archive(tmp_path: Path) -> None:
    """Archives of version 1 stay readable by every later version."""
    path = tmp_path / "x.tkz.h5"
    with tokenzip.open(path, "w", predictor="stored", alphabet=64) as archive:
        archive.add("a", CLIP, attrs={"fps": 20})
    data = path.read_bytes()
    assert data[:12] == b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00"
    assert data[48:56] == b"TKZARCH\x01"
    # An index of nothing, with which the file began; the clip; the index of it.
    assert [record["kind"] for record in records(data)] == [5, 1, 5]
    clip = records(data)[1]
    start = clip["at"]
    head = "f7544b52 01 00 0100 0a000000 4900000000000000 1c91851e e320afc0"
    assert data[start : start + 28] == bytes.fromhex(head)
    assert data[start + 28 : start + 39] == b'a{"fps":20}'
    assert clip["body"] == tokenzip.encode(CLIP, predictor="stored", alphabet=64)
