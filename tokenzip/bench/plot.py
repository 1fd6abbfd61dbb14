"""A picture of a comparison: ratio against decoding speed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tokenzip.bench.result import Result
from tokenzip.errors import MissingDependencyError


def save_plot(
    results: Sequence[Result], path: str | os.PathLike[str], title: str | None = None
) -> None:
    """Draw ratio (up) against decoded tokens per second (right, logarithmic) into an image file.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "plots need matplotlib: pip install matplotlib, or leave the plot out"
        ) from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for result in results:
        ours = result.compressor.startswith("tokenzip")
        axes.scatter(
            result.decode_rate, result.ratio, color="tab:red" if ours else "tab:blue", zorder=2
        )
        axes.annotate(
            result.compressor,
            (result.decode_rate, result.ratio),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.set_xlabel("decoded tokens per second")
    axes.set_ylabel("ratio to packed tokens")
    axes.set_title(title or "")
    axes.grid(alpha=0.3, zorder=1)
    axes.margins(x=0.15, y=0.15)
    figure.savefig(path, dpi=120)
