"""From a trained twin to the integers of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..coding.constants import SCORE_ONE
from ..integer import GATE_ONE, LARGEST, ONE
from ..integer.tables import gate_tables
from ..models import Model
from .twin import Layer, Twin

#: Multipliers are scaled to about this many bits: enough not to be seen beside int8 weights.
_MULTIPLIER_BITS = 24
_MAX_SHIFT = 40


def export(twin: Twin, summary: dict[str, Any] | None = None) -> Model:
    """The integer model of a twin.

    Raises:
        UnsafeModelError: its weights could overflow.
        ValueError: its weights are not finite.
    """
    spec = twin.spec
    tensors: dict[str, Any] = {
        "embedding": _activation(twin.symbol_table()),
        "position": _activation(twin.position_table()),
        **gate_tables(),
    }
    for name, layer in twin.body.items():
        # Gates end in tables over Q8 arguments, the squeeze in activations.
        unit = ONE if name == "squeeze" else GATE_ONE
        tensors |= _layer(name, layer, unit)
    for plane, head in enumerate(twin.heads):
        tensors |= _layer(f"head.{plane}", head.layer, ONE)
        # Sums are in units of an input step (1/64) times the output's weight step.
        unit = head.layer.step().detach()[:, 0].double() / ONE
        bias = head.site_bias().detach().double() / unit
        tensors[f"head.{plane}.site_bias"] = _integers(bias, np.int32)
        tensors |= _layer(f"output.{plane}", head.output, SCORE_ONE)
    return Model(spec, tensors, summary or {})


def _layer(name: str, layer: Layer, one: int) -> dict[str, Any]:
    """A layer's tensors; `one` is the integer output that stands for 1.0."""
    weight = layer.weight.detach().double()
    step = layer.step().detach().double()
    unit = step[:, 0] / ONE
    # output = sum * unit * one = sum * multiplier / 2^shift
    scale = unit * one
    exponent = int(np.floor(np.log2(float(scale.max()))))
    shift = min(max(_MULTIPLIER_BITS - 1 - exponent, 1), _MAX_SHIFT)
    return {
        f"{name}.weight": _integers((weight / step).clamp(-LARGEST, LARGEST), np.int8),
        f"{name}.bias": _integers(layer.bias.detach().double() / unit, np.int32),
        f"{name}.multiplier": _integers(scale * 2.0**shift, np.int32),
        f"{name}.shift": np.array(shift, np.int32),
    }


def _activation(values: Tensor) -> Any:
    return _integers((values.detach().double() * ONE).clamp(-LARGEST, LARGEST), np.int8)


def _integers(values: Tensor, dtype: type) -> Any:
    if not torch.isfinite(values).all():
        raise ValueError("the network's weights are not finite: training diverged")
    limits = np.iinfo(dtype)
    return values.round().clamp(limits.min, limits.max).cpu().numpy().astype(dtype)
