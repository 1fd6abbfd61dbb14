"""Muon beside AdamW: the same networks trained for the same steps, or time, on the same data.

    python benchmarks/optimizers.py                                  # about 20 minutes of a core
    python benchmarks/optimizers.py --only lstm --minutes 24 --markdown out/optimizers.md

On drive/train.h5, preset base, judged by the first 200 frames of every fourth clip of drive/val.h5;
and on encodec/train.h5 with the regularisation of the bundled model, judged by encodec/val.h5.
Bits/token are those of the float twins at the end of each run. Seconds are of this process on one
thread, CPU time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from adaptive_goals import data_path
from rich.console import Console

import tokenzip
from tokenzip.bench.machine import machine_info, machine_line

OPTIMIZERS = ("adamw", "muon")
#: Data and options of each run.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("drive", {"predictor": "lstm"}),
    "conv3d": ("drive", {"predictor": "conv3d"}),
    "encodec": (
        "encodec",
        {
            "predictor": "lstm",
            "sizes": {"hidden": 128},
            "dropout": 0.35,
            "token_dropout": 0.08,
            "weight_decay": 0.3,
        },
    ),
}


def judges(data: str) -> list[np.ndarray]:
    """Clips of validation."""
    with h5py.File(data_path(f"{data}/val.h5")) as file:
        clips = file["clips"]
        names = sorted(clips)
        if data == "drive":
            return [clips[name]["tokens"][:200] for name in names[::4]]
        return [clips[name]["tokens"][()] for name in names]


def run(case: str, optimizer: str, budget: dict[str, Any]) -> tuple[float, int, float]:
    """Bits/token at the end, steps, and CPU seconds."""
    data, options = CASES[case]
    start = time.process_time()
    model = tokenzip.train(
        data_path(f"{data}/train.h5"),
        val=judges(data),
        alphabet=1024,
        **budget,
        optimizer=optimizer,
        patience=0,
        threads=1,
        seed=1,
        **options,
    )
    story = model.summary
    seconds = time.process_time() - start
    return story["validation"]["twin_bits_per_token"], story["steps"], seconds


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=tuple(CASES), action="append")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--minutes", type=float, help="instead of steps")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args(arguments)
    budget = {"minutes": options.minutes} if options.minutes else {"steps": options.steps}
    lines = ["| network | optimizer | bits/token | steps | CPU seconds |"]
    lines += ["| --- | --- | ---: | ---: | ---: |"]
    for case in options.only or CASES:
        for optimizer in OPTIMIZERS:
            bits, steps, seconds = run(case, optimizer, budget)
            lines.append(f"| {case} | {optimizer} | {bits:.3f} | {steps:,} | {seconds:,.0f} |")
            print(lines[-1], file=sys.stderr, flush=True)
    lines += ["", machine_line(machine_info())]
    text = "\n".join(lines)
    Console(soft_wrap=True, markup=False, highlight=False).print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
