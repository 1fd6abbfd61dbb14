"""ArchiveDataset and ArchiveStream in torch's own DataLoader: workers, ranks, epochs, starts."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenzip
from tokenzip import errors

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, DistributedSampler  # noqa: E402

from tokenzip.torch import ArchiveDataset, ArchiveStream  # noqa: E402

LENGTHS = {"train/a": 40, "train/b": 7, "train/c": 33, "val/d": 25, "val/short": 3}
FRAMES, STRIDE = 4, 3


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips in which every frame is another: its number, and the clip's."""
    file = tmp_path_factory.mktemp("archive") / "clips.tkz.h5"
    with tokenzip.open(file, "w", predictor="stored", chunk_frames=10) as archive:
        for number, (name, length) in enumerate(LENGTHS.items()):
            archive[name] = tokens_of(number, length)
    return file


def tokens_of(number: int, length: int) -> np.ndarray:
    clip = np.zeros((length, 2, 3), "u2")
    clip[:, 0, 0] = np.arange(length)
    clip[:, 1, 2] = number
    return clip


def sources(batches: Any) -> list[tuple[int, int]]:
    """(clip, start) of the windows, of which each must be whole."""
    found = []
    for window in batches:
        start, clip = int(window[0, 0, 0]), int(window[0, 1, 2])
        expected = tokens_of(clip, start + FRAMES)[start:]
        assert window.dtype == torch.int64 and np.array_equal(window.numpy(), expected)
        found.append((clip, start))
    return found


def every_window() -> list[tuple[int, int]]:
    return [
        (number, start)
        for number, length in enumerate(LENGTHS.values())
        for start in range(0, length - FRAMES + 1, STRIDE)
    ]


def stream(path: Path, **settings: Any) -> ArchiveStream:
    return ArchiveStream(path, FRAMES, **{"stride": STRIDE, "buffer": 7, **settings})


def test_windows_by_number(path: Path) -> None:
    dataset = ArchiveDataset(path, FRAMES, stride=STRIDE)
    assert len(dataset) == len(every_window())
    assert sources(dataset[number] for number in range(len(dataset))) == every_window()
    assert dataset.windows[-1] == ("val/d", 21)
    assert torch.equal(dataset[-1], dataset[len(dataset) - 1])
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    assert len(ArchiveDataset(path, FRAMES)) == 10 + 1 + 8 + 6


def test_choosing_clips(path: Path) -> None:
    for clips in ("val/*", ["val/d"], lambda name: name.endswith("d")):
        assert set(ArchiveDataset(path, FRAMES, clips=clips).windows.clips) == {"val/d"}
    with pytest.raises(errors.ClipNotFoundError):
        ArchiveDataset(path, FRAMES, clips=["nobody"])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_loader_with_workers(path: Path, context: str) -> None:
    dataset = ArchiveDataset(path, FRAMES, stride=STRIDE)
    dataset[0]  # the file is open and a chunk is kept in this process
    loader = DataLoader(dataset, batch_size=5, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert batches[0].shape == (5, FRAMES, 2, 3)
    assert sources(window for batch in batches for window in batch) == every_window()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_has_every_window_once(path: Path, shuffle: bool, workers: int) -> None:
    loader = DataLoader(stream(path, shuffle=shuffle), batch_size=None, num_workers=workers)
    found = sources(loader)
    assert sorted(found) == every_window()
    assert sources(loader) == found
    if not workers:
        assert (found == every_window()) is not shuffle


def test_epochs_and_seeds(path: Path) -> None:
    one, same, other = stream(path), stream(path), stream(path, seed=5)
    first = sources(one)
    assert first == sources(same) != sources(other)
    one.set_epoch(1)
    second = sources(one)
    assert second != first and sorted(second) == sorted(first)
    same.set_epoch(1)
    assert sources(same) == second


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_live_on_see_the_epoch(path: Path, context: str) -> None:
    data = stream(path)
    loader = DataLoader(
        data,
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=context,
    )
    first = sources(loader)
    data.set_epoch(1)
    second = sources(loader)
    assert sorted(first) == sorted(second) == every_window() and first != second


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_share(path: Path, world_size: int, workers: int) -> None:
    counts: collections.Counter[tuple[int, int]] = collections.Counter()
    for rank in range(world_size):
        data = stream(path, rank=rank, world_size=world_size, even=False)
        counts.update(sources(DataLoader(data, batch_size=None, num_workers=workers)))
    assert set(counts) == set(every_window()) and set(counts.values()) == {1}


def test_even_ranks(path: Path) -> None:
    total = len(every_window())
    parts = []
    for rank in range(4):
        data = stream(path, rank=rank, world_size=4)
        parts.append(sources(data))
        assert len(parts[-1]) == data.windows_of_rank() == total // 4
    assert len(set().union(*parts)) == total // 4 * 4


def test_ranks_of_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sources(stream(path, rank=1, world_size=2))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    data = stream(path)
    assert sources(data) == expected
    sent = pickle.dumps(data)
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert sources(pickle.loads(sent)) == expected  # as sent to a worker
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(errors.OptionError, match="rank 2 of 1"):
        sources(data)


def test_ranks_of_torch_distributed(path: Path, tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        assert sorted(sources(stream(path))) == every_window()
    finally:
        torch.distributed.destroy_process_group()


def test_samplers_of_torch(path: Path) -> None:
    dataset = ArchiveDataset(path, FRAMES, stride=STRIDE)
    found = []
    for rank in range(2):
        sampler = DistributedSampler(dataset, 2, rank, shuffle=True, seed=3)
        found += sources(DataLoader(dataset, batch_size=None, sampler=sampler))
    assert set(found) == set(every_window())


def test_transform_and_dtype(path: Path) -> None:
    for kind in (ArchiveDataset, ArchiveStream):
        data = kind(path, FRAMES, transform=lambda window: window.sum(), dtype=torch.int32)
        assert all(sample.ndim == 0 for sample in DataLoader(data, batch_size=None))
    assert next(iter(ArchiveStream(path, FRAMES, dtype=torch.uint8))).dtype == torch.uint8


def test_long_clips_are_read_in_runs(tmp_path: Path) -> None:
    clip = (np.arange(5000) % 60_000).astype("u2")[:, None]
    with tokenzip.open(tmp_path / "a.tkz.h5", "w", predictor="stored") as archive:
        archive["long"] = clip
    data = ArchiveStream(tmp_path / "a.tkz.h5", 3, stride=2, buffer=100)
    assert max(run.stop - run.first for run in data.windows.runs()) == 599
    assert sorted(int(window[0, 0]) for window in data) == list(range(0, 4998, 2))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"frames": 0}, "frames must be"),
        ({"frames": True}, "frames must be"),
        ({"frames": 41}, "no clip"),
        ({"frames": 4, "stride": 0}, "stride must be"),
        ({"frames": 4, "clips": "test/*"}, "no clip"),
        ({"frames": 4, "dtype": torch.float32}, "dtype must be"),
        ({"frames": 4, "rank": 0}, "both"),
        ({"frames": 4, "rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"frames": 4, "colour": 1}, "option"),
    ],
)
def test_wrong_settings(path: Path, settings: dict[str, Any], match: str) -> None:
    with pytest.raises(errors.OptionError, match=match):
        ArchiveStream(path, **settings)


def test_clips_that_do_not_go_together(tmp_path: Path) -> None:
    file = tmp_path / "a.tkz.h5"
    with tokenzip.open(file, "w", predictor="stored") as archive:
        archive["a"] = np.zeros((5, 2), "u2")
        archive["b"] = np.full((5, 3), 300, "u2")
        archive["single"] = np.uint8(3)
    with pytest.raises(errors.OptionError, match="different frames"):
        ArchiveDataset(file, 2)
    with pytest.raises(errors.OptionError, match="do not fit"):
        ArchiveDataset(file, 2, clips="b", dtype=torch.uint8)
    assert len(ArchiveDataset(file, 2, clips=["a"])) == 2


def test_damage_reaches_the_caller(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    blob = tokenzip.open(path).read_blob("train/c")
    data[data.index(blob) + len(blob) - 3] ^= 4
    (tmp_path / "bad.tkz.h5").write_bytes(data)
    dataset = ArchiveDataset(tmp_path / "bad.tkz.h5", FRAMES)
    with pytest.raises(errors.TokenzipError, match="train/c"):
        list(DataLoader(dataset, num_workers=1))
