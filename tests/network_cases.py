"""What the tests of network blobs share: tiny models that compress, and tokens for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from neural import random_model, random_spec

from tokenzip.models import Model
from tokenzip.models.blank import blank_model

#: Sizes that keep a model at a few kilobytes.
TINY = {"state": 6, "hidden": 5, "embedding": 3}
FAMILIES = ("lstm", "conv3d")

#: How much likelier than all others together the symbol of the frame before is made, in bits.
COPY_BITS = 3


def tiny_model(
    family: str,
    frame: tuple[int, ...],
    alphabet: int,
    seed: int = 0,
    *,
    coarse: bool = False,
    **sizes: int,
) -> Model:
    """A random model with a liking for the symbol of the frame before, so that it compresses.

    All else is as random as in random_model, but its say in the scores is less.

    coarse: of few different integers, so that it takes a few kilobytes where it is embedded.
    sizes: instead of the tiny ones.
    """
    squeeze = 2 if family == "conv3d" else 0
    spec = random_spec(family, frame, alphabet, **{"squeeze": squeeze, **TINY, **sizes})
    model = random_model(spec, seed)
    tensors: dict[str, Any] = dict(model.tensors)
    copy = spec.geometry.symbols + spec.features.candidates.index((1, 0, 0))
    steps = 64 * (spec.geometry.symbols.bit_length() + COPY_BITS)
    for plane in range(spec.geometry.planes):
        name = f"output.{plane}"
        multiplier = tensors[f"{name}.multiplier"] // 4 + 1
        bias = tensors[f"{name}.bias"].copy()
        bias[copy] = steps * 2**24 // int(multiplier[copy])
        tensors.update({f"{name}.multiplier": multiplier, f"{name}.bias": bias})
    if coarse:
        tensors = {name: _coarse(tensor) for name, tensor in tensors.items()}
    return Model(spec, tensors, {"made": "at random"})


def favouring_model(frame: tuple[int, ...], alphabet: int, symbols: int) -> Model:
    """A model that knows nothing but that the first symbols are eight bits likelier than others."""
    blank = blank_model(random_spec("lstm", frame, alphabet, **TINY))
    name = "output.0"
    bias, multiplier = (blank.tensors[f"{name}.{part}"].copy() for part in ("bias", "multiplier"))
    bias[:symbols], multiplier[:] = 8 * 64, 1 << 20
    shift = np.array(20, blank.tensors[f"{name}.shift"].dtype)
    own = {f"{name}.bias": bias, f"{name}.multiplier": multiplier, f"{name}.shift": shift}
    return Model(blank.spec, {**blank.tensors, **own}, {"made": "by hand"})


def _coarse(tensor: np.ndarray) -> np.ndarray:
    if tensor.dtype == np.int16:
        return tensor // 2048 * 2048
    if tensor.dtype == np.int8:
        some = np.arange(tensor.size).reshape(tensor.shape) % 4 == 0
        return (tensor // 32 * 32 * some).astype(np.int8)
    return tensor // 64 * 64 if tensor.ndim else tensor


def calm_tokens(
    shape: tuple[int, ...], alphabet: int, seed: int = 0, dtype: str = "int64", calm: float = 0.9
) -> np.ndarray:
    """Tokens of which most are as in the frame before."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, alphabet, shape)
    still = rng.random(shape) < calm
    for t in range(1, shape[0]):
        tokens[t] = np.where(still[t], tokens[t - 1], tokens[t])
    return tokens.astype(dtype)


def noise(shape: tuple[int, ...], alphabet: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, alphabet, shape)


def flat(tokens: np.ndarray) -> list[int]:
    """As the reference decoders give them."""
    return [int(token) for token in tokens.reshape(-1)]
