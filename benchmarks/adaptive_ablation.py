"""What each part of the adaptive predictor is worth, in bits a token, on training clips.

    python benchmarks/adaptive_ablation.py                       # a table, a few minutes
    python benchmarks/adaptive_ablation.py --markdown out/ablation.md

Only training parts of the data are used (TOKENZIP_DATA, else ../shared/data): settings are chosen
here, not on what results are reported on. Every line changes one thing of the predictor as it is;
none of the changed predictors can be reached from the package.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import numpy.typing as npt

from tokenzip.bench.machine import machine_info, machine_line
from tokenzip.predictors.adaptive import AdaptiveCoder, contexts

DATA = Path(os.environ.get("TOKENZIP_DATA", Path(__file__).resolve().parents[2] / "shared/data"))
ALPHABET = 1024
Clips = list[npt.NDArray[np.uint16]]


def commavq() -> Clips:
    """The first 600 frames of both training clips."""
    names = ("train_000e83c5_6", "train_002c2838_8")
    return [np.load(DATA / "commavq" / f"{n}.npy")[:600].astype(np.uint16) for n in names]


def from_hdf5(name: str, every: int, frames: int) -> Clips:
    """Every so many-th clip of a file, cut to so many frames."""
    with h5py.File(DATA / name) as file:
        names = sorted(file["clips"])[::every]
        return [file["clips"][n]["tokens"][:frames].astype(np.uint16) for n in names]


def bits_per_token(clips: Clips, solid: bool) -> float:
    """Payload bits over tokens, clips coded one by one or with one state."""
    tokens = sum(c.size for c in clips)
    size = 0
    coder = AdaptiveCoder(ALPHABET, clips[0].shape[1:], tokens if solid else clips[0].size)
    for clip in clips:
        if not solid:
            coder = AdaptiveCoder(ALPHABET, clip.shape[1:], clip.size)
        size += len(coder.encode(clip))
    return 8 * size / tokens


@contextmanager
def lists(**changed: str) -> Iterator[None]:
    """The context lists of video and of codebooks with some of them replaced."""
    with patch.dict(contexts._VIDEO, changed), patch.dict(contexts._ROW, changed):
        yield


def constants(**changed: int) -> Any:
    """Constants of the contexts replaced."""
    return patch.multiple(contexts, **changed)


#: What is changed, and how; the first line is the predictor as it is.
VARIANTS: list[tuple[str, Any]] = [
    ("as it is", lambda: lists()),
    ("no classes", lambda: constants(CLASSES=1, CLASSES_OF_A_PLANE=1)),
    ("no symbols in contexts with classes", lambda: lists(mixed="kW ka")),
    ("only the token before and the token to the left", lambda: lists(tokens="a; W")),
    ("no patterns", lambda: lists(pattern="a a")),
    ("8 classes", lambda: constants(CLASSES=8, CLASSES_OF_A_PLANE=8)),
    ("16 classes", lambda: constants(CLASSES=16, CLASSES_OF_A_PLANE=16)),
    ("32 classes", lambda: constants(CLASSES=32, CLASSES_OF_A_PLANE=32)),
    ("64 classes", lambda: constants(CLASSES=64, CLASSES_OF_A_PLANE=64)),
    ("blocks of 16 symbols", lambda: constants(BLOCK_SYMBOLS=16, BLOCK_SYMBOLS_OF_A_ROW=16)),
    ("blocks of 32", lambda: constants(BLOCK_SYMBOLS=32, BLOCK_SYMBOLS_OF_A_ROW=32)),
    ("blocks of 64", lambda: constants(BLOCK_SYMBOLS=64, BLOCK_SYMBOLS_OF_A_ROW=64)),
    ("blocks of 128", lambda: constants(BLOCK_SYMBOLS=128, BLOCK_SYMBOLS_OF_A_ROW=128)),
]


def write_table(path: Path, title: str, said: str, lines: Sequence[str]) -> None:
    """A page of Markdown with a table, and of what it is and on which machine it was made."""
    heading = [f"# {title}", "", f"{said}; {machine_line(machine_info())}.", ""]
    path.write_text("\n".join([*heading, *lines, ""]), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="write the table here as well")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"no token data at {DATA}: set TOKENZIP_DATA", file=sys.stderr)
        return 1
    sets = [
        ("commaVQ train", commavq(), False),
        ("drive train, 8 clips", from_hdf5("drive/train.h5", 58, 300), False),
        ("EnCodec train, 31 clips solid", from_hdf5("encodec/train.h5", 6, 10**9), True),
    ]
    lines = ["| variant | " + " | ".join(name for name, _, _ in sets) + " |"]
    lines.append("|---|" + "---|" * len(sets))
    print("\n".join(lines), flush=True)
    for label, change in VARIANTS:
        with change():
            values = [f"{bits_per_token(clips, solid):.4f}" for _, clips, solid in sets]
        lines.append(f"| {label} | " + " | ".join(values) + " |")
        print(lines[-1], flush=True)
    if arguments.markdown:
        title = "What the parts of the adaptive predictor are worth"
        said = "Bits a token on training clips, by `python benchmarks/adaptive_ablation.py`"
        write_table(arguments.markdown, title, said, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
