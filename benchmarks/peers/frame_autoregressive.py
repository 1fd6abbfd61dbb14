"""A frame-autoregressive transformer: token by token, after the three frames before.

A small GPT over four frames in a row. A frame begins with one pass over the frames before it,
whose keys and values are kept; then each token is one more call.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.base import ALPHABET, SITES, UNKNOWN, Peer, one_by_one

_CONTEXT = 3  # frames
_WIDTH = 256
_HEADS = 4
_LAYERS = 5


class FrameAutoregressive(Peer):
    """4.3 million parameters, with the embedding shared by input and output."""

    segment = _CONTEXT + 1
    predicted = segment * SITES
    batch = 2

    def __init__(self) -> None:
        super().__init__()
        self.steps = one_by_one()
        self.embed = nn.Embedding(ALPHABET + 1, _WIDTH)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.place = nn.Parameter(0.02 * torch.randn((_CONTEXT + 1) * SITES, _WIDTH))
        self.blocks = nn.ModuleList(_Block() for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(_WIDTH)
        self._start = 0
        self._last = torch.empty(0)

    def loss(self, frames: Tensor) -> Tensor:
        tokens = frames.flatten(1)
        before = torch.cat([tokens.new_full((len(tokens), 1), UNKNOWN), tokens[:, :-1]], 1)
        for block in self.blocks:
            block.forget()
        return F.cross_entropy(self._logits(before, 0).flatten(0, 1), tokens.flatten())

    def begin(self, past: Tensor) -> None:
        context = past[:, -_CONTEXT:].flatten(1)
        context = torch.cat([context.new_full((len(past), 1), UNKNOWN), context], 1)
        for block in self.blocks:
            block.forget()
        # The last known token goes in with the first step of the frame.
        self._start, self._last = context.shape[1] - 1, context[:, -1:]
        if self._start:
            self._logits(context[:, :-1], 0)

    def step(self, frame: Tensor, sites: slice) -> Tensor:
        before = frame[:, sites.start - 1 : sites.start] if sites.start else self._last
        return self._logits(before, self._start + sites.start)

    def _logits(self, tokens: Tensor, start: int) -> Tensor:
        x = self.embed(tokens) + self.place[start : start + tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.embed.weight[:ALPHABET].T


class _Block(nn.Module):
    """Causal attention over all it has seen since it last forgot, and a feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(2))
        self.qkv = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.project = nn.Linear(_WIDTH, _WIDTH)
        self.wide = nn.Linear(_WIDTH, 4 * _WIDTH)
        self.narrow = nn.Linear(4 * _WIDTH, _WIDTH)
        self._seen: tuple[Tensor, Tensor] | None = None

    def forget(self) -> None:
        self._seen = None

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norms[0](x)).chunk(3, -1)
        query, key, value = (
            part.unflatten(-1, (_HEADS, _WIDTH // _HEADS)).transpose(1, 2) for part in parts
        )
        if self._seen is not None:
            key = torch.cat([self._seen[0], key], 2)
            value = torch.cat([self._seen[1], value], 2)
        several = query.shape[2] > 1  # then they are all there is
        if not self.training:
            self._seen = key, value
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=several)
        x = x + self.project(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.wide(self.norms[1](x))))
