"""The pages in docs/ are true: their examples run, their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from entry_points import environment
from run_page import blocks

import tokenzip

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
ALSO = [ROOT / "SECURITY.md"]
WITH_EXAMPLES = [page for page in PAGES + ALSO if blocks(page.read_text("utf-8"))]


def test_the_navigation_has_every_page() -> None:
    named = re.findall(r"^  - [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    assert sorted(named) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.name)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """In a process of its own, which has the entry points, and `tokenzip` on its PATH."""
    for package in ("zarr", "webdataset", "torch", "fsspec"):
        pytest.importorskip(package)
    if os.name != "posix":
        pytest.skip("the shell examples need sh")
    program = tmp_path / "bin" / "tokenzip"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tokenzip "$@"\n')
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "run_page.py"), str(page)],
        cwd=tmp_path / "work",
        env={
            **environment(tmp_path),
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "TOKENZIP_REGISTRY": str(tmp_path / "registry"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES + ALSO, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    languages = {language for language, _ in blocks(page.read_text("utf-8"))}
    assert languages <= {"python", "sh", "console", "text"}


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: a broken link or a name that the reference does not find is an error."""
    for package in ("material", "mkdocstrings"):
        pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "site" / "api" / "index.html").read_text("utf-8")
    for name in tokenzip.__all__:
        value = getattr(tokenzip, name)
        assert not (isinstance(value, type) or callable(value)) or name in reference, name


@pytest.mark.parametrize("page", PAGES + ALSO, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    anchors = {"#" + re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
    missing = [
        link
        for link in links
        if (link not in anchors if link.startswith("#") else not (page.parent / link).exists())
    ]
    assert missing == []
