"""Small data sets and runs that the tests of training share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: A network so small that a step takes milliseconds.
TINY = {"embedding": 4, "state": 8, "hidden": 8}


def made(
    frames: int, frame: tuple[int, ...] = (2, 3), alphabet: int = 8, seed: int = 0
) -> np.ndarray:
    """Tokens of which four in five repeat the frame before."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, alphabet, (frames, *frame))
    repeat = rng.random(tokens.shape) < 0.8
    for t in range(1, frames):
        tokens[t] = np.where(repeat[t], tokens[t - 1], tokens[t])
    return tokens.astype(np.uint16)


def sizes(predictor: str) -> dict[str, int]:
    return {**TINY, "squeeze": 4} if predictor == "conv3d" else dict(TINY)


def settings(predictor: str = "lstm", **more: Any) -> dict[str, Any]:
    """Arguments of tokenzip.train for a fast run on one thread."""
    return {
        "predictor": predictor,
        "preset": "small",
        "sizes": sizes(predictor),
        "steps": 12,
        "batch": 192,
        "segment": 8,
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
        **more,
    }


def write_clips(folder: Path, lengths: tuple[int, ...] = (60, 90, 40)) -> list[str]:
    """clip0.npy ... of these lengths."""
    paths = []
    for number, length in enumerate(lengths):
        path = folder / f"clip{number}.npy"
        np.save(path, made(length, seed=number))
        paths.append(str(path))
    return paths
