"""The command `report`: its options and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import (
    Backend,
    Dataset,
    Device,
    Force,
    Json,
    LimitOptions,
    MaxTokens,
    Models,
    Quiet,
    _decoder,
    _leave,
    _session,
    app,
)

_LOOK = "What is looked at"


@app.command()
def report(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A .tkz file, an archive, or a token file (.npy, .npz, .h5): what compressing it "
            "would do.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The page, or '-' for standard output. Needed unless --json is given.",
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    sample: Annotated[
        int,
        typer.Option(metavar="N", help="Tokens of a clip, from its start.", rich_help_panel=_LOOK),
    ] = 100_000,
    clips: Annotated[
        int, typer.Option(metavar="N", help="Clips, drawn at random.", rich_help_panel=_LOOK)
    ] = 16,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the draw.", rich_help_panel=_LOOK)] = 0,
    film: Annotated[
        str | None,
        typer.Option(
            metavar="A:B",
            help="Frames of the film strip. Default: 12 where the longest clip costs most.",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    dataset: Dataset = None,
    max_tokens: MaxTokens = None,
    limit: LimitOptions = None,
    model: Models = None,
    backend: Backend = "auto",
    device: Device = None,
) -> None:
    """Show where the bits go: one HTML page that needs no network, or --json.

    tokenzip report clips.tkz.h5 -o report.html
    """
    from .report import ReportOptions
    from .report import report as run

    options = ReportOptions(
        output=output,
        force=force,
        tokens=sample,
        clips=clips,
        seed=seed,
        film=film,
        select=tuple(dataset or ()),
        codec=_decoder(max_tokens, None, model, backend, device, limit),
    )
    session = _session(context, json=json, quiet=quiet)
    _leave(lambda: run(session, file, options))
