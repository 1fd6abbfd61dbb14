"""The numbers of a report: one tree of plain data, which --json prints and the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .tracing import Trace

#: Of the tree below; changes when a field is renamed or removed.
SCHEMA = 1
#: Points of a curve over time.
MOST_POINTS = 400
#: Moments that are marked in it.
MOST_MOMENTS = 8
#: Columns and rows of the heat map; larger frames are averaged down to this.
MOST_SIDE = 128
#: Tokens in the film strip.
MOST_FILM = 24_000
_CALIBRATION_BINS = 15
_ENTROPY_BINS = 20
_USAGE_POINTS = 256
_HISTOGRAM_BINS = 40


@dataclass(frozen=True)
class Clip:
    """One clip of the table; what was not traced is None.

    Attributes:
        name, shape, tokens, alphabet, predictor: of the clip.
        bytes: of its payloads; in an archive of its whole blob.
        bits_per_token: from these bytes.
        cost: mean cost of its traced tokens in bits; entropy likewise what its tables expected.
        hits: share of tokens that were the best guess.
        copied: share of tokens equal to the one in the frame before.
        traced: tokens that were looked at.
        outlier: far from the other clips.
    """

    name: str
    shape: tuple[int, ...]
    tokens: int
    alphabet: int
    predictor: str
    bytes: int
    bits_per_token: float | None
    cost: float | None = None
    entropy: float | None = None
    hits: float | None = None
    copied: float | None = None
    traced: int = 0
    outlier: bool = False


@dataclass(frozen=True)
class Curve:
    """Cost over time of a clip: mean bits per token of runs of `step` frames; moments: the index
    of the most costly points."""

    clip: str
    step: int
    bits: tuple[float, ...]
    entropy: tuple[float, ...]
    moments: tuple[int, ...]


@dataclass(frozen=True)
class Positions:
    """Mean bits per token of every position of a frame, rows of columns; block: positions that
    one cell averages, (rows, columns)."""

    frame: tuple[int, ...]
    bits: tuple[tuple[float, ...], ...]
    block: tuple[int, int]
    tokens: int


@dataclass(frozen=True)
class Film:
    """Bits of every token of some frames of a clip: [frame][row][column]."""

    clip: str
    start: int
    frames: tuple[tuple[tuple[float, ...], ...], ...]


@dataclass(frozen=True)
class Bin:
    """Tokens with `low` <= x < `high`: how many, the mean of x and the mean of y."""

    low: float
    high: float
    tokens: int
    x: float
    y: float


@dataclass(frozen=True)
class Ranks:
    """How often the true token was the first guess, the second, ...: counts for ranks from
    `first` up to the next one's."""

    first: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Usage:
    """Codes in the traced tokens. counts: occurrences of the most frequent code, ..., thinned
    evenly to 256 points."""

    alphabet: int
    used: int
    entropy: float
    perplexity: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Distribution:
    """Bits per token over all clips: counts between edges, and the names of the outliers."""

    edges: tuple[float, ...]
    clips: tuple[int, ...]
    median: float
    outliers: tuple[str, ...]


@dataclass(frozen=True)
class Sizes:
    """Bytes. framing: headers, checksums, names, an archive's container."""

    tokens: int
    raw: int
    total: int
    payload: int
    model: int
    framing: int
    ratio: float | None
    bits_per_token: float | None


@dataclass(frozen=True)
class Sampling:
    """What was looked at token by token."""

    clips: int
    of_clips: int
    tokens: int
    of_tokens: int
    seed: int
    rows: int


@dataclass(frozen=True)
class Accounting:
    """Costs held against payloads, of chunks that were traced to their end: they should be alike.

    difference: (payload - cost) / payload.
    """

    tokens: int
    cost_bits: float
    payload_bits: int
    difference: float | None


@dataclass(frozen=True)
class Speed:
    """Tokens per second on this machine; None where nothing was timed."""

    encode: float | None
    decode: float | None


@dataclass(frozen=True)
class Report:
    """Everything that a report says."""

    source: str
    kind: str
    predictors: dict[str, int]
    model: str
    chosen: str
    solid: bool
    sizes: Sizes
    sampling: Sampling
    accounting: Accounting
    speed: Speed
    cost: float | None
    entropy: float | None
    hits: float | None
    copied: float | None
    calibration_error: float | None
    positions: Positions | None
    curves: tuple[Curve, ...]
    film: Film | None
    ranks: Ranks
    calibration: tuple[Bin, ...]
    entropy_cost: tuple[Bin, ...]
    usage: Usage | None
    distribution: Distribution | None
    clips: tuple[Clip, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able fields, with the number of this schema."""
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True, eq=False)
class Traced:
    """A clip that was looked at from its start: tokens uint16 (T, *frame) and their trace."""

    name: str
    alphabet: int
    tokens: npt.NDArray[np.uint16]
    trace: Trace


def curve(clip: Traced) -> Curve:
    """The cost of a clip over time."""
    frames = len(clip.tokens)
    step = max(1, -(-frames // MOST_POINTS))
    starts = np.arange(0, frames, step)
    lengths = np.diff(np.append(starts, frames))

    def means(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        by_frame = values.reshape(frames, -1).mean(axis=1, dtype=np.float64)
        result: npt.NDArray[np.float64] = np.add.reduceat(by_frame, starts) / lengths
        return result

    bits = means(clip.trace.cost)
    return Curve(clip.name, step, _round(bits), _round(means(clip.trace.entropy)), _moments(bits))


def _moments(bits: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Peaks that stand out, apart from one another; not the first point, always a costly one."""
    calm = bits[len(bits) // 20 :]
    if len(bits) < 8:
        return ()
    least = float(np.median(calm) + 1.5 * calm.std())
    found: list[int] = []
    for i in np.argsort(-bits[1:], kind="stable") + 1:
        if bits[i] <= least or len(found) == MOST_MOMENTS:
            break
        if all(abs(int(i) - other) > len(bits) // 50 for other in found):
            found.append(int(i))
    return tuple(sorted(found))


def positions(clips: Sequence[Traced]) -> Positions | None:
    """The heat map of the frame shape that most tokens have."""
    by_frame: dict[tuple[int, ...], list[Traced]] = {}
    for clip in clips:
        by_frame.setdefault(clip.tokens.shape[1:], []).append(clip)
    if not by_frame:
        return None
    frame = max(by_frame, key=lambda key: sum(clip.tokens.size for clip in by_frame[key]))
    same = by_frame[frame]
    frames = sum(len(clip.tokens) for clip in same)
    total = sum(_plane(clip.trace.cost).sum(axis=0, dtype=np.float64) for clip in same)
    grid, block = _shrunk(np.asarray(total) / frames)
    rows = tuple(_round(row) for row in grid)
    return Positions(frame, rows, block, sum(clip.tokens.size for clip in same))


def _plane(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(T, *frame) as (T, rows, columns): the last axis are columns."""
    columns = values.shape[-1] if values.ndim > 1 else 1
    return values.reshape(len(values), -1, columns)


def _shrunk(grid: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[int, int]]:
    block = tuple(-(-side // MOST_SIDE) for side in grid.shape)
    for axis, size in enumerate(block):
        starts = np.arange(0, grid.shape[axis], size)
        lengths = np.diff(np.append(starts, grid.shape[axis]))
        shape = (-1, 1) if axis == 0 else (1, -1)
        grid = np.add.reduceat(grid, starts, axis=axis) / lengths.reshape(shape)
    return grid, (block[0], block[1])


def film(clip: Traced, start: int | None, frames: int) -> Film:
    """Some frames of a clip, token by token: from `start`, or from where they cost most."""
    planes = _plane(clip.trace.cost)
    of_frame = planes.shape[1] * planes.shape[2]
    count = max(1, min(frames, len(planes), MOST_FILM // max(1, of_frame)))
    if start is None:
        by_frame = planes.reshape(len(planes), -1).mean(axis=1)
        # The first frames always cost most, and tell least.
        skipped = min(len(planes) - count, len(planes) // 20 + 1)
        sums = np.convolve(by_frame[skipped:], np.ones(count), "valid")
        start = skipped + int(np.argmax(sums)) if len(sums) else 0
    start = max(0, min(start, len(planes) - count))
    shown = [_shrunk(plane)[0] for plane in planes[start : start + count]]
    return Film(clip.name, start, tuple(tuple(_round(row, 2) for row in plane) for plane in shown))


def ranks(rank: npt.NDArray[np.int64]) -> Ranks:
    """Counts of ranks 0, 1, 2-3, 4-7, ..."""
    first = [0, 1]
    largest = int(rank.max(initial=0))
    while 2 * first[-1] <= largest:
        first.append(2 * first[-1])
    places = np.searchsorted(first, rank, side="right") - 1
    return Ranks(tuple(first), tuple(np.bincount(places, minlength=len(first)).tolist()))


def bins(x: npt.NDArray[Any], y: npt.NDArray[Any], edges: npt.NDArray[Any]) -> tuple[Bin, ...]:
    """Means of y beside those of x, between edges; empty ones are left out."""
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    count = np.bincount(place, minlength=len(edges) - 1)
    of_x = np.bincount(place, weights=x, minlength=len(edges) - 1)
    of_y = np.bincount(place, weights=y, minlength=len(edges) - 1)
    return tuple(
        Bin(
            round(float(edges[i]), 4), round(float(edges[i + 1]), 4), int(count[i]),
            round(float(of_x[i] / count[i]), 5), round(float(of_y[i] / count[i]), 5),
        )
        for i in range(len(count))
        if count[i]
    )  # fmt: skip


def calibration(trace: Trace) -> tuple[Bin, ...]:
    """How often the best guess is right, by how probable it was said to be."""
    hits = (trace.rank == 0).ravel().astype(np.float64)
    return bins(trace.best.ravel(), hits, np.linspace(0, 1, _CALIBRATION_BINS + 1))


def entropy_cost(trace: Trace) -> tuple[Bin, ...]:
    """What tokens cost, by what their tables expected."""
    top = float(trace.entropy.max(initial=0)) or 1.0
    edges = np.linspace(0, top, _ENTROPY_BINS + 1)
    return bins(trace.entropy.ravel(), trace.cost.ravel(), edges)


def usage(clips: Sequence[Traced]) -> Usage | None:
    """How evenly codes are used."""
    if not clips:
        return None
    alphabet = max(clip.alphabet for clip in clips)
    counts = np.zeros(alphabet, np.int64)
    for clip in clips:
        counts += np.bincount(clip.tokens.ravel(), minlength=alphabet)
    share = counts[counts > 0] / counts.sum()
    entropy = float(-(share * np.log2(share)).sum()) + 0.0
    ordered = np.sort(counts)[::-1]
    if len(ordered) > _USAGE_POINTS:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _USAGE_POINTS).astype(int)]
    used = int((counts > 0).sum())
    return Usage(alphabet, used, round(entropy, 4), round(2**entropy, 2), tuple(ordered.tolist()))


def copied(tokens: npt.NDArray[np.uint16]) -> float | None:
    """Share of tokens, from the second frame on, that repeat the frame before."""
    if len(tokens) < 2:
        return None
    return float((tokens[1:] == tokens[:-1]).mean())


def distribution(names: Sequence[str], bits: npt.NDArray[np.float64]) -> Distribution | None:
    """Bits per token of all clips; outliers lie beyond 3.5 robust standard deviations."""
    if len(bits) < 2:
        return None
    counts, edges = np.histogram(bits, min(_HISTOGRAM_BINS, max(5, len(bits) // 4)))
    return Distribution(
        _round(edges), tuple(counts.tolist()), round(float(np.median(bits)), 4),
        tuple(names[i] for i in np.flatnonzero(outliers(bits))[:100]),
    )  # fmt: skip


def outliers(bits: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which clips are far from the median (Iglewicz and Hoaglin, 1993); none of fewer than 8."""
    if len(bits) < 8:
        return np.zeros(len(bits), np.bool_)
    away = np.abs(bits - np.median(bits))
    spread = max(float(np.median(away)), 1e-3)
    return 0.6745 * away / spread > 3.5


def _round(values: npt.NDArray[Any], digits: int = 3) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)
