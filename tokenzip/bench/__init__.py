"""Compare tokenzip with general-purpose compressors on any token grids.

    results = compare(grids)                  # one Result per compressor
    console.print(rich_table(results))        # or to_markdown, to_json, save_plot

Every compressor runs in a fresh process of its own, gets the byte layout that suits it best, and
must give back the very tokens, or the comparison fails. Compressors whose package or program is
not installed are left out; ``contenders()`` says which and why.
"""

from __future__ import annotations

from tokenzip.bench.comparison import compare, contenders
from tokenzip.bench.machine import machine_info
from tokenzip.bench.plot import save_plot
from tokenzip.bench.result import Result
from tokenzip.bench.table import rich_table, to_json, to_markdown

__all__ = [
    "Result",
    "compare",
    "contenders",
    "machine_info",
    "rich_table",
    "save_plot",
    "to_json",
    "to_markdown",
]
