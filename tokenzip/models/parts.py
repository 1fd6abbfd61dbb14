"""The weights of a network by the names they have in a model file, and which shapes these have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from ..integer import GATE_LIMIT
from ..integer.layers import Layer
from .spec import CONV_SPACE, CONV_TIMES, Spec

Tensors = Mapping[str, npt.NDArray[Any]]


def body_layers(spec: Spec) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of each layer of the body."""
    state, squeeze = spec.state, spec.squeeze
    if spec.family == "lstm":
        return {"lstm": (4 * state, spec.site_inputs + state)}
    return {
        "window": (2 * state, spec.site_inputs),
        "time_near": (2 * state, len(CONV_TIMES[0]) * state),
        "squeeze": (squeeze, state),
        "space": (2 * state, state + len(CONV_SPACE) * squeeze),
        "time_far": (2 * state, len(CONV_TIMES[1]) * state),
    }


def all_layers(spec: Spec) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of every layer: the body's, and head and output of each plane."""
    layers = body_layers(spec)
    outputs = spec.geometry.symbols + len(spec.features.candidates)
    for plane in range(spec.geometry.planes):
        layers[f"head.{plane}"] = (spec.hidden, spec.body_outputs + spec.symbol_inputs)
        layers[f"output.{plane}"] = (outputs, spec.hidden)
    return layers


def tensor_forms(spec: Spec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of every tensor of a model of this spec."""
    geometry = spec.geometry
    forms: dict[str, tuple[str, tuple[int, ...]]] = {
        "embedding": ("int8", (geometry.planes, geometry.symbols + 1, spec.embedding)),
        "position": ("int8", (geometry.sites, spec.embedding)),
    }
    for name in ("sigmoid", "tanh"):
        forms[name] = ("int16", (2 * GATE_LIMIT + 1,))
    for name, (outputs, inputs) in all_layers(spec).items():
        forms[f"{name}.weight"] = ("int8", (outputs, inputs))
        forms[f"{name}.bias"] = ("int32", (outputs,))
        forms[f"{name}.multiplier"] = ("int32", (outputs,))
        forms[f"{name}.shift"] = ("int32", ())
        if name.startswith("head."):
            forms[f"{name}.site_bias"] = ("int32", (geometry.sites, spec.hidden))
    return forms


def layer(tensors: Tensors, name: str) -> Layer:
    """One layer out of the tensors."""
    return Layer(
        name,
        tensors[f"{name}.weight"],
        tensors[f"{name}.bias"],
        tensors[f"{name}.multiplier"],
        int(tensors[f"{name}.shift"]),
    )
