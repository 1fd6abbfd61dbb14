"""Throughput of torch's DataLoader: windows from an archive against raw .npy files on disk.

    python benchmarks/dataloader.py                     # 40 synthetic clips of 300 frames
    python benchmarks/dataloader.py --clips 200 --workers 0 1 2 --markdown out.md

The windows are of 16 frames. From .npy files they are read by memory map; from archives as
ArchiveDataset (random windows, each decodes its chunks) and as ArchiveStream (each run of frames
decoded once an epoch). Every loader's sum of all tokens is compared with the .npy files'. CPU time
is what to compare on a machine that is busy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import tokenzip
from tokenzip.torch import ArchiveDataset, ArchiveStream

FRAMES = 16
BATCH = 32


class NpyWindows(Dataset[Any]):
    """What people do without tokenzip: memory maps, opened where they are first used."""

    def __init__(self, paths: list[Path], clip_frames: int) -> None:
        self.paths = paths
        self.per_clip = clip_frames // FRAMES
        self.maps: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.paths) * self.per_clip

    def __getitem__(self, index: int) -> torch.Tensor:
        clip, window = divmod(index, self.per_clip)
        if clip not in self.maps:
            self.maps[clip] = np.load(self.paths[clip], mmap_mode="r")
        frames = self.maps[clip][window * FRAMES : (window + 1) * FRAMES]
        return torch.from_numpy(frames.astype(np.int64))


def measure(loader: DataLoader[Any]) -> tuple[float, float, int, int]:
    """Seconds, CPU seconds of this process, windows and the sum of all tokens of one epoch."""
    begin, cpu = time.perf_counter(), time.process_time()
    windows = total = 0
    for batch in loader:
        windows += len(batch)
        total += int(batch.sum())
    return time.perf_counter() - begin, time.process_time() - cpu, windows, total


def contenders(folder: Path, paths: list[Path], args: argparse.Namespace) -> Iterator[Any]:
    """(name, bytes on disk, dataset, whether the loader shuffles)"""
    raw = sum(path.stat().st_size for path in paths)
    yield "npy, memory map, shuffled", raw, NpyWindows(paths, args.frames), True
    for predictor, chunk in (("stored", None), ("adaptive", args.chunk), ("adaptive", None)):
        file = folder / f"{predictor}-{chunk}.tkz.h5"
        begin = time.perf_counter()
        with tokenzip.open(
            file, "w", alphabet=1024, predictor=predictor, chunk_frames=chunk
        ) as archive:
            for path in paths:
                archive[path.stem] = np.load(path)
        print(f"{file.name} written in {time.perf_counter() - begin:.1f} s", flush=True)
        size, name = file.stat().st_size, f"{predictor}, chunks of {chunk or args.frames}"
        if predictor == "stored" or chunk:
            yield f"{name}, ArchiveDataset shuffled", size, ArchiveDataset(file, FRAMES), True
        yield f"{name}, ArchiveStream", size, ArchiveStream(file, FRAMES), False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--chunk", type=int, default=50, help="frames per chunk of small chunks")
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    lines = [
        "| loader | MB on disk | workers | windows/s | tokens/s | CPU ms a window |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drive = tokenzip.samples.drive(frames=args.frames * args.clips)
        paths = [folder / f"{number:05}.npy" for number in range(args.clips)]
        for number, path in enumerate(paths):
            np.save(path, drive[number * args.frames : (number + 1) * args.frames])
        expected: tuple[int, int] | None = None
        for label, size, dataset, shuffle in contenders(folder, paths, args):
            for workers in args.workers:
                loader = DataLoader(
                    dataset,
                    batch_size=BATCH,
                    shuffle=shuffle or None,
                    num_workers=workers,
                    persistent_workers=workers > 0,
                )
                measure(loader)  # workers start, code is compiled, files are cached
                seconds, cpu, windows, total = measure(loader)
                expected = expected or (windows, total)
                assert (windows, total) == expected, f"{label}: other windows"
                rate = windows / seconds
                tokens = rate * FRAMES * drive[0].size
                # That of the workers is not this process's.
                each = "" if workers else f"{1000 * cpu / windows:.3g}"
                lines.append(
                    f"| {label} | {size / 1e6:.2f} | {workers} | {rate:,.0f} | {tokens:,.0f} "
                    f"| {each} |"
                )
                print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
