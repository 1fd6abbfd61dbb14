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
_SCALE = 2 ** (STATE_BITS - PRECISION) - 1
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


def decode(lanes: Lanes, of_lane: Tensor, ends: Tensor) -> Tensor:
    """int32: the next symbol of each of these lanes; 0 where no encoder can have meant the words.

    ends: int32 (of_lane, symbols), one table a lane: cum + freq of every symbol. Lanes whose words
    are nonsense are given up, as by coding/decoder.py.
    """
    before = lanes.state.index_select(1, of_lane)
    offset, width, at, end = before.unbind()
    # At least 2**8, because a range never falls below 2**32.
    scale = (width >> PRECISION) & _SCALE
    quantile, valid = _quantile(offset, scale)
    symbol, cum, freq = _find(ends, quantile)
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
    # The largest offset, -1 as int64, in the smallest range: invalid for good, never exhausted.
    given_up = torch.stack(
        [torch.full_like(offset, -1), torch.full_like(width, _MIN_RANGE), before[2], end]
    )
    lanes.state.index_copy_(1, of_lane, torch.where(valid, after, given_up))
    return (symbol * valid).to(torch.int32)


def _quantile(offset: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Quantiles 0 .. USABLE - 1, and whether they are valid: if not, they may be any of these."""
    inside = (offset ^ _SIGN) < ((scale * (USABLE + 1)) ^ _SIGN)
    # Below 2**24 if inside, so that a float64 estimate of it is off by less than one.
    high, low = (offset >> WORD_BITS) & _WORD, offset & _WORD
    estimate = ((high.to(torch.float64) * 2.0**WORD_BITS + low) / scale).to(torch.int64)
    rest = offset - estimate * scale
    # One up or down where the estimate was off; less the lower guard, which is a count of its own.
    quantile = estimate + (rest >= scale) + (rest >= 0) - 2
    return quantile.clamp(0, USABLE - 1), inside & (quantile >= 0)


def _find(ends: Tensor, quantile: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The symbols that the quantiles lead to, their cum and freq: int64."""
    symbol = torch.searchsorted(ends, quantile.to(torch.int32)[:, None], right=True)
    here = torch.cat([symbol - 1, symbol], 1).clamp_(min=0)
    begin, end = ends.gather(1, here).to(torch.int64).unbind(1)
    symbol = symbol[:, 0]
    cum = begin * (symbol > 0)
    return symbol, cum, end - cum


def exhausted(lanes: Lanes) -> Tensor:
    """bool (lanes,): whether each lane's words may be used up."""
    state = lanes.state
    near = (state[OFFSET] ^ _SIGN) < (_MAX_END_OFFSET ^ _SIGN)
    return (state[NEXT] >= state[END]) & ((state[RANGE] == _WHOLE_RANGE) | near)


def _word(words: Tensor, at: Tensor, there: Tensor) -> Tensor:
    """The words at these places, where they are there, else 0."""
    place = torch.where(there, at, len(words) - 1)
    return words.index_select(0, place).to(torch.int64) & _WORD
