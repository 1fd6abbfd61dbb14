"""A vector quantiser that gives the same codes on every machine.

Vectors and code words are small integers held in float32, so that the distances come from one
matrix product: with at most ``MAX_DIMENSIONS`` entries of at most ``LIMIT`` in size, every partial
sum is an integer below 2**24, which float32 holds exactly, in whatever order a BLAS adds.
Means are floored integer divisions. Ties go to the lowest index.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tokenzip.samples.chance import Stream

Vectors = npt.NDArray[np.float32]

LIMIT = 500
MAX_DIMENSIONS = 20  # |c|^2 + 2 |x . c| <= 3 * 20 * 500^2 = 15.0 M < 2^24 = 16.8 M


def as_vectors(values: npt.NDArray[np.int64]) -> Vectors:
    """Clip integers (n, d), d <= MAX_DIMENSIONS, to +-LIMIT and give them as float32."""
    return np.clip(values, -LIMIT, LIMIT).astype(np.float32)


def nearest(vectors: Vectors, codebook: Vectors) -> npt.NDArray[np.uint16]:
    """The index of the nearest code word to each vector: uint16 (n,) for (n, d) and (k, d)."""
    twice = np.ascontiguousarray(codebook.T) * np.float32(-2)
    norms = (codebook * codebook).sum(axis=1)
    codes = np.empty(len(vectors), dtype=np.uint16)
    for start in range(0, len(vectors), 4096):  # 16 MB of distances at a time
        distances = vectors[start : start + 4096] @ twice
        distances += norms
        codes[start : start + 4096] = distances.argmin(axis=1)
    return codes


def fit(vectors: Vectors, size: int, rounds: int, stream: Stream) -> Vectors:
    """A codebook (size, d) by Lloyd's algorithm in integers, begun at random vectors.

    A code word that no vector chose moves to a random vector.
    """
    book: Vectors = vectors[stream.integers(0, len(vectors), size)].copy()
    for _ in range(rounds):
        codes = nearest(vectors, book)
        counts = np.bincount(codes, minlength=size)
        for d in range(vectors.shape[1]):
            # bincount adds float64: integers far below 2**53, hence exact.
            sums = np.bincount(codes, weights=vectors[:, d], minlength=size).astype(np.int64)
            book[:, d] = (2 * sums + counts) // np.maximum(2 * counts, 1)
        unused = np.flatnonzero(counts == 0)
        book[unused] = vectors[stream.integers(0, len(vectors), len(unused))]
    return book
