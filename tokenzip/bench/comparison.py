"""Run a comparison: choose layouts, start a process per compressor, gather the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from tokenzip.bench.contender import TOKENS, missing, our_names, peer_named
from tokenzip.bench.layouts import Grid, layouts_for
from tokenzip.bench.peers import Peer, all_peers
from tokenzip.bench.result import Result
from tokenzip.bench.worker import Job, job_text
from tokenzip.errors import InputError, TokenzipError
from tokenzip.grid import token_grids

#: Layouts are compared on evenly spread grids of at most this many tokens together.
LAYOUT_TOKENS = 400_000

#: What takes part unless told otherwise.
DEFAULT = ("tokenzip adaptive", *(peer.name for peer in all_peers()))


def contenders() -> dict[str, str | None]:
    """Every compressor by name, and what must be installed before it can run (None: nothing)."""
    names = [*our_names(), *(peer.name for peer in all_peers())]
    return {name: missing(name) for name in names}


def compare(
    grids: Sequence[object],
    *,
    alphabet: int | None = None,
    compressors: Iterable[str] | None = None,
    solid: bool = False,
    threads: int = 1,
    report: Callable[[str], None] | None = None,
) -> list[Result]:
    """Measure compressors on token grids.

    Args:
        grids: integer arrays (T, *frame), alphabet at most 65,536; axis 0 is time.
        alphabet: number of symbols; None takes the largest token of all grids plus one.
        compressors: names as in ``contenders()`` (a peer's first word is enough); None takes all
            that are installed. One that is asked for by name and not installed is an error.
        solid: all grids in one stream, instead of each on its own.
        threads: what tokenzip may use; the peers always have one.
        report: called with the name of each compressor before it runs.

    Returns:
        A Result for each compressor, in order.

    Raises:
        InputError: grids that tokenzip.encode would refuse too, or no tokens at all.
        OptionError: a compressor that is not known.
        TokenzipError: a compressor that is not installed, failed, or lost tokens.
    """
    checked = token_grids(list(grids), alphabet=alphabet)[0]
    plain = [np.ascontiguousarray(grid.tokens) for grid in checked]
    if not any(grid.size for grid in plain):
        raise InputError("there is nothing to measure: the grids hold no tokens")
    symbols = max(grid.alphabet for grid in checked)
    plain = [grid if grid.ndim else grid.reshape(1) for grid in plain if grid.size]

    results = []
    with tempfile.TemporaryDirectory(prefix="tokenzip-bench-") as folder:
        path = Path(folder, "grids.npz")
        np.savez(path, *plain)
        for name in _chosen(compressors):
            if report is not None:
                report(name)
            layout = TOKENS
            if name not in our_names():
                layout = best_layout(peer_named(name), plain, symbols, solid)
            job = Job(name, layout, symbols, solid, threads)
            results.append(_result(job, _run(job, path), plain))
    return results


def best_layout(peer: Peer, grids: Sequence[Grid], alphabet: int, solid: bool) -> str:
    """The name of the layout in which ``peer`` makes the tokens smallest, tried on a sample."""
    some = _spread(grids, LAYOUT_TOKENS)
    pieces = [some] if solid else [[grid] for grid in some]
    sizes = {
        layout.name: sum(len(peer.compress(layout.to_bytes(piece, alphabet))) for piece in pieces)
        for layout in layouts_for(alphabet)
    }
    return min(sizes, key=sizes.__getitem__)


def _spread(grids: Sequence[Grid], tokens: int) -> list[Grid]:
    """Evenly spread grids of about ``tokens`` tokens, at least one."""
    total = sum(grid.size for grid in grids)
    step = max(1, -(-total // tokens))
    return list(grids[:: min(step, len(grids))])


def _chosen(compressors: Iterable[str] | None) -> list[str]:
    if compressors is None:
        return [name for name in DEFAULT if missing(name) is None]
    names = []
    for name in compressors:
        lacking = missing(name)
        if lacking is not None:
            raise TokenzipError(f"{name} cannot be measured: install {lacking}, or leave it out")
        names.append(name if name in our_names() else peer_named(name).name)
    return names


def _run(job: Job, path: Path) -> dict[str, float]:
    threads = str(job.threads)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    done = subprocess.run(
        [sys.executable, "-m", "tokenzip.bench.worker", job_text(job), str(path)],
        env={**os.environ, **limits},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise TokenzipError(f"measuring {job.name} failed (exit status {done.returncode}): {last}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _result(job: Job, answer: dict[str, float], grids: Sequence[Grid]) -> Result:
    peak = answer["peak_bytes"]
    return Result(
        compressor=job.name,
        layout=job.layout,
        solid=job.solid,
        grids=len(grids),
        tokens=sum(grid.size for grid in grids),
        alphabet=job.alphabet,
        compressed_bytes=int(answer["compressed_bytes"]),
        encode_seconds=answer["encode_seconds"],
        decode_seconds=answer["decode_seconds"],
        peak_bytes=None if peak is None else int(peak),
    )
