"""Sample tokens. ``drive``, ``audio`` and ``image`` are SYNTHETIC: made here from a seed, by
integer arithmetic alone, so that they are the same to the bit on every machine; ``fetch`` brings
real ones.

    tokens = tokenzip.samples.drive(frames=1200, seed=0)            # (1200, 8, 16), 0 .. 1023
    path = tokenzip.samples.fetch("commavq-example")                # comma.ai's real example drive

A longer sample of one seed begins with the shorter one. Rates of compression on synthetic tokens
say little about real ones: they are for tests and demonstrations.
"""

from __future__ import annotations

import operator
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from tokenzip.errors import OptionError
from tokenzip.samples.download import fetch

__all__ = ["audio", "drive", "drive_pictures", "fetch", "image"]


def drive(frames: int = 1200, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Tokens of a procedural first-person drive: uint16 (frames, 8, 16), alphabet 1024.

    A road in perspective with lane marks, bends, trees, houses, traffic, changing light and sensor
    noise, drawn at 128 x 64 and 20 frames a second, then quantised patch by patch (8 x 8 pixels)
    with a k-means codebook of 1,024 fitted on other drives. Synthetic. 1,200 frames take about
    three seconds, plus two for the codebook the first time.

    Raises:
        OptionError: frames or seed is negative or not an integer.
    """
    from tokenzip.samples import driving

    return driving.tokens(_count("frames", frames), _count("seed", seed))


def drive_pictures(frames: int = 1200, seed: int = 0) -> npt.NDArray[np.uint8]:
    """The pictures behind ``drive`` with the same arguments: uint8 (frames, 64, 128, 3), RGB.

    Raises:
        OptionError: frames or seed is negative or not an integer.
    """
    from tokenzip.samples import driving

    return driving.pictures(_count("frames", frames), _count("seed", seed))


def audio(frames: int = 1000, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Residual codes of a synthetic tone mix: uint16 (frames, 8), alphabet 1024, coarse to fine.

    75 frames a second; eight k-means codebooks, each quantising what the one before left over.

    Raises:
        OptionError: frames or seed is negative or not an integer.
    """
    from tokenzip.samples import tones

    return tones.tokens(_count("frames", frames), _count("seed", seed))


def image(seed: int = 0) -> npt.NDArray[np.uint16]:
    """Tokens of one picture: uint16 (1, 32, 32), alphabet 1024.

    A sheet of eight pictures of synthetic drives, two across and four down, with the codes of
    ``drive``.

    Raises:
        OptionError: seed is negative or not an integer.
    """
    from tokenzip.samples import driving

    first = _count("seed", seed) * 8
    pictures = [driving.tokens(1, first + k)[0] for k in range(8)]
    return np.block([[pictures[2 * row], pictures[2 * row + 1]] for row in range(4)])[None]


def _count(name: str, value: SupportsIndex) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise OptionError(f"{name} must be a whole number, not {value!r}") from None
    if number < 0:
        raise OptionError(f"{name} must not be negative, and is {number}")
    return number
