"""Random integer models: untrained, but with activations of sensible size everywhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tokenzip.integer.tables import gate_tables
from tokenzip.models import Geometry, Model, Spec, new_spec
from tokenzip.models.parts import all_layers, tensor_forms

GATED = ("lstm", "window", "time_near", "space", "time_far")


def random_model(spec: Spec, seed: int = 0) -> Model:
    """A model whose layers' outputs have about the spread of trained ones."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    for name, (dtype, shape) in tensor_forms(spec).items():
        if dtype == "int8":
            tensors[name] = rng.integers(-127, 128, shape).astype(np.int8)
        else:
            tensors[name] = rng.integers(-500, 500, shape).astype(dtype)
    tensors.update(gate_tables())
    for name, (_, inputs) in all_layers(spec).items():
        wanted = 500 if name in GATED else 200 if name.startswith("output") else 40
        spread = 73 * 40 * math.sqrt(inputs)
        tensors[f"{name}.shift"] = np.array(24, np.int32)
        multiplier = wanted / spread * 2**24 * rng.uniform(0.5, 1.5, tensors[f"{name}.bias"].shape)
        tensors[f"{name}.multiplier"] = np.round(multiplier).astype(np.int32)
    return Model(spec, tensors, {"made": "at random"})


def random_spec(
    family: str, frame: tuple[int, ...], alphabet: int, preset: str = "small", **sizes: int
) -> Spec:
    return new_spec(family, preset, Geometry.of(frame, alphabet), **sizes)


__all__ = ["random_model", "random_spec"]
