"""The tables of new models; a model file carries its own, so none is ever made again to decode."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import GATE_LIMIT, GATE_ONE, TABLE_ONE


def gate_tables() -> dict[str, npt.NDArray[np.int16]]:
    """sigmoid and tanh: arguments Q8 within +-GATE_LIMIT, values Q15."""
    x = np.arange(-GATE_LIMIT, GATE_LIMIT + 1) / GATE_ONE
    return {
        "sigmoid": np.round(TABLE_ONE / (1 + np.exp(-x))).astype(np.int16),
        "tanh": np.round(TABLE_ONE * np.tanh(x)).astype(np.int16),
    }
