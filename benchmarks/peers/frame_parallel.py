"""A frame-parallel transformer: from 8 frames, all tokens of the next at once.

Two layers over time for each position, then four over the positions of the newest frame: the
design of a public predictor of commaVQ tokens. It knows nothing of dependence inside a frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.base import ALPHABET, SITES, UNKNOWN, Peer, attention_layer, causal_mask

_FRAMES = 8
_WIDTH = 240
_HEADS = 4


class FrameParallel(Peer):
    """4.7 million parameters; one pass for a frame."""

    segment = _FRAMES + 1
    predicted = _FRAMES * SITES
    batch = 1

    def __init__(self) -> None:
        super().__init__()
        self.steps = [slice(0, SITES)]
        self.embed = nn.Embedding(ALPHABET + 1, _WIDTH)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.site = nn.Parameter(0.02 * torch.randn(SITES, _WIDTH))
        self.frame = nn.Parameter(0.02 * torch.randn(_FRAMES, _WIDTH))
        self.over_time = nn.ModuleList(attention_layer(_WIDTH, _HEADS) for _ in range(2))
        self.over_sites = nn.ModuleList(attention_layer(_WIDTH, _HEADS) for _ in range(4))
        self.norm = nn.LayerNorm(_WIDTH)
        self.out = nn.Linear(_WIDTH, ALPHABET)
        self.register_buffer("mask", causal_mask(_FRAMES), persistent=False)
        self._past = torch.empty(0)

    def loss(self, frames: Tensor) -> Tensor:
        logits = self.out(self._spatial(self._temporal(frames[:, :-1])))
        return F.cross_entropy(logits.flatten(0, 2), frames[:, 1:].flatten())

    def begin(self, past: Tensor) -> None:
        nothing = past.new_full((len(past), 1, SITES), UNKNOWN)
        self._past = past[:, -_FRAMES:] if past.shape[1] else nothing

    def step(self, frame: Tensor, sites: slice) -> Tensor:
        newest = self._temporal(self._past)[:, -1:]
        return self.out(self._spatial(newest))[:, 0]

    def _temporal(self, frames: Tensor) -> Tensor:
        """(B, T, SITES) -> (B, T, SITES, width), each frame from those up to it."""
        count = frames.shape[1]
        # The newest of eight frames has the same index in training and in use.
        x = self.embed(frames) + self.site + self.frame[:count, None]
        x = x.transpose(1, 2).flatten(0, 1)
        for layer in self.over_time:
            x = layer(x, src_mask=self.mask[:count, :count])
        return x.unflatten(0, (-1, SITES)).transpose(1, 2)

    def _spatial(self, x: Tensor) -> Tensor:
        batch = len(x)
        x = x.flatten(0, 1)
        for layer in self.over_sites:
            x = layer(x)
        return self.norm(x).unflatten(0, (batch, -1))
