"""The commands for archives; app.py has the rest."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .app import (
    Alphabet,
    Backend,
    Dataset,
    Device,
    Fit,
    FitMinutes,
    FitSize,
    Force,
    Json,
    LimitOptions,
    MaxTokens,
    Quiet,
    Threads,
    _decoder,
    _leave,
    _session,
    app,
    one_or_all,
)

_TOKENS = "Token files"
_OUTPUT = "Output"
_CODING = "Coding"
_WORK = "Work"

ClipSources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCES",
        help="Directories, files or quoted patterns of .npy, .npz, .h5; tar shards (WebDataset, "
        "commaVQ); data sets saved by the package datasets; other archives (.tkz.h5).",
        show_default=False,
    ),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Network to predict with: a model file, the name of a model that comes with tokenzip, "
        "or an identity in the registry. Several, or a folder: the cheapest is taken for each "
        "clip. The archive keeps what is used of them, once. Default: those that come with "
        "tokenzip and fit are tried on each clip.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
ArchiveFile = Annotated[str, typer.Argument(metavar="ARCHIVE", help="A .tkz.h5 file.")]
Patterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CLIPS]",
        help="Names, folders above them, or quoted patterns. Default: all.",
        show_default=False,
    ),
]
Recover = Annotated[
    bool,
    typer.Option(
        "--recover",
        help="Read what is left of a damaged archive of which clips are missing.",
        rich_help_panel=_TOKENS,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        metavar="N",
        min=1,
        help="Processes that work side by side. Default: this one alone.",
        rich_help_panel=_WORK,
        show_default=False,
    ),
]
Predictor = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto (clip by clip the cheapest of what fits, tried on a sample), adaptive, stored "
        "(bit-packing), hybrid, or the --model's own: lstm, conv3d.",
        rich_help_panel=_CODING,
    ),
]


@app.command()
def pack(
    context: typer.Context,
    sources: ClipSources,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="ARCHIVE",
            help="The archive, by custom a .tkz.h5 file.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with an archive that is there: skip clips that are in it, after holding "
            "them against the source.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Add to an archive that is there; a clip of a name that it has is an error.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-f", help="Begin anew where an archive is.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Write nothing: try some clips, and say what size and time to expect.",
            rich_help_panel=_WORK,
        ),
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Clips that --estimate tries.", rich_help_panel=_WORK
        ),
    ] = 5,
    workers: Workers = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Scheduler of a dask cluster that does the work, e.g. tcp://10.0.0.1:8786; "
            "tokenzip must be installed on its workers.",
            rich_help_panel=_WORK,
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Decode and compare every clip before it is added; takes twice the time.",
            rich_help_panel=_WORK,
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    progress: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="How often a line says how far it is, where standard error is no terminal.",
            rich_help_panel=_OUTPUT,
        ),
    ] = 10.0,
    dataset: Dataset = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of a data set that holds the tokens. Default: found by its name.",
            rich_help_panel=_TOKENS,
            show_default=False,
        ),
    ] = None,
    alphabet: Alphabet = None,
    predictor: Predictor = "auto",
    chunk_frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Frames of a chunk, the unit of random access: smaller ones are read faster at "
            "random, and compress less. Default: chosen by frame size.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    threads: Threads = None,
    model: Model = None,
    fit: Fit = False,
    fit_minutes: FitMinutes = None,
    fit_size: FitSize = None,
    backend: Backend = "auto",
    device: Device = None,
) -> None:
    """Compress the clips of many files into one archive with random access.

    What a progress line has counted is safe: it is on the disk, and killing the process loses none
    of it. --resume goes on from there. Metadata is kept: the JSON of a shard or beside a .npy file,
    the attributes of HDF5 datasets and of the groups around them, other columns of data sets.
    """
    from ..codec import Codec
    from .fit import wish
    from .pack import PackOptions
    from .pack import pack as run

    session = _session(context, json=json, quiet=quiet)
    given: dict[str, Any] = {
        "alphabet": alphabet,
        "predictor": None if predictor == "auto" else predictor,
        "chunk_frames": chunk_frames,
        "threads": threads,
        "model": one_or_all(model),
        "backend": None if backend == "auto" else backend,
        "device": device,
    }
    coding = {name: value for name, value in given.items() if value is not None}
    codec = Codec(**coding)  # says now what makes no sense
    wished = wish(fit, fit_minutes, fit_size, codec, **{"--estimate": estimate})
    options = PackOptions(
        output=output,
        resume=resume,
        append=append,
        force=force,
        estimate=estimate,
        sample=sample,
        workers=workers,
        dask=dask,
        verify=verify,
        progress=progress,
        select=tuple(dataset or ()),
        column=column,
        coding=coding,
        fit=wished,
    )
    _leave(lambda: run(session, sources, options))


@app.command()
def unpack(
    context: typer.Context,
    archive: ArchiveFile,
    clips: Patterns = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A directory, or a .npz or .h5 file for all clips. Default: a directory named "
            "as the archive.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    workers: Workers = None,
    recover: Recover = False,
    json: Json = False,
    quiet: Quiet = False,
    max_tokens: MaxTokens = None,
    limit: LimitOptions = None,
) -> None:
    """Restore the clips of an archive: clip NAME becomes NAME.npy.

    A clip with metadata gets NAME.json beside it (attributes, in an .h5 file). A clip that is
    damaged is an error, and the rest is restored.
    """
    from .unpack import unpack as run

    session = _session(context, json=json, quiet=quiet)
    codec = _decoder(max_tokens, None, limits=limit)
    _leave(
        lambda: run(
            session,
            archive,
            clips or [],
            output=output,
            force=force,
            workers=workers,
            recover=recover,
            limits=codec.allowed,
        )
    )


@app.command()
def ls(
    context: typer.Context,
    archive: ArchiveFile,
    clips: Patterns = None,
    long: Annotated[
        bool,
        typer.Option(
            "--long",
            "-l",
            help="Also shape, dtype, alphabet, predictor, bytes and bits a token, between tabs.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    recover: Recover = False,
    json: Json = False,
) -> None:
    """List the clips of an archive, one a line."""
    from .ls import ls as run

    session = _session(context, json=json)
    _leave(lambda: run(session, archive, clips or [], long=long, recover=recover))


@app.command()
def extract(
    context: typer.Context,
    archive: ArchiveFile,
    clip: Annotated[
        str,
        typer.Argument(
            metavar="CLIP",
            help="Its name; NAME:A:B for its frames A to B-1, NAME:A for frame A alone.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .npy, .npz, .h5 or .raw file, or '-' for standard output. Default: the last "
            "part of the name, with .npy.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    recover: Recover = False,
    json: Json = False,
    quiet: Quiet = False,
    max_tokens: MaxTokens = None,
    limit: LimitOptions = None,
) -> None:
    """Restore one clip of an archive, or some of its frames; reads only the chunks it must."""
    from .unpack import extract as run

    session = _session(context, json=json, quiet=quiet)
    codec = _decoder(max_tokens, None, limits=limit)
    _leave(
        lambda: run(
            session,
            archive,
            clip,
            output=output,
            force=force,
            recover=recover,
            limits=codec.allowed,
        )
    )


@app.command()
def challenge(
    context: typer.Context,
    sources: ClipSources,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="ZIP",
            help="The submission.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="ZIP",
            help="Only check this submission against the sources.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    no_check: Annotated[
        bool,
        typer.Option(
            "--no-check", help="Do not run and compare it afterwards.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    force: Force = False,
    predictor: Predictor = "auto",
    part: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Clips that are compressed together, each learning from those before it.",
            rich_help_panel=_CODING,
        ),
    ] = 100,
    workers: Workers = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build a submission to comma.ai's commaVQ compression challenge, and score it.

    SOURCES are the challenge's data-0000.tar.gz and data-0001.tar.gz, or some clips to try it with.
    The zip file holds the tokens and a decompress.py that installs tokenzip with pip. It is checked
    as the judges' evaluate.sh does: unzip, run decompress.py with OUTPUT_DIR, compare each file.
    """
    from .challenge import challenge as run

    session = _session(context, json=json, quiet=quiet)
    _leave(
        lambda: run(
            session,
            sources,
            output=output,
            only_check=check,
            check=not no_check,
            force=force,
            predictor=predictor,
            part=part,
            workers=workers,
        )
    )
