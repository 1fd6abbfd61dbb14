"""An archive of synthetic drives: packed, verified, read at random, unpacked.

    python benchmarks/archive.py                                   # 2,000 clips of 300 frames
    python benchmarks/archive.py --clips 50 --windows 500          # soon done
    python benchmarks/archive.py --predictor stored                # the container alone

Clips are drives of `tokenzip.samples` (SYNTHETIC). Drawing one takes as long as ten to pack take to
read, so --distinct drives are drawn, and the others are these with their tokens renamed by chance:
other bytes, but as hard to compress.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import tokenzip
from tokenzip.archive import verify
from tokenzip.packing import unpack


def clips(count: int, frames: int, distinct: int) -> Iterator[tuple[str, np.ndarray, dict]]:
    """(name, tokens, attributes) of all clips, made one by one."""
    drawn: list[np.ndarray] = []
    for number in range(count):
        if number < distinct:
            drawn.append(tokenzip.samples.drive(frames=frames, seed=number))
            tokens = drawn[-1]
        else:
            renamed = np.random.default_rng(number).permutation(1024).astype(np.uint16)
            tokens = renamed[drawn[number % distinct]]
        yield f"drive_{number:05d}", tokens, {"fps": 20}


def real_clips(path: str, count: int, frames: int) -> Iterator[tuple[str, np.ndarray, dict]]:
    """(name, tokens, attributes) of the first clips of a file that are long enough."""
    with h5py.File(path) as file:
        long = [name for name, clip in file["clips"].items() if len(clip["tokens"]) >= frames]
        for name in long[:count]:
            yield name, file["clips"][name]["tokens"][:frames], {}


def resident() -> int:
    """Bytes of memory of this process, now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Clock:
    def __enter__(self) -> Clock:
        self.start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self.start


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    path = folder / "data.tkz.h5"
    memory: list[int] = []
    chosen = options.predictor or ("hybrid" if options.model else "adaptive")
    if options.data:
        kept = list(real_clips(options.data, options.clips, options.frames))
    else:
        kept = list(clips(options.clips, options.frames, min(options.distinct, options.clips)))
    tokens = sum(array.size for _, array, _ in kept)
    report: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "clips": len(kept),
        "frames": options.frames,
        "tokens": tokens,
        "predictor": chosen,
        "model": options.model,
        "chunk_frames": options.chunk_frames,
        "workers": options.workers,
    }
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731

    # The first clip compiles, before the clock runs; memory is looked at from the tenth on.
    coding = {"predictor": chosen, **({"model": options.model} if options.model else {})}
    tokenzip.encode(kept[0][1][:2], alphabet=1024, **coding)

    def seen(clip: Any) -> None:
        memory.append(resident())
        if len(memory) % 100 == 0:
            say(f"{len(memory)} clips packed")

    settings = {**coding, "chunk_frames": options.chunk_frames}
    with tokenzip.open(path, "w", alphabet=1024, **settings) as archive:
        with Clock() as clock:
            archive.append(iter(kept), workers=options.workers, done=seen)
            archive.flush()
        with Clock() as closing:
            archive.close()
    report["pack_seconds"], report["close_seconds"] = clock.seconds, closing.seconds
    report["pack_tokens_per_second"] = tokens / clock.seconds
    report["memory_mb_at_tenths"] = [
        round(memory[(len(memory) - 1) * tenth // 10] / 1e6, 1) for tenth in range(1, 11)
    ]

    with Clock() as clock:
        archive = tokenzip.open(path)
    report["open_seconds"] = clock.seconds
    blobs = sum(clip.compressed_bytes for clip in archive.values())
    report["bytes"], report["blob_bytes"] = path.stat().st_size, blobs
    report["overhead"] = path.stat().st_size / blobs - 1
    report["ratio"] = sum(clip.raw_bytes for clip in archive.values()) / path.stat().st_size

    say("verifying")
    for full in (False, True):
        with Clock() as clock:
            workers = options.workers if full else None
            bad = [f for f in verify(archive, full=full, workers=workers) if f.problem]
        assert not bad, bad[:3]
        report["verify_seconds" if full else "verify_fast_seconds"] = clock.seconds

    say("reading at random")
    by_name = {name: array for name, array, _ in kept}
    rng = np.random.default_rng(1)
    names = list(archive)
    times = []
    for _ in range(options.windows):
        name = names[rng.integers(len(names))]
        start = int(rng.integers(0, options.frames - options.window + 1))
        with Clock() as clock:
            window = archive[name][start : start + options.window]
        times.append(clock.seconds)
        assert np.array_equal(window, by_name[name][start : start + options.window])
    whole = []
    for name in rng.choice(names, min(len(names), 50), replace=False):
        with Clock() as clock:
            archive[str(name)][:]
        whole.append(clock.seconds)
    report["windows"], report["window_frames"] = options.windows, options.window
    report["window_median_ms"] = 1000 * float(np.median(times))
    report["window_p99_ms"] = 1000 * float(np.quantile(times, 0.99))
    report["whole_clip_median_ms"] = 1000 * float(np.median(whole))

    say("unpacking")
    with Clock() as clock:
        count = unpack(archive, str(folder / "out"), workers=options.workers)
    report["unpack_seconds"] = clock.seconds
    assert count == len(kept)
    for name, array, _ in kept:
        assert np.array_equal(np.load(folder / "out" / f"{name}.npy"), array)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--distinct", type=int, default=200)
    parser.add_argument("--predictor", help="default: adaptive, or with a model the hybrid")
    parser.add_argument("--model", help="model file of a network")
    parser.add_argument("--data", help=".h5 file of clips, in place of drawn ones")
    parser.add_argument("--chunk-frames", type=int, default=None)
    parser.add_argument("--windows", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(options, Path(folder)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
