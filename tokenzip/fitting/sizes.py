"""How large a network should be that travels with its data.

A larger network predicts better, but takes more bytes, and sees fewer tokens in the time there is.
The estimate below is rough: it was fitted to a few short runs on drive/train.h5. It need not be
good, as sizes near the best come out much alike, and real blobs have the last word (decide.py).
"""

from __future__ import annotations

import math

from ..models import Geometry, Spec, new_spec

FAMILY = "lstm"

#: From the smallest to the largest: (embedding, state, hidden).
SIZES = {
    "tiny": (16, 32, 32),
    "small": (16, 64, 64),
    "middle": (24, 128, 112),
    "base": (32, 192, 160),
}

#: What a token takes in training beside its multiply-accumulates, in these.
_OVERHEAD = 230_000
#: Bits a token of 10 bits, after having seen S tokens with P multiply-accumulates a token:
#: _ALL + _FOR_SIZE * (P / 1e5)^-0.6 + _FOR_TIME * (S / 1e6)^-0.41
_ALL, _FOR_SIZE, _FOR_TIME = 2.26, 0.3, 1.03
#: Bytes of a network for N tokens: _BYTES * (P / 145,000)^0.53 * (N / 12.5e6)^0.3.
_BYTES = 61_700


def spec_of(name: str, geometry: Geometry) -> Spec:
    """The spec of a size for these frames."""
    embedding, state, hidden = SIZES[name]
    sizes = {"embedding": embedding, "state": state, "hidden": hidden}
    return new_spec(FAMILY, "small", geometry, **sizes)


def rate_of(name: str, geometry: Geometry, measured: str, rate: float) -> float:
    """Tokens a second of one size, from the rate that was measured of another."""
    return rate * (_work(measured, geometry) + _OVERHEAD) / (_work(name, geometry) + _OVERHEAD)


def estimated_bytes(name: str, geometry: Geometry, tokens: int, seen: float) -> float:
    """About what so many tokens come to, with a network that has seen `seen` tokens in training."""
    work = _work(name, geometry)
    bits = _ALL + _FOR_SIZE * math.pow(work / 1e5, -0.6)
    bits += _FOR_TIME * math.pow(max(seen, 1) / 1e6, -0.41)
    bits *= math.log2(geometry.alphabet) / 10
    own = _BYTES * math.pow(work / 145e3, 0.53) * math.pow(tokens / 12.5e6, 0.3)
    return tokens * bits / 8 + own


def _work(name: str, geometry: Geometry) -> float:
    """Multiply-accumulates a token."""
    return spec_of(name, geometry).macs["total"]


def choose(geometry: Geometry, tokens: int, seen: dict[str, float]) -> str:
    """The size of the smallest estimate; seen: what each size would see within the budget."""
    return min(seen, key=lambda name: estimated_bytes(name, geometry, tokens, seen[name]))
