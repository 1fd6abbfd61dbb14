"""The cost of scores and its gradient on a CPU, in one pass over each row.

What functions.py computes by a dozen passes over all scores of a step, each through the main
memory, stays in the cache here: for small networks that was a quarter of all time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..coding.compiled import compiled

#: Sums are taken in so many parts side by side, which fit vectors.
_PARTS = 16
_LOW = np.float32(-126)
_NOTHING = np.float32(-1e30)
#: 2^x for x from 0 to 1 as powers of x, to 1e-7.
_C0, _C1, _C2, _C3, _C4, _C5 = (
    np.float32(c) for c in (0.9999999, 0.69315449, 0.24014182, 0.05586034, 0.00894959, 0.00189375)
)


def fast_cost(
    scores: Tensor, candidates: Tensor, targets: Tensor, *, want: bool
) -> tuple[Tensor, Tensor]:
    """Bits of each target, and their gradient by the scores.

    Args:
        scores: (R, symbols + C) on the CPU, bfloat16 or float32, in bits; the last C are bonuses.
        candidates: int64 (R, C); one that is not below symbols is none.
        targets: int64 (R,).
        want: whether the gradient is wanted; without it, it is empty.

    Returns:
        float32 (R,), and the gradient in the dtype and shape of scores.
    """
    scores = scores.detach().contiguous()
    bits = torch.empty(len(scores), dtype=torch.float32)
    gradient = torch.empty_like(scores) if want else scores.new_empty((0, scores.shape[1]))
    view, shift = (torch.int16, 16) if scores.dtype == torch.bfloat16 else (torch.int32, 0)
    _run(
        scores.view(view).numpy(),
        shift,
        candidates.contiguous().numpy(),
        targets.contiguous().numpy(),
        bits.numpy(),
        gradient.view(view).numpy(),
    )
    return bits, gradient


@compiled
def _run(scores, shift, candidates, targets, bits, gradient):  # type: ignore[no-untyped-def]
    """All rows; scores and gradient as integers, `shift` bits above which are a float32's."""
    width = scores.shape[1]
    symbols = width - candidates.shape[1]
    padded = -(-width // _PARTS) * _PARTS
    raw = np.zeros(padded, np.int32)
    p = raw.view(np.float32)
    powers = np.zeros(padded, np.int32)
    scale = powers.view(np.float32)
    parts = np.zeros(_PARTS, np.float32)
    for r in range(len(scores)):
        for j in range(width):
            raw[j] = np.int32(scores[r, j]) << shift
        for c in range(symbols, width):
            symbol = candidates[r, c - symbols]
            if symbol < symbols:
                p[symbol] += p[c]
        for c in range(symbols, padded):
            p[c] = _NOTHING
        true = p[targets[r]]
        parts[:] = _NOTHING
        for j in range(0, padded, _PARTS):
            for k in range(_PARTS):
                parts[k] = max(parts[k], p[j + k])
        highest = parts[0]
        for k in range(1, _PARTS):
            highest = max(highest, parts[k])
        for j in range(padded):
            x = max(p[j] - highest, _LOW)
            whole = np.floor(x)
            powers[j] = (np.int32(whole) + np.int32(127)) << 23
            f = x - whole
            p[j] = _C0 + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * _C5))))
        parts[:] = 0
        for j in range(0, padded, _PARTS):
            for k in range(_PARTS):
                p[j + k] *= scale[j + k]
                parts[k] += p[j + k]
        total = np.float32(0)
        for k in range(_PARTS):
            total += parts[k]
        bits[r] = highest + np.float32(np.log2(total)) - true
        if len(gradient):
            share = np.float32(1) / total
            for j in range(symbols):
                p[j] *= share
            p[targets[r]] -= np.float32(1)
            for c in range(symbols, width):
                symbol = candidates[r, c - symbols]
                p[c] = p[symbol] if symbol < symbols else np.float32(0)
            if shift:
                for j in range(width):
                    odd = (raw[j] >> 16) & 1
                    gradient[r, j] = (raw[j] + np.int32(0x7FFF) + odd) >> 16
            else:
                for j in range(width):
                    gradient[r, j] = raw[j]
