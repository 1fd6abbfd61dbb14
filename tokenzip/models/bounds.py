"""The proof that no sum of a network can overflow, from its weights, when a model is loaded.

Activations are int8, so a layer's sums are at most 128 times the sum of its weights' magnitudes
plus its bias, whatever the tokens are; that has to stay below 2^31, in any order of summation. A
sum times its multiplier has to stay below 2^62. What follows from the operations' own constants
(the LSTM's cell, the bonuses) needs no look at the weights: the tables' entries are int16.
"""

from __future__ import annotations

import numpy as np

from ..errors import UnsafeModelError
from ..integer import LARGEST
from .parts import Tensors, all_layers
from .spec import Spec

SUM_LIMIT = 2**31 - 1
PRODUCT_LIMIT = 2**62
MAX_SHIFT = 40


def prove(spec: Spec, tensors: Tensors) -> dict[str, int]:
    """The largest sum that each layer can reach.

    Raises:
        UnsafeModelError: a layer could overflow, or is no layer; names it.
    """
    largest = {}
    for name in all_layers(spec):
        # 16 bits hold |-128|, and take less memory than 64 where a model is large.
        weight = np.abs(tensors[f"{name}.weight"].astype(np.int16))
        bias = np.abs(tensors[f"{name}.bias"].astype(np.int64))
        if name.startswith("head."):
            bias = bias + np.abs(tensors[f"{name}.site_bias"].astype(np.int64)).max(axis=0)
        sums = weight.sum(axis=1, dtype=np.int64) * (LARGEST + 1) + bias
        largest[name] = int(sums.max())
        if largest[name] > SUM_LIMIT:
            raise UnsafeModelError(
                f"layer {name}: output {int(sums.argmax())} could reach {largest[name]}, above "
                f"{SUM_LIMIT}; the model cannot be used",
                layer=name,
            )
        multiplier = tensors[f"{name}.multiplier"].astype(np.int64)
        shift = int(tensors[f"{name}.shift"])
        if not 1 <= shift <= MAX_SHIFT:
            raise UnsafeModelError(
                f"layer {name}: shift {shift} is not in 1 .. {MAX_SHIFT}", layer=name
            )
        if multiplier.min() < 0:
            raise UnsafeModelError(f"layer {name}: a multiplier is negative", layer=name)
        # Python's integers: this product must not overflow while it is checked.
        if int(multiplier.max()) * largest[name] + (1 << shift) > PRODUCT_LIMIT:
            raise UnsafeModelError(
                f"layer {name}: a sum times its multiplier could exceed {PRODUCT_LIMIT}", layer=name
            )
    return largest
