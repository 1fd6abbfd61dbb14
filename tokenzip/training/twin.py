"""The float twin of an integer network: the same computation in torch, to be trained.

Parameters have the names of the model file's tensors, so that export.py needs no table of names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models import CONV_SPACE, CONV_TIMES, HISTORY, Spec
from ..models.features import Place
from ..models.parts import body_layers
from .functions import activation, cell, cost, gate, rounded_weight, weight_step

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Taught:
    """Lessons about a batch: `blind`, `labels` and `shares` of streams.Batch, as tensors."""

    blind: Tensor
    labels: Tensor
    shares: Tensor


#: Above so many sites positions are the sum of a row's and a column's.
_MANY_SITES = 512


class Layer(nn.Module):
    """A linear layer with rounded weights."""

    def __init__(self, outputs: int, inputs: int, *, spread: float | None = None) -> None:
        super().__init__()
        spread = 1 / math.sqrt(max(inputs, 1)) if spread is None else spread
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * spread)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def step(self) -> Tensor:
        """The size (outputs, 1) of one step of each output's weights."""
        return weight_step(self.weight)

    def rounded(self, dtype: torch.dtype) -> Tensor:
        """The weights as whole steps, in `dtype`, with gradients."""
        return rounded_weight(self.weight).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.rounded(x.dtype), self.bias.to(x.dtype))


class Positions(nn.Module):
    """Numbers for every site."""

    def __init__(self, height: int, width: int, size: int, spread: float) -> None:
        super().__init__()
        self._shape = (height, width)
        many = height * width > _MANY_SITES
        self.site = None if many else nn.Parameter(torch.randn(height * width, size) * spread)
        self.row = nn.Parameter(torch.randn(height, 1, size) * spread) if many else None
        self.column = nn.Parameter(torch.randn(1, width, size) * spread) if many else None

    def forward(self) -> Tensor:
        """(sites, size)."""
        if self.row is None or self.column is None:
            assert self.site is not None
            return self.site
        return (self.row + self.column).flatten(0, 1)


class Head(nn.Module):
    """One plane's hidden layer and output."""

    def __init__(self, spec: Spec, dropout: float, layer: type[Layer] = Layer) -> None:
        super().__init__()
        self.dropout = dropout
        geometry, candidates = spec.geometry, len(spec.features.candidates)
        self.layer = layer(spec.hidden, spec.body_outputs + spec.symbol_inputs)
        self.site_bias = Positions(geometry.height, geometry.width, spec.hidden, 0.0)
        self.output = layer(geometry.symbols + candidates, spec.hidden, spread=0.02)
        with torch.no_grad():
            self.output.bias[geometry.symbols :] = 2.0  # a repeat is likely

    def forward(self, x: Tensor) -> Tensor:
        """x (B * T, S, inputs) -> scores (rows, symbols + candidates), in bits."""
        x = F.dropout(x, self.dropout, self.training)
        z = activation(self.layer(x) + self.site_bias().to(x.dtype), positive=True)
        z = F.dropout(z, self.dropout, self.training)
        return self.output(z).flatten(0, 1)  # type: ignore[no-any-return]


class Twin(nn.Module):
    """A network of a spec, in float, with the integer network's rounding.

    dropout and token_dropout act in training mode only: the first on the inputs of body and heads
    and on the heads' hidden numbers; the second makes symbols of the context "no symbol", as a
    place outside the frame has, with this probability.
    """

    #: What its layers are.
    layer: type[Layer] = Layer

    def __init__(self, spec: Spec, *, dropout: float = 0.0, token_dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.dropout, self.token_dropout = dropout, token_dropout
        geometry = spec.geometry
        shape = (geometry.planes, geometry.symbols + 1, spec.embedding)
        self.embedding = nn.Parameter(torch.randn(shape) * 0.5)
        self.position = Positions(geometry.height, geometry.width, spec.embedding, 0.1)
        self.body = nn.ModuleDict(
            {
                name: self.layer(outputs, inputs)
                for name, (outputs, inputs) in body_layers(spec).items()
            }
        )
        if spec.family == "lstm":
            with torch.no_grad():
                self.body["lstm"].bias[spec.state : 2 * spec.state] = 1.5  # remember, at first
        self.heads = nn.ModuleList(Head(spec, dropout, self.layer) for _ in range(geometry.planes))
        self._pad = max(max(abs(y), abs(x)) for _, y, x in spec.features.places)

    def hidden_layers(self) -> Iterator[tuple[Layer, int]]:
        """The layers but for the outputs, and of how many matrices their rows are made."""
        for name, layer in self.body.items():
            parts = 4 if name == "lstm" else 1 if name == "squeeze" else 2
            yield layer, parts  # type: ignore[misc]
        for head in self.heads:
            yield head.layer, 1  # type: ignore[misc]

    def symbol_table(self) -> Tensor:
        """The embeddings (planes, symbols + 1, E) as int8 activations, with gradients."""
        return activation(self.embedding)

    def position_table(self) -> Tensor:
        """The sites' embeddings (sites, E) as int8 activations, with gradients."""
        return activation(self.position())

    def penalty(self) -> Tensor | None:
        """What is added to the loss, in bits a symbol, for reasons beside the tokens' cost."""
        return None

    def forward(
        self,
        symbols: Tensor,
        state: State | None = None,
        dtype: torch.dtype = torch.float32,
        taught: Taught | None = None,
    ) -> tuple[Tensor, State]:
        """The cost of every symbol.

        Args:
            symbols: int64 (B, HISTORY + T, height, width, planes); `spec.geometry.symbols` where
                there is none. The first HISTORY frames are context.
            state: the body's after the frames before; None at the start of clips.
            dtype: of activations and products.
            taught: what to learn instead of the symbols that came.

        Returns:
            bits float32 (B, T, height, width, planes), and the state after these frames.
        """
        spec, geometry = self.spec, self.spec.geometry
        batch, frames = symbols.shape[0], symbols.shape[1] - HISTORY
        pad, seen = self._pad, symbols
        if self.training and self.token_dropout > 0:
            lost = torch.rand(symbols.shape, device=symbols.device) < self.token_dropout
            seen = symbols.masked_fill(lost, geometry.symbols)
        padded = F.pad(seen, (0, 0, pad, pad, pad, pad), value=geometry.symbols)
        embedded = self._embed(padded, dtype)
        # What is seen of the frame that is being predicted: of some clips nothing.
        here, embedded_here = padded, embedded
        if taught is not None:
            blind = taught.blind.view(-1, *[1] * (padded.ndim - 1))
            here = padded.masked_fill(blind, geometry.symbols)
            embedded_here = self._embed(here, dtype)
        position = self.position_table().to(dtype)
        position = position.view(1, 1, geometry.height, geometry.width, -1)
        parts = [self._at(embedded, place) for place in spec.features.window]
        parts += [position.expand(batch, frames, -1, -1, -1)]
        parts += [self._same(padded, padded, a, b, dtype) for a, b in spec.features.past]
        inputs = F.dropout(torch.cat(parts, -1), self.dropout, self.training)
        features, state = self._body(inputs, state)
        shared = [features]
        shared += [self._at(embedded_here, place) for place in spec.features.neighbours]
        own = self._own_inputs(here, padded, embedded_here, dtype)
        now = [self._same(here, padded, a, b, dtype) for a, b in spec.features.now]
        shape = (batch, frames, geometry.height, geometry.width)
        costs = []
        for plane, head in enumerate(self.heads):
            x = torch.cat([*shared, *own[0][plane], *now, *own[1][plane]], -1)
            scores = head(x.flatten(2, 3).flatten(0, 1))
            candidates = [
                self._at((padded if place[0] else here)[..., plane : plane + 1], place)
                for place in spec.features.candidates
            ]
            # An empty one in front, as there may be no candidates.
            found = torch.cat([symbols.new_empty((*shape, 0)), *candidates], -1)
            if taught is None:
                targets, shares = symbols[:, HISTORY:, ..., plane].reshape(-1), None
            else:
                targets = taught.labels[..., plane, :].flatten(0, 3)
                shares = taught.shares[..., plane, :].flatten(0, 3)
            bits = cost(scores, found.flatten(0, 3), targets, shares)
            costs.append(bits.view(shape))
        return torch.stack(costs, -1), state

    def _embed(self, padded: Tensor, dtype: torch.dtype) -> Tensor:
        table = self.symbol_table().to(dtype)
        planes = [F.embedding(padded[..., k], table[k]) for k in range(len(table))]
        return torch.cat(planes, -1)

    def _own_inputs(
        self, here: Tensor, padded: Tensor, embedded: Tensor, dtype: torch.dtype
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """For each plane: the site's planes before it, and whether they repeat the last frame."""
        planes, width = self.spec.geometry.planes, self.spec.embedding
        if planes == 1:
            return [[]], [[]]
        site = self._at(embedded, (0, 0, 0))
        same = self._same(here, padded, (0, 0, 0), (1, 0, 0), dtype)

        def before(values: Tensor, columns: int) -> Tensor:
            kept = values[..., :columns]
            return F.pad(kept, (0, values.shape[-1] - columns))

        return (
            [[before(site, plane * width)] for plane in range(planes)],
            [[before(same, plane)] for plane in range(planes)],
        )

    def _at(self, values: Tensor, place: Place) -> Tensor:
        """values (B, HISTORY + T, padded height, padded width, C) at a place around each site."""
        (back, down, right), pad, geometry = place, self._pad, self.spec.geometry
        frames = values.shape[1] - HISTORY
        return values[
            :,
            HISTORY - back : HISTORY - back + frames,
            pad + down : pad + down + geometry.height,
            pad + right : pad + right + geometry.width,
        ]

    def _same(self, here: Tensor, padded: Tensor, a: Place, b: Place, dtype: torch.dtype) -> Tensor:
        """Whether two places hold the same; `here` is what is seen of the frame predicted."""
        first, second = (self._at(padded if place[0] else here, place) for place in (a, b))
        equal = (first == second) & (first != self.spec.geometry.symbols)
        return equal.to(dtype)

    def _body(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        if self.spec.family == "lstm":
            return self._lstm(x, state)
        return self._conv3d(x, state)

    def _lstm(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        batch, frames, height, width, inputs = x.shape
        rows, layer = batch * height * width, self.body["lstm"]
        h, c = state or (
            x.new_zeros(rows, self.spec.state),
            torch.zeros(rows, self.spec.state, device=x.device),
        )
        weight = layer.rounded(x.dtype)  # type: ignore[operator]
        by_frame = x.transpose(0, 1).reshape(frames, rows, inputs)
        arguments = F.linear(by_frame, weight[:, :inputs], layer.bias.to(x.dtype))  # type: ignore[union-attr,operator]
        recurrent = weight[:, inputs:].t()
        outputs = []
        for part in arguments.unbind(0):
            h, c = cell(torch.addmm(part, h, recurrent), c)
            outputs.append(h)
        y = torch.stack(outputs).view(frames, batch, height, width, -1).transpose(0, 1)
        return y, (h.detach(), c.detach())

    def _conv3d(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        spec = self.spec
        batch, _, height, width, _ = x.shape
        near, far = state or (
            x.new_zeros(batch, max(times), height, width, spec.state) for times in CONV_TIMES
        )
        a = gate(self.body["window"](x))
        b, near = self._in_time("time_near", a, near, CONV_TIMES[0])
        squeezed = F.pad(activation(self.body["squeeze"](b)), (0, 0, 1, 1, 1, 1))
        around = [
            squeezed[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width] for _, y, x in CONV_SPACE
        ]
        c = gate(self.body["space"](torch.cat([b, *around], -1)))
        d, far = self._in_time("time_far", c, far, CONV_TIMES[1])
        return torch.cat([a, b, c, d], -1), (near, far)

    def _in_time(
        self, name: str, x: Tensor, kept: Tensor, times: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        frames, span = x.shape[1], max(times)
        every = torch.cat([kept, x], 1)
        inputs = [every[:, span - t : span - t + frames] for t in times]
        return gate(self.body[name](torch.cat(inputs, -1))), every[:, frames:].detach()
