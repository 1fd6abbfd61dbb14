"""From data to a network that pays, or to none: the way from top to bottom.

clips -> could any network pay? -> a size -> training, the weights' bits in the loss -> integers
      -> blobs with it and without: does it pay?
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError, OptionError
from ..files.atomic import check_target
from ..models import Geometry, Model, Spec
from ..predictors import HYBRID
from ..training import checkpoint as checkpoints
from ..training.clips import Clips
from ..training.compact import CompactTwin
from ..training.distributed import World, world
from ..training.interrupt import Interruptions, TrainingInterrupted
from ..training.loop import Loop, Outcome, Progress
from ..training.options import Options, batch_symbols
from . import sizes
from .decide import Verdict, decide

#: Bit-packed bytes of data below which no network was found to pay.
LEAST_BYTES = 250_000
#: Frames of a segment, for large frames, and segments that follow one another: short ones make
#: room for more clips in a step.
_SEGMENT, _SEGMENTS = 4, 10
#: Falling nearly from the start, for so small steps are noisy at any constant rate.
_LEARNING_RATE, _CONSTANT = 3e-3, 0.1
#: Without it outputs grow as long as rates are high: the price of weights is in steps, whose size
#: costs nothing. (benchmarks/FIT.md has the figures of these.)
_WEIGHT_DECAY = 0.1
#: What a network predicts better, the hybrid's mixer had learned in part: of a bit that the network
#: saves by itself, about so much is left.
_WORTH = 0.6
#: How fast training is, is measured with this size, by this many steps.
_TIMED, _TIMED_STEPS = "small", 5


@dataclass(frozen=True)
class FitOptions:
    """How to fit.

    Attributes:
        minutes, steps: the budget of training, one of them.
        size: of the network, a key of sizes.SIZES; None chooses.
        predictor: "hybrid", or the network's family for the network alone.
        solid, chunk_frames: how the data will be encoded.
        seed: of initial weights and samples.
        device: where to train.
        threads: of the CPU.
        checkpoint_seconds: between checkpoints.
    """

    minutes: float | None = None
    steps: int | None = None
    size: str | None = None
    predictor: str = HYBRID
    solid: bool = False
    chunk_frames: int | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise OptionError("a budget is minutes or steps, one of them")
        if self.size is not None and self.size not in sizes.SIZES:
            raise OptionError(f"size must be {', '.join(sizes.SIZES)}, not {self.size!r}")
        if self.predictor not in (HYBRID, sizes.FAMILY):
            raise OptionError(
                f"a fitted network is for {HYBRID} or {sizes.FAMILY}, not {self.predictor}"
            )


def fit(
    clips: Clips,
    alphabet: int,
    options: FitOptions,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    tokens: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda text: None,
) -> Model | None:
    """The network that makes the clips smaller, itself counted; None if none was found.

    Args:
        clips: of one frame shape.
        alphabet: all tokens are below.
        checkpoint: file for checkpoints; if it is there, training goes on from it. The caller
            removes it when it has made use of the result.
        tokens: how many the network will be used for, if the clips are only a part of the data.
        report: called after every step.
        note: called with facts worth knowing.

    Raises:
        TrainingInterrupted: SIGTERM came, or a second Ctrl-C; the first only ends training.
        CheckpointError: the checkpoint is damaged, or of other data or options.
        FileError: the checkpoint cannot be written.
        DivergedError, TrainingMemoryError: as for training.
    """
    geometry = Geometry.of(clips.frame, alphabet)
    tokens = tokens or clips.tokens
    if tokens * (alphabet - 1).bit_length() < 8 * LEAST_BYTES:
        note(f"no network: {tokens:,} tokens are too few for one to pay")
        return None
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        check_target(path, force=True)
    threads = torch.get_num_threads()
    with world(options.device) as here, Interruptions() as interruptions:
        try:
            if options.threads:
                torch.set_num_threads(options.threads)
            loop = _loop(clips, geometry, tokens, options, here, path, report, note)
            outcome = loop.run(interruptions.wanted)
        finally:
            torch.set_num_threads(threads)
    if interruptions.number not in (0, signal.SIGINT):
        raise TrainingInterrupted(_farewell(path, outcome), interruptions.number)
    if outcome.stopped == "request":
        note("training was ended early: going on with the network that there is")
    model = loop.model({"tokens_seen": outcome.progress.tokens, "steps": outcome.progress.step})
    verdict = decide(
        model,
        clips,
        tokens=tokens,
        predictor=options.predictor,
        solid=options.solid,
        chunk_frames=options.chunk_frames,
    )
    note(f"{'a network pays' if verdict.pays else 'no network'}: {verdict}")
    return _with_summary(model, options, outcome, verdict) if verdict.pays else None


def _loop(
    clips: Clips,
    geometry: Geometry,
    tokens: int,
    options: FitOptions,
    here: World,
    path: Path | None,
    report: Callable[[Progress], None],
    note: Callable[[str], None],
) -> Loop:
    """The training run: of the size that was asked for, or chosen, or begun earlier."""
    resume = path is not None and path.exists()
    # The weights are shared out among all symbols.
    symbols = tokens * geometry.planes / geometry.codebooks
    if options.predictor == HYBRID:
        symbols *= _WORTH
    network = functools.partial(CompactTwin, symbols=symbols)
    begin = time.perf_counter()
    if resume:
        assert path is not None
        spec = _spec_of(path)
        note(f"going on from {path}")
    else:
        size = options.size
        if size is None:
            size = _chosen_size(clips, geometry, tokens, options, here, network)
            note(f"the size {size} suits {tokens:,} tokens and this budget")
        spec = sizes.spec_of(size, geometry)
    learning = _learning(spec, options, here)
    if learning.minutes is not None:
        spent = (time.perf_counter() - begin) / 60
        learning = replace(learning, minutes=max(learning.minutes - spent, 1e-3))
    return Loop(
        *(spec, learning, clips, clips, here),
        checkpoint_path=path,
        resume=resume,
        report=report,
        network=network,
    )


def _chosen_size(
    clips: Clips,
    geometry: Geometry,
    tokens: int,
    options: FitOptions,
    here: World,
    network: Callable[..., CompactTwin],
) -> str:
    """The size that promises most, by how fast this machine trains."""
    spec = sizes.spec_of(_TIMED, geometry)
    learning = replace(_learning(spec, options, here), minutes=None, steps=_TIMED_STEPS)
    if options.steps is not None:
        per_step = Loop(spec, learning, clips, None, here, network=network).shape.symbols(geometry)
        seen = float(options.steps * per_step * geometry.codebooks / geometry.planes)
        return sizes.choose(geometry, tokens, dict.fromkeys(sizes.SIZES, seen))
    times = [(time.perf_counter(), 0)]
    loop = Loop(
        *(spec, learning, clips, None, here),
        network=network,
        report=lambda progress: times.append((time.perf_counter(), progress.tokens)),
    )
    loop.run()
    # The first step is slow: it compiles.
    (start, before), (end, after) = times[1], times[-1]
    rate = (after - before) / max(end - start, 1e-6)
    assert options.minutes is not None
    seconds = 60 * options.minutes
    seen_by = {name: seconds * sizes.rate_of(name, geometry, _TIMED, rate) for name in sizes.SIZES}
    return sizes.choose(geometry, tokens, seen_by)


def _learning(spec: Spec, options: FitOptions, here: World) -> Options:
    """How the network is trained; what it learns by heart is welcome, for its bits are paid."""
    small = spec.geometry.sites * spec.geometry.planes < 64
    return Options(
        predictor=spec.family,
        preset="small",
        sizes={"embedding": spec.embedding, "state": spec.state, "hidden": spec.hidden},
        minutes=options.minutes,
        steps=options.steps,
        batch=batch_symbols(here.device.type),
        segment=None if small else _SEGMENT,
        segments=6 if small else _SEGMENTS,
        lr=_LEARNING_RATE,
        constant=_CONSTANT,
        weight_decay=_WEIGHT_DECAY,
        dropout=0.0,
        patience=0,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        checkpoint_seconds=options.checkpoint_seconds,
    )


def _spec_of(path: Path) -> Spec:
    try:
        return Spec.from_dict(checkpoints.read(path)["setup"]["spec"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: does not fit: {error}; remove it to begin anew") from error


def _with_summary(model: Model, options: FitOptions, outcome: Outcome, verdict: Verdict) -> Model:
    summary: dict[str, Any] = {
        "fitted": asdict(options),
        "tokens": verdict.tokens,
        "tokens_seen": outcome.progress.tokens,
        "steps": outcome.progress.step,
        "seconds": round(outcome.progress.seconds, 1),
        "stopped": outcome.stopped,
        "verdict": asdict(verdict),
    }
    return Model(model.spec, model.tensors, summary)


def _farewell(path: Path | None, outcome: Outcome) -> str:
    progress = outcome.progress
    text = f"stopped at step {progress.step}, after {progress.seconds / 60:.1f} minutes"
    return text + (f"; the same command goes on from {path}" if path is not None else "")


__all__ = ["FitOptions", "Progress", "TrainingInterrupted", "fit"]
