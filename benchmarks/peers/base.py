"""What a float predictor of token frames offers to training and coding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Frames of commaVQ's geometry.
ROWS, COLUMNS, ALPHABET = 8, 16, 1024
SITES = ROWS * COLUMNS
#: The symbol of what is not known: before the clip, beside the frame, not decoded yet.
UNKNOWN = ALPHABET


class Peer(nn.Module):
    """A predictor of frames of SITES tokens.

    Attributes:
        steps: the positions that each step of a frame predicts, in order.
        segment: frames of a training example.
        predicted: tokens of an example that it learns from.
        batch: training examples a step.
    """

    steps: Sequence[slice]
    segment: int
    predicted: int
    batch: int

    def loss(self, frames: Tensor) -> Tensor:
        """The mean cost of what it predicts in examples (B, segment, SITES), in nats."""
        raise NotImplementedError

    def begin(self, past: Tensor) -> None:
        """A frame begins, after the frames `past`, (B, t, SITES)."""
        raise NotImplementedError

    def step(self, frame: Tensor, sites: slice) -> Tensor:
        """Logits (B, positions, ALPHABET) of one step; `frame` is known up to it, (B, SITES)."""
        raise NotImplementedError


def one_by_one() -> list[slice]:
    """Steps of one position each."""
    return [slice(site, site + 1) for site in range(SITES)]


def attention_layer(width: int, heads: int) -> nn.TransformerEncoderLayer:
    """A transformer's layer: pre-norm, GELU, four times as wide inside, no dropout."""
    return nn.TransformerEncoderLayer(
        width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    )


def causal_mask(length: int) -> Tensor:
    """Minus infinity above the diagonal, (length, length)."""
    return torch.full((length, length), float("-inf")).triu(1)
