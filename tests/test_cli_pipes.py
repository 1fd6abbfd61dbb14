"""The command line in pipes and scripts: streams, imports, completion."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_process import ENVIRONMENT, STORED, make_clip, run, run_unread, saved

import tokenzip

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and terminals")


@pytest.fixture
def clip(tmp_path: Path) -> np.ndarray:
    return make_clip(tmp_path)


def test_npy_through_pipes(tmp_path: Path, clip: np.ndarray) -> None:
    blob = run("compress", "-", *STORED, cwd=tmp_path, input=saved(clip))
    assert blob.returncode == 0
    assert np.array_equal(tokenzip.decode(blob.stdout), clip)
    back = run("decompress", "-", cwd=tmp_path, input=blob.stdout)
    assert back.returncode == 0 and back.stdout == saved(clip) and back.stderr == b""
    for command in ("info", "verify"):
        assert run(command, "-", cwd=tmp_path, input=blob.stdout).returncode == 0
    assert os.listdir(tmp_path) == ["clip.npy"]


def test_unbuffered_pipes(
    tmp_path: Path, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As containers often have them."""
    monkeypatch.setitem(ENVIRONMENT, "PYTHONUNBUFFERED", "1")
    test_npy_through_pipes(tmp_path, clip)
    test_raw_through_pipes(tmp_path, clip)


def test_raw_through_pipes(tmp_path: Path, clip: np.ndarray) -> None:
    raw = clip.tobytes()
    options = ["--dtype", ">u2", "--shape", "-1,8,16"]
    blob = run("compress", "-", *options, *STORED, cwd=tmp_path, input=raw).stdout
    assert run("decompress", "-", cwd=tmp_path, input=blob).stdout == raw
    as_npy = run("decompress", "-", "--to", "npy", cwd=tmp_path, input=blob).stdout
    assert as_npy == saved(clip)
    assert run("compress", "-", cwd=tmp_path, input=raw).returncode == 1
    assert run("compress", "-", cwd=tmp_path, input=b"").stderr == b"tokenzip: error: -: empty\n"


def test_h5_and_npz_through_pipes(tmp_path: Path, clip: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", a=clip, b=clip[:3])
    data = (tmp_path / "x.npz").read_bytes()
    blob = run("compress", "-", *STORED, cwd=tmp_path, input=data).stdout
    back = run("decompress", "-", "--to", "h5", cwd=tmp_path, input=blob).stdout
    again = run("compress", "-", *STORED, cwd=tmp_path, input=back).stdout
    npz = run("decompress", "-", "--to", "npz", cwd=tmp_path, input=again).stdout
    with np.load(io.BytesIO(npz)) as loaded:
        assert np.array_equal(loaded["a"], clip) and np.array_equal(loaded["b"], clip[:3])
        assert loaded["a"].dtype == clip.dtype


def test_special_files(tmp_path: Path, clip: np.ndarray) -> None:
    done = run("compress", "clip.npy", "-o", "/dev/stdout", *STORED, cwd=tmp_path)
    assert np.array_equal(tokenzip.decode(done.stdout), clip)
    assert run("compress", "clip.npy", "-o", "/dev/null", *STORED, cwd=tmp_path).returncode == 0
    done = run("compress", "/dev/stdin", "-o", "x.tkz", *STORED, cwd=tmp_path, input=saved(clip))
    assert done.returncode == 0
    assert np.array_equal(tokenzip.decode((tmp_path / "x.tkz").read_bytes()), clip)


def test_a_reader_that_leaves_is_no_error(tmp_path: Path, clip: np.ndarray) -> None:
    assert run("compress", "clip.npy", *STORED, cwd=tmp_path).returncode == 0
    for arguments in (
        ["decompress", "clip.npy.tkz", "-o", "-"],
        ["info", "clip.npy.tkz"],
        ["info", "clip.npy.tkz", "--json"],
        ["verify", "clip.npy.tkz"],
    ):
        done = run_unread(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compress", "--help"], ["nope"]])
def test_help_loads_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom tokenzip.cli import run\nrun()\n"
        "heavy = {'numpy', 'numba', 'h5py', 'torch', 'constriction'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_completion_completes_commands_and_options(tmp_path: Path) -> None:
    def complete(words: str) -> str:
        environment = {
            **ENVIRONMENT,
            "_TOKENZIP_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = subprocess.run(
            [sys.executable, "-c", "from tokenzip.cli import main; main()"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.stdout.decode()

    assert complete("tokenzip comp").split() == ["compress"]
    assert "--solid" in complete("tokenzip compress --so").split()


def test_an_unhandled_error_is_not_hidden(tmp_path: Path) -> None:
    """Only expected failures become one line: a bug keeps its traceback for the report."""
    code = (
        "import tokenzip.cli.info as m\nfrom tokenzip.cli import run\n"
        "def broken(*_, **__): raise AssertionError('a bug')\nm.info = broken\nrun(['info', 'x'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1 and b"Traceback" in done.stderr and b"a bug" in done.stderr


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path, clip: np.ndarray) -> None:
    done = run("compress", ".", "gone.npy", *STORED, "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert [entry["ok"] for entry in json.loads(done.stdout)["files"]] == [True, False]
    assert done.stderr.decode().startswith("tokenzip: error: gone.npy: ")
