"""A model that knows nothing: all weights are zero, every symbol is as likely as any other."""

from __future__ import annotations

import numpy as np

from .file import Model
from .parts import tensor_forms
from .spec import Spec


def blank_model(spec: Spec) -> Model:
    """The blank model of a spec."""
    tensors = {name: np.zeros(shape, dtype) for name, (dtype, shape) in tensor_forms(spec).items()}
    shifts = {name: np.ones_like(t) for name, t in tensors.items() if name.endswith(".shift")}
    return Model(spec, {**tensors, **shifts})
