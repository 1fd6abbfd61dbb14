"""README.md is true: its examples run from top to bottom, what it links to and names is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def runs_here(language: str, code: str) -> bool:
    """Python, and commands of tokenzip; not what sets up or tests the whole project."""
    return language == "python" or (language == "sh" and code.startswith("tokenzip "))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the examples name, and `tokenzip` on PATH."""
    rng = np.random.default_rng(3)
    clips = [(rng.integers(0, 40, (30, 8, 16)) ** 2 % 1024).astype(np.uint16) for _ in range(3)]
    work = tmp_path / "work"
    (work / "clips").mkdir(parents=True)
    np.save(work / "clip.npy", clips[0])
    np.save(work / "clips" / "one.npy", clips[1])
    np.savez(work / "clips" / "two.npz", a=clips[1], b=clips[2])
    clips[0].tofile(work / "tokens.bin")
    with h5py.File(work / "clips.h5", "w") as file:
        for name, clip in zip("abc", clips, strict=True):
            file[f"clips/{name}/tokens"] = clip
    program = tmp_path / "bin" / "tokenzip"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tokenzip "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TOKENZIP_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.chdir(work)
    return work


@pytest.mark.skipif(shutil.which("sh") is None, reason="the shell examples need sh")
def test_examples_run_from_top_to_bottom(folder: Path) -> None:
    names: dict[str, object] = {}
    ran = []
    for number, (language, code) in enumerate(BLOCKS):
        if not runs_here(language, code):
            # The first one sets up and tests the project; what is only shown is marked `console`.
            assert number == 0 or language in ("console", "text"), code
            continue
        ran.append(language)
        if language == "python":
            exec(compile(code, "README.md", "exec"), names)
        else:
            done = subprocess.run(
                ["sh", "-e"], input=code, cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
    assert ran.count("python") >= 2 and "sh" in ran

    clip = np.load(folder / "clip.npy")
    assert np.array_equal(np.load(folder / "again.npy"), clip)
    assert np.array_equal(np.load(folder / "part.npy"), clip[10:20])
    one = np.load(folder / "clips" / "one.npy")
    assert np.array_equal(np.load(folder / "restored" / "one.npy"), one)
    arrays = names["arrays"]
    assert isinstance(arrays, dict) and np.array_equal(arrays["clips/a/tokens"], clip)
    assert names["part"].shape == (10, 8, 16)  # type: ignore[attr-defined]


def test_it_opens_with_the_two_commands() -> None:
    assert BLOCKS[0][0] == "sh"
    assert [line.split("#")[0].strip() for line in BLOCKS[0][1].splitlines()] == [
        "make demo",
        "make test",
    ]


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert len(links) >= 4
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_and_extras_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert {"demo", "test", "results"} <= targets
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r'pip install "\.\[(\w+)\]"', TEXT)
    assert extras and [e for e in extras if not re.search(rf"^{e} = \[", project, re.M)] == []
