"""Integer layers and places, as plain numpy: what backends turn into arrays of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer with its requantisation.

    Attributes:
        name: for messages.
        weight: int8 (M, K).
        bias: int32 (M,).
        multiplier: int32 (M,), each at least 0.
        shift: 1 to 40.
    """

    name: str
    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int32]
    shift: int


@dataclass(frozen=True, eq=False)
class Places:
    """Places around every site.

    Attributes:
        back: int32 (places,), frames back.
        site: int32 (places, S), the site at each place around each site; S: outside.
    """

    back: npt.NDArray[np.int32]
    site: npt.NDArray[np.int32]

    @classmethod
    def around(cls, places: list[tuple[int, int, int]], site: npt.NDArray[np.int32]) -> Places:
        """Places (frames back, down, right) whose sites are already known."""
        return cls(np.array([back for back, _, _ in places], np.int32), site)
