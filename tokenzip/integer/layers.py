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
    """Places around sites.

    Attributes:
        back: int32 (places,), frames back.
        site: int32 (places, n), the site at each place around each of n sites; `sites`: outside.
        sites: S, of a whole frame.
    """

    back: npt.NDArray[np.int32]
    site: npt.NDArray[np.int32]
    sites: int

    @classmethod
    def around(
        cls, places: list[tuple[int, int, int]], site: npt.NDArray[np.int32], sites: int
    ) -> Places:
        """Places (frames back, down, right) whose sites are already known."""
        return cls(np.array([back for back, _, _ in places], np.int32), site, sites)

    def rows(self) -> npt.NDArray[np.int64]:
        """int64 (n, places): where the places are, S + 1 rows a frame, from a frame's row 0 on."""
        rows = self.site - self.back.astype(np.int64)[:, None] * (self.sites + 1)
        return np.ascontiguousarray(rows.T)
