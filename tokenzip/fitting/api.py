"""tokenzip.fit and its arguments; torch is imported when it is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..training.api import need_torch
from ..training.clips import Data, open_clips

if TYPE_CHECKING:
    from ..models import Model

#: Minutes of training if no budget is named.
DEFAULT_MINUTES = 20.0

#: What torch is needed for, in words.
NEEDS_TORCH = "fitting a network"


def fit(
    data: Data | Sequence[Data],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    size: str | None = None,
    predictor: str = "hybrid",
    solid: bool = False,
    chunk_frames: int | None = None,
    select: Sequence[str] = (),
    alphabet: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
) -> Model | None:
    """Train a small network on the very data that it is to compress.

    Its weights are trained to cost few bits, as they travel with the data:

        model = tokenzip.fit(clips)
        blob = tokenzip.encode(clips, model=model, embed_model=model is not None)

    The first Ctrl-C ends training; the network that there is by then is judged and returned. A
    second one raises KeyboardInterrupt, and leaves the checkpoint.

    Args:
        data: files (.npy, .npz, .h5), directories, patterns, arrays (axis 0 is time), or several,
            of one frame shape.
        minutes, steps: the budget of training, one of them; neither means 20 minutes.
        size: of the network: "tiny", "small", "middle" or "base"; None chooses by how much data
            there is and how far the budget reaches.
        predictor, solid, chunk_frames: how the data will be encoded: what a network must beat.
        select: arrays of .npz and .h5 files, as names, groups or patterns.
        alphabet: number of symbols; None: the largest token plus one.
        checkpoint: file for checkpoints. If it is there, training goes on from it; it is removed
            when training has come to its end.
        seed: of initial weights and samples.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        threads: of the CPU; None: torch's choice.

    Returns:
        The model, whose summary["verdict"] has the sizes with it and without; or None where the
        data are smaller without one, or too few for one to pay.

    Raises:
        InputError: clips or options make no sense; names the file.
        FileError: a file cannot be read, or the checkpoint not written.
        CheckpointError: the checkpoint is damaged, or of other data.
        DivergedError: the loss became infinite or no number.
        TrainingMemoryError: a step does not fit into memory.
        MissingDependencyError: torch is not installed.
    """
    need_torch(NEEDS_TORCH)
    from .fit import FitOptions
    from .fit import fit as run

    options = FitOptions(
        minutes=DEFAULT_MINUTES if minutes is None and steps is None else minutes,
        steps=steps,
        size=size,
        predictor=predictor,
        solid=solid,
        chunk_frames=chunk_frames,
        seed=seed,
        device=device,
        threads=threads,
    )
    clips = open_clips(data, select=select, alphabet=alphabet)
    model = run(clips, alphabet or max(2, clips.largest + 1), options, checkpoint=checkpoint)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    return model
