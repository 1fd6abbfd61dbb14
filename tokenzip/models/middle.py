"""A model for the middle of its frames alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .file import Model
from .geometry import Geometry


def middle_of(geometry: Geometry, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the middle height x width sites."""
    top, left = (geometry.height - height) // 2, (geometry.width - width) // 2
    return slice(top, top + height), slice(left, left + width)


def middle(model: Model, height: int, width: int) -> Model:
    """The model for frames of the middle height x width sites; it sees nothing beyond them.

    height, width: not more than the model's own. What sites have of their own goes with them.
    """
    geometry = model.spec.geometry
    grid = np.arange(geometry.sites).reshape(geometry.height, geometry.width)
    sites = grid[middle_of(geometry, height, width)].reshape(-1)
    spec = replace(model.spec, geometry=replace(geometry, height=height, width=width))
    of_sites = [name for name in model.tensors if name == "position" or name.endswith("site_bias")]
    return Model(spec, {**model.tensors, **{name: model.tensors[name][sites] for name in of_sites}})
