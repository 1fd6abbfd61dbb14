"""The network's functions as the integers compute them, with gradients (straight-through).

A weight is rounded to 255 steps an output, an activation to steps of 1/64 within +-127/64; the
rounding is not seen by the gradient, clipping is. What is finer than that in the integer network
(tables, the cell's fixed point, multipliers) is left out: export.py's tests measure that it does
not matter.

Values come in bfloat16 or float32; sums inside are float32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..integer import LARGEST, ONE
from .fast_cost import fast_cost

_LOG2 = math.log(2)


class _RoundedActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: int) -> Tensor:
        y = torch.round(x * ONE)
        ctx.save_for_backward((y >= low) & (y <= LARGEST))
        return y.clamp_(low, LARGEST).div_(ONE)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None


def activation(x: Tensor, *, positive: bool = False) -> Tensor:
    """x as an int8 activation."""
    return _RoundedActivation.apply(x, 0 if positive else -LARGEST)  # type: ignore[no-any-return]


def weight_step(weight: Tensor) -> Tensor:
    """The size (..., M, 1) of one step of each output's weights (..., M, K)."""
    return weight.detach().abs().amax(-1, keepdim=True).clamp_min(1e-6) / LARGEST


def rounded_weight(weight: Tensor) -> Tensor:
    """weight as int8 steps of its outputs."""
    step = weight_step(weight)
    return weight + (torch.round(weight.detach() / step) * step - weight.detach())


def _rounded_output(x: Tensor) -> Tensor:
    """2 x for x in (-1, 1), as an int8 activation; in place."""
    return x.mul_(2 * ONE).round_().clamp_(-LARGEST, LARGEST).div_(ONE)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, arguments: Tensor) -> Tensor:
        width = arguments.shape[-1] // 2
        s = torch.sigmoid(arguments[..., :width])
        t = torch.tanh(arguments[..., width:])
        ctx.save_for_backward(s, t)
        return _rounded_output(s * t)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        s, t = ctx.saved_tensors
        through = gradients[0] * 2 * s
        return torch.cat([through * t * (1 - s), through * (1 - t * t)], -1)


def gate(arguments: Tensor) -> Tensor:
    """2 sigmoid(o) tanh(g) of [o, g]."""
    return _Gate.apply(arguments)  # type: ignore[no-any-return]


class _Cell(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, arguments: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        width = c.shape[1]
        full = arguments.float()
        s = torch.sigmoid(full[:, : 3 * width])
        i, f, o = s[:, :width], s[:, width : 2 * width], s[:, 2 * width :]
        g = torch.tanh(full[:, 3 * width :])
        after = (f * c).addcmul_(i, g)
        t = torch.tanh(after)
        ctx.save_for_backward(s, g, c, t)
        return _rounded_output(o * t).to(arguments.dtype), after

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        s, g, c, t = ctx.saved_tensors
        width = c.shape[1]
        i, f, o = s[:, :width], s[:, width : 2 * width], s[:, 2 * width :]
        dh = gradients[0].float() * 2
        dc = dh * o * (1 - t * t) + gradients[1]
        ds = torch.empty_like(s)
        ds[:, :width] = dc * g
        ds[:, width : 2 * width] = dc * c
        ds[:, 2 * width :] = dh * t
        ds *= s * (1 - s)
        dg = dc * i * (1 - g * g)
        return torch.cat([ds, dg], 1).to(gradients[0].dtype), dc * f


def cell(arguments: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One LSTM step: arguments (R, 4 D) of [i, f, o, g], c float32 (R, D) -> 2 h, c."""
    return _Cell.apply(arguments, c)  # type: ignore[no-any-return]


class _Cost(torch.autograd.Function):
    """The gradient is made in the forward pass, where the probabilities are at hand."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, candidates: Tensor, targets: Tensor, shares: Tensor | None
    ) -> Tensor:
        if (
            shares is None
            and scores.device.type == "cpu"
            and scores.dtype in (torch.bfloat16, torch.float32)
        ):
            bits, gradient = fast_cost(scores, candidates, targets, want=ctx.needs_input_grad[0])
            ctx.save_for_backward(gradient)
            return bits
        symbols = scores.shape[1] - candidates.shape[1]
        known = candidates < symbols
        places = torch.where(known, candidates, 0)
        bonuses = scores[:, symbols:].float() * known
        p = scores[:, :symbols].float().scatter_add_(1, places, bonuses).mul_(_LOG2)
        if shares is None:
            targets, shares = targets[:, None], p.new_ones((len(p), 1))
            rest = 0.0
            true = p.gather(1, targets)
        else:
            # What the shares leave over is all symbols' alike.
            left = (1 - shares.sum(1, keepdim=True)) / symbols
            true = (p.gather(1, targets) * shares).sum(1, keepdim=True)
            true += left * p.sum(1, keepdim=True)
            rest = left
        highest = p.amax(1, keepdim=True)
        p.sub_(highest).exp_()
        total = p.sum(1, keepdim=True)
        if ctx.needs_input_grad[0]:
            p.div_(total).sub_(rest).scatter_add_(1, targets, -shares)
            of_bonuses = p.gather(1, places) * known
            ctx.save_for_backward(torch.cat([p, of_bonuses], 1).to(scores.dtype))
        return (highest + total.log() - true)[:, 0] / _LOG2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (d,) = ctx.saved_tensors
        return d * gradients[0][:, None].to(d.dtype), None, None, None


def cost(
    scores: Tensor, candidates: Tensor, targets: Tensor, shares: Tensor | None = None
) -> Tensor:
    """Bits of each target, float32 (R,).

    scores (R, symbols + C), in bits: the last C are bonuses of the candidates, int64 (R, C);
    a candidate that is not below `symbols` is none. targets int64 (R,), or, with shares float32
    (R, K), int64 (R, K): the cost is the mean over targets by their shares, which make at most 1;
    what they leave over is all symbols' alike. Scores of float32 are overwritten.
    """
    return _Cost.apply(scores, candidates, targets, shares)  # type: ignore[no-any-return]
