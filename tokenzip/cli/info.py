"""`tokenzip info`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..blob import dtype_name
from ..codec import inspect
from ..files.find import Source
from ..files.formats import COMPRESSED_SUFFIX
from ..models.bundled import entries
from .archives import ARCHIVE_SUFFIX, info_of_archive, is_archive_file
from .loading import Compressed, labels_of, load, members_of
from .session import Session, printable
from .targets import sources_of
from .work import each

if TYPE_CHECKING:
    from rich.table import Table

    from ..blob import BlobInfo, GridInfo

_SHOWN_ROWS = 24


def info(session: Session, arguments: Sequence[str], *, chunks: bool) -> int:
    """Show the headers of the files that `arguments` mean; returns the exit code."""
    sources = sources_of(arguments, (COMPRESSED_SUFFIX, ARCHIVE_SUFFIX))

    def work(source: Source) -> Iterator[dict[str, Any]]:
        if is_archive_file(source.path):
            yield info_of_archive(session, source.path, chunks=chunks)
            return
        compressed = load(source.path)
        members = members_of(compressed)
        header = inspect(compressed.blob)
        labels = labels_of(members, len(header.grids))
        if not session.json:
            _show(session, source.path, compressed, header, labels, chunks)
        files = [
            {"name": m.name, "format": m.format, "arrays": list(m.arrays)} for m in members or ()
        ]
        yield {
            "source": source.path,
            "bytes": compressed.size,
            "files": files or None,
            "blob": header.to_dict(),
        }

    return each(session, sources, lambda source: source.path, work, long=False)


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        # Folded, never cut: what is shown can be copied.
        table.add_column(column, overflow="fold", justify="right" if number > 1 else "left")
    return table


def _show(
    session: Session,
    path: str,
    compressed: Compressed,
    header: BlobInfo,
    labels: Sequence[str],
    chunks: bool,
) -> None:
    fields = _table(printable(path), "field", "value")
    for name, value in _fields(compressed, header):
        fields.add_row(name, value)
    session.stdout.print(fields)
    arrays = _table(
        "arrays", "name", "shape", "dtype", "alphabet", "tokens", "chunks", "bytes", "bits/token"
    )
    for label, grid in list(zip(labels, header.grids, strict=True))[:_SHOWN_ROWS]:
        arrays.add_row(*_grid_row(label, grid))
    session.stdout.print(arrays)
    _more(session, len(header.grids))
    if chunks:
        _show_chunks(session, header, labels)


def _fields(compressed: Compressed, header: BlobInfo) -> list[tuple[str, str]]:
    members = compressed.members or ()
    file_format = ", ".join(sorted({member.format for member in members}))
    size = compressed.size
    per_token = f"{8 * size / header.tokens:.3f}" if header.tokens else "-"
    restores = f"{len(members)} files: {file_format}" if len(members) > 1 else file_format
    model = model_text(header)
    if header.embedded_bytes:
        model += f" (embedded, {header.embedded_bytes:,} bytes)"
    return [
        ("format version", str(header.version)),
        ("predictor", header.predictor),
        ("parameters", header.parameters.hex() or "none"),
        ("model", model),
        ("chosen", choice_text(header)),
        ("solid", "yes" if header.solid else "no"),
        ("restores", restores or "array"),
        ("arrays", f"{len(header.grids):,}"),
        ("tokens", f"{header.tokens:,}"),
        ("bit-packed", f"{header.raw_bytes:,} bytes"),
        ("compressed", f"{size:,} bytes"),
        ("of which names", f"{size - header.total_bytes:,} bytes"),
        ("of which header", f"{header.header_bytes:,} bytes"),
        ("ratio", f"{header.raw_bytes / size:.3f}"),
        ("bits/token", per_token),
    ]


def model_text(header: BlobInfo) -> str:
    """The model that a blob needs, for people."""
    if header.bundled is not None:
        return f"{_bundled_name(header.bundled)}, which comes with tokenzip"
    return "none" if header.model is None else header.model.hex()


def choice_text(header: BlobInfo) -> str:
    """In words, why a blob has its predictor."""
    if header.choice is None:
        return "nothing is said of other predictors"
    costs = [
        f"{one.bits_per_token:.3f} bits/token {predictor_text(one.predictor, one.model)}"
        for one in header.choice.candidates
    ]
    return (
        f"{header.predictor}: of {header.choice.tokens:,} tokens tried, {costs[0]}, against "
        + ", ".join(costs[1:])
    )


def predictor_text(predictor: str, model: int | str | None) -> str:
    """A predictor and its model, which is one as in blob.Candidate, for people."""
    if model is None:
        return predictor
    if isinstance(model, int):
        return f"{predictor} with {_bundled_name(model)}"
    return f"{predictor} with a model that was given"


def _bundled_name(number: int) -> str:
    """The name of a bundled model; its number, if this tokenzip does not know it."""
    found = [entry.name for entry in entries() if entry.number == number]
    return found[0] if found else f"model number {number} of a newer version"


def _grid_row(label: str, grid: GridInfo) -> list[str]:
    kinds = [chunk.kind for chunk in grid.chunks]
    stored = f" ({kinds.count('stored')} stored)" if "stored" in kinds else ""
    return [
        printable(label) or "-",
        "x".join(map(str, grid.shape)) or "()",
        dtype_name(grid.dtype),
        f"{grid.alphabet:,}",
        f"{grid.tokens:,}",
        f"{len(grid.chunks):,}{stored}",
        f"{grid.payload_bytes:,}",
        f"{8 * grid.payload_bytes / grid.tokens:.3f}" if grid.tokens else "-",
    ]


def _show_chunks(session: Session, header: BlobInfo, labels: Sequence[str]) -> None:
    table = _table(
        "chunks",
        "array",
        "kind",
        "first frame",
        "frames",
        "offset",
        "bytes",
        "payload CRC",
        "token CRC",
    )
    rows = [
        (printable(label) or "-", chunk)
        for label, grid in zip(labels, header.grids, strict=True)
        for chunk in grid.chunks
    ]
    for label, chunk in rows[:_SHOWN_ROWS]:
        table.add_row(
            label,
            chunk.kind,
            f"{chunk.start:,}",
            f"{chunk.frames:,}",
            f"{chunk.offset:,}",
            f"{chunk.bytes:,}",
            f"{chunk.payload_crc:08x}",
            f"{chunk.token_crc:08x}",
        )
    session.stdout.print(table)
    _more(session, len(rows))


def _more(session: Session, count: int) -> None:
    if count > _SHOWN_ROWS:
        session.stdout.print(f"... and {count - _SHOWN_ROWS:,} more; --json lists all")
