"""The HDF5 filter: plain h5py writes and reads, in fresh processes and threads; damage; exits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

import tokenzip
from tokenzip import errors
from tokenzip.integrations import hdf5

DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">u4", "<i8", ">i8", "<u8"]
STORED = hdf5.Tokenzip(predictor="stored")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


@pytest.fixture
def tokens(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2, (50, 4, 6))


def write(path: Path, tokens: np.ndarray, **settings: object) -> None:
    with h5py.File(path, "w") as file:
        settings = {"chunks": (16, 4, 4), "compression": STORED, **settings}
        file.create_dataset("tokens", data=tokens, **settings)


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(tokens: np.ndarray, dtype: str, path: Path) -> None:
    chunk = tokens.astype(dtype)
    write(path, chunk)
    with h5py.File(path) as file:
        dataset = file["tokens"]
        assert dataset.dtype == chunk.dtype and np.array_equal(dataset[:], chunk)
        assert np.array_equal(dataset[14:35, 1, 3:], chunk[14:35, 1, 3:])
        for number in range(dataset.id.get_num_chunks()):
            assert dataset.id.get_chunk_info(number).filter_mask == 0  # all were compressed


def test_chunks_are_blobs_and_smaller(path: Path) -> None:
    clip = tokenzip.samples.drive(frames=50)
    write(path, clip, chunks=(24, 8, 16), compression=hdf5.Tokenzip(1024))
    with h5py.File(path) as file:
        dataset = file["tokens"]
        assert np.array_equal(dataset[:], clip)
        assert dataset.id.get_storage_size() < clip.size * 10 / 8
        mask, blob = dataset.id.read_direct_chunk((0, 0, 0))
        assert mask == 0 and np.array_equal(tokenzip.decode(blob), clip[:24])


def test_frames_of_chunks_with_several_clips(path: Path, tokens: np.ndarray) -> None:
    compression = hdf5.Tokenzip(predictor="stored", frame=(4, 6))
    write(path, tokens.reshape(2, 25, 4, 6), chunks=(2, 25, 4, 6), compression=compression)
    with h5py.File(path) as file:
        _, blob = file["tokens"].id.read_direct_chunk((0, 0, 0, 0))
        assert tokenzip.inspect(blob).grids[0].shape == (50, 4, 6)
        assert np.array_equal(file["tokens"][1], tokens[25:])


def test_growing_fill_values_and_copies(path: Path, tokens: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "tokens", (0, 4, 6), "i4", maxshape=(None, 4, 6), chunks=(16, 4, 6), fillvalue=7,
            compression=STORED, shuffle=False, fletcher32=True,
        )  # fmt: skip
        dataset.resize(60, 0)
        dataset[3:40] = tokens[3:40]
        same = file.create_dataset_like("same", dataset, shape=(50, 4, 6), compression=STORED)
        same[:] = tokens
        file.copy("tokens", "copy")
    expected = np.full((60, 4, 6), 7)
    expected[3:40] = tokens[3:40]
    with h5py.File(path) as file:
        assert np.array_equal(file["tokens"][:], expected)
        assert np.array_equal(file["copy"][:], expected)
        assert np.array_equal(file["same"][:], tokens)
        assert file["same"].id.get_create_plist().get_filter(0)[0] == hdf5.FILTER_ID


def test_what_is_no_token_stays_whole(path: Path, tokens: np.ndarray) -> None:
    for odd in (tokens - 5, tokens + 2**20):
        write(path, odd)
        with h5py.File(path) as file:
            assert np.array_equal(file["tokens"][:], odd)
        assert isinstance(hdf5.last_error(), errors.TokenRangeError)


@pytest.mark.parametrize("dtype", ["f4", "S3", "c8", [("a", "i4")]])
def test_other_types_are_refused(path: Path, dtype: object) -> None:
    with pytest.raises(ValueError, match="tokenzip compresses integers only"):
        write(path, np.zeros((32, 4, 4), dtype))


@pytest.mark.parametrize("settings", [{"alphabet": 1}, {"predictor": "x"}, {"frame": "ab"}])
def test_wrong_settings(settings: dict[str, object]) -> None:
    with pytest.raises(errors.OptionError):
        hdf5.Tokenzip(**settings)  # type: ignore[arg-type]


def test_hostile_chunks(path: Path, tokens: np.ndarray) -> None:
    chunk = tokens[:16].astype("u2")
    write(path, chunk, chunks=chunk.shape)
    with h5py.File(path) as file:
        _, blob = file["tokens"].id.read_direct_chunk((0, 0, 0))
    others = [
        tokenzip.encode(chunk[:8], predictor="stored"),
        tokenzip.encode(np.zeros((2**12, 4, 6), "u2"), predictor="stored"),
        tokenzip.encode(chunk.astype("i4"), predictor="stored"),
        tokenzip.encode([chunk, chunk], predictor="stored"),
        b"\xf7",
    ]
    for place in range(0, len(blob), 3):
        damaged = bytearray(blob)
        damaged[place] ^= 0x10
        others.append(bytes(damaged))
    for other in others:
        with h5py.File(path, "a") as file:
            file["tokens"].id.write_direct_chunk((0, 0, 0), other)
        with h5py.File(path) as file, pytest.raises(OSError, match="filter"):
            file["tokens"][:]
        assert isinstance(hdf5.last_error(), errors.BlobError)


@pytest.mark.parametrize(
    "values",
    [
        (),
        (9, 0, 0, 0),
        (1, 1, 0, 0, 60, 117, 2, 1, 4),
        (1, 0, 7, 0, 60, 117, 2, 1, 4),
        (1, 0, 0, 9, 8),
        (1, 0, 0, 0),
        (1, 0, 0, 0, 60, 102, 2, 1, 4),
        (1, 0, 0, 0, 60, 117, 2, 3, 4),
        (1, 0, 0, 0, 60, 117, 2, 1, 0),
    ],
)
def test_hostile_filter_values(values: tuple[int, ...]) -> None:
    with pytest.raises(errors.CorruptError, match="filter values"):
        hdf5._Chunk.of_values(values)


def test_many_threads(path: Path, tokens: np.ndarray) -> None:
    write(path, tokens)
    with h5py.File(path) as file, ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: file["tokens"][start : start + 5], range(0, 50, 5)))
    assert np.array_equal(np.concatenate(parts), tokens)


def test_many_chunks_do_not_grow_memory(path: Path) -> None:
    """Both sides of the exchange of buffers use HDF5's own allocator."""
    resource = pytest.importorskip("resource")
    tokens = np.zeros((2**17,), "i8")
    write(path, tokens, chunks=tokens.shape)
    before = 0
    for turn in range(60):
        with h5py.File(path, "a") as file:
            file["tokens"][:] = file["tokens"][:]
        if turn == 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10  # of 100 MiB


def test_a_fresh_process(path: Path, tokens: np.ndarray) -> None:
    write(path, tokens)
    np.save(path.with_name("tokens.npy"), tokens)
    done = run(
        """
        import h5py, numpy
        file = h5py.File("a.h5")
        try:
            file["tokens"][0]
        except OSError:
            pass
        else:
            raise SystemExit("read without the filter")
        import tokenzip.integrations.hdf5
        assert (file["tokens"][:] == numpy.load("tokens.npy")).all()
        """,
        path.parent,
    )
    assert done.returncode == 0, done.stderr


def test_files_left_open_at_exit_are_whole(path: Path) -> None:
    done = run(
        """
        import h5py
        from tokenzip.integrations import hdf5
        kept = [h5py.File("a.h5", "w")]
        kept[0].create_dataset("t", data=range(1000), chunks=(100,), compression=hdf5.Tokenzip())
        dataset = kept[0]["t"]
        """,
        path.parent,
    )
    assert done.returncode == 0, done.stderr
    with h5py.File(path) as file:
        assert file["t"][:].tolist() == list(range(1000))
        assert file["t"].id.get_storage_size() < 2000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reads(path: Path, tokens: np.ndarray) -> None:
    write(path, tokens)
    done = run(
        f"""
        import os, h5py
        import tokenzip.integrations.hdf5
        total = h5py.File("a.h5")["tokens"][:].sum()
        child = os.fork()
        if child == 0:
            os._exit(0 if h5py.File("a.h5")["tokens"][:].sum() == total == {tokens.sum()} else 1)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        path.parent,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_an_interrupt_inside_the_filter_is_not_lost(
    path: Path, tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, tokens)

    def interrupted(*_: object) -> None:
        assert threading.current_thread() is threading.main_thread()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(hdf5, "decode_chunk", interrupted)
    with h5py.File(path) as file, pytest.raises(KeyboardInterrupt):
        try:
            file["tokens"][:]
        except OSError:
            for _ in range(500):
                time.sleep(0.01)
