"""The decorator of compiled functions where numba's cache has nowhere to go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenzip.coding import compiled as module


def add_one(x: int) -> int:
    return x + 1


def test_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module._compiled
    asked = []

    def no_cache(function: object, *, cache: bool) -> object:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return made(add_one, cache=False)

    monkeypatch.setattr(module, "_compiled", no_cache)
    assert module.compiled(add_one)(41) == 42
    assert asked == [True, False]


def test_a_blob_is_coded_where_numba_cannot_cache(tmp_path: Path) -> None:
    """numba's own locators refuse every place, in a process of its own."""
    script = (
        "import numba.core.caching as c\n"
        "def no(*a, **k): raise OSError('read-only')\n"
        "for k in c.CacheImpl._locator_classes: k.ensure_cache_path = no\n"
        "from tokenzip.coding.tables import tables_from_scores\n"
        "import numpy as np\n"
        "print(int(tables_from_scores(np.zeros((1, 4), np.int32))[0, -1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        cwd=tmp_path,
    )
    assert done.stdout.strip() == str(2**24 - 2), done.stderr
