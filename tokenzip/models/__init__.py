"""Models: what a network looks like, its integer weights, and the files they are in."""

from .file import Model
from .geometry import Geometry
from .spec import CONV_SPACE, CONV_TIMES, FAMILIES, HISTORY, PRESETS, Spec, new_spec

__all__ = [
    "CONV_SPACE",
    "CONV_TIMES",
    "FAMILIES",
    "HISTORY",
    "PRESETS",
    "Geometry",
    "Model",
    "Spec",
    "new_spec",
]
