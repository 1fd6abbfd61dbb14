"""Work spread over processes: the same bytes, and nothing lost with a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenzip
from tokenzip import errors
from tokenzip.archive import verify
from tokenzip.archive.parallel import Work, in_order
from tokenzip.packing import unpack

ROOT = Path(tokenzip.__file__).parents[1]
RNG = np.random.default_rng(4)
CLIPS = {f"c{n}": RNG.integers(0, 1024, (30, 4, 4)).astype(np.uint16) for n in range(24)}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes")


def once(marker: str, value: int) -> int:
    """Kill this process the first time."""
    if not os.path.exists(marker):
        with open(marker, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def always() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def double(value: int) -> int:
    if value == 7:
        raise errors.OptionError("seven")
    return 2 * value


def test_two_workers_write_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.tkz.h5", tmp_path / "two.tkz.h5"]
    for path, workers in zip(paths, (None, 2), strict=True):
        with tokenzip.open(path, "w", predictor="stored") as archive:
            assert archive.append(CLIPS, workers=workers) == len(CLIPS)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with tokenzip.open(paths[1]) as archive:
        assert not [f for f in verify(archive, full=True, workers=2) if f.problem]
        assert unpack(archive, str(tmp_path / "out"), workers=2) == len(CLIPS)
    assert all(np.array_equal(np.load(tmp_path / f"out/{n}.npy"), CLIPS[n]) for n in CLIPS)


def test_a_worker_that_dies_is_replaced_and_its_work_done_again(tmp_path: Path) -> None:
    pieces = [Work(str(n), double, (n,)) for n in range(12)]
    pieces[4] = Work("4", once, (str(tmp_path / "a"), 8))
    pieces[9] = Work("9", once, (str(tmp_path / "b"), 18))
    outcomes = list(in_order(iter(pieces), workers=2))
    assert [o.work.label for o in outcomes] == [str(n) for n in range(12)]
    assert [o.value for o in outcomes if not o.error] == [2 * n for n in range(12) if n != 7]
    assert isinstance(outcomes[7].error, errors.OptionError)


def test_work_that_always_kills_its_worker_is_given_up() -> None:
    pieces = [Work("good", double, (1,)), Work("deadly", always, ())]
    outcomes = in_order(iter(pieces), workers=1)
    assert next(outcomes).value == 2
    with pytest.raises(errors.ArchiveError, match="deadly: the worker died that was at it, 3"):
        next(outcomes)


def test_a_broken_pool_of_the_callers_is_an_error() -> None:
    died = pytest.raises(errors.ArchiveError, match="the worker died")
    with ProcessPoolExecutor(1) as pool, died:
        list(in_order([Work("deadly", always, ())], executor=pool))


def test_few_are_on_their_way_at_any_time() -> None:
    """Neither a slow worker nor a long list makes memory grow."""
    taken = 0

    class Slow(Executor):
        _max_workers = 2

        def submit(self, function: Any, /, *arguments: Any, **more: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(function(*arguments))
            return future

    def pieces() -> Any:
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield Work(str(n), abs, (n,))

    for done, _ in enumerate(in_order(pieces(), executor=Slow())):
        assert taken - done <= 6


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
import numpy as np, os, time, tokenzip
from tokenzip.archive.parallel import Work, in_order
if __name__ == "__main__":
    with tokenzip.open({str(tmp_path / "x.tkz.h5")!r}, "w") as archive:
        work = [Work("a", os.getpid, ()), Work("b", time.sleep, (60,))]
        for outcome in in_order(work, workers=1):
            print(outcome.value, flush=True)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    child = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    worker = int(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    with tokenzip.open(tmp_path / "x.tkz.h5", "a"):
        pass  # at once: the worker does not hold the lock
    for _ in range(100):
        try:
            os.kill(worker, 0)
            state = Path(f"/proc/{worker}/stat")
            if state.exists() and state.read_text().split()[2] == "Z":
                return  # dead; whoever inherited it has not noticed yet
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker lives on")


def test_dask_with_a_worker_killed_in_the_middle(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    import logging

    sources = tmp_path / "clips"
    sources.mkdir()
    big = {f"{n:02d}": RNG.integers(0, 1024, (1500, 8, 16)).astype(np.uint16) for n in range(40)}
    for name, tokens in big.items():
        np.save(sources / f"{name}.npy", tokens)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        env={"PYTHONPATH": str(ROOT)},
    ) as cluster:
        command = [sys.executable, "-m", "tokenzip", "pack", "clips", "-o", "x.tkz.h5"]
        command += ["--predictor", "stored", "--dask", cluster.scheduler_address]
        child = subprocess.Popen(
            [*command, "--progress", "0", "--verify"],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stderr is not None
        line = child.stderr.readline()
        assert " clips, " in line and " left, at " in line, line
        victim = next(iter(cluster.workers.values()))
        os.kill(victim.pid, signal.SIGKILL)
        rest = child.stderr.read()
        child.stderr.close()
        assert child.wait() == 0, rest
        assert rest.count(" clips, ") > 10  # it was in the middle
    with tokenzip.open(tmp_path / "x.tkz.h5") as archive:
        assert list(archive) == list(big)
        assert all(np.array_equal(archive[name][:], big[name]) for name in big)


def test_no_cluster_there(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    np.save(tmp_path / "a.npy", CLIPS["c0"])
    done = subprocess.run(
        [sys.executable, "-m", "tokenzip", "pack", "a.npy", "-o", "x.tkz.h5", "--dask", "nonsense"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "no dask scheduler answers at nonsense" in done.stderr
