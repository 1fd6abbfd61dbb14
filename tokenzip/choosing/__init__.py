"""The choice of predictor and model where the caller leaves it open."""

from .candidates import Chosen, fits, likely
from .trying import choose

__all__ = ["Chosen", "choose", "fits", "likely"]
