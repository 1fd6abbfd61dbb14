"""tokenzip.train and its arguments; torch is imported when it is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ..errors import MissingDependencyError
from .clips import Data

if TYPE_CHECKING:
    from ..models import Model
    from .teacher import Teacher


def train(
    data: Data | Sequence[Data],
    *,
    predictor: Literal["lstm", "conv3d"] = "lstm",
    preset: Literal["small", "base", "large"] = "base",
    output: str | os.PathLike[str] | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    val: Data | Sequence[Data] | None = None,
    val_fraction: float = 0.05,
    select: Sequence[str] = (),
    alphabet: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    log_dir: str | os.PathLike[str] | None = None,
    sizes: dict[str, int] | None = None,
    neighbours: int | None = None,
    batch: int | None = None,
    segment: int | None = None,
    segments: int = 6,
    optimizer: Literal["muon", "adamw"] = "muon",
    lr: float | None = None,
    weight_decay: float = 0.01,
    clip: float = 1.0,
    dropout: float | None = None,
    token_dropout: float = 0.0,
    teacher: Teacher | str | None = None,
    teacher_frames: int = 20_000,
    teacher_share: float = 0.3,
    lessons: str | os.PathLike[str] | None = None,
    patience: int = 5,
    validate_steps: int | None = None,
    validate_tokens: int = 200_000,
    checkpoint_seconds: float = 300.0,
    seed: int = 0,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Model:
    """Train a network on clips and return it as an integer model.

    On Ctrl-C the step is finished, the checkpoint and the best model so far are written, and
    KeyboardInterrupt is raised. Started by torchrun, all processes train together.

    Args:
        data: files (.npy, .npz, .h5), directories, patterns, arrays (axis 0 is time), or several.
        predictor: the family of networks.
        preset: its size.
        output: file for the model.
        minutes, steps: the budget, one of them; neither means 20 minutes.
        val: clips for validation; None: a part of `data`, chosen by the clips' names.
        val_fraction: how large a part; 0 for none.
        select: arrays of .npz and .h5 files, as names, groups or patterns.
        alphabet: number of symbols; None: the next power of two above the largest token.
        checkpoint: file for checkpoints.
        resume: go on from the checkpoint, if there is one.
        overwrite: replace output and checkpoint, where they exist.
        log_dir: directory of logs for TensorBoard.
        sizes: embedding, state, squeeze or hidden, where they are to differ from the preset's.
        neighbours: how many symbols of the frame being coded the network sees as such, the nearest
            first; None: all that it can, 0: which are equal, only, for little data.
        batch: symbols a step, about; None: 2,048, on a GPU eight times as many.
        segment: frames through which gradients flow back; None: by the size of a frame.
        segments: that follow one another with the network's state carried.
        optimizer: "muon" for the matrices of hidden layers and AdamW for the rest, or "adamw".
        lr, weight_decay, clip: of both; the largest norm of a gradient. lr None: 0.004, or 0.002
            for frames below 64 symbols.
        dropout: on the inputs of body and heads and on the heads' hidden numbers; None: 0.2 for
            less than 3 million tokens, else 0.
        token_dropout: probability with which a symbol of the context is hidden.
        teacher: what knows the data better than the clips can tell: an object with the attribute
            `frames`, called with tokens int64 tensor (B, frames, *frame) and returning logits
            (B, *frame, A) of the frame after; or FILE.py:FUNCTION or MODULE:FUNCTION that makes
            one. It labels the clips, and invents more.
        teacher_frames: how many frames it invents.
        teacher_share: part of the target that is the teacher's word, the rest being the token that
            came, where the network sees more than the teacher; where it sees as much, all of it.
        lessons: folder where the teacher's words are kept, and taken from if they are there; None:
            the output's name with .lessons. About 260 bytes a token.
        patience: validations without gain before the learning rate falls early, or training ends;
            0: never.
        validate_steps: steps between validations; None: about 20 in all.
        validate_tokens: tokens of a validation, at most, as training goes on.
        checkpoint_seconds: between checkpoints.
        seed: of initial weights, samples and dropout. On one CPU thread, the same seed, data and
            steps give the same model.
        dtype: of activations and products; "auto": bfloat16 where the device has it.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        threads: of the CPU; None: torch's choice.

    Returns:
        The model; its summary tells how it was made and what it costs on the validation clips.

    Raises:
        InputError: clips or options make no sense; names the file.
        FileError: a file cannot be read or written.
        DivergedError: the loss became infinite or no number.
        TrainingMemoryError: a step does not fit into memory.
        CheckpointError: the checkpoint is damaged, or of another run.
        MissingDependencyError: torch, or for log_dir TensorBoard, is not installed.
    """
    need_torch()
    from .options import Options
    from .train import run

    options = Options(
        predictor=predictor,
        preset=preset,
        sizes=sizes or {},
        neighbours=neighbours,
        minutes=minutes,
        steps=steps,
        batch=batch,
        segment=segment,
        segments=segments,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        clip=clip,
        dropout=dropout,
        token_dropout=token_dropout,
        teacher_share=teacher_share,
        patience=patience,
        validate_steps=validate_steps,
        validate_tokens=validate_tokens,
        checkpoint_seconds=checkpoint_seconds,
        seed=seed,
        dtype=dtype,
        device=device,
        threads=threads,
    )
    return run(
        data,
        options,
        output=output,
        val=val,
        val_fraction=val_fraction,
        select=select,
        alphabet=alphabet,
        checkpoint=checkpoint,
        resume=resume,
        overwrite=overwrite,
        log_dir=log_dir,
        teacher=teacher,
        teacher_frames=teacher_frames,
        lessons=lessons,
    )


def need_torch(what: str = "training") -> None:
    """Raise MissingDependencyError, which says for what, if torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} needs torch: pip install 'tokenzip[train]'"
        ) from error
