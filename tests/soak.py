"""Soak: encode, decode and read archives at random, in several processes, for as long as is asked.

    make soak MINUTES=30

Every array that comes back is compared. In the end memory and open files must be where they were
after the first fifth of the time: a leak in any operation adds up over thousands of them. The
result is printed as JSON; tests/RELIABILITY.md has the last one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tokenzip

MODELS = Path(__file__).resolve().parent / "fixtures" / "network_v1"
DTYPES = ("|u1", "<i2", ">u2", "<i4", ">i8", "<u8")

#: What memory may grow by, of what it was: allocators need not give everything back at once.
GROWTH = 1.05
SLACK_MB = 16


def memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def tokens(rng: np.random.Generator, shape: tuple[int, ...], alphabet: int) -> np.ndarray:
    """Tokens most of which repeat the frame before; in any dtype that holds them."""
    made = rng.integers(0, alphabet, shape)
    still = rng.random(shape) < 0.9
    for t in range(1, shape[0]):
        made[t] = np.where(still[t], made[t - 1], made[t])
    fitting = [d for d in DTYPES if np.iinfo(d).max >= alphabet - 1]
    return made.astype(fitting[rng.integers(len(fitting))])


def same(a: Any, b: Any) -> bool:
    if isinstance(b, list):
        return isinstance(a, list) and len(a) == len(b) and all(map(same, a, b))
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))


class Worker:
    """What one process does: operations drawn at random; each says whether its arrays came back."""

    def __init__(self, seed: int, folder: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.path = Path(folder) / f"{seed}.tkz.h5"
        self.clips: dict[str, np.ndarray] = {}
        self.archive: Any = None
        self.operations: tuple[Callable[[], bool], ...] = (
            *(self.adaptive, self.stored, self.network, self.hybrid, self.solid),
            *(self.frames, self.damaged, self.write_archive),
            *(self.read_clip, self.read_clip, self.read_window, self.read_window),
        )

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def some(self) -> np.ndarray:
        frame, alphabet = self.pick(((4, 8), 1024), ((8,), 1000), ((), 300), ((3, 4), 5000))
        return tokens(self.rng, (int(self.rng.integers(0, 60)) + 1, *frame), alphabet)

    def adaptive(self) -> bool:
        array, threads = self.some(), self.pick(1, 2)
        frames = self.pick(None, 10)
        blob = tokenzip.encode(array, predictor="adaptive", chunk_frames=frames, threads=threads)
        return same(tokenzip.decode(blob, threads=threads), array)

    def stored(self) -> bool:
        array = self.some()
        return same(tokenzip.decode(tokenzip.encode(array, predictor="stored")), array)

    def network(self) -> bool:
        return self._by_model(self.pick("lstm", "conv3d"))

    def hybrid(self) -> bool:
        return self._by_model("hybrid")

    def _by_model(self, predictor: str) -> bool:
        family = predictor if predictor != "hybrid" else self.pick("lstm", "conv3d")
        array = tokens(self.rng, (int(self.rng.integers(5, 60)), 10, 4), 24)
        model = MODELS / f"{family}_video.safetensors"
        encoder, decoder = self.pick("numba", "torch"), self.pick("numba", "torch")
        blob = tokenzip.encode(array, predictor=predictor, model=model, backend=encoder)
        return same(tokenzip.decode(blob, model=MODELS, backend=decoder), array)

    def solid(self) -> bool:
        arrays = [self.some() for _ in range(self.rng.integers(0, 5))]
        blob = tokenzip.encode(arrays, predictor="adaptive", solid=True)
        return same(tokenzip.decode(blob), arrays)

    def frames(self) -> bool:
        array = self.some()
        blob = tokenzip.encode(array, predictor="adaptive", chunk_frames=8)
        start, stop = (int(n) for n in self.rng.integers(-70, 70, 2))
        frames = slice(start, stop, self.pick(1, 2, -1))
        return same(tokenzip.decode(blob, frames=frames), array[frames])

    def damaged(self) -> bool:
        """A flipped bit is refused, and what was allocated on the way is given back."""
        blob = bytearray(tokenzip.encode(self.some(), predictor="adaptive"))
        blob[self.rng.integers(len(blob))] ^= 1 << int(self.rng.integers(8))
        try:
            tokenzip.decode(bytes(blob))
        except tokenzip.errors.BlobError:
            return True
        return False

    def write_archive(self) -> bool:
        """A clip is added; after 50 the archive begins anew."""
        self.close()
        if len(self.clips) >= 50:
            self.path.unlink()
            self.clips.clear()
        array, name = self.some(), f"clip {len(self.clips)}"
        with tokenzip.open(self.path, "a", predictor="adaptive", chunk_frames=8) as writer:
            writer[name] = array
        self.clips[name] = array
        return True

    def _read(self, frames: Any) -> bool:
        if not self.clips:
            return self.write_archive()
        self.archive = self.archive or tokenzip.open(self.path)
        name = self.pick(*self.clips)
        return same(self.archive[name][frames], self.clips[name][frames])

    def read_clip(self) -> bool:
        return self._read(slice(None))

    def read_window(self) -> bool:
        start = int(self.rng.integers(60))
        return self._read(slice(start, start + 4))

    def close(self) -> None:
        if self.archive is not None:
            self.archive.close()
            self.archive = None

    def everything(self) -> None:
        """All operations once, so that all code is loaded and compiled."""
        for operation in dict.fromkeys(self.operations):
            assert operation(), operation.__name__


def work(seed: int, folder: str, seconds: float, results: Any) -> None:
    """Run one worker to the end of its time; put counts, and memory over time, on the queue."""
    worker, counts, wrong = Worker(seed, folder), Counter[str](), Counter[str]()
    worker.everything()
    start, samples = time.monotonic(), []
    due = 0.0
    while (now := time.monotonic() - start) < seconds:
        if now >= due:
            worker.close()
            samples.append((round(now, 1), round(memory_mb(), 1), open_files()))
            due = now + max(seconds / 200, 0.1)
        operation = worker.operations[worker.rng.integers(len(worker.operations))]
        counts[operation.__name__] += 1
        if not operation():
            wrong[operation.__name__] += 1
    worker.close()
    results.put((seed, dict(counts), dict(wrong), samples))


def flat(samples: list[tuple[float, float, int]]) -> dict[str, Any]:
    """Highest memory and open files, between the first and the second fifth, and in the last."""
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth] or samples, samples[-fifth:]
    before, after = max(s[1] for s in early), max(s[1] for s in late)
    files = [max(s[2] for s in early), max(s[2] for s in late)]
    even = after <= before * GROWTH + SLACK_MB and files[1] <= files[0]
    return {"memory_mb": [before, after], "open_files": files, "flat": even}


def soak(minutes: float, processes: int, seed: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        children = [
            context.Process(target=work, args=(seed + n, folder, minutes * 60, results))
            for n in range(processes)
        ]
        for child in children:
            child.start()
        finished = [results.get(timeout=minutes * 60 + 600) for _ in children]
        for child in children:
            child.join()
    counts, wrong = Counter[str](), Counter[str]()
    for _, counted, failed, _ in finished:
        counts.update(counted)
        wrong.update(failed)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "minutes": minutes,
        "processes": processes,
        "seed": seed,
        "operations": sum(counts.values()),
        "counts": dict(sorted(counts.items())),
        "wrong": sum(wrong.values()),
        "workers": [flat(samples) for _, _, _, samples in sorted(finished)],
        "exit_codes": [child.exitcode for child in children],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Soak tokenzip; exit status 1 if anything is off.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = soak(arguments.minutes, arguments.processes, arguments.seed)
    print(json.dumps(result, indent=1))
    even = all(worker["flat"] for worker in result["workers"])
    sys.exit(bool(result["wrong"]) or not even or any(result["exit_codes"]))


if __name__ == "__main__":
    main()
