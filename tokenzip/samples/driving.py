"""Driving tokens: the pictures of ``scene`` through a k-means vector quantiser."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tokenzip.samples import scene
from tokenzip.samples.chance import Stream
from tokenzip.samples.quantiser import Vectors, as_vectors, fit, nearest

CODES = 1024
PATCH = 8
ROWS, COLUMNS = scene.HEIGHT // PATCH, scene.WIDTH // PATCH
SAMPLE, TRAINING = 1, 2  # domains of chance: no sample shares a drive with the codebook


def pictures(frames: int, seed: int) -> npt.NDArray[np.uint8]:
    """The drive before quantisation: uint8 (frames, 64, 128, 3)."""
    if frames == 0:
        return np.empty((0, scene.HEIGHT, scene.WIDTH, 3), dtype=np.uint8)
    drive = scene.plan(frames, seed, SAMPLE)
    return np.concatenate(list(scene.render(drive, Stream(SAMPLE, seed, 0))))


def tokens(frames: int, seed: int) -> npt.NDArray[np.uint16]:
    """The drive as tokens: uint16 (frames, 8, 16), 0 .. 1023."""
    if frames == 0:
        return np.empty((0, ROWS, COLUMNS), dtype=np.uint16)
    book = codebook()
    drive = scene.plan(frames, seed, SAMPLE)
    codes = [
        nearest(describe(batch), book) for batch in scene.render(drive, Stream(SAMPLE, seed, 0))
    ]
    return np.concatenate(codes).reshape(frames, ROWS, COLUMNS)


@lru_cache(maxsize=1)
def codebook() -> Vectors:
    """The 1,024 code words, fitted once a process (about a second) on 24 drives of their own."""
    described = []
    for seed in range(24):
        drive = scene.plan(400, seed, TRAINING)
        batches = scene.render(drive, Stream(TRAINING, seed, 0), every=25)
        described += [describe(batch) for batch in batches]
    return fit(np.concatenate(described), CODES, 8, Stream(TRAINING, 0, 99))


def describe(batch: npt.NDArray[np.uint8]) -> Vectors:
    """Each 8 x 8 patch as 16 integers: (n, 64, 128, 3) uint8 to (n * 128, 16).

    Ten low Walsh-Hadamard coefficients of brightness and three of each colour difference; that
    transform is sums and differences only, hence exact.
    """
    n = len(batch)
    patches = batch.reshape(n, ROWS, PATCH, COLUMNS, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
    planes = patches.reshape(n * ROWS * COLUMNS, 3, PATCH * PATCH).astype(np.float32)
    red, green, blue = planes[:, 0], planes[:, 1], planes[:, 2]
    basis = _walsh()
    # At most 64 * 4 * 255 = 65,280: exact in float32.
    bright = ((red + green + green + blue) @ basis).astype(np.int64)
    warm = ((red - green) @ basis[:, :3]).astype(np.int64)
    cold = ((blue - green) @ basis[:, :3]).astype(np.int64)
    # The mean counts for more than detail, as it does to the eye.
    bright[:, 0] = (bright[:, 0] - 32640) >> 7
    bright[:, 1:] >>= 8
    return as_vectors(np.concatenate([bright, warm >> 7, cold >> 7], axis=1))


@lru_cache(maxsize=1)
def _walsh() -> Vectors:
    """The ten lowest of the 8 x 8 Walsh functions, as columns of +-1: (64, 10)."""
    one = np.array([[1]])
    for _ in range(3):
        one = np.block([[one, one], [one, -one]])
    one = one[np.argsort((np.diff(one, axis=1) != 0).sum(axis=1))]  # by number of sign changes
    low = [(u, v) for total in range(4) for u in range(total + 1) for v in [total - u]]
    return np.stack([np.outer(one[u], one[v]).ravel() for u, v in low], axis=1).astype(np.float32)
