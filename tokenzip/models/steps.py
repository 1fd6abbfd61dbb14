"""The order in which the symbols of a frame are coded: steps, and lanes.

Row r runs two columns behind row r - 1, so that a site's upper right neighbour is known: site
(y, x) belongs to wavefront x + 2 y (DESIGN.md section 6). The planes of a site follow one another.
All sites of a wavefront are predicted together, plane by plane.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .features import Place
from .geometry import Geometry

#: Columns by which a row runs behind the one above.
LAG = 2
MAX_LANES = 8
#: A lane costs about five bytes, so each must have symbols enough to be worth them.
LANE_SYMBOLS = 2048


def is_before(place: Place) -> bool:
    """Whether a place is known when the symbol at (0, 0, 0) is coded."""
    back, down, right = place
    return back > 0 or right + LAG * down < 0


def wavefronts(geometry: Geometry) -> list[npt.NDArray[np.int32]]:
    """The sites (y * width + x) of each wavefront, in rising order of rows."""
    y, x = np.divmod(np.arange(geometry.sites, dtype=np.int32), np.int32(geometry.width))
    wave = x + LAG * y
    return [np.flatnonzero(wave == number).astype(np.int32) for number in np.unique(wave)]


def lane_count(geometry: Geometry, frames: int) -> int:
    """Lanes of a chunk of so many frames."""
    symbols = frames * geometry.sites * geometry.planes
    return max(1, min(geometry.height, MAX_LANES, symbols // LANE_SYMBOLS))


@lru_cache(maxsize=64)
def coding_order(geometry: Geometry) -> npt.NDArray[np.int64]:
    """The numbers (site * planes + plane) of a frame's symbols, in the order of coding; not to be
    changed."""
    return np.concatenate(
        [
            sites.astype(np.int64) * geometry.planes + plane
            for sites in wavefronts(geometry)
            for plane in range(geometry.planes)
        ]
    )


def lane_of(geometry: Geometry, lanes: int) -> npt.NDArray[np.int64]:
    """The lane of every symbol of a frame, in the order of coding: row y belongs to lane y mod
    lanes."""
    return coding_order(geometry) // geometry.planes // geometry.width % lanes


def lane_order(geometry: Geometry, lanes: int) -> list[npt.NDArray[np.int64]]:
    """For each lane the numbers of its symbols of a frame, in the order of coding."""
    order, of_symbol = coding_order(geometry), lane_of(geometry, lanes)
    return [order[of_symbol == lane] for lane in range(lanes)]


def neighbour_sites(geometry: Geometry, places: list[Place]) -> npt.NDArray[np.int32]:
    """int32 (places, sites): the site at each place around each site; outside, `sites`."""
    y, x = np.divmod(np.arange(geometry.sites, dtype=np.int32), np.int32(geometry.width))
    table = np.empty((len(places), geometry.sites), np.int32)
    for number, (_, down, right) in enumerate(places):
        row, column = y + down, x + right
        inside = (row >= 0) & (row < geometry.height) & (column >= 0) & (column < geometry.width)
        table[number] = np.where(inside, row * geometry.width + column, geometry.sites)
    return table
