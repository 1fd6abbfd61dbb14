"""`tokenzip.train`: from clips to an integer model."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..errors import FileExistsRefusedError, OptionError, ShapeError
from ..files.atomic import check_target
from ..models import Geometry, Model, new_spec
from . import validation
from .clips import Clips, Data, inferred_alphabet, open_clips, split
from .distributed import World, world
from .evaluate import evaluate_clips
from .interrupt import Interruptions, TrainingInterrupted
from .lessons import taught
from .loop import Loop, Outcome, Progress
from .options import TEACHER_FRAMES, Options
from .teacher import Teacher, check_teacher, load_teacher
from .tensorboard import event_log

#: The finished model is measured on this many tokens held aside, at most.
_FINAL_TOKENS = 1_000_000
_NAMES = 20


def run(
    data: Data | Sequence[Data],
    options: Options,
    *,
    output: str | os.PathLike[str] | None = None,
    val: Data | Sequence[Data] | None = None,
    val_fraction: float = 0.05,
    select: Sequence[str] = (),
    alphabet: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    log_dir: str | os.PathLike[str] | None = None,
    teacher: Teacher | str | None = None,
    teacher_frames: int = TEACHER_FRAMES,
    lessons: str | os.PathLike[str] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda text: None,
) -> Model:
    """Train a network; see tokenzip.train, whose arguments these are.

    Args:
        report: called after every step or so, in rank 0.
        note: called with facts worth knowing, in rank 0.
    """
    if not 0 <= val_fraction < 1:
        raise OptionError(f"val_fraction must be from 0 to below 1, not {val_fraction}")
    checkpoint_path = None if checkpoint is None else Path(checkpoint)
    if resume and checkpoint_path is None:
        raise OptionError("resume needs a checkpoint")
    _check_targets(output, checkpoint_path, resume=resume, overwrite=overwrite)
    threads = torch.get_num_threads()
    with world(options.device) as here, event_log(log_dir if here.rank == 0 else None) as log:
        say = note if here.rank == 0 else lambda text: None
        train, held, alphabet = _clips(data, val, val_fraction, select, alphabet, say)
        options = options.with_dropout(train.tokens)
        studied = train
        if teacher is not None:
            folder = _lessons_folder(lessons, output)
            studied = _taught(
                load_teacher(teacher) if isinstance(teacher, str) else check_teacher(teacher),
                *(folder, train, alphabet, teacher_frames, options.seed, here, say),
            )
        spec = new_spec(
            options.predictor,
            options.preset,
            Geometry.of(train.frame, alphabet),
            neighbours=options.neighbours,
            **options.sizes,
        )

        def tell(progress: Progress) -> None:
            report(progress)
            log(progress)

        resume = resume and checkpoint_path is not None and checkpoint_path.exists()
        try:
            if options.threads:
                torch.set_num_threads(options.threads)
            loop = Loop(
                spec,
                options,
                studied,
                held,
                here,
                checkpoint_path=checkpoint_path,
                resume=resume,
                report=tell,
            )
            with Interruptions() as interruptions:
                outcome = loop.run(interruptions.wanted)
                model = _finish(loop, outcome, options, train, held, here, say)
                if studied is not train:
                    model.summary["teacher"] = {
                        "name": teacher if isinstance(teacher, str) else type(teacher).__name__,
                        "invented_tokens": studied.tokens - train.tokens,
                    }
                if output is not None and here.rank == 0:
                    model.save(output)
        finally:
            torch.set_num_threads(threads)
    if interruptions.number or outcome.stopped == "request":
        raise TrainingInterrupted(
            _farewell(output, checkpoint_path, outcome), interruptions.number or 2
        )
    return model


def _lessons_folder(
    lessons: str | os.PathLike[str] | None, output: str | os.PathLike[str] | None
) -> Path:
    if lessons is not None:
        return Path(lessons)
    if output is None:
        raise OptionError("a teacher's lessons need a place: name an output, or a lessons folder")
    return Path(f"{os.fspath(output)}.lessons")


def _taught(
    teacher: Teacher,
    folder: Path,
    train: Clips,
    alphabet: int,
    frames: int,
    seed: int,
    here: World,
    note: Callable[[str], None],
) -> Clips:
    """The clips with lessons: process 0 asks the teacher, the others read what it wrote."""
    if frames < 0:
        raise OptionError(f"teacher_frames must not be negative, not {frames}")
    found = None
    if here.rank == 0:
        found = taught(folder, teacher, train, alphabet, frames, seed=seed, note=note)
    here.agree([0.0])
    return found or taught(folder, teacher, train, alphabet, frames, seed=seed)


def _check_targets(
    output: str | os.PathLike[str] | None,
    checkpoint: Path | None,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Refuse now what could not be written in an hour."""
    for path in (output, checkpoint):
        if path is not None:
            check_target(path, force=True)
    if resume or overwrite:
        return
    if output is not None and os.path.lexists(output):
        raise FileExistsRefusedError(f"{output}: exists; use --force to overwrite it")
    if checkpoint is not None and checkpoint.exists():
        raise FileExistsRefusedError(
            f"{checkpoint}: exists; use --resume to go on from it, or --force to begin anew"
        )


def _clips(
    data: Data | Sequence[Data],
    val: Data | Sequence[Data] | None,
    val_fraction: float,
    select: Sequence[str],
    alphabet: int | None,
    note: Callable[[str], None],
) -> tuple[Clips, Clips | None, int]:
    """Clips to train on, those held aside, and the alphabet."""
    every = open_clips(data, select=select, alphabet=alphabet)
    if every.empty:
        note(f"{every.empty} clips hold no tokens and are left out")
    if val is None:
        train, held = split(every, val_fraction)
        largest = every
    else:
        train, held = every, open_clips(val, select=select, alphabet=alphabet)
        if held.frame != train.frame:
            raise ShapeError(
                f"{held.clips[0].name}: frames of shape {held.frame}, but those of "
                f"{train.clips[0].name} have {train.frame}"
            )
        known = {(clip.crc, clip.frames) for clip in train}
        both = sum((clip.crc, clip.frames) in known for clip in held)
        if both:
            note(f"{both} of {len(held)} validation clips are in the training data too")
        largest = max(train, held, key=lambda clips: clips.largest)
    if held is None:
        note("nothing is held aside for validation: the last weights are kept, not the best")
    if alphabet is None:
        alphabet = inferred_alphabet(largest)
        note(f"the largest token is {largest.largest}: alphabet {alphabet}")
    return train, held, alphabet


def _finish(
    loop: Loop,
    outcome: Outcome,
    options: Options,
    train: Clips,
    held: Clips | None,
    here: World,
    note: Callable[[str], None],
) -> Model:
    """The integer model, measured, with the story of its training."""
    progress = outcome.progress
    summary: dict[str, Any] = {
        "tokenzip": __version__,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "machine": machine(here),
        "command": sys.argv[1:] if sys.argv and "tokenzip" in sys.argv[0] else [],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "options": asdict(options),
        "batch": asdict(loop.shape),
        "dtype": str(loop.dtype).removeprefix("torch."),
        "data": fingerprint(train),
        "steps": progress.step,
        "tokens_seen": progress.tokens,
        "seconds": round(progress.seconds, 1),
        "stopped": outcome.stopped,
        "seed": options.seed,
        "history": [
            [int(step), int(tokens), round(seconds, 1), round(bits, 4)]
            for step, tokens, seconds, bits in outcome.history
        ],
    }
    model = loop.model(summary)
    if held is None or here.rank != 0:
        return model
    part = held.only(validation.sample(held.clips, _FINAL_TOKENS))
    measured = evaluate_clips(model, part, threads=options.threads or 1)
    twin = validation.cost(loop.twin, part.clips, loop.dtype, here.device)
    assert twin is not None
    summary["validation"] = {
        **fingerprint(held),
        "measured_clips": len(part),
        "measured_tokens": part.tokens,
        "bits_per_token": round(measured.bits_per_token, 4),
        "twin_bits_per_token": round(twin.per_token, 4),
    }
    note(
        f"validation, {part.tokens:,} tokens: {measured.bits_per_token:.3f} bits/token in integers "
        f"({twin.per_token:.3f} in floats), ratio {measured.ratio:.2f}"
    )
    return Model(model.spec, model.tensors, summary)


def fingerprint(clips: Clips) -> dict[str, Any]:
    """What identifies some clips."""
    files = list(dict.fromkeys(clip.name.partition("[")[0] for clip in clips))
    return {
        "files": files[:_NAMES],
        "more_files": max(0, len(files) - _NAMES),
        "clips": len(clips),
        "tokens": clips.tokens,
        "sha256": clips.fingerprint,
    }


def machine(here: World) -> dict[str, Any]:
    """What a run was made on."""
    gpu = torch.cuda.get_device_name(here.device) if here.device.type == "cuda" else None
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(":")[2]
    except (OSError, StopIteration):
        pass
    return {
        "cpu": name.strip(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "processes": here.size,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _farewell(
    output: str | os.PathLike[str] | None, checkpoint: Path | None, outcome: Outcome
) -> str:
    """What an interrupted run leaves behind, in words."""
    progress = outcome.progress
    parts = [f"stopped at step {progress.step}, after {progress.seconds / 60:.1f} minutes"]
    if output is not None:
        quality = f" ({progress.best:.3f} bits/token)" if progress.best is not None else ""
        parts.append(f"the best model so far{quality} is in {os.fspath(output)}")
    if checkpoint is not None:
        parts.append(f"--resume goes on from {checkpoint}")
    return "; ".join(parts)


__all__ = ["Options", "Progress", "TrainingInterrupted", "run"]
