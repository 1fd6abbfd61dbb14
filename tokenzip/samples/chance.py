"""Chance in whole numbers: the same on every machine and numpy version.

Only the raw 64-bit words of PCG64 are used (numpy promises that stream for ever; it does not
promise what ``Generator.normal`` or ``Generator.integers`` make of it), and everything after that
is integer arithmetic. Every stream is named by a tuple of small integers, and asking one for
more values never changes the first ones, so a longer sample begins with the shorter one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Stream:
    """One named stream of random integers."""

    def __init__(self, *name: int) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence(list(name)))

    def raw_bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """``count`` random bytes, uint8 of shape (count,); count must be a multiple of 8."""
        # Little-endian by name, so that a big-endian machine sees the same bytes.
        return self._words.random_raw(count // 8).astype("<u8").view(np.uint8)

    def integers(self, low: int, high: int, count: int) -> Ints:
        """``count`` integers in [low, high), int64; (high - low) must stay below 2**31."""
        top = self._words.random_raw(count) >> np.uint64(32)
        values: Ints = ((top * np.uint64(high - low)) >> np.uint64(32)).astype(np.int64)
        return values + low

    def integer(self, low: int, high: int) -> int:
        """One integer in [low, high)."""
        return int(self.integers(low, high, 1)[0])

    def wander(self, count: int, knot: int, low: int, high: int) -> Ints:
        """A smooth random signal: values in [low, high) at every ``knot``-th step, eased between.

        Returns int64 of shape (count,).
        """
        knots = self.integers(low, high, count // knot + 2)
        return ease(knots, np.arange(count, dtype=np.int64), knot)


def ease(knots: Ints, at: Ints, step: int) -> Ints:
    """Smoothstep between ``knots``, which lie ``step`` apart, at the integer places ``at`` >= 0.

    Knots repeat past their end. Returns int64 of the shape of ``at``.
    """
    index, rest = np.divmod(at, step)
    t = (rest * 256) // step
    weight = (t * t * (3 * 256 - 2 * t)) >> 16
    left, right = knots[index % len(knots)], knots[(index + 1) % len(knots)]
    eased: Ints = left + (((right - left) * weight) >> 8)
    return eased


def hashed(
    a: npt.NDArray[np.signedinteger], b: npt.NDArray[np.signedinteger], salt: int
) -> npt.NDArray[np.int32]:
    """A value in [0, 256) for each pair of integers (broadcast), int32: texture fixed to places."""
    # Unsigned 32-bit arithmetic wraps around, by definition and on purpose.
    x = a.astype(np.uint32) * np.uint32(0x9E3779B1) ^ np.uint32(salt & 0xFFFFFFFF)
    x = x ^ b.astype(np.uint32) * np.uint32(0x85EBCA77)
    x = (x ^ x >> np.uint32(15)) * np.uint32(0xC2B2AE3D)
    top: npt.NDArray[np.int32] = (x >> np.uint32(24)).astype(np.int32)
    return top
