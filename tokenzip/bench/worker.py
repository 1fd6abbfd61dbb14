"""The process in which one compressor is measured: ``python -m tokenzip.bench.worker JOB GRIDS``.

JOB is a JSON object (see ``Job``), GRIDS an .npz of the grids as numpy.savez names them; the
answer is one JSON line on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tokenzip.bench.contender import TOKENS, Contender, Ours, Theirs, peer_named
from tokenzip.bench.layouts import Grid, layout_named
from tokenzip.bench.memory import peak_bytes

WARM_UP_TOKENS = 4096


@dataclass(frozen=True)
class Job:
    """What to measure: a contender's name, its layout, and how."""

    name: str
    layout: str
    alphabet: int
    solid: bool
    threads: int

    def contender(self) -> Contender:
        if self.layout == TOKENS:
            return Ours(self.name.split()[1], self.threads)
        return Theirs(peer_named(self.name), layout_named(self.layout))


def measure(job: Job, grids: Sequence[Grid]) -> dict[str, float | int | None]:
    """Encode, decode, check and time. Raises RuntimeError if a token is not what it was."""
    contender = job.contender()
    pieces = [list(grids)] if job.solid else [[grid] for grid in grids]
    _warm_up(contender, grids[0], job.alphabet)

    size, encoding, decoding = 0, 0.0, 0.0
    for piece in pieces:  # one at a time, so that memory holds one blob and its tokens
        start = time.perf_counter()
        blob = contender.encode(piece, job.alphabet)
        encoding += time.perf_counter() - start
        size += len(blob)
        start = time.perf_counter()
        decoded = contender.decode(blob, [grid.shape for grid in piece], job.alphabet)
        decoding += time.perf_counter() - start
        for was, now in zip(piece, decoded, strict=True):
            if was.shape != now.shape or not np.array_equal(was, now):
                raise RuntimeError(f"{job.name} ({job.layout}) did not give the tokens back")
    return {
        "compressed_bytes": size,
        "encode_seconds": encoding,
        "decode_seconds": decoding,
        "peak_bytes": peak_bytes(),
    }


def _warm_up(contender: Contender, grid: Grid, alphabet: int) -> None:
    """A first call on a few frames: imports, compiled code and caches are not what is timed."""
    frame = max(1, grid[:1].size)
    few = np.ascontiguousarray(grid[: max(1, WARM_UP_TOKENS // frame)])
    contender.decode(contender.encode([few], alphabet), [few.shape], alphabet)


def main() -> None:
    """Read a job, do it, print the answer."""
    job = Job(**json.loads(sys.argv[1]))
    with np.load(sys.argv[2], allow_pickle=False) as archive:
        grids = [archive[f"arr_{index}"] for index in range(len(archive.files))]
    print(json.dumps(measure(job, grids)))


def job_text(job: Job) -> str:
    """A job as the command line takes it."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    main()
