"""The commands for models: their options and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import Json, Quiet, _leave, _session, app

EPILOG = """
**Where models are looked for** when a blob names one, in this order: what --model says; folders in
$TOKENZIP_MODELS; the registry, a folder of this user ($TOKENZIP_REGISTRY, or the system's place for
data); the models that come with tokenzip. Blobs of the latter name them by number and need nothing.
""".strip()

models_app = typer.Typer(
    name="models",
    help="Models on this machine: those that come with tokenzip, and your own by identity.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models_app)

Which = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Name of a model that comes with tokenzip, identity (8 hexadecimal digits or more), "
        "or file.",
        show_default=False,
    ),
]


@models_app.command("list")
def list_models(context: typer.Context, json: Json = False) -> None:
    """List the models that come with tokenzip and those in the registry."""
    from .models import list_models as run

    session = _session(context, json=json)
    session.command = "models list"
    _leave(lambda: run(session))


@models_app.command("add")
def add_models(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="Model files, or hf://OWNER/NAME/FILE@REVISION on the Hugging Face Hub, which "
            "needs --identity and the package huggingface_hub.",
            show_default=False,
        ),
    ],
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="Keep it only if it is the model of this identity.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put copies of model files into the registry, where decompress and others find them.

    Every file is read and checked wholly first.
    """
    from .models import add_models as run

    session = _session(context, json=json, quiet=quiet)
    session.command = "models add"
    _leave(lambda: run(session, files, identity))


@models_app.command("remove")
def remove_models(
    context: typer.Context,
    identities: Annotated[
        list[str],
        typer.Argument(
            metavar="IDENTITIES",
            help="Identities in the registry: 8 hexadecimal digits or more.",
            show_default=False,
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove models from the registry. Those that come with tokenzip stay."""
    from .models import remove_models as run

    session = _session(context, json=json, quiet=quiet)
    session.command = "models remove"
    _leave(lambda: run(session, identities))


@models_app.command("info")
def info_of_model(context: typer.Context, model: Which, json: Json = False) -> None:
    """Show what a model is for, what it costs to run, and how it was trained."""
    from .models import info_of_model as run

    session = _session(context, json=json)
    session.command = "models info"
    _leave(lambda: run(session, model))
