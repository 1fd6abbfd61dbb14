"""How good the automatic choice of predictor and model is, and what trying costs.

    python benchmarks/choice.py                     # the data in TOKENZIP_DATA (or ../shared/data)
    python benchmarks/choice.py --clips 12 --markdown out/choice.md
    python benchmarks/choice.py clips.h5 --model model.safetensors

For each data set, with the models that encode is given to choose from: how many clips each
candidate was chosen for, bits a token, the same if for every clip the best single candidate had
been known beforehand, the excess over that (in sum, and of the worst clip), the share of the
encoding's CPU time that went into trying, and how much of it that was for a clip. "permuted": the
same tokens under other numbers, to which the model does not fit. "tokens tried": by predictors, as
far as blobs say it (of few tokens, networks alone are asked). Every blob is decoded and compared.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ratio import load_clips
from tables import Table

import tokenzip
from tokenzip import codec
from tokenzip.choosing import fits
from tokenzip.grid import TokenGrid
from tokenzip.models import Model
from tokenzip.models.bundled import entries
from tokenzip.predictors import HYBRID

HERE = Path(__file__).resolve().parent
Clip = npt.NDArray[Any]


@dataclass
class Case:
    """A data set, and the models to choose from: by `model=`, or, by default, the bundled ones."""

    name: str
    clips: list[Clip]
    models: list[Model]
    alphabet: int = 1024
    default: bool = False


@dataclass
class Row:
    """What came of a case."""

    name: str
    clips: int
    tokens: int
    chosen: Counter[str]
    bytes: int
    best: int
    worst: float
    share: float
    each: float
    tried: float

    COLUMNS = (
        "data", "clips", "chosen", "bits/token", "best single", "excess", "worst clip", "CPU share",
        "of a clip", "tokens tried",
    )  # fmt: skip

    def cells(self) -> list[str]:
        return [
            self.name,
            str(self.clips),
            ", ".join(f"{name} {count}" for name, count in self.chosen.most_common()),
            f"{8 * self.bytes / self.tokens:.3f}",
            f"{8 * self.best / self.tokens:.3f}",
            f"{100 * (self.bytes / self.best - 1):+.2f} %",
            f"{100 * self.worst:+.2f} %",
            f"{100 * self.share:.1f} %",
            f"{1000 * self.each:.2f} ms",
            f"{100 * self.tried:.1f} %",
        ]


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns the exit status: 1 if a choice cost more than 0.5 %."""
    options = _parser().parse_args(arguments)
    models = [Model.load(path) for path in options.model]
    if options.files:
        cases = [Case(" ".join(options.files), load_clips(options.files, options.clips), models)]
    else:
        cases = _cases(Path(options.data), options.clips)
    table = Table("How good the automatic choice is", Row.COLUMNS)
    good = True
    for case in cases:
        if options.only and not any(word in case.name for word in options.only):
            continue
        row = measure(case)
        good &= row.worst <= 0.005
        table.add(row.cells())
    table.save(options.markdown)
    return 0 if good else 1


def measure(case: Case) -> Row:
    """Encode every clip with the choice left open, and with each candidate."""
    settings = {"alphabet": case.alphabet}
    # Compiled and loaded before anything is timed.
    grid = TokenGrid.of(case.clips[0], case.alphabet)
    fitting = [model for model in case.models if fits(model.spec.geometry, [grid])]
    for model in fitting:
        tokenzip.encode(case.clips[0][:2], model=model, predictor=HYBRID, **settings)
    tokenzip.encode(case.clips[0][:2], predictor="adaptive", **settings)
    row = Row(case.name, len(case.clips), 0, Counter(), 0, 0, 0.0, 0.0, 0.0, 0.0)
    with _Timed() as timed:
        for clip in case.clips:
            given = None if case.default else case.models or None
            blob = timed.encode(clip, model=given, **settings)
            singles = [len(tokenzip.encode(clip, predictor="adaptive", **settings))]
            for model in fitting:
                singles.append(len(tokenzip.encode(clip, model=model, **settings)))
            info = tokenzip.inspect(blob)
            row.chosen[info.predictor] += 1
            row.tokens += clip.size
            row.bytes += len(blob)
            row.best += min(singles)
            row.worst = max(row.worst, len(blob) / min(singles) - 1)
            if info.choice is not None:
                row.tried += info.choice.tokens * len(info.choice.candidates)
            if not np.array_equal(tokenzip.decode(blob, model=case.models), clip):
                raise SystemExit(f"{case.name}: decoded to something else")
    row.share, row.each = timed.trying / timed.all, timed.trying / row.clips
    row.tried /= row.tokens
    return row


class _Timed:
    """Measures the CPU time of encode, and of the trying in it."""

    def __enter__(self) -> _Timed:
        self.all = self.trying = 0.0
        self._choose = codec.choose

        def choose(*arguments: Any, **settings: Any) -> Any:
            start = time.process_time()
            chosen = self._choose(*arguments, **settings)
            self.trying += time.process_time() - start
            return chosen

        codec.choose = choose
        return self

    def __exit__(self, *error: object) -> None:
        codec.choose = self._choose

    def encode(self, clip: Clip, **settings: Any) -> bytes:
        start = time.process_time()
        blob = tokenzip.encode(clip, **settings)
        self.all += time.process_time() - start
        return blob


def _cases(data: Path, count: int) -> list[Case]:
    """The project's token data with the benchmarks' models, and synthetic tokens."""
    drive = Model.load(HERE / "models" / "drive_lstm_base.safetensors")
    encodec = Model.load(HERE / "models" / "encodec_lstm_base.safetensors")
    both = [drive, encodec]
    chance = np.random.default_rng(1)
    other = chance.permutation(1024).astype(np.uint16)
    cases = []
    for name, path, model in (
        ("drive", "drive/val.h5", drive),
        ("encodec", "encodec/val.h5", encodec),
    ):
        if (data / path).is_file():
            clips = load_clips([str(data / path)])
            clips = clips[:: max(1, len(clips) // count)][:count]
            cases.append(Case(f"{name}, its model", clips, [model]))
            cases.append(Case(f"{name}, permuted", [other[clip] for clip in clips], [model]))
            for fewer in (60, 16) if name == "drive" else (300, 128):
                short = [clip[:fewer] for clip in clips]
                cases.append(Case(f"{name}, {fewer} frames", short, [model]))
                permuted = [other[clip] for clip in short]
                cases.append(Case(f"{name}, {fewer} frames, permuted", permuted, [model]))
    if (data / "drive/val.h5").is_file():
        clips = load_clips([str(data / "drive/val.h5")])[:count]
        four = [drive, *_others(drive)]
        for frames, word, models in (
            *((2, "two", four[:2]), (11, "two", four[:2]), (13, "four", four)),
            *((40, "two", four[:2]), (40, "four", four)),
        ):
            short = [clip[:frames] for clip in clips]
            cases.append(Case(f"drive, {frames} frames, {word} models", short, models))
            permuted = [other[clip] for clip in short]
            cases.append(Case(f"{cases[-1].name}, permuted", permuted, models))
    found = sorted((data / "commavq").glob("train_*.npy"))
    if found:
        clips = load_clips([str(path) for path in found])
        cases.append(Case("commaVQ, model of drive", clips, [drive]))
        short = [clip[start : start + 100] for clip in clips for start in range(0, 1200, 300)]
        cases.append(Case("commaVQ, 100 frames, model of drive", short, [drive]))
    bundled = [entry.load() for entry in entries()]
    for name, pattern in (
        ("drive", "drive/val.h5"),
        ("encodec", "encodec/val.h5"),
        ("commaVQ", "commavq/val_*.npy"),
    ):
        paths = [str(path) for path in sorted(data.glob(pattern))]
        if paths:
            clips = load_clips(paths)
            clips = clips[:: max(1, len(clips) // count)][:count]
            cases.append(Case(f"{name}, by default", clips, bundled, default=True))
            for fewer in (8, 12, 16) if name != "encodec" else ():
                short = [clip[at : at + fewer] for clip in clips for at in range(0, 96, 48)]
                label = f"{name}, {fewer} frames, by default"
                cases.append(Case(label, short, bundled, default=True))
    still = np.cumsum(chance.random((300, 8, 16)) < 0.05, axis=0)
    cases += [
        Case("binary latents", [(still % 2).astype(np.uint8)], both, 2),
        Case("18 bits in two fields", [_fields(still)], both, 512),
        Case("random", [chance.integers(0, 1024, (300, 8, 16))], bundled, default=True),
        Case("constant", [np.full((300, 8, 16), 700)], bundled, default=True),
    ]
    return cases


def _others(model: Model) -> list[Model]:
    """The other models for such frames, those that come with tokenzip included."""
    names = ("drive_conv3d_base", "drive_lstm_small")
    there = [Model.load(HERE / "models" / f"{name}.safetensors") for name in names]
    return there + [entry.load() for entry in entries() if entry.geometry == model.spec.geometry]


def _fields(still: npt.NDArray[np.int64]) -> Clip:
    """Tokens of 18 bits as pairs of 9, as MAGVIT's lookup-free codes are often kept."""
    tokens = (still * 2_654_435 + np.arange(still[0].size).reshape(8, 16) * 1009) % 2**18
    return np.stack([tokens >> 9, tokens & 511], axis=-1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("TOKENZIP_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("files", nargs="*", metavar="FILE", help="token files of your own")
    parser.add_argument("--model", action="append", default=[], help="to choose from, for FILEs")
    parser.add_argument("--data", default=str(data), help="folder of the project's token data")
    parser.add_argument("--clips", type=int, default=12, help="of each data set (default 12)")
    parser.add_argument("--only", action="append", help="only data sets with this in their name")
    parser.add_argument("--markdown", help="write the table to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
