"""`tokenzip models list`, `add`, `remove` and `info`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import OptionError
from ..models import Geometry, bundled, hub, registry
from ..models.file import Model
from ..models.packed import pack
from ..models.search import as_model
from .info import _table
from .session import Session, printable
from .work import each


def list_models(session: Session) -> int:
    """Show all models; returns the exit code."""
    rows = [_bundled_row(entry) for entry in bundled.entries()]
    for entry in registry.entries():
        # A file whose name is an identity may be damaged all the same: it is said, not raised.
        try:
            model = Model.load(entry.path)
            row = _fields(model)
        except (ValueError, OSError) as error:
            row = {"identity": entry.identity, "problem": str(error)}
        rows.append({"source": str(entry.path), "where": "registry", **row, "bytes": entry.bytes})
    for row in rows:
        session.result(row)
    if not session.json:
        table = _table("models", "name", "where", "network", "frames", "alphabet", "bytes")
        for row in rows:
            table.add_row(
                row.get("name") or row["identity"][:16],
                row["where"],
                printable(row.get("problem") or row["family"]),
                row.get("frames", "-"),
                f"{row['alphabet']:,}" if "alphabet" in row else "-",
                f"{row['bytes']:,}",
            )
        session.stdout.print(table)
        session.say(f"registry: {printable(str(registry.folder()))}")
    return session.finish()


def add_models(session: Session, files: Sequence[str], identity: str | None) -> int:
    """Put files into the registry; returns the exit code."""
    if identity is not None:
        registry.checked_identity(identity)
        if len(files) > 1:
            raise OptionError("--identity is of a single model: add the files one by one")

    def work(file: str) -> Iterator[dict[str, Any]]:
        if hub.is_address(file):
            if identity is None:
                raise OptionError(f"{file}: say with --identity which model is to come")
            entry = hub.download(file, identity)
        else:
            entry = registry.add(file, identity=identity)
        session.say(f"{printable(file)}: {entry.identity}, {entry.bytes:,} bytes")
        yield {
            "source": file,
            "identity": entry.identity,
            "output": str(entry.path),
            "bytes": entry.bytes,
        }

    return each(session, files, lambda file: file, work, long=False)


def remove_models(session: Session, identities: Sequence[str]) -> int:
    """Remove models from the registry; returns the exit code."""

    def work(identity: str) -> Iterator[dict[str, Any]]:
        entry = registry.remove(identity)
        session.say(f"{entry.identity}: removed")
        yield {"source": identity, "identity": entry.identity, "removed": str(entry.path)}

    return each(session, identities, lambda identity: identity, work, long=False)


def info_of_model(session: Session, which: str) -> int:
    """Show one model; returns the exit code."""
    model = as_model(which)
    entry = bundled.by_identity(model.identity.hex())
    fields = _fields(model)
    packed = len(pack(model))
    macs = model.spec.macs
    card = entry.card.read_text("utf-8") if entry is not None else None
    session.result(
        {
            "source": which,
            **fields,
            "name": entry.name if entry else None,
            "number": entry.number if entry else None,
            "macs": macs,
            "packed_bytes": packed,
            "summary": model.summary,
            "card": card,
        }
    )
    if not session.json:
        table = _table(printable(entry.name if entry else which), "field", "value")
        for name, value in (
            ("identity", fields["identity"]),
            *((("number in blobs", str(entry.number)),) if entry else ()),
            ("network", fields["family"]),
            ("frames", fields["frames"]),
            ("alphabet", f"{fields['alphabet']:,}"),
            ("multiply-accumulates a token", f"{macs['total']:,.0f}"),
            ("packed", f"{packed:,} bytes"),
            *((key, json.dumps(value)[:300]) for key, value in model.summary.items()),
        ):
            table.add_row(name, printable(value))
        session.stdout.print(table)
        if card is not None:
            session.stdout.print(card)
    return session.finish()


def _bundled_row(entry: bundled.Bundled) -> dict[str, Any]:
    return {
        "source": entry.name,
        "where": "tokenzip",
        "name": entry.name,
        "number": entry.number,
        **_geometry(entry.geometry),
        "identity": entry.identity,
        "family": entry.family,
        "bytes": entry.packed_bytes,
    }


def _fields(model: Model) -> dict[str, Any]:
    return {
        **_geometry(model.spec.geometry),
        "identity": model.identity.hex(),
        "family": model.spec.family,
    }


def _geometry(geometry: Geometry) -> dict[str, Any]:
    """How frames look for people, and the alphabet."""
    sites = f"{geometry.height} x {geometry.width}"
    if geometry.height == geometry.width == 1:
        sites = ""
    books = f"{geometry.codebooks} codebooks" if geometry.codebooks > 1 else ""
    frames = " of ".join(part for part in (sites, books) if part) or "single tokens"
    return {"frames": frames, "alphabet": geometry.alphabet}
