"""The command line cut short: signals, full disks, missing permissions."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_process import ENVIRONMENT, PROGRAM, STORED, make_clip, run, run_into

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and terminals")

# Runs the command line, but stops with a sign of life where a finished file would get its name:
# the moment with most to lose.
PAUSED = """
import os, sys, time
from tokenzip.cli import run
def pause(descriptor, fsync=os.fsync):
    fsync(descriptor)
    print("ready", file=sys.stderr, flush=True)
    time.sleep(60)
os.fsync = pause
sys.exit(run())
"""


@pytest.fixture
def clip(tmp_path: Path) -> np.ndarray:
    return make_clip(tmp_path)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_a_signal_leaves_no_half_file(
    tmp_path: Path, clip: np.ndarray, command: str, number: int, code: int
) -> None:
    source = "clip.npy"
    if command == "decompress":
        assert run("compress", source, *STORED, "--rm", cwd=tmp_path).returncode == 0
        source = "clip.npy.tkz"
    options = STORED if command == "compress" else []
    child = subprocess.Popen(
        [sys.executable, "-c", PAUSED, command, source, *options, "--rm", "--json"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stderr is not None and child.stderr.readline() == b"ready\n"
    assert len(os.listdir(tmp_path)) == 2  # the whole content lies there, under another name
    child.send_signal(number)
    output, errors = child.communicate(timeout=30)
    assert child.returncode == code and errors == b"tokenzip: interrupted\n"
    assert json.loads(output)["error"]["type"] == "Interrupted"
    assert os.listdir(tmp_path) == [source]


def test_a_kill_leaves_no_half_file_under_the_final_name(tmp_path: Path, clip: np.ndarray) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PAUSED, "compress", "clip.npy", *STORED],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
    )
    assert child.stderr is not None and child.stderr.readline() == b"ready\n"
    child.kill()
    child.communicate(timeout=30)
    assert not (tmp_path / "clip.npy.tkz").exists()
    # What is left is hidden and neither in the way nor taken for tokens.
    assert run("compress", ".", *STORED, cwd=tmp_path).returncode == 0
    assert run("verify", ".", cwd=tmp_path).stdout == b"OK   ./clip.npy.tkz: 25,600 tokens\n"


def test_waiting_for_input_can_be_interrupted(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*PROGRAM, "compress", "-", "-o", "x.tkz"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    # More than a pipe holds: when this is through, the child is reading.
    child.stdin.write(b"\x93NUMPY" + bytes(1 << 18))
    child.stdin.flush()
    for _ in range(20):
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=1)
            break
    assert child.returncode == 143
    child.stdin.close()
    assert child.stderr is not None
    with child.stderr as stream:
        assert stream.read() == b"tokenzip: interrupted\n"
    assert os.listdir(tmp_path) == []


def test_signals_that_are_ignored_stay_ignored(tmp_path: Path, clip: np.ndarray) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PAUSED.replace("60", "0.3"), "compress", "clip.npy", *STORED],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    assert child.stderr is not None and child.stderr.readline() == b"ready\n"
    child.send_signal(signal.SIGHUP)
    child.communicate(timeout=30)
    assert child.returncode == 0 and (tmp_path / "clip.npy.tkz").exists()


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, clip: np.ndarray, command: str) -> None:
    """A limit on file sizes stands in for the full disk: the same failing write."""
    import resource

    source = "clip.npy"
    if command == "decompress":
        assert run("compress", source, *STORED, "--rm", cwd=tmp_path).returncode == 0
        source = "clip.npy.tkz"
    options = STORED if command == "compress" else []
    done = run(
        command,
        source,
        *options,
        "--rm",
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"tokenzip: error: clip.npy")
    assert b"cannot be written: File too large" in done.stderr
    assert os.listdir(tmp_path) == [source]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_is_an_error(tmp_path: Path, clip: np.ndarray) -> None:
    done = run("compress", "clip.npy", "-o", "/dev/full", *STORED, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        b"tokenzip: error: clip.npy: /dev/full: cannot be written: No space left on device\n"
    )
    with open("/dev/full", "wb") as full:
        done = run_into(full, "compress", "clip.npy", "-o", "-", *STORED, cwd=tmp_path)
    assert done.returncode == 1 and b"No space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_no_permission(tmp_path: Path, clip: np.ndarray) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may do everything")
    (tmp_path / "closed").mkdir(mode=0o500)
    done = run("compress", "clip.npy", "-o", "closed/", *STORED, cwd=tmp_path)
    assert done.returncode == 1 and b"no permission to write" in done.stderr
    (tmp_path / "clip.npy").chmod(0)
    done = run("compress", "clip.npy", *STORED, cwd=tmp_path)
    assert done.returncode == 1 and b"Permission denied" in done.stderr
