"""Range coder lanes decoded by torch, bit for bit as coding/decoder.py does.

That decoder counts in unsigned 64-bit numbers, which torch lacks: here the same 64 bits are int64.
Sums, differences, products and left shifts give the same bits either way; comparisons, right
shifts and the division are made for it below. The notation is that of coding/decoder.py.

A lane is wanted at most once in a call, and whatever the words hold, none outside is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..coding.constants import PRECISION, STATE_BITS, USABLE, WORD_BITS
from ..coding.decoder import END, NEXT, OFFSET, RANGE

_SIGN = -(2**63)
_WORD = 2**WORD_BITS - 1
_WHOLE_RANGE = -1  # 2**64 - 1
_MIN_RANGE = 2 ** (STATE_BITS - WORD_BITS)
_MAX_END_OFFSET = 2 ** (STATE_BITS - WORD_BITS + 1) - 1


@dataclass(frozen=True, eq=False)
class Lanes:
    """Lanes side by side.

    Attributes:
        words: int32, the bits of all lanes' words, and a last one of 0.
        state: int64 (4, lanes): OFFSET, RANGE, NEXT and END.
    """

    words: Tensor
    state: Tensor


def open_lanes(words: Tensor, bounds: Tensor) -> Lanes:
    """Begin to decode words[bounds[i]:bounds[i + 1]] in lane i; words as of Lanes."""
    # Bounds outside of the words are moved to their nearest end.
    bounds = bounds.clamp(0, len(words) - 1)
    at, end = bounds[:-1], bounds[1:]
    point = torch.zeros_like(at)
    for _ in range(2):
        there = at < end
        point = (point << WORD_BITS) | _word(words, at, there)
        at = at + there
    whole = torch.full_like(at, _WHOLE_RANGE)
    rows = {OFFSET: point, RANGE: whole, NEXT: at, END: end}
    return Lanes(words, torch.stack([rows[number] for number in sorted(rows)]))


def peek(lanes: Lanes, of_lane: Tensor) -> tuple[Tensor, Tensor]:
    """The quantiles of the next symbols of some lanes, and whether an encoder can have meant them.

    Where it cannot, the quantile is no quantile.
    """
    offset = lanes.state[OFFSET].index_select(0, of_lane)
    scale = _scale(lanes.state[RANGE].index_select(0, of_lane))
    valid = (offset ^ _SIGN) < ((scale * (USABLE + 1)) ^ _SIGN)
    # Below 2**24, so that a float64 estimate is off by less than one; nonsense if not valid.
    high, low = (offset >> WORD_BITS) & _WORD, offset & _WORD
    estimate = (high.to(torch.float64) * 2.0**WORD_BITS + low.to(torch.float64)) / scale
    quantile = estimate.to(torch.int64)
    rest = offset - quantile * scale
    quantile = quantile + (rest >= scale).to(torch.int64) - (rest < 0).to(torch.int64)
    return quantile - 1, valid & (quantile > 0)


def advance(lanes: Lanes, of_lane: Tensor, cum: Tensor, freq: Tensor, valid: Tensor) -> None:
    """Go past symbols with these intervals; lanes that are not valid stay where they are."""
    before = lanes.state.index_select(1, of_lane)
    offset, width, at, end = before[OFFSET], before[RANGE], before[NEXT], before[END]
    scale = _scale(width)
    offset = offset - scale * (cum + 1)
    width = scale * freq
    small = (width >= 0) & (width < _MIN_RANGE)
    there = at < end
    taken = (offset << WORD_BITS) | _word(lanes.words, at, there)
    after = torch.stack(
        [
            torch.where(small, taken, offset),
            torch.where(small, width << WORD_BITS, width),
            at + (small & there),
            end,
        ]
    )
    lanes.state.index_copy_(1, of_lane, torch.where(valid, after, before))


def exhausted(lanes: Lanes) -> Tensor:
    """bool (lanes,): whether each lane's words may be used up."""
    state = lanes.state
    near = (state[OFFSET] ^ _SIGN) < (_MAX_END_OFFSET ^ _SIGN)
    return (state[NEXT] >= state[END]) & ((state[RANGE] == _WHOLE_RANGE) | near)


def _scale(width: Tensor) -> Tensor:
    """width >> PRECISION without its sign; at least 1, as a range never falls below 2**32."""
    scale = (width >> PRECISION) & (2 ** (STATE_BITS - PRECISION) - 1)
    return scale.clamp(min=1)


def _word(words: Tensor, at: Tensor, there: Tensor) -> Tensor:
    """The words at these places, where they are there, else 0."""
    place = torch.where(there, at, len(words) - 1)
    return words.index_select(0, place).to(torch.int64) & _WORD
