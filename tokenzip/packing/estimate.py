"""What packing would come to, guessed from a few clips."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codec import Codec, inspect
from ..errors import FileError, TokenzipError
from ..grid import TokenGrid
from .sources import Failed, Sources


@dataclass(frozen=True)
class Estimate:
    """A guess for one predictor.

    Attributes:
        predictor: its name.
        clips: clips in the sources.
        sampled: clips that were tried.
        tokens: tokens in the sources, about.
        bytes: size of the archive, about.
        error: by how much that may be off: two standard errors of the sample, in bytes.
        ratio: bit-packed tokens over bytes.
        bits_per_token: of the blobs that were tried.
        seconds: time to pack with as many workers as were asked for.
    """

    predictor: str
    clips: int
    sampled: int
    tokens: int
    bytes: int
    error: int
    ratio: float
    bits_per_token: float
    seconds: float


def estimate(
    sources: Sources,
    *,
    predictors: Sequence[str] = ("adaptive", "stored"),
    sample: int = 5,
    workers: int = 1,
    seed: int = 0,
    failed: Failed | None = None,
    **options: Any,
) -> list[Estimate]:
    """Try some clips, chosen by chance, and scale up.

    All sources are walked through (so that shards are read to their ends), but few clips are kept
    and coded.

    Args:
        sources: from find_clips.
        predictors: to compare.
        sample: how many clips are tried.
        workers: how many processes will pack.
        seed: for the choice.
        failed: as find_clips(...).clips has it.
        options: for encoding.

    Raises:
        FileError: there are no clips.
    """
    chance = random.Random(seed)
    kept: list[tuple[int, np.ndarray[Any, Any]]] = []
    clips = total = 0
    for clip in sources.clips(failed):
        clips += 1
        total += clip.nbytes
        # Every clip has the same chance to be among those that are kept in the end.
        place = clips - 1 if len(kept) < sample else chance.randrange(clips)
        if place < sample:
            try:
                chosen = clip.nbytes, TokenGrid.of(np.array(clip.load())).tokens
            except (TokenzipError, OSError, MemoryError) as error:
                if failed is None:
                    raise
                failed(clip.source, error)
                clips -= 1
                total -= clip.nbytes
                continue
            if place < len(kept):
                kept[place] = chosen
            else:
                kept.append(chosen)
    kept = [(nbytes, array) for nbytes, array in kept if array.size]
    if not kept:
        raise FileError("there are no clips with tokens in these sources")
    return [_try(name, kept, clips, total, workers, options) for name in predictors]


def _try(
    predictor: str,
    kept: Sequence[tuple[int, np.ndarray[Any, Any]]],
    clips: int,
    total: int,
    workers: int,
    options: dict[str, Any],
) -> Estimate:
    if predictor in ("adaptive", "stored"):
        options = {name: value for name, value in options.items() if name != "model"}
    codec = Codec(**{**options, "predictor": predictor})
    if predictor != "stored":
        # Compiles, which is no part of the work; enough tokens for models to be tried.
        first = kept[0][1]
        codec.encode(first[: max(1, 2048 // max(1, first[:1].size))])
    start = time.perf_counter()
    blobs = [codec.encode(array) for _, array in kept]
    seconds = time.perf_counter() - start
    sizes = [len(blob) for blob in blobs]
    weights = [max(1, nbytes) for nbytes, _ in kept]
    scale = total / sum(weights)
    tokens = sum(array.size for _, array in kept)
    infos = [inspect(blob) for blob in blobs]
    return Estimate(
        predictor=predictor,
        clips=clips,
        sampled=len(kept),
        tokens=round(tokens * scale),
        bytes=round(sum(sizes) * scale),
        error=round(2 * _standard_error(sizes, weights) * total),
        ratio=sum(info.raw_bytes for info in infos) / sum(sizes),
        bits_per_token=8 * sum(sizes) / tokens,
        seconds=seconds * scale / workers,
    )


def _standard_error(sizes: Sequence[int], weights: Sequence[int]) -> float:
    """Of the ratio of sizes to weights, as the sample's scatter tells it."""
    count = len(sizes)
    if count < 2:
        return 0.0
    ratio = sum(sizes) / sum(weights)
    squares = sum((s - ratio * w) ** 2 for s, w in zip(sizes, weights, strict=True))
    mean = sum(weights) / count
    return math.sqrt(squares / (count - 1) / count) / mean
