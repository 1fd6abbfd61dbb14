"""Results as a table on the terminal, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from tokenzip.bench.machine import machine_info, machine_line
from tokenzip.bench.result import Result

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = (
    "compressor",
    "bytes",
    "ratio",
    "bits/token",
    "encode tokens/s",
    "decode tokens/s",
    "peak MB",
    "layout",
)


#: The same on a terminal, where eight columns have to share 80 places.
SHORT = ("", "bytes", "ratio", "bits", "enc/s", "dec/s", "MB", "layout")


def rich_table(results: Sequence[Result], title: str | None = None) -> Table:
    """A table for a rich console; the smallest is printed bold."""
    from rich import box
    from rich.table import Table

    note = f"{caption(results)} bits: per token; enc/s, dec/s: tokens a second."
    table = Table(title=title, caption=note, caption_justify="left", box=box.SIMPLE)
    for column in SHORT:
        side: Literal["left", "right"] = "left" if column in ("", "layout") else "right"
        table.add_column(column, justify=side, no_wrap=column != "layout")
    best = min((result.compressed_bytes for result in results), default=0)
    for result in results:
        cells = row(result)
        cells[4:6] = [short_count(result.encode_rate), short_count(result.decode_rate)]
        table.add_row(*cells, style="bold" if result.compressed_bytes == best else None)
    return table


def to_markdown(results: Sequence[Result], title: str, machine: dict[str, Any]) -> str:
    """A heading, the table, what was measured, and the machine."""
    lines = [f"## {title}", "", "| " + " | ".join(COLUMNS) + " |"]
    lines.append(
        "|"
        + "|".join(" --- " if c in ("compressor", "layout") else " ---: " for c in COLUMNS)
        + "|"
    )
    lines += ["| " + " | ".join(row(result)) + " |" for result in results]
    return "\n".join([*lines, "", caption(results), "", machine_line(machine), ""])


def to_json(results: Sequence[Result], machine: dict[str, Any] | None = None) -> str:
    """{"machine": ..., "results": [...]}, indented."""
    document = {
        "machine": machine if machine is not None else machine_info(),
        "results": [result.as_dict() for result in results],
    }
    return json.dumps(document, indent=2) + "\n"


def row(result: Result) -> list[str]:
    """The cells of one line, in the order of COLUMNS."""
    peak = "-" if result.peak_bytes is None else f"{result.peak_bytes / 1e6:.0f}"
    return [
        result.compressor,
        f"{result.compressed_bytes:,}",
        f"{result.ratio:.3f}",
        f"{result.bits_per_token:.3f}",
        f"{result.encode_rate:,.0f}",
        f"{result.decode_rate:,.0f}",
        peak,
        result.layout,
    ]


def short_count(value: float) -> str:
    """A number in about four characters: 950, 40.2k, 1.31M, 130M."""
    for unit in ("", "k", "M", "G"):
        if value < 999.5 or unit == "G":
            break
        value /= 1000
    return f"{value:.3g}{unit}"


def caption(results: Sequence[Result]) -> str:
    """What the figures mean."""
    if not results:
        return "nothing was measured"
    first = results[0]
    how = "all in one stream (solid)" if first.solid else "each on its own"
    grids = "1 grid" if first.grids == 1 else f"{first.grids} grids, {how}"
    return (
        f"{grids}; {first.tokens:,} tokens, alphabet {first.alphabet}, "
        f"{first.raw_bytes:,.0f} bytes when packed. Every round trip verified. Ratios are against "
        "packed tokens. Speeds are warm; peak memory (MB) is of the whole process."
    )
