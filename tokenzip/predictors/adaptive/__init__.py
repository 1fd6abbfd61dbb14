"""The adaptive predictor: no model, learns while it codes, in integers (DESIGN.md section 7).

logs.py logarithms in integers, contexts.py which contexts a geometry gets, state.py what is
remembered, lists.py counts, experts.py their votes, classes.py symbols grouped by behaviour,
kernel.py the coding loop, coder.py payloads.
"""

from __future__ import annotations

import numpy as np

from .coder import AdaptiveCoder

__all__ = ["AdaptiveCoder", "warm"]


def warm() -> None:
    """Compile the loops for this machine, or load them from numba's cache."""
    tokens = np.zeros((12, 8, 16), np.uint16)
    tokens[::2] = 3
    coder = AdaptiveCoder(64, (8, 16), tokens.size)
    payload = coder.encode(tokens)
    coder.reset()
    coder.decode(payload, len(tokens))
