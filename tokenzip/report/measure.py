"""From blobs, arrays and archives to a Report: which clips to look at, and the sums over them.

All sizes are exact. Only what is said token by token comes from a sample, which is drawn with a
seed and counted in the report.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..blob import BlobInfo, GridInfo
from ..codec import Codec, inspect
from ..errors import OptionError
from ..models import Model
from ..models.bundled import by_identity
from . import statistics as st
from .tracing import Trace, Tracer, joined, tracer

if TYPE_CHECKING:
    from ..archive import Archive


@dataclass(frozen=True)
class Sample:
    """What is looked at.

    Attributes:
        tokens: of a clip at most, from its start.
        clips: at most.
        rows: clips in the table at most.
        seed: of the draw of clips.
        film: frames in the film strip; film_start: the first of them; None: where it costs most.

    Raises:
        OptionError: a number is too small.
    """

    tokens: int = 100_000
    clips: int = 16
    rows: int = 2_000
    seed: int = 0
    film: int = 12
    film_start: int | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "clips", "rows", "film"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.seed < 0 or (self.film_start or 0) < 0:
            raise OptionError("seed and film_start cannot be negative")

    def of(self, count: int) -> list[int]:
        """Which of so many clips, in their order."""
        if count <= self.clips:
            return list(range(count))
        chosen = np.random.default_rng(self.seed).choice(count, self.clips, replace=False)
        return sorted(int(i) for i in chosen)


@dataclass(frozen=True, eq=False)
class _Part:
    """A blob, or a clip of an archive: what one header is about."""

    names: Sequence[str]
    info: BlobInfo
    model: Model | None
    load: Callable[[], list[npt.NDArray[Any]]]


class _Sums:
    """What is gathered while parts are traced."""

    def __init__(self) -> None:
        self.traced: list[st.Traced] = []
        self.cost_bits, self.payload_bits, self.whole_tokens = 0.0, 0, 0
        self.decode_tokens, self.decode_seconds = 0, 0.0


def of_blob(
    blob: bytes,
    *,
    codec: Codec | None = None,
    names: Sequence[str] | None = None,
    source: str = "",
    file_bytes: int | None = None,
    sample: Sample | None = None,
) -> st.Report:
    """The report of a blob.

    Args:
        blob: what encode returned.
        codec: finds its model, and bounds what is decoded.
        names: of its grids.
        source: what the report calls it.
        file_bytes: size of the file around it.
        sample: what is looked at.

    Raises what decode raises.
    """
    codec, sample = codec or Codec(), sample or Sample()
    info = inspect(blob)
    part = _part(blob, info, codec, _labels(names, len(info.grids)))
    return _of_part(part, source, "blob", file_bytes or len(blob), sample, None)


def of_arrays(
    arrays: Sequence[Any],
    *,
    codec: Codec | None = None,
    names: Sequence[str] | None = None,
    source: str = "",
    sample: Sample | None = None,
) -> st.Report:
    """What encode would make of arrays. Of many, those of the sample are encoded, and no others.

    Raises what encode raises.
    """
    codec, sample = codec or Codec(), sample or Sample()
    labels = _labels(names, len(arrays))
    chosen = sample.of(len(arrays))
    some = [np.asarray(arrays[i]) for i in chosen]
    start = time.perf_counter()
    blob = codec.encode(some)
    seconds = time.perf_counter() - start
    tokens = sum(array.size for array in some)
    part = _part(blob, inspect(blob), codec, [labels[i] for i in chosen])
    speed = tokens / seconds if tokens else None
    report = _of_part(part, source, "tokens", len(blob), sample, speed)
    everything = sum(int(np.size(array)) for array in arrays)
    sampling = replace(report.sampling, of_clips=len(arrays), of_tokens=everything)
    return replace(report, sampling=sampling)


def of_archive(
    archive: Archive,
    *,
    source: str = "",
    file_bytes: int,
    sample: Sample | None = None,
) -> st.Report:
    """The report of an archive: sizes of all clips, and a sample of them token by token.

    Raises what reading clips raises.
    """
    sample = sample or Sample()
    names = list(archive)
    clips: list[st.Clip] = []
    raw = 0
    for name in names:
        clip = archive[name]
        bits = 8 * clip.compressed_bytes / clip.size if clip.size else None
        raw += clip.raw_bytes
        clips.append(
            st.Clip(
                name, clip.shape, clip.size, clip.alphabet, clip.predictor,
                clip.compressed_bytes, None if bits is None else round(bits, 4),
            )
        )  # fmt: skip
    sums = _Sums()
    models: set[str] = set()
    choice = ""
    for number in sample.of(len(names)):
        clip = archive[names[number]]
        info = clip.info
        model = archive.codec_for(info).model_of(memoryview(clip.blob()), info)
        part = _Part([names[number]], info, model, lambda clip=clip: [np.asarray(clip)])  # type: ignore[misc]
        (found,) = list(_trace(part, sample, sums, [0]))
        clips[number] = _with_trace(clips[number], found) if found else clips[number]
        models.add(_name_of(model))
        choice = choice or _chosen(info)
    blobs = sum(clip.bytes for clip in clips)
    kept = sum(len(archive.models[name]) for name in archive.models)
    tokens = sum(clip.tokens for clip in clips)
    sizes = _sizes(tokens, raw, file_bytes, blobs, kept)
    facts = _Facts(source, "archive", ", ".join(sorted(models)) or "none", choice, False, sizes)
    return _report(facts, clips, sums, sample, None)


def _name_of(model: Model | None) -> str:
    if model is None:
        return "none"
    known = by_identity(model.identity.hex())
    return known.name if known else model.name


def _part(blob: bytes, info: BlobInfo, codec: Codec, names: Sequence[str]) -> _Part:
    def load() -> list[npt.NDArray[Any]]:
        found = codec.decode(blob)
        return found if isinstance(found, list) else [found]

    return _Part(names, info, codec.model_of(memoryview(blob), info), load)


def _of_part(
    part: _Part, source: str, kind: str, size: int, sample: Sample, encode: float | None
) -> st.Report:
    info = part.info
    clips = [
        st.Clip(
            name, grid.shape, grid.tokens, grid.alphabet, info.predictor, grid.payload_bytes,
            round(8 * grid.payload_bytes / grid.tokens, 4) if grid.tokens else None,
        )
        for name, grid in zip(part.names, info.grids, strict=True)
    ]  # fmt: skip
    sums = _Sums()
    chosen = sample.of(len(clips))
    for number, found in zip(chosen, _trace(part, sample, sums, chosen), strict=True):
        if found is not None:
            clips[number] = _with_trace(clips[number], found)
    payload = sum(grid.payload_bytes for grid in info.grids)
    sizes = _sizes(info.tokens, info.raw_bytes, size, payload, info.embedded_bytes)
    facts = _Facts(source, kind, _name_of(part.model), _chosen(info), info.solid, sizes)
    return _report(facts, clips, sums, sample, encode)


def _trace(
    part: _Part, sample: Sample, sums: _Sums, chosen: Sequence[int]
) -> Iterator[st.Traced | None]:
    """The chosen grids, looked at from their start; None for empty ones."""
    start = time.perf_counter()
    arrays = part.load()
    sums.decode_seconds += time.perf_counter() - start
    sums.decode_tokens += part.info.tokens
    wanted, groups = set(chosen), _group_tokens(part.info)
    shared: dict[tuple[int, tuple[int, ...]], Tracer] = {}
    last = max(wanted, default=-1)
    for number, (name, grid, array) in enumerate(
        zip(part.names, part.info.grids, arrays, strict=True)
    ):
        if number > last or (number not in wanted and not part.info.solid):
            continue
        if not grid.tokens:
            if number in wanted:
                yield None
            continue
        tokens = np.ascontiguousarray(array).reshape(-1, *grid.frame).astype(np.uint16)
        group = grid.alphabet, grid.frame
        if part.info.solid:
            if group not in shared:
                shared[group] = _tracer(part, grid, groups[group])
            # What came before has been learned by the coder, whoever is looked at.
            parts = _traced_chunks(part, grid, tokens, shared[group], None, sums)
        else:
            parts = _traced_chunks(part, grid, tokens, None, sample.tokens, sums)
        traces = list(parts)
        if number not in wanted:
            continue
        whole = joined(traces)
        found = st.Traced(name, grid.alphabet, tokens[: len(whole.cost)], whole)
        sums.traced.append(found)
        yield found


def _traced_chunks(
    part: _Part,
    grid: GridInfo,
    tokens: npt.NDArray[np.uint16],
    shared: Tracer | None,
    most: int | None,
    sums: _Sums,
) -> Iterator[Trace]:
    """Chunk after chunk, as they were coded, until `most` tokens were seen."""
    left = tokens.size if most is None else most
    stored = tracer("stored", None, grid.alphabet, grid.frame, 0)
    for chunk in grid.chunks:
        if left <= 0:
            return
        frames = min(chunk.frames, -(-left // grid.frame_tokens))
        some = tokens[chunk.start : chunk.start + frames]
        left -= some.size
        if chunk.kind == "stored":
            if shared is not None:
                shared.trace(some)
            trace = stored.trace(some)
        else:
            own = shared or _tracer(part, grid, grid.largest_chunk_tokens)
            trace = own.trace(some)
        if frames == chunk.frames:
            sums.cost_bits += float(trace.cost.sum(dtype=np.float64))
            sums.payload_bits += 8 * chunk.bytes
            sums.whole_tokens += some.size
        yield trace


def _tracer(part: _Part, grid: GridInfo, coder_tokens: int) -> Tracer:
    info = part.info
    return tracer(
        info.predictor, part.model, grid.alphabet, grid.frame, coder_tokens, info.parameters
    )


def _group_tokens(info: BlobInfo) -> Counter[tuple[int, tuple[int, ...]]]:
    """Tokens of the grids that share a coder in a solid blob."""
    counts: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for grid in info.grids:
        counts[grid.alphabet, grid.frame] += grid.tokens
    return counts


def _with_trace(clip: st.Clip, found: st.Traced) -> st.Clip:
    trace, repeated = found.trace, st.copied(found.tokens)
    return replace(
        clip,
        cost=round(float(trace.cost.mean(dtype=np.float64)), 4),
        entropy=round(float(trace.entropy.mean(dtype=np.float64)), 4),
        hits=round(float((trace.rank == 0).mean()), 4),
        copied=None if repeated is None else round(repeated, 4),
        traced=int(trace.cost.size),
    )


@dataclass(frozen=True)
class _Facts:
    source: str
    kind: str
    model: str
    chosen: str
    solid: bool
    sizes: st.Sizes


def _sizes(tokens: int, raw: int, total: int, payload: int, model: int) -> st.Sizes:
    return st.Sizes(
        tokens, raw, total, payload, model, total - payload - model,
        round(raw / total, 4) if tokens else None,
        round(8 * total / tokens, 4) if tokens else None,
    )  # fmt: skip


def _report(
    facts: _Facts, clips: list[st.Clip], sums: _Sums, sample: Sample, encode: float | None
) -> st.Report:
    known = [i for i, clip in enumerate(clips) if clip.bits_per_token is not None]
    bits = np.array([clips[i].bits_per_token for i in known], np.float64)
    for place, far in zip(known, st.outliers(bits), strict=True):
        clips[place] = replace(clips[place], outlier=bool(far))
    everything = joined([clip.trace.flat() for clip in sums.traced])
    tokens = int(everything.cost.size)
    calibration = st.calibration(everything)
    pairs = [(c.copied, c.traced) for c in clips if c.copied is not None]
    copied = sum(share * n for share, n in pairs) / sum(n for _, n in pairs) if pairs else None
    rows = _rows(clips, sample.rows)
    longest = max(sums.traced, key=lambda clip: len(clip.tokens), default=None)
    off = sum(one.tokens * abs(one.x - one.y) for one in calibration)
    decode = sums.decode_tokens / sums.decode_seconds if sums.decode_tokens else None
    payload = sums.payload_bits
    return st.Report(
        source=facts.source,
        kind=facts.kind,
        predictors=dict(Counter(clip.predictor for clip in clips).most_common()),
        model=facts.model,
        chosen=facts.chosen,
        solid=facts.solid,
        sizes=facts.sizes,
        sampling=st.Sampling(
            len(sums.traced), len(clips), tokens, facts.sizes.tokens, sample.seed, len(rows)
        ),
        accounting=st.Accounting(
            sums.whole_tokens, round(sums.cost_bits, 1), payload,
            round((payload - sums.cost_bits) / payload, 6) if payload else None,
        ),
        speed=st.Speed(_whole(encode), _whole(decode)),
        cost=_mean(everything.cost),
        entropy=_mean(everything.entropy),
        hits=_mean(everything.rank == 0),
        copied=None if copied is None else round(copied, 4),
        calibration_error=round(off / tokens, 5) if tokens else None,
        positions=st.positions(sums.traced),
        curves=tuple(st.curve(clip) for clip in sums.traced),
        film=st.film(longest, sample.film_start, sample.film) if longest else None,
        ranks=st.ranks(everything.rank),
        calibration=calibration,
        entropy_cost=st.entropy_cost(everything),
        usage=st.usage(sums.traced),
        distribution=st.distribution([clips[i].name for i in known], bits),
        clips=tuple(rows),
    )  # fmt: skip


def _rows(clips: list[st.Clip], most: int) -> list[st.Clip]:
    """The clips of the table: all, or those that were traced, the outliers, and the first."""
    if len(clips) <= most:
        return clips
    order = sorted(range(len(clips)), key=lambda i: (not clips[i].traced, not clips[i].outlier))
    return [clips[i] for i in sorted(order[:most])]


def _labels(names: Sequence[str] | None, count: int) -> list[str]:
    if names is not None:
        return [name or f"array {i}" for i, name in enumerate(names)]
    return [f"array {i}" for i in range(count)]


def _chosen(info: BlobInfo) -> str:
    if info.choice is None:
        return ""
    costs = [f"{c.predictor} {c.bits_per_token:.3f}" for c in info.choice.candidates]
    return f"of {info.choice.tokens:,} tokens tried, bits/token: " + ", ".join(costs)


def _mean(values: npt.NDArray[Any]) -> float | None:
    return round(float(values.mean(dtype=np.float64)), 4) if values.size else None


def _whole(speed: float | None) -> float | None:
    return None if speed is None else round(speed)
