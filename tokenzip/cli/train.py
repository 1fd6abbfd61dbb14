"""`tokenzip train`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ..models import FAMILIES, PRESETS, Geometry, Model, new_spec
from ..models.parts import tensor_forms
from ..training.api import need_torch
from ..training.clips import inferred_alphabet, open_clips
from .session import Session, printable
from .watching import watch


@dataclass(frozen=True)
class TrainOptions:
    """The command line's options, beside the data; `learning` are those of training/options.py."""

    output: str
    val: tuple[str, ...] | None
    val_fraction: float
    select: tuple[str, ...]
    alphabet: int | None
    checkpoint: str
    resume: bool
    force: bool
    log_dir: str | None
    teacher: str | None
    teacher_frames: int
    lessons: str | None
    learning: dict[str, Any]


def train(session: Session, data: Sequence[str], chosen: TrainOptions) -> int:
    """Train on the clips that `data` means; returns the exit code."""
    need_torch()
    from ..training.train import Options, TrainingInterrupted, run

    options = Options(**chosen.learning)
    with watch(session) as report:
        try:
            model = run(
                list(data),
                options,
                output=chosen.output,
                val=None if chosen.val is None else list(chosen.val),
                val_fraction=chosen.val_fraction,
                select=chosen.select,
                alphabet=chosen.alphabet,
                checkpoint=chosen.checkpoint,
                resume=chosen.resume,
                overwrite=chosen.force,
                log_dir=chosen.log_dir,
                teacher=chosen.teacher,
                teacher_frames=chosen.teacher_frames,
                lessons=chosen.lessons,
                report=report,
                note=session.note,
            )
        except TrainingInterrupted as stop:
            return session.stopped(str(stop), stop.number)
    _tell(session, chosen, model)
    return session.finish()


def _tell(session: Session, chosen: TrainOptions, model: Model) -> None:
    size = len(model.to_bytes())
    session.result(
        {
            "source": chosen.output,
            "identity": model.identity.hex(),
            "bytes": size,
            "macs": model.spec.macs,
            "summary": model.summary,
        }
    )
    macs = model.spec.macs["total"]
    session.say(
        f"{printable(chosen.output)}: {size:,} bytes, {macs:,.0f} multiply-accumulates a token, "
        f"{model.summary['tokens_seen']:,} tokens seen in {model.summary['steps']:,} steps, "
        f"{model.summary['seconds'] / 60:.1f} minutes"
    )


def parse_sizes(texts: Sequence[str]) -> dict[str, int]:
    """--size NAME=N ... as a dictionary. Raises OptionError."""
    sizes = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not value.isdecimal():
            raise OptionError(f"--size {text!r}: not of the form NAME=N, as in state=256")
        sizes[name] = int(value)
    return sizes


def presets(
    session: Session, data: Sequence[str], select: Sequence[str], alphabet: int | None
) -> int:
    """Show what each preset costs for frames as those of `data`; returns the exit code."""
    frame: tuple[int, ...] = (8, 16)
    if data:
        clips = open_clips(list(data), select=select, alphabet=alphabet)
        frame, alphabet = clips.frame, alphabet or inferred_alphabet(clips)
    geometry = Geometry.of(frame, alphabet or 1024)
    rows = [_row(family, name, geometry) for family in FAMILIES for name in PRESETS[family]]
    if session.json:
        session.extra(frame=list(frame), alphabet=geometry.alphabet, presets=rows)
        return session.finish()
    shown = " x ".join(map(str, frame)) or "()"
    session.report(f"multiply-accumulates a token, frames {shown}, alphabet {geometry.alphabet}:")
    for row in rows:
        macs = row["macs"]
        session.report(
            f"{row['predictor']:7} {row['preset']:6} {macs['total']:>12,}  (body {macs['body']:,}, "
            f"head {macs['head']:,}, output {macs['output']:,}); model {row['bytes']:,} bytes"
        )
    return session.finish()


def _row(family: str, preset: str, geometry: Geometry) -> dict[str, Any]:
    spec = new_spec(family, preset, geometry)
    size = sum(
        math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in tensor_forms(spec).values()
    )
    macs = {part: round(count) for part, count in spec.macs.items()}
    return {"predictor": family, "preset": preset, "macs": macs, "bytes": size}
