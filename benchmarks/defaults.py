"""What `tokenzip.encode(tokens)` makes of real tokens with no further argument.

    python benchmarks/defaults.py
    python benchmarks/defaults.py --markdown out/defaults.md

Token data: TOKENZIP_DATA, else ../shared/data beside this repository. commavq/example.npy was
neither trained on nor looked at to choose anything; encodec/val.h5 holds speakers that the bundled
model was not trained on. Every blob is decoded and compared. Sizes are whole blobs; models that
come with the package are not counted, nothing else is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from adaptive_goals import Skip, data_path
from rich.console import Console

import tokenzip
from tokenzip.bench.machine import machine_info, machine_line

COLUMNS = ("tokens", "how", "chosen", "bits/token", "ratio", "encode", "decode")


def example() -> Any:
    return np.load(data_path("commavq/example.npy"))


def speech() -> list[Any]:
    with h5py.File(data_path("encodec/val.h5")) as file:
        return [clip["tokens"][:] for clip in file["clips"].values()]


#: name -> (tokens: an array or several, goal in bits/token)
DATA = {"commavq/example.npy": (example, 4.80), "encodec/val.h5, one blob": (speech, 6.3)}


def rows() -> Iterator[tuple[str, ...]]:
    """A row for each way to code each data set."""
    for name, (load, goal) in DATA.items():
        try:
            tokens = load()
        except Skip as reason:
            yield name, f"skipped: {reason}", *[""] * 5
            continue
        clips = tokens if isinstance(tokens, list) else [tokens]
        count = sum(clip.size for clip in clips)
        for how, settings in {
            f"default (asked: {goal:.2f})": {},
            "adaptive": {"predictor": "adaptive"},
        }.items():
            tokenzip.decode(tokenzip.encode(clips[0][:300], **settings))  # compiled, and warm
            begin = time.process_time()
            blob = tokenzip.encode(tokens, **settings)
            between = time.process_time()
            back = tokenzip.decode(blob)
            end = time.process_time()
            decoded = back if isinstance(back, list) else [back]
            for clip, again in zip(clips, decoded, strict=True):
                if not (np.array_equal(clip, again) and clip.dtype == again.dtype):
                    raise AssertionError(f"{name}: decoded to something else")
            info = tokenzip.inspect(blob)
            bits = 8 * len(blob) / count
            yield (
                *(name, how, info.predictor, f"{bits:.3f}", f"{10 / bits:.3f}"),
                *(f"{count / (between - begin):,.0f}", f"{count / (end - between):,.0f}"),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    arguments = parser.parse_args()
    lines = [f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows())]
    note = f"Speeds in tokens/s of one thread's CPU time. {machine_line(machine_info())}"
    text = "\n".join(["## What encode does by default", "", *lines, "", note, ""])
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
    if arguments.markdown:
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
