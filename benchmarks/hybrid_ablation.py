"""What each part of the hybrid's version 2 is worth, in bits a token, on validation clips.

    python benchmarks/hybrid_ablation.py                        # a table, ten minutes
    python benchmarks/hybrid_ablation.py --every 2 --frames 400 my_drive.safetensors

Every so many-th clip of drive/val.h5, cut to so many frames, is coded by itself with each of the
models (TOKENZIP_DATA, else ../shared/data). Payloads are counted, without headers. Every line
changes one thing of the predictor as it is; but for version 1, none of the changed predictors can
be reached from the package.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import numpy.typing as npt
from adaptive_ablation import write_table
from adaptive_goals import Skip, data_path

import tokenzip
from tokenzip.integer import operations
from tokenzip.predictors.hybrid import VERSION, HybridCoder, coder, head_learner
from tokenzip.predictors.network.network import Network

MODELS = Path(__file__).parent / "models"
NAMES = ("drive_lstm_small", "drive_lstm_base")
#: (source, tokens)
Clips = list[tuple[str, npt.NDArray[np.uint16]]]


@contextmanager
def rate(doublings: int) -> Iterator[None]:
    with patch.object(head_learner, "_RATE", head_learner._RATE + doublings):
        yield


def tuning(**changed: int) -> Any:
    now = coder.TUNING[VERSION]
    return patch.dict(coder.TUNING, {VERSION: now._replace(**changed)})


def parts_of_1(*names: str) -> Any:
    """These constants as they are in version 1."""
    return tuning(**{name: getattr(coder.TUNING[1], name) for name in names})


#: What is changed, and how; the first line is the predictor as it is.
VARIANTS: list[tuple[str, Any]] = [
    ("as it is", lambda: rate(0)),
    ("heads do not learn", lambda: patch.object(head_learner, "MOST_ERRORS", 0)),
    ("half the learning rate", lambda: rate(-1)),
    ("twice the learning rate", lambda: rate(1)),
    ("after 512 symbols, not 128", lambda: patch.object(head_learner, "LEAST_ROWS", 512)),
    ("classes learned from the clip", lambda: patch.object(coder, "symbol_classes", _none)),
    ("the mixer's rates of version 1", lambda: parts_of_1("weight_rate", "sharpness_rate")),
]


def _none(*_: Any) -> None:
    return None


def bits_per_token(model: Path, clips: Clips, version: int = VERSION) -> list[float]:
    """By source in the order of their names, then of all clips."""
    ops = operations("numba")
    network = Network(tokenzip.Model.load(model), ops)
    sizes: dict[str, int] = defaultdict(int)
    tokens: dict[str, int] = defaultdict(int)
    for source, clip in clips:
        payload = HybridCoder(network, ops, clip.shape[1:], clip.size, version).encode(clip)
        for group in (source, "~all"):
            sizes[group] += len(payload)
            tokens[group] += clip.size
    return [8 * sizes[group] / tokens[group] for group in sorted(sizes)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--markdown", type=Path, help="write the table here as well")
    arguments = parser.parse_args()
    try:
        path = data_path("drive/val.h5")
    except Skip as reason:
        print(reason, file=sys.stderr)
        return 1
    with h5py.File(path) as file:
        clips: Clips = [
            (str(clip.attrs["source"]), clip["tokens"][: arguments.frames].astype(np.uint16))
            for clip in list(file["clips"].values())[:: arguments.every]
        ]
    sources = sorted({source for source, _ in clips})
    models = arguments.models or [MODELS / f"{name}.safetensors" for name in NAMES]
    columns = [f"{model.stem}: {source}" for model in models for source in (*sources, "all")]
    lines = ["| variant | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    print("\n".join(lines), flush=True)
    for label, change, version in (
        *((label, change, VERSION) for label, change in VARIANTS),
        ("version 1", VARIANTS[0][1], 1),
    ):
        with change():
            found = [x for model in models for x in bits_per_token(model, clips, version)]
        lines.append(f"| {label} | " + " | ".join(f"{x:.4f}" for x in found) + " |")
        print(lines[-1], flush=True)
    if arguments.markdown:
        said = (
            f"Bits a token of {len(clips)} clips of drive/val, {arguments.frames} frames at most "
            "each, by `python benchmarks/hybrid_ablation.py`"
        )
        title = "What the parts of the hybrid's version 2 are worth"
        write_table(arguments.markdown, title, said, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
