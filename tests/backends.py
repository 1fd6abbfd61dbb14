"""The backends that one suite holds against each other, and what a test needs of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tokenzip.integer import operations
from tokenzip.integer.head import LaneRows


def cuda() -> bool:
    torch = pytest.importorskip("torch")
    return bool(torch.cuda.is_available())


#: What a test parametrised over backends runs on.
BACKENDS = [
    "numba",
    "numba-2",
    "torch-cpu",
    "torch-cpu-2",
    "torch-float",
    pytest.param("torch-cuda", marks=pytest.mark.gpu),
    pytest.param("torch-cuda-graphs", marks=pytest.mark.gpu),
]


#: One of each kind, for what is slow.
FEW = [name for name in BACKENDS if name not in ("numba-2", "torch-cpu-2", "torch-float")]


def make(name: str) -> Any:
    """The operations of a backend by its name here; skips where it is not."""
    if name.startswith("numba"):
        return operations("numba", threads=2 if name.endswith("2") else 1)
    pytest.importorskip("torch")
    from tokenzip.integer.torch_backend import Operations

    if name.startswith("torch-cuda"):
        if not cuda():
            pytest.skip("there is no CUDA device")
        return Operations("cuda", graphs=name.endswith("graphs"))
    return Operations(
        threads=2 if name.endswith("2") else 1, int_mm=False if name.endswith("float") else None
    )


def rows_by_step(ops: Any, rows: LaneRows) -> list[Any]:
    """What `ops.decode` takes as rows, for every step."""
    return rows.of_steps() if ops.name == "numba" else ops.lane_rows(rows)


def rows_of_a_step(ops: Any, lanes: Any) -> Any:
    """The same for one step of one clip, whose rows are in these lanes."""
    of_clip = np.array([lanes], np.int32)
    return rows_by_step(ops, LaneRows(of_clip, np.array([0, of_clip.size])))[0]
