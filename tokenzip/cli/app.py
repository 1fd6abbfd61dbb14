"""The commands, their options and their help; the work is in the modules named after them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from .session import ReaderGone, Session

if TYPE_CHECKING:
    from ..codec import Codec

EPILOG = """
**Exit codes:**

- 0: everything succeeded
- 1: something failed: an unreadable file, a damaged blob, an existing target without --force;
  of several files, the others are still done
- 2: the command line makes no sense
- 129, 130, 143: ended by SIGHUP (the terminal was closed), Ctrl-C (SIGINT), SIGTERM
- 141: the reader of a pipe went away

**Messages:** errors are single lines on standard error that begin with `tokenzip: error:`. With
--json, standard output is exactly one JSON document whatever happens: an object with `tokenzip`
(version), `command`, `ok`, and `files`, where each has `ok`, `source`, and its results or an
`error` with `type` and `message`; if the run itself failed there is an `error` beside `files`.
""".strip()

app = typer.Typer(
    name="tokenzip",
    help="Lossless compression of VQ tokens: video, driving, audio and image codes.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TOKENS = "Token files"
_OUTPUT = "Output"
_CODING = "Coding"

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCES",
        help="Files, directories (searched below) or quoted patterns; '-' is standard input.",
        show_default=False,
    ),
]
Compressed = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES",
        help=".tkz files, directories (searched below) or quoted patterns; '-' is standard input.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Result: a file, a directory (it exists, ends in /, or there are several results; it "
        "is created and mirrors the sources), or '-' for standard output.",
        rich_help_panel=_OUTPUT,
    ),
]
Dataset = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="PATH",
        help="HDF5 dataset: a path, a group, or a pattern such as 'clips/*/tokens'. May be given "
        "several times. Default: every integer dataset.",
        rich_help_panel=_TOKENS,
    ),
]
Key = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="Array of an .npz file; as --dataset.",
        rich_help_panel=_TOKENS,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        help="Integer type of raw files: uint16, u1, >u2, int64 ...",
        rich_help_panel=_TOKENS,
    ),
]
Shape = Annotated[
    str | None,
    typer.Option(
        "--shape",
        metavar="LENGTHS",
        help="Shape of raw files, time first, one length may be -1: -1,8,16. Default: -1.",
        rich_help_panel=_TOKENS,
    ),
]
Alphabet = Annotated[
    int | None,
    typer.Option(
        "--alphabet",
        metavar="N",
        help="Number of symbols, 2 to 65536. Default: largest token plus one.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        help="Threads, for several chunks or within one; no result depends on it. Default: 1.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Where a network is computed: numba, torch, or auto. Results do not depend on it.",
        rich_help_panel=_CODING,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Device of a network, as cuda. Default: the CPU.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="PATH",
        help="Model file that the data needs, or a folder that holds it. May be given several "
        "times; folders in $TOKENZIP_MODELS and the registry (tokenzip models) are searched as "
        "well.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
ToEncode = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Network to predict with: a model file, the name of a model that comes with tokenzip, "
        "or an identity in the registry (tokenzip models list). Several, or a folder: the cheapest "
        "is taken. Decompressing needs the model, too, unless it comes with tokenzip. Default: "
        "those that come with tokenzip and fit are tried.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
Fit = Annotated[
    bool,
    typer.Option(
        "--fit",
        help="Train a small network on the data first and keep it with them, if that makes them "
        "smaller. For millions of tokens; needs torch.",
        rich_help_panel=_CODING,
    ),
]
FitMinutes = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        help="Minutes that --fit trains; Ctrl-C ends it earlier. Default: 20.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
FitSize = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Size of --fit's network: tiny, small, middle or base. Default: chosen.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        metavar="N",
        help="Refuse files that claim more tokens than this. Default: 268435456 (2^28).",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
LimitOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=N",
        help="The most that a file may ask for: tokens, array_bytes, model_weights, json_bytes, "
        "clips; N may end in k, M, G or T. May be given several times. Default: see SECURITY.md.",
        rich_help_panel=_CODING,
        show_default=False,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", "-f", help="Overwrite existing files.", rich_help_panel=_OUTPUT),
]
Remove = Annotated[
    bool,
    typer.Option(
        "--rm",
        help="Remove sources after success. Refused where something in them would be lost.",
        rich_help_panel=_OUTPUT,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Report as one JSON document on standard output.", rich_help_panel=_OUTPUT
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=_OUTPUT),
]


def _session(context: typer.Context, *, json: bool = False, quiet: bool = False) -> Session:
    session = context.obj if isinstance(context.obj, Session) else Session()
    session.command = context.info_name or ""
    session.json = session.json or json
    session.quiet = quiet
    return session


def _leave(work: Callable[[], int]) -> None:
    """Do the work and leave with its exit code."""
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error
    if code:
        raise typer.Exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"tokenzip {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Show the version and exit.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


@app.command()
def compress(
    context: typer.Context,
    sources: Sources,
    output: Output = None,
    force: Force = False,
    rm: Remove = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Decode and compare before anything is written.",
            rich_help_panel=_OUTPUT,
        ),
    ] = True,
    json: Json = False,
    quiet: Quiet = False,
    dataset: Dataset = None,
    key: Key = None,
    dtype: Dtype = None,
    shape: Shape = None,
    alphabet: Alphabet = None,
    predictor: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto (the cheapest of what fits, tried on a sample), adaptive, hybrid, stored "
            "(bit-packing), or the --model's own: lstm, conv3d.",
            rich_help_panel=_CODING,
        ),
    ] = "auto",
    chunk_frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Frames of a chunk, the unit of random access. Default: chosen by frame size.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
    solid: Annotated[
        bool,
        typer.Option(
            "--solid",
            help="Let all arrays, and with -o FILE all sources, learn from each other in one "
            "stream: smaller, but without random access.",
            rich_help_panel=_CODING,
        ),
    ] = False,
    threads: Threads = None,
    model: ToEncode = None,
    embed_model: Annotated[
        bool,
        typer.Option(
            "--embed-model",
            help="Put the model into the .tkz file, which is then complete in itself.",
            rich_help_panel=_CODING,
        ),
    ] = False,
    fit: Fit = False,
    fit_minutes: FitMinutes = None,
    fit_size: FitSize = None,
    backend: Backend = "auto",
    device: Device = None,
) -> None:
    """Compress .npy, .npz, .h5/.hdf5 and raw token files to .tkz.

    clip.npy becomes clip.npy.tkz next to it. A file with several arrays becomes one .tkz file that
    keeps their names. Permissions and time are kept; existing files are not overwritten; an
    interrupted run leaves no half file.

    Only arrays are kept: not the attributes or other content of an .h5 file (a note says what).
    """
    from ..codec import Codec
    from .compress import CompressOptions
    from .compress import compress as run
    from .fit import wish

    session = _session(context, json=json, quiet=quiet)
    codec = Codec(
        alphabet=alphabet,
        predictor=predictor,
        chunk_frames=chunk_frames,
        solid=solid,
        threads=threads,
        model=one_or_all(model),
        embed_model=embed_model,
        backend=backend,
        device=device,
    )
    options = CompressOptions(
        output=output,
        select=(*(dataset or ()), *(key or ())),
        dtype=dtype,
        shape=shape,
        codec=codec,
        force=force,
        remove=rm,
        verify=verify,
        fit=wish(fit, fit_minutes, fit_size, codec),
    )
    _leave(lambda: run(session, sources, options))


@app.command()
def decompress(
    context: typer.Context,
    files: Compressed,
    output: Output = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="npy, npz, h5 or raw. Default: what -o's suffix says, or what was compressed.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "--key",
            metavar="NAME",
            help="Restore only these arrays: names, groups or patterns as `tokenzip info` shows "
            "them. May be given several times.",
            rich_help_panel=_TOKENS,
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="A:B",
            help="Restore only frames A to B-1 of every array; decodes only the chunks it must.",
            rich_help_panel=_TOKENS,
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    rm: Remove = False,
    json: Json = False,
    quiet: Quiet = False,
    max_tokens: MaxTokens = None,
    limit: LimitOptions = None,
    threads: Threads = None,
    model: Models = None,
    backend: Backend = "auto",
    device: Device = None,
) -> None:
    """Restore what was compressed: clip.npy.tkz becomes clip.npy.

    Arrays come back with the same values, shape, dtype and names, or there is an error and no file.
    A .tkz file of several sources (--solid) becomes a directory.
    """
    from .decompress import DecompressOptions, parse_frames, parse_kind
    from .decompress import decompress as run

    session = _session(context, json=json, quiet=quiet)
    options = DecompressOptions(
        output=output,
        kind=None if to is None else parse_kind(to),
        select=tuple(dataset or ()),
        frames=None if frames is None else parse_frames(frames),
        codec=_decoder(max_tokens, threads, model, backend, device, limit),
        force=force,
        remove=rm,
    )
    _leave(lambda: run(session, files, options))


@app.command()
def info(
    context: typer.Context,
    files: Compressed,
    chunks: Annotated[
        bool, typer.Option("--chunks", help="List the chunks too.", rich_help_panel=_OUTPUT)
    ] = False,
    json: Json = False,
) -> None:
    """Show what the headers of .tkz files say, and what is in archives, without decoding."""
    from .info import info as run

    session = _session(context, json=json)
    _leave(lambda: run(session, files, chunks=chunks))


@app.command()
def verify(
    context: typer.Context,
    files: Compressed,
    json: Json = False,
    quiet: Quiet = False,
    max_tokens: MaxTokens = None,
    limit: LimitOptions = None,
    threads: Threads = None,
    model: Models = None,
    backend: Backend = "auto",
    device: Device = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Of archives, verify the checksums of all bytes but decode nothing.",
            rich_help_panel=_CODING,
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-w",
            metavar="N",
            min=1,
            help="Processes that check the clips of an archive. Default: this one alone.",
            rich_help_panel=_CODING,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Decode .tkz files and drop the tokens: OK or BAD for each, or ? where the model is missing.

    All checksums are verified. Goes on after bad files and exits with 1 if there were any. Of an
    archive (.tkz.h5) every clip that is bad is named.
    """
    from .verify import verify as run

    session = _session(context, json=json, quiet=quiet)
    codec = _decoder(max_tokens, threads, model, backend, device, limit)
    _leave(lambda: run(session, files, codec, fast=fast, workers=workers))


@app.command()
def bench(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCES",
            help="Token files, directories or patterns. Default: a built-in synthetic sample.",
            show_default=False,
        ),
    ] = None,
    compressor: Annotated[
        list[str] | None,
        typer.Option(
            "--compressor",
            "-c",
            metavar="NAME",
            help="Measure only this one ('tokenzip adaptive', xz, bz2, zlib, zstd, brotli, "
            "zpaq); may be given several times. Default: all that are installed.",
            rich_help_panel=_CODING,
        ),
    ] = None,
    dataset: Dataset = None,
    key: Key = None,
    dtype: Dtype = None,
    shape: Shape = None,
    alphabet: Alphabet = None,
    solid: Annotated[
        bool,
        typer.Option(
            "--solid",
            help="All arrays in one stream, instead of each on its own.",
            rich_help_panel=_CODING,
        ),
    ] = False,
    threads: Threads = None,
    frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames of the built-in sample.",
            rich_help_panel=_TOKENS,
        ),
    ] = 1200,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare sizes and speeds with general compressors; every round trip is verified."""
    from .bench import bench as run

    session = _session(context, json=json, quiet=quiet)
    _leave(
        lambda: run(
            session,
            sources or [],
            select=[*(dataset or ()), *(key or ())],
            dtype=dtype,
            shape=shape,
            alphabet=alphabet,
            compressors=compressor or [],
            solid=solid,
            threads=threads or 1,
            frames=frames,
        )
    )


def one_or_all(model: list[str] | None) -> str | list[str] | None:
    """What --model, given once or several times, means as `model=`."""
    return model[0] if model and len(model) == 1 else model or None


def _decoder(
    max_tokens: int | None,
    threads: int | None,
    models: list[str] | None = None,
    backend: str = "auto",
    device: str | None = None,
    limits: list[str] | None = None,
) -> Codec:
    from ..codec import DEFAULT_MAX_TOKENS, Codec
    from .limits import parse_limits

    return Codec(
        max_tokens=DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens,
        threads=threads,
        model=models or None,
        backend=backend,
        device=device,
        limits=parse_limits(limits or ()),
    )


from . import app_archives, app_models, app_report, app_training  # noqa: E402, F401  - add their commands
