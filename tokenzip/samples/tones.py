"""Audio tokens: a synthetic tone mix through a real residual vector quantiser.

Every frame is 320 samples of a few gliding, fading tones and noise; the magnitudes of its 16
lowest frequencies go through eight k-means codebooks, each coding what the one before left over,
as neural audio codecs do.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tokenzip.samples.chance import Ints, Stream
from tokenzip.samples.quantiser import Vectors, as_vectors, fit, nearest

CODES = 1024
STAGES = 8
FRAME = 320  # samples
BANDS = 16
TONES = 6
SAMPLE, TRAINING = 3, 4  # domains of chance


def tokens(frames: int, seed: int) -> npt.NDArray[np.uint16]:
    """Residual codes: uint16 (frames, 8), 0 .. 1023, coarse to fine."""
    rest = _describe(frames, seed, SAMPLE)
    codes = np.empty((frames, STAGES), dtype=np.uint16)
    for stage, (gain, book) in enumerate(_codebooks()):
        codes[:, stage], rest = _step(rest, gain, book)
    return codes


@lru_cache(maxsize=1)
def _codebooks() -> list[tuple[int, Vectors]]:
    """A (gain, codebook) for each stage; later stages magnify what is left, so that it has room."""
    rest = np.concatenate([_describe(500, seed, TRAINING) for seed in range(16)])
    stages = []
    for stage in range(STAGES):
        spread = int(np.abs(rest).max(initial=1))
        gain = max(65536 * 480 // spread, 1)
        book = fit(as_vectors(rest * gain >> 16), CODES, 4, Stream(TRAINING, 99, stage))
        stages.append((gain, book))
        _, rest = _step(rest, gain, book)
    return stages


def _step(rest: Ints, gain: int, book: Vectors) -> tuple[npt.NDArray[np.uint16], Ints]:
    codes = nearest(as_vectors(rest * gain >> 16), book)
    return codes, rest - (book[codes].astype(np.int64) * 65536) // gain


def _describe(frames: int, seed: int, domain: int) -> Ints:
    """The magnitude of each of the lowest frequencies in every frame: int64 (frames, BANDS)."""
    count = frames * FRAME
    wave = np.zeros(count, dtype=np.int64)
    sine = _sine()
    for tone in range(TONES):
        # Pitch in 1/65536 turns a sample, 20 Hz to 900 Hz at 24 kHz, gliding note by note.
        pitch = Stream(domain, seed, tone, 0).wander(count, FRAME * 40, 60, 2460 // (1 + tone % 3))
        loud = Stream(domain, seed, tone, 1).wander(count, FRAME * 15, -150, 256)
        wave += sine[(np.cumsum(pitch) >> 6) & 1023] * np.maximum(loud, 0) >> 12
    hiss = Stream(domain, seed, 99).raw_bytes(2 * count).reshape(count, 2).astype(np.int64)
    wave += (hiss.sum(axis=1) - 255) >> 5
    # Integers below 2**53 in float64: exact, however a BLAS adds them; IEEE square roots are exact
    # to the last bit too.
    samples = wave.reshape(frames, FRAME).astype(np.float64)
    even, odd = samples @ _waves(256), samples @ _waves(0)
    even, odd = np.floor(even / 65536), np.floor(odd / 65536)
    return np.sqrt(even * even + odd * odd).astype(np.int64)


@lru_cache(maxsize=1)
def _sine() -> Ints:
    """One turn of a sine in 1,024 steps, +-32,767, int64.

    math.sin may differ in its last bit between machines; no value lies within 0.001 of a
    rounding boundary (a test checks), so the rounded table does not.
    """
    return np.array([round(32767 * math.sin(2 * math.pi * k / 1024)) for k in range(1024)])


@lru_cache(maxsize=2)
def _waves(shift: int) -> npt.NDArray[np.float64]:
    """The lowest frequencies over a frame, as integers of +-32,767: (FRAME, BANDS).

    ``shift`` in steps of the sine table: 0 for sines, 256 for cosines.
    """
    n, k = np.arange(FRAME)[:, None], np.arange(1, BANDS + 1)[None, :]
    turns = (2 * n + 1) * k * 512 // FRAME
    waves: npt.NDArray[np.float64] = _sine()[(turns + shift) & 1023].astype(np.float64)
    return waves
