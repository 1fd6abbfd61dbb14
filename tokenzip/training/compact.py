"""Twins whose weights are to cost few bits: they travel with the data that they are fitted to.

The loss is the size of all that is written, per symbol: what the symbols cost, and what the weights
cost, shared out among the symbols. Each output has a learned step instead of one that follows from
its largest weight (the format has a multiplier for each, so any step can be had), and weights are
pulled towards 0 by what their magnitude costs in a coder that knows how large those of their row
and of their column are, as models/packed.py has it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..integer import LARGEST, ONE
from ..models import Spec
from .twin import Layer, Twin

#: Steps of an output are 2 to the power of multiples of this: few multipliers, cheap to write.
_OCTAVE = 0.25
#: How much faster than weights the logarithms of steps are learned.
_STEP_SPEED = 10.0
#: Weights begin with about so many steps to their standard deviation.
_FIRST_STEPS = 4.0
#: Prices are looked up anew after so many steps.
_PRICE_STEPS = 16
#: Embeddings are multiples of this many 64ths.
_GRID = 8
#: No row or column is taken to be emptier than this.
_LEAST_MEAN = 0.02


class _Stepped(torch.autograd.Function):
    """Weights as whole numbers of steps, and as what these stand for."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, log_step: Tensor) -> tuple[Tensor, Tensor]:
        step = torch.exp2(torch.round(log_step / _OCTAVE) * _OCTAVE)[:, None]
        exact = weight / step
        steps = torch.round(exact).clamp_(-LARGEST, LARGEST)
        ctx.save_for_backward(exact, steps, step)
        return steps, steps * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        # Rounding is not seen: steps = weight / step, and a larger step moves what a weight stands
        # for by as much as it is rounded. A weight beyond the most steps stands for these, whatever
        # it is: a larger step moves it by all of them, and the weight itself only comes back.
        exact, steps, step = ctx.saved_tensors
        of_steps, of_values = gradients
        beyond = exact.abs() >= LARGEST + 0.5
        seen = exact.masked_fill(beyond, 0)
        of_log = (steps - seen).mul_(of_values).mul_(step).sub_(of_steps * seen).sum(1)
        of_weight = (of_steps / step).add_(of_values)
        return of_weight.masked_fill_(beyond & (of_weight * exact < 0), 0), of_log * math.log(2)


class CompactLayer(Layer):
    """A layer whose steps are learned."""

    def __init__(self, outputs: int, inputs: int, *, spread: float | None = None) -> None:
        super().__init__(outputs, inputs, spread=spread)
        step = float(self.weight.detach().std()) / _FIRST_STEPS
        first = math.log2(max(step, 1e-6)) / _STEP_SPEED
        self.log_step = nn.Parameter(torch.full((outputs,), first))
        self.price = Price(outputs, inputs)

    def step(self) -> Tensor:
        log_step = self.log_step.detach() * _STEP_SPEED
        return torch.exp2(torch.round(log_step / _OCTAVE) * _OCTAVE)[:, None]

    def rounded(self, dtype: torch.dtype) -> Tensor:
        steps, values = _Stepped.apply(self.weight, self.log_step * _STEP_SPEED)
        self.price.offer(steps)
        return values.to(dtype)  # type: ignore[no-any-return]


class Price(nn.Module):
    """What a matrix of whole numbers costs, in bits, if each number is drawn from a two-sided
    geometric distribution whose mean magnitude is that of its row times that of its column.

    Distributions are looked at now and then only, as they change slowly; and the gradient is that
    of the magnitudes alone: near their best, distributions matter no more.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        # Buffers, so that a run that goes on from a checkpoint knows them.
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))
        self.register_buffer("each", torch.zeros(rows, columns))
        self.register_buffer("zero", torch.zeros(()))
        self._offered: Tensor | None = None

    def offer(self, steps: Tensor) -> None:
        """The numbers (rows, columns) that bits() is about."""
        self._offered = steps

    def bits(self) -> Tensor:
        """Of the numbers that were offered, with gradients."""
        assert self._offered is not None
        magnitude = self._offered.abs()
        if int(self.age) % _PRICE_STEPS == 0:
            self._look(magnitude.detach())
        self.age += self.training
        return (magnitude * self.each).sum() + self.zero  # type: ignore[operator]

    def _look(self, magnitude: Tensor) -> None:
        rows = magnitude.mean(1, keepdim=True)
        columns = magnitude.mean(0, keepdim=True)
        mean = (rows * columns / rows.mean().clamp_min(_LEAST_MEAN)).clamp_min_(_LEAST_MEAN)
        # mean = 2 ratio / (1 - ratio^2), where ratio is that of the chances of n + 1 and n
        ratio = (torch.sqrt(1 + mean * mean) - 1).div_(mean)
        self.each = torch.log2(ratio).neg_()
        self.zero = torch.log2((1 + ratio) / (1 - ratio)).sum()


class CompactTwin(Twin):
    """A twin whose loss counts its weights.

    symbols: among how many symbols the weights are shared out.
    """

    layer = CompactLayer

    def __init__(
        self,
        spec: Spec,
        *,
        symbols: float,
        dropout: float = 0.0,
        token_dropout: float = 0.0,
    ) -> None:
        super().__init__(spec, dropout=dropout, token_dropout=token_dropout)
        self._symbols = symbols
        planes, symbols_and_none, size = self.embedding.shape
        self.prices = nn.ModuleList(Price(symbols_and_none, size) for _ in range(planes))
        self.position_price = Price(spec.geometry.sites, size)
        for head in self.heads:
            # Numbers for every site and output are dear, and the body knows its site anyway.
            for parameter in head.site_bias.parameters():
                parameter.requires_grad_(False)

    def symbol_table(self) -> Tensor:
        table = _on_grid(self.embedding)
        for price, plane in zip(self.prices, table, strict=True):
            price.offer(plane * (ONE / _GRID))
        return table

    def position_table(self) -> Tensor:
        table = _on_grid(self.position())
        self.position_price.offer(table * (ONE / _GRID))
        return table

    def penalty(self) -> Tensor:
        return self.weight_bits() / self._symbols

    def weight_bits(self) -> Tensor:
        """About what the weights of the last forward pass cost, in bits, with gradients."""
        return torch.stack([m.bits() for m in self.modules() if isinstance(m, Price)]).sum()


def _on_grid(values: Tensor) -> Tensor:
    """values as int8 activations that are multiples of _GRID, with gradients."""
    most = LARGEST // _GRID
    rounded = torch.round(values.detach() * (ONE / _GRID)).clamp_(-most, most) * (_GRID / ONE)
    return values + (rounded - values.detach())
