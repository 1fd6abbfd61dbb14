"""Neural predictors: an integer network of models/ run by a backend of integer/.

network.py is the arithmetic, once for all backends; body.py what sees past frames; batch.py codes
many chunks together with them; predictor.py is what the codec sees.
"""

from __future__ import annotations


def warm() -> None:
    """Compile the numba backend, or load it from numba's cache."""
    import numpy as np

    from ...models import FAMILIES, Geometry, new_spec
    from ...models.blank import blank_model
    from .predictor import Backend, NetworkPredictor

    tokens = np.zeros((2, 2, 2), np.uint16)
    for family in FAMILIES:
        spec = new_spec(family, "small", Geometry.of((2, 2), 2))
        predictor = NetworkPredictor(blank_model(spec), Backend("numba"))
        predictor.decode(predictor.encode([tokens]), [len(tokens)])
