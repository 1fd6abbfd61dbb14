"""The commands of training: their options and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import Backend, Dataset, Device, Force, Json, Key, Quiet, Threads, _leave, _session, app

_MODEL = "Network"
_BUDGET = "Budget"
_LEARNING = "Learning"
_FILES = "Files"
_TEACHER = "Teacher"


@app.command()
def train(
    context: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA",
            help=".npy, .npz or .h5 files of clips, directories or quoted patterns.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Model file to write. Default: model.safetensors.",
            rich_help_panel=_FILES,
            show_default=False,
        ),
    ] = None,
    predictor: Annotated[
        str, typer.Option(metavar="NAME", help="lstm or conv3d.", rich_help_panel=_MODEL)
    ] = "lstm",
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="small, base or large.", rich_help_panel=_MODEL)
    ] = "base",
    list_presets: Annotated[
        bool,
        typer.Option(
            "--list-presets",
            help="Show the presets' multiply-accumulates a token for DATA (or 8 x 16 video "
            "tokens) and leave.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            metavar="NAME=N",
            help="Another embedding, state, hidden (or, of conv3d, squeeze) than the preset's. May "
            "be given several times.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Symbols of the frame being coded that the network sees as such, the nearest "
            "first; 0: which are equal, only, for little data. Default: all it can, up to 10.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None,
    alphabet: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of symbols. Default: the next power of two above the largest token.",
            rich_help_panel=_MODEL,
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Train for so long. Default: 20.",
            rich_help_panel=_BUDGET,
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train for so many steps instead.",
            rich_help_panel=_BUDGET,
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Validations without gain before the learning rate falls early, or training ends; "
            "0: never.",
            rich_help_panel=_BUDGET,
        ),
    ] = 5,
    val: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Clips for validation; may be given several times. Default: some of DATA.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    val_fraction: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="Without --val: part of the clips that is held aside, by their names.",
            rich_help_panel=_FILES,
        ),
    ] = 0.05,
    dataset: Dataset = None,
    key: Key = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Checkpoint file. Default: the model's name with .checkpoint.",
            rich_help_panel=_FILES,
            show_default=False,
        ),
    ] = None,
    checkpoint_seconds: Annotated[
        float,
        typer.Option(metavar="N", help="Between checkpoints.", rich_help_panel=_FILES),
    ] = 300.0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the checkpoint if there is one, as if nothing had happened.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    log_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Write logs for TensorBoard.",
            rich_help_panel=_FILES,
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    optimizer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="muon (of the matrices of hidden layers; else AdamW) or adamw.",
            rich_help_panel=_LEARNING,
        ),
    ] = "muon",
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Learning rate. Default: 0.004, or 0.002 for frames below 64 symbols.",
            rich_help_panel=_LEARNING,
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Symbols a step. Default: 2048, eight times as many on a GPU.",
            rich_help_panel=_LEARNING,
            show_default=False,
        ),
    ] = None,
    segment: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Frames through which gradients flow back. Default: by the size of a frame.",
            rich_help_panel=_LEARNING,
            show_default=False,
        ),
    ] = None,
    segments: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Segments that follow one another with the state carried.",
            rich_help_panel=_LEARNING,
        ),
    ] = 6,
    weight_decay: Annotated[
        float, typer.Option(metavar="X", help="Of matrices.", rich_help_panel=_LEARNING)
    ] = 0.01,
    clip: Annotated[
        float,
        typer.Option(metavar="X", help="Largest norm of a gradient.", rich_help_panel=_LEARNING),
    ] = 1.0,
    dropout: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Of the inputs of body and heads and the heads' hidden numbers. Default: 0.2 for "
            "less than 3 million tokens, else 0.",
            rich_help_panel=_LEARNING,
            show_default=False,
        ),
    ] = None,
    token_dropout: Annotated[
        float,
        typer.Option(
            metavar="P",
            help="Probability with which a symbol of the context is hidden: for little data.",
            rich_help_panel=_LEARNING,
        ),
    ] = 0.0,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:FUNCTION",
            help="Learn from a model too, which FUNCTION (of a file or an installed module) makes: "
            "called with tokens (B, frames, *frame) it returns logits of the next frame's.",
            rich_help_panel=_TEACHER,
            show_default=False,
        ),
    ] = None,
    teacher_frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Frames that the teacher invents beside the clips.",
            rich_help_panel=_TEACHER,
        ),
    ] = 20_000,
    teacher_share: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="Part of the target that is the teacher's word, the rest being the token that "
            "came, where the network sees more than the teacher.",
            rich_help_panel=_TEACHER,
        ),
    ] = 0.3,
    lessons: Annotated[
        str | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Where the teacher's words are kept, and taken from if they are there. Default: "
            "the model's name with .lessons.",
            rich_help_panel=_TEACHER,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Of all that is random.", rich_help_panel=_LEARNING)
    ] = 0,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="TYPE",
            help="auto (bfloat16 where the device has it), float32 or bfloat16.",
            rich_help_panel=_LEARNING,
        ),
    ] = "auto",
    device: Annotated[
        str,
        typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 ...", rich_help_panel=_LEARNING),
    ] = "auto",
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on clips of tokens; the model goes to compress, decompress and evaluate.

    Ctrl-C ends well: the checkpoint and the best model so far are written. With several processes:
    torchrun --nproc-per-node 8 -m tokenzip train ...
    """
    from .train import TrainOptions, parse_sizes
    from .train import train as run

    session = _session(context, json=json, quiet=quiet)
    select = (*(dataset or ()), *(key or ()))
    if list_presets:
        from .train import presets

        _leave(lambda: presets(session, data or [], select, alphabet))
        return
    if not data:
        raise typer.BadParameter("name the files to train on", param_hint="DATA")
    target = output or "model.safetensors"
    options = TrainOptions(
        output=target,
        val=tuple(val) if val else None,
        val_fraction=val_fraction,
        select=select,
        alphabet=alphabet,
        checkpoint=checkpoint or target + ".checkpoint",
        resume=resume,
        force=force,
        log_dir=log_dir,
        teacher=teacher,
        teacher_frames=teacher_frames,
        lessons=lessons,
        learning={
            "predictor": predictor,
            "preset": preset,
            "sizes": parse_sizes(size or ()),
            "neighbours": neighbours,
            "minutes": minutes,
            "steps": steps,
            "batch": batch,
            "segment": segment,
            "segments": segments,
            "lr": lr,
            "optimizer": optimizer,
            "weight_decay": weight_decay,
            "clip": clip,
            "dropout": dropout,
            "token_dropout": token_dropout,
            "teacher_share": teacher_share,
            "patience": patience,
            "checkpoint_seconds": checkpoint_seconds,
            "seed": seed,
            "dtype": dtype,
            "device": device,
            "threads": threads,
        },
    )
    _leave(lambda: run(session, data, options))


@app.command()
def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model file of `train`.")],
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help=".npy, .npz or .h5 files of clips, directories or quoted patterns.",
            show_default=False,
        ),
    ],
    dataset: Dataset = None,
    key: Key = None,
    predictor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="hybrid, as compress does by default, or lstm, conv3d: the model's network alone, "
            "which is several times as fast. Default: the network alone.",
            show_default=False,
        ),
    ] = None,
    chunk_frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Frames of a chunk, which is coded on its own. Default: as compress chooses.",
            show_default=False,
        ),
    ] = None,
    threads: Threads = None,
    backend: Backend = "auto",
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what clips cost under a model: bits/token of each, and what the model's size costs.

    Every clip is encoded in integers, as compress does; nothing is written.
    """
    from .evaluate import evaluate as run

    session = _session(context, json=json, quiet=quiet)
    _leave(
        lambda: run(
            session,
            model,
            data,
            select=(*(dataset or ()), *(key or ())),
            predictor=predictor,
            chunk_frames=chunk_frames,
            threads=threads or 1,
            backend=backend,
            device=device,
        )
    )
