"""The page's pictures as matplotlib figures; matplotlib is imported when the first is drawn."""

from __future__ import annotations

from typing import Any

from ..errors import MissingDependencyError, OptionError
from .statistics import Report

_MAP = "cividis"
_ACCENT, _MARK = "#1f6f78", "#b4501e"


def heatmap(report: Report) -> Any:
    """A figure: mean bits per token of every position of the frame.

    All figures are matplotlib.figure.Figure, of no window, and raise:
        MissingDependencyError: matplotlib is not installed.
        OptionError: the report has nothing to draw, as of an empty file.
    """
    positions = _there(report.positions)
    figure, axes = _figure("bits per token by position")
    picture = axes.imshow(positions.bits, cmap=_MAP, aspect="auto")
    figure.colorbar(picture, ax=axes, label="bits per token")
    axes.set(xlabel="column", ylabel="row")
    return figure


def timeline(report: Report, clip: int = 0) -> Any:
    """Cost of one of the clips that were looked at (by its number) over time, costly moments
    marked. Raises as heatmap; OptionError also for a clip that is not there."""
    if not 0 <= clip < len(report.curves):
        raise OptionError(f"there is no clip {clip}: {len(report.curves)} were looked at")
    curve = report.curves[clip]
    figure, axes = _figure(curve.clip)
    frames = [i * curve.step for i in range(len(curve.bits))]
    axes.plot(frames, curve.bits, color=_ACCENT, label="paid")
    axes.plot(frames, curve.entropy, color="0.6", linestyle="--", linewidth=1, label="expected")
    marked = [frames[i] for i in curve.moments], [curve.bits[i] for i in curve.moments]
    axes.plot(*marked, "o", color=_MARK)
    axes.set(xlabel="frame", ylabel="bits per token", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def film(report: Report) -> Any:
    """Cost of every token of the film strip's frames. Raises as heatmap."""
    shown = _there(report.film)
    columns = min(4, len(shown.frames))
    rows = -(-len(shown.frames) // columns)
    figure, _ = _figure("", empty=True)
    figure.set_size_inches(2.6 * columns, 1.9 * rows)
    high = max(value for frame in shown.frames for row in frame for value in row)
    for number, frame in enumerate(shown.frames):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(frame, cmap=_MAP, vmin=0, vmax=high, aspect="auto")
        axes.set_title(f"frame {shown.start + number}", fontsize=8)
        axes.set(xticks=[], yticks=[])
    return figure


def calibration(report: Report) -> Any:
    """How often the best guess was right, by its probability. Raises as heatmap."""
    bins = _there(report.calibration)
    figure, axes = _figure("calibration of the best guess")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    axes.plot([one.x for one in bins], [one.y for one in bins], "o-", color=_ACCENT)
    axes.set(xlabel="probability said", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    return figure


def ranks(report: Report) -> Any:
    """How often the true token was the first guess, the second, and so on. Raises as heatmap."""
    counts = _there(report.ranks.tokens if sum(report.ranks.tokens) else ())
    figure, axes = _figure("rank of the true token")
    axes.bar([str(first + 1) for first in report.ranks.first],
             [count / sum(counts) for count in counts], color=_ACCENT)  # fmt: skip
    axes.set(xlabel="guess, from", ylabel="share of tokens")
    return figure


def codes(report: Report) -> Any:
    """Occurrences of the codes, the most frequent first. Raises as heatmap."""
    usage = _there(report.usage)
    figure, axes = _figure(f"{usage.used:,} of {usage.alphabet:,} codes occur")
    step = (usage.alphabet - 1) / max(1, len(usage.counts) - 1)
    axes.plot([1 + i * step for i in range(len(usage.counts))], usage.counts, color=_ACCENT)
    axes.set(xlabel="code, most frequent first", ylabel="tokens", yscale="symlog")
    return figure


def _figure(title: str, *, empty: bool = False) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib: pip install 'tokenzip[report]'"
        ) from error
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    if empty:
        return figure, None
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _there(part: Any) -> Any:
    if not part:
        raise OptionError("the report has no tokens to draw")
    return part
