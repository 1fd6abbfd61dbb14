"""One blob, whatever the process: environment, threads, byte order, libraries' own switches.

Each setting is a process of its own that encodes and decodes the arrays of determinism/cases.py;
the blobs' checksums must be those committed beside it. `make determinism` runs the whole matrix,
and `make determinism-versions` does it with the oldest and newest versions of what tokenzip needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tokenzip

FOLDER = Path(__file__).resolve().parent / "determinism"
ROOT = Path(tokenzip.__file__).parents[1]
TIMEOUT = 1500


def read(text: str) -> dict[str, str]:
    """Name -> checksum, of the lines that cases.py prints."""
    return dict(line.rsplit(": ", 1) for line in text.splitlines())


SUMS = read((FOLDER / "SHA256SUMS").read_text())


@dataclass(frozen=True)
class Setting:
    """How a process is started."""

    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    cwd: str = str(ROOT)


def run(setting: Setting) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, *setting.python, str(FOLDER / "cases.py"), *setting.arguments],
        cwd=setting.cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **setting.environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return read(done.stdout)


def threads(number: str) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, number)


TORCH = ("--backend", "torch")
NO_AVX = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
WITHOUT_JIT = {"NUMBA_DISABLE_JIT": "1"}

#: Several things at a time: any of them would change the result.
QUICK = {
    "other": Setting(
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo", **threads("2")},
        ("--threads", "2"),
        ("-O",),
        "/",
    ),
    "torch without AVX": Setting({**NO_AVX, **threads("1")}, (*TORCH, "--match", "video")),
    "without compiler": Setting(WITHOUT_JIT, ("--tiny", "--match", "codebooks")),
}
SLOW = {
    **{f"hash seed {n}": Setting({"PYTHONHASHSEED": n}) for n in ("0", "1", "12345", "random")},
    **{f"environment of {n} threads": Setting(threads(n)) for n in ("1", "2", "4")},
    **{f"threads={n}": Setting({}, ("--threads", n)) for n in ("1", "2", "5")},
    **{f"torch, threads={n}": Setting({}, (*TORCH, "--threads", n)) for n in ("1", "2")},
    **{f"locale {n}": Setting({"LC_ALL": n, "LANG": n}) for n in ("C", "C.UTF-8", "tr_TR.UTF-8")},
    "python -O": Setting({}, (), ("-O",)),
    "python -OO -B": Setting({}, (), ("-OO", "-B")),
    "development mode": Setting({}, (), ("-X", "dev")),
    "another folder": Setting({}, (), (), "/"),
    "no cache": Setting({"NUMBA_CACHE_DIR": os.devnull}, ("--match", "video")),
    "a processor of any kind": Setting({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}),
    "torch without AVX": Setting(NO_AVX, TORCH),
    "torch with AVX2": Setting(
        {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}, TORCH
    ),
    "tiny": Setting({}, ("--tiny",)),
    "without compiler": Setting(WITHOUT_JIT, ("--tiny",)),
}


def check(setting: Setting) -> None:
    found = run(setting)
    assert found
    assert {name: SUMS[name] for name in found} == found
    tiny = "--tiny" in setting.arguments
    everything = {name for name in SUMS if name.startswith("tiny ") == tiny}
    if not set(setting.arguments) & {"--match", "torch"}:
        assert set(found) == everything


@pytest.mark.parametrize("setting", QUICK.values(), ids=QUICK)
def test_the_same_blobs(setting: Setting) -> None:
    if "--backend" in setting.arguments:
        pytest.importorskip("torch")
    check(setting)


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("setting", SLOW.values(), ids=SLOW)
def test_the_whole_matrix(setting: Setting) -> None:
    test_the_same_blobs(setting)


@pytest.mark.slow
def test_the_choice_of_a_model() -> None:
    """Which models come with tokenzip is no constant; but one choice is made everywhere."""
    settings = (Setting(), QUICK["other"], Setting(threads("1"), TORCH))
    several = [
        run(Setting(s.environment, (*s.arguments, "--auto"), s.python, s.cwd)) for s in settings
    ]
    assert several[0] == several[1] == several[2] and len(several[0]) == 3
