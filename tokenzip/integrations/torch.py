"""Windows of an archive's clips for training with PyTorch.

ArchiveDataset   any window by its number: for samplers, small sets and evaluation. A window
                 costs decoding the chunks that it lies in.
ArchiveStream    every window once an epoch, shuffled, each run of frames decoded once: for
                 training. It divides the windows among ranks and DataLoader workers itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..archive import Archive, ArchivedClip, open
from ..errors import OptionError
from .requirements import missing
from .windows import Clips, Run, Window, Windows, part_of_runs, share

try:
    import torch
    from torch.utils.data import Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise missing("torch", extra="torch") from error

Transform = Callable[[Any], Any]

#: Clips whose last chunk is kept decoded.
_KEPT_CLIPS = 4


class _Reader:
    """What both datasets have in common; may be pickled, inherited by processes, and reopened."""

    def __init__(
        self, archive: Any, frames: int, stride: int | None, clips: Clips, dtype: Any, options: Any
    ) -> None:
        self._archive = archive if isinstance(archive, Archive) else open(archive, **options)
        self.windows = Windows(self._archive, frames, stride, clips)
        self._dtype = _numpy_dtype(dtype)
        most = max(self._archive[name].alphabet for name in self.windows.clips) - 1
        if most > np.iinfo(self._dtype).max:
            raise OptionError(f"tokens up to {most} do not fit {dtype}; choose another dtype")
        self._keep()

    def frames(self, clip: str, start: int, stop: int, *, keep: bool) -> npt.NDArray[Any]:
        """Frames of a clip; keep: others of the same chunk may be wanted soon."""
        source = self._clip(clip) if keep else self._archive[clip]
        frames: npt.NDArray[Any] = source[start:stop]
        return frames

    def tensor(self, frames: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(frames.astype(self._dtype))

    def _keep(self) -> None:
        archive = self._archive

        def clip(name: str) -> ArchivedClip:
            return archive[name]

        self._clip = lru_cache(_KEPT_CLIPS)(clip)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_clip"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._keep()


class ArchiveDataset(Dataset[Any]):
    """All windows of a fixed number of frames, by number; the order is that of the archive.

    Ranks and shuffling are for samplers: DistributedSampler, DataLoader(shuffle=True).

    Args:
        archive: path or URL of an archive, or one that is open for reading.
        frames: frames of a window. Clips with fewer are left out.
        stride: frames from one window to the next of the same clip; None: as many as `frames`.
        clips: which: names, a pattern such as "train/*", a function of the name; None: all.
        transform: called with each tensor (frames, *frame); what it returns is the sample.
        dtype: of the tensors.
        options: as tokenzip.open has them, such as storage_options.

    Attributes:
        windows: (clip, start) by number.

    Raises:
        ArchiveError: the archive cannot be opened.
        OptionError: there is no such window, frames differ in shape, or dtype is too small.
    """

    def __init__(
        self,
        archive: Any,
        frames: int,
        *,
        stride: int | None = None,
        clips: Clips = None,
        transform: Transform | None = None,
        dtype: Any = torch.int64,
        **options: Any,
    ) -> None:
        self._reader = _Reader(archive, frames, stride, clips, dtype, options)
        self._transform = transform

    @property
    def windows(self) -> Windows:
        return self._reader.windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Any:
        window: Window = self.windows[index]
        reader = self._reader
        stop = window.start + self.windows.frames
        frames = reader.frames(window.clip, window.start, stop, keep=True)
        sample = reader.tensor(frames)
        return sample if self._transform is None else self._transform(sample)


class ArchiveStream(IterableDataset[Any]):
    """Every window once an epoch; ranks and DataLoader workers get parts that do not overlap.

    The order depends on seed, epoch, world size and the number of workers, and on nothing else.
    Runs of a clip's windows are shuffled, divided, decoded once, and their windows mixed in a
    buffer. Call set_epoch before each epoch, or all have the same order. There is no len(), as
    batches depend on the workers; windows_of_rank() says how many windows there are.

    Args:
        archive, frames, stride, clips, transform, dtype, options: as ArchiveDataset has them.
        shuffle: False keeps the order of the archive.
        seed: for the order.
        buffer: windows that are mixed at a time in each worker.
        even: all ranks get as many windows, for which up to world_size - 1 are left out (others
            in each epoch). Distributed training hangs if a rank runs out before the others.
        rank, world_size: None takes those of torch.distributed if it is initialised, then those of
            the environment (RANK, WORLD_SIZE), then 0 of 1.

    Raises:
        ArchiveError, OptionError: as ArchiveDataset.
    """

    def __init__(
        self,
        archive: Any,
        frames: int,
        *,
        stride: int | None = None,
        clips: Clips = None,
        transform: Transform | None = None,
        dtype: Any = torch.int64,
        shuffle: bool = True,
        seed: int = 0,
        buffer: int = 2048,
        even: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        if (rank is None) != (world_size is None):
            raise OptionError("give both rank and world_size, or neither")
        self._reader = _Reader(archive, frames, stride, clips, dtype, options)
        self._transform = transform
        self._shuffle = shuffle
        self._seed = seed
        self._buffer = max(1, buffer)
        self._even = even
        self._place = None if rank is None or world_size is None else _checked(rank, world_size)
        # Shared, so that workers that live on from epoch to epoch see it change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def windows(self) -> Windows:
        return self._reader.windows

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch, in this process and in its workers."""
        self._epoch[0] = epoch

    def windows_of_rank(self) -> int:
        """How many windows this rank gets in an epoch, all its workers together."""
        rank, world_size = self._rank()
        first, stop = share(len(self.windows), rank, world_size, even=self._even)
        return stop - first

    def __iter__(self) -> Iterator[Any]:
        for frames in self._mixed():
            sample = self._reader.tensor(frames)
            yield sample if self._transform is None else self._transform(sample)

    def __getstate__(self) -> dict[str, Any]:
        # Workers that are started anew do not know torch.distributed.
        return {**self.__dict__, "_place": self._rank()}

    def _rank(self) -> tuple[int, int]:
        return self._place or _rank_of_process()

    def _mixed(self) -> Iterator[npt.NDArray[Any]]:
        """The windows of this rank and worker in their order."""
        (rank, world_size), epoch = self._rank(), int(self._epoch[0])
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        first, stop = share(len(self.windows), rank, world_size, even=self._even)
        low, high = share(stop - first, worker, workers)
        runs = self.windows.runs()
        if self._shuffle:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(runs))
            runs = [runs[number] for number in order]
        mine = part_of_runs(runs, first + low, first + high)
        windows = (window for run in mine for window in self._decoded(run))
        if not self._shuffle:
            yield from windows
            return
        chance = np.random.default_rng([self._seed, epoch, rank, worker])
        held: list[npt.NDArray[Any]] = []
        for view in windows:
            window = view.copy()  # or it would keep the whole run in memory
            if len(held) < self._buffer:
                held.append(window)
                continue
            number = int(chance.integers(len(held)))
            window, held[number] = held[number], window
            yield window
        for number in chance.permutation(len(held)):
            yield held[number]

    def _decoded(self, run: Run) -> Iterator[npt.NDArray[Any]]:
        windows = self.windows
        first, last = run.first * windows.stride, (run.stop - 1) * windows.stride
        clip, stop = windows.clips[run.clip], last + windows.frames
        frames = self._reader.frames(clip, first, stop, keep=False)
        for start in range(0, last - first + 1, windows.stride):
            yield frames[start : start + windows.frames]


def _rank_of_process() -> tuple[int, int]:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    try:
        return _checked(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    except ValueError as error:
        raise OptionError(f"RANK and WORLD_SIZE of the environment: {error}") from error


def _checked(rank: int, world_size: int) -> tuple[int, int]:
    if not 0 <= rank < world_size:
        raise OptionError(f"rank {rank} of {world_size}: it must be 0 to {world_size - 1}")
    return rank, world_size


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    name = str(dtype).removeprefix("torch.")
    if not isinstance(dtype, torch.dtype) or name not in (
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
    ):
        raise OptionError(f"dtype must be one of torch's integers, such as torch.int64: {dtype!r}")
    return np.dtype(name)
