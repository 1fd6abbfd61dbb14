"""New entries of the table, for those who publish models with tokenzip (benchmarks/bundle.py)."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path

from ...errors import FileExistsRefusedError, OptionError
from ...files.atomic import atomic_output
from ..file import Model
from ..packed import pack, unpack
from . import table
from .table import CARD_SUFFIX, MAX_BYTES, NAME, PACKED_SUFFIX, TABLE, Bundled

#: What no card may lack; a test holds the cards against it.
CARD_WORDS = ("Licence", "Identity", "Training command", "bits/token")
#: What stands in a card for what is not known.
BLANK = "TO BE FILLED IN"


def add(model: Model, name: str, number: int, *, card: str = "", licence: str = "") -> Bundled:
    """Put a model into the folder: packed file, card, and the entry of the table, last.

    Args:
        model: the trained model; its summary goes into the card.
        name: NAME-VERSION, as "commavq-1".
        number: what stands for it in blobs, for ever.
        card: the text of its card; "" makes one out of the summary, to be completed by hand.
        licence: of the weights, for a card that is made.

    Raises:
        OptionError: the name or number makes no sense, or the packed model is too large.
        FileExistsRefusedError: the name or the number is taken: models here are never changed.
    """
    if not NAME.fullmatch(name) or number < 1:
        raise OptionError(f"{name!r}, {number}: a name is like commavq-1, a number at least 1")
    known = table.entries()
    for entry in known:
        if name == entry.name or number == entry.number or model.identity.hex() == entry.identity:
            raise FileExistsRefusedError(
                f"{entry.name}, number {entry.number}, is there: blobs need it as it is, for ever; "
                "give the new model another name and number"
            )
    packed = pack(model)
    if len(packed) > MAX_BYTES:
        raise OptionError(
            f"{len(packed):,} bytes packed; the most is {MAX_BYTES:,}: train a smaller preset"
        )
    if unpack(packed).identity != model.identity:
        raise OptionError("the packed model is another model: this is a bug in tokenzip")
    geometry = model.spec.geometry
    entry = Bundled(
        number=number,
        name=name,
        identity=model.identity.hex(),
        family=model.spec.family,
        height=geometry.height,
        width=geometry.width,
        codebooks=geometry.codebooks,
        alphabet=geometry.alphabet,
        packed_bytes=len(packed),
    )
    folder = table.FOLDER
    _write(folder / (name + PACKED_SUFFIX), packed)
    _write(folder / (name + CARD_SUFFIX), (card or card_of(model, entry, licence)).encode())
    rows = [asdict(one) for one in sorted((*known, entry), key=lambda one: one.number)]
    _write(folder / TABLE, (json.dumps(rows, indent=1) + "\n").encode(), force=True)
    table._read.cache_clear()
    return entry


def card_of(model: Model, entry: Bundled, licence: str) -> str:
    """The text of a card, as far as the model's own summary knows it."""
    geometry, summary = entry.geometry, model.summary
    frames = f"{geometry.height} x {geometry.width} sites of {geometry.codebooks} tokens"
    given = summary.get("command")
    command = shlex.join(["tokenzip", *map(str, given)]) if given else BLANK
    validation = summary.get("validation") or {}
    bits = validation.get("bits_per_token", BLANK)
    measured = ", ".join(validation.get("files", [])) or BLANK
    lines = [
        f"# {entry.name}",
        "",
        f"- Number in blobs: {entry.number}",
        f"- Identity: {entry.identity}",
        f"- Network: {entry.family}, {model.spec.macs['total']:,.0f} multiply-accumulates a token",
        f"- Frames: {frames}, alphabet {geometry.alphabet}",
        f"- Size: {entry.packed_bytes:,} bytes packed",
        f"- Licence: {licence or BLANK}",
        f"- Training command: `{command}`",
        f"- Validation: {bits} bits/token on {measured}",
        "",
        "## Training summary",
        "",
        "```json",
        json.dumps(summary, indent=1, sort_keys=True),
        "```",
        "",
    ]
    return "\n".join(lines)


def _write(path: Path, data: bytes, *, force: bool = False) -> None:
    with atomic_output(path, force=force) as file:
        file.write(data)
