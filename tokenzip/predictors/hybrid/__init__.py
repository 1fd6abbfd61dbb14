"""The hybrid predictor: a network's probabilities as the prior of the adaptive mixer.

The network knows what it was trained on, the mixer learns the clip at hand (DESIGN.md section 7).
coder.py codes chunks, frames.py decodes their frames, kernel.py is the step where the two meet;
head_learner.py lets the network learn, too, by the sums of gradient.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .coder import VERSION, HybridCoder, version_of

if TYPE_CHECKING:
    from .. import CoderFactory
    from ..network.predictor import NetworkPredictor

__all__ = ["VERSION", "HybridCoder", "coders", "version_of", "warm"]


def coders(predictor: NetworkPredictor, version: int = VERSION) -> CoderFactory:
    """What makes coders with this network, of a version of the predictor (version_of)."""

    def make(
        alphabet: int, frame: tuple[int, ...], chunk_tokens: int, threads: int = 1
    ) -> HybridCoder:
        # The alphabet is the model's, whatever these tokens use of it.
        return HybridCoder(predictor.network, predictor.ops, frame, chunk_tokens, version, threads)

    return make


def warm() -> None:
    """Compile the loops for this machine, or load them from numba's cache."""
    import numpy as np

    from ...integer import operations
    from ...models import FAMILIES, Geometry, new_spec
    from ...models.blank import blank_model
    from ..network.network import Network

    tokens = np.zeros((12, 8, 16), np.uint16)
    tokens[::2] = 3
    for family in FAMILIES:
        spec = new_spec(family, "small", Geometry.of((8, 16), 64))
        ops = operations("numba")
        coder = HybridCoder(Network(blank_model(spec), ops), ops, (8, 16), tokens.size)
        payload = coder.encode(tokens)
        coder.reset()
        coder.decode(payload, len(tokens))
