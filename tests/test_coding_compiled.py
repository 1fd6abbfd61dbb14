"""The decorator of compiled functions where numba's cache has nowhere to go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.errors import NumbaError

from tokenzip.coding import compiled as module


def add_one(x: int) -> int:
    return x + 1


def test_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module._jitted
    asked = []

    def no_cache(function: object, *, cache: bool, **options: Any) -> object:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return made(function, cache=False, **options)

    monkeypatch.setattr(module, "_jitted", no_cache)
    assert module.compiled(add_one)(41) == 42
    assert asked == [True, False]


def test_inner_functions_are_for_compiled_ones_only() -> None:
    add = module.inner(add_one)
    assert module.compiled(lambda x: add(x) * 2)(20) == 42


def make_ones(n: int) -> np.ndarray:
    return np.ones(n, np.int32)


def add_to_second_row(rows: np.ndarray) -> None:
    row = rows[1]
    for i in range(row.size):
        row[i] += 1


def test_borrowing_functions_make_no_arrays() -> None:
    """Such an array would never be freed: they do not compile. Views are theirs to take."""
    with pytest.raises(NumbaError):
        module.borrowing(make_ones)(2)
    rows = np.zeros((2, 3), np.int32)
    module.borrowing(add_to_second_row)(rows)
    assert rows.tolist() == [[0, 0, 0], [1, 1, 1]]


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


def test_kept_code_is_tied_to_all_sources(tmp_path: Path) -> None:
    """A change of a file that a compiled function calls must not leave its old code in use."""
    script = (
        "import sys\n"
        "from tokenzip.coding import compiled as module\n"
        "module._sources = lambda: sys.argv[1]\n"
        "from tokenzip.coding.tables import cumulative\n"
        "import numpy as np\n"
        "cumulative(np.ones(4, np.int32), 2)\n"
        "print(sum(cumulative.stats.cache_hits.values()))\n"
    )

    def hits(sources: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, sources],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
                "NUMBA_CACHE_DIR": str(tmp_path),
            },
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert [hits(sources) for sources in ("a", "a", "b", "b")] == ["0", "1", "0", "1"]
