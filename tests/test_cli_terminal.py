"""The command line with somebody watching."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from cli_process import ENVIRONMENT, PROGRAM, STORED, make_clip, run

from tokenzip.cli import compiling
from tokenzip.cli.session import Session

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and terminals")


@pytest.fixture
def clip(tmp_path: Path) -> np.ndarray:
    return make_clip(tmp_path)


def on_terminal(
    arguments: list[str], cwd: Path, *, stdin: bool = False, stdout: bool | IO[bytes] = False
) -> tuple[int, str]:
    """Run with standard error, and what else is asked for, on a terminal; what was shown."""
    import pty

    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "200"},
        stdin=theirs if stdin else subprocess.DEVNULL,
        stdout=theirs if stdout is True else stdout or subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    # EIO is how Linux says that the other side of the terminal is closed.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    return child.wait(timeout=60), shown.decode()


def test_bytes_are_not_written_to_a_terminal(tmp_path: Path, clip: np.ndarray) -> None:
    assert run("compress", "clip.npy", *STORED, cwd=tmp_path).returncode == 0
    for arguments in (
        ["compress", "clip.npy", "-o", "-", *STORED],
        ["decompress", "clip.npy.tkz", "-o", "-"],
    ):
        code, shown = on_terminal(arguments, tmp_path, stdout=True)
        assert code == 2 and "not written to a terminal" in shown
        assert len(shown) < 400


def test_a_terminal_is_not_read_as_tokens(tmp_path: Path) -> None:
    for command in ("compress", "decompress", "info", "verify"):
        code, shown = on_terminal([command, "-"], tmp_path, stdin=True)
        assert code == 2 and "standard input is a terminal" in shown


def test_progress_is_shown_on_a_terminal_only(tmp_path: Path, clip: np.ndarray) -> None:
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", clip)
    code, shown = on_terminal(["compress", ".", *STORED], tmp_path)
    assert code == 0 and "a.npy" in shown and "\x1b[" in shown and "4/4" in shown
    code, shown = on_terminal(["compress", ".", *STORED, "-f", "--quiet"], tmp_path)
    assert (code, shown) == (0, "")
    done = run("compress", ".", *STORED, "-f", cwd=tmp_path)
    assert b"\x1b" not in done.stderr and b"\r" not in done.stderr


def test_output_goes_where_it_was_sent(tmp_path: Path, clip: np.ndarray) -> None:
    assert run("compress", "clip.npy", *STORED, cwd=tmp_path).returncode == 0
    expected = b"OK   clip.npy.tkz: 25,600 tokens\n"
    for command, beginning in (("verify", expected), ("info", b"clip.npy.tkz")):
        with open(tmp_path / "log", "wb") as log:
            code, shown = on_terminal([command, "clip.npy.tkz"], tmp_path, stdout=log)
        assert code == 0 and (tmp_path / "log").read_bytes().startswith(beginning)
        assert "25,600" not in shown
        code, shown = on_terminal([command, "clip.npy.tkz"], tmp_path, stdout=True)
        assert code == 0 and "25,600" in shown


class Terminal(Session):
    """A session that somebody watches, whoever runs the tests."""

    @property
    def interactive(self) -> bool:
        return not self.quiet


def warmed(
    monkeypatch: pytest.MonkeyPatch, session: Session, seconds: float, patience: float
) -> list[str]:
    """What was said while compiling took this long."""
    said: list[str] = []
    loaded: list[bool] = []

    def load(codec: object) -> None:
        deadline = time.monotonic() + 20 if seconds else 0.0
        # Long means: until something was said, however slow this machine is.
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        loaded.append(True)

    monkeypatch.setattr(compiling, "_load_compiled_code", load)
    monkeypatch.setattr(session.stderr, "print", lambda text: said.append(text))
    compiling.warm_up(session, patience=patience)
    assert bool(loaded) is session.interactive
    return said


def test_long_compilation_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warmed(monkeypatch, Terminal(), 1, 0.05) == [compiling.MESSAGE]


def test_quick_loading_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warmed(monkeypatch, Terminal(), 0, 30) == []


def test_nobody_watching_nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Terminal()
    quiet.quiet = True
    assert warmed(monkeypatch, quiet, 0, 0.0) == []
    assert warmed(monkeypatch, Session(), 0, 0.0) == []
