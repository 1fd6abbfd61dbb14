"""Adaptive payloads against the decoder that was written from FORMAT.md alone."""

from __future__ import annotations

import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from reference import adaptive_decoder as reference
from reference import blob_decoder

import tokenzip
from tokenzip.predictors.adaptive import AdaptiveCoder


def lively(shape: tuple[int, ...], alphabet: int, seed: int = 0) -> np.ndarray:
    """Tokens that often repeat in time and space, are often rare, and sometimes of nowhere."""
    rng = np.random.default_rng(seed)
    frames, *frame = shape
    grid = np.empty(shape, np.uint16)
    now = rng.integers(0, alphabet, frame)
    for t in range(frames):
        fresh = rng.integers(0, alphabet, frame)
        fresh = fresh * (fresh + 1) // alphabet  # small ones more often
        now = np.where(rng.random(frame) < 0.25, fresh, now)
        if frame:
            now = np.where(rng.random(frame) < 0.1, np.roll(now, 1, -1), now)
        grid[t] = now
    return grid


CASES = [
    # classes are learned at 1024 symbols, and again at twice the number where there are as many
    pytest.param((36, 6, 10), 40, id="video, classes learned twice"),
    pytest.param((6, 3, 4), 40, id="few frames"),
    pytest.param((20, 5, 7), 2, id="binary video"),
    pytest.param((2, 30, 50), 3, id="blocks of rows"),
    pytest.param((2, 2, 300), 5, id="blocks of parts of rows"),
    pytest.param((300, 4), 40, id="codebooks"),
    pytest.param((60, 40), 17, id="rows without planes"),
    pytest.param((1200,), 40, id="stream"),
    pytest.param((1200,), 2, id="binary stream"),
    pytest.param((1, 12, 12), 40, id="image"),
    pytest.param((1, 40, 40), 30, id="image with classes"),
    pytest.param((1, 1, 1), 7, id="one token"),
    pytest.param((24, 6, 8), 5000, id="split video"),
    pytest.param((200, 3), 65536, id="split codebooks"),
    pytest.param((600,), 4097, id="split stream"),
    pytest.param((9, 50, 40), 2, id="lanes"),
]


@pytest.mark.parametrize(("shape", "alphabet"), CASES)
def test_decodes_what_the_coder_encodes(shape: tuple[int, ...], alphabet: int) -> None:
    tokens = lively(shape, alphabet)
    payload = AdaptiveCoder(alphabet, shape[1:], tokens.size).encode(tokens)
    decoder = reference.Decoder(alphabet, shape[1:], tokens.size)
    assert decoder.decode(payload, shape[0], prod(shape[1:])) == tokens.ravel().tolist()


def test_the_cases_learn_classes_and_have_lanes() -> None:
    """What the names of the cases promise."""
    learned = reference.Decoder(40, (6, 10), 36 * 60)
    learned.observe(lively((36, 6, 10), 40).ravel().tolist())
    assert learned.next_classes > 2 * reference.C["FIRST_CLASSES"]
    assert learned.class_of != [[s % 32 for s in range(40)]]
    assert reference.C["SYMBOLS_FOR_LANES"] <= 9 * 50 * 40


@pytest.mark.parametrize("alphabet", [40, 6000])
def test_one_state_across_segments(alphabet: int) -> None:
    """As in solid blobs: coded, observed (as after a stored chunk), coded; classes come between."""
    frame = (4, 5)
    parts = [lively((frames, *frame), alphabet, seed) for seed, frames in enumerate((31, 23, 30))]
    size = sum(part.size for part in parts)
    coder = AdaptiveCoder(alphabet, frame, size)
    decoder = reference.Decoder(alphabet, frame, size)
    for number, part in enumerate(parts):
        payload = coder.encode(part)
        if number == 1:
            decoder.observe(part.ravel().tolist())
        else:
            assert decoder.decode(payload, len(part), prod(frame)) == part.ravel().tolist()
    assert decoder.next_classes > reference.C["FIRST_CLASSES"]


def test_counts_that_reach_their_end() -> None:
    """Large counts have coarse logarithms, and stop at last."""
    tokens = np.zeros((67_000,), np.uint16)
    tokens[66_000:] = np.arange(1000) % 3 // 2
    coder = AdaptiveCoder(2, (), tokens.size)
    coder.observe(tokens[:66_900])
    payload = coder.encode(tokens[66_900:])
    decoder = reference.Decoder(2, (), tokens.size)
    decoder.observe(tokens[:66_900].tolist())
    assert decoder.decode(payload, 100, 1) == tokens[66_900:].tolist()


@pytest.mark.parametrize("solid", [False, True])
def test_whole_blobs(solid: bool) -> None:
    """A blob read with nothing but the three reference decoders."""
    grids = [lively((30, 4, 6), 50), lively((26, 4, 6), 50, 1)]
    blob = tokenzip.encode(grids, alphabet=50, predictor="adaptive", solid=solid, chunk_frames=16)
    parsed = blob_decoder.parse(blob)
    assert (parsed.predictor, parsed.parameters, parsed.flags) == (1, b"\1", 1 + 2 * solid)
    group = reference.Decoder(50, (4, 6), sum(grid.size for grid in grids))
    for grid, info in zip(grids, parsed.grids, strict=True):
        decoded = []
        for frames, (code, _, _), part in zip(
            info.chunk_frames, info.table, info.tokens, strict=True
        ):
            assert code > 0
            fresh = reference.Decoder(50, (4, 6), max(info.chunk_frames) * 24)
            decoded += (group if solid else fresh).decode(part, frames, 24)
        assert decoded == grid.ravel().tolist()
