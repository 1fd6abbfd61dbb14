"""How much symbols surprise a network, beside what others would have in their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...models import HISTORY
from .network import Network

Steps = npt.NDArray[np.int64]

#: About so many symbols of an alphabet, evenly spread, stand for all.
_OTHERS = 64


class Surprisals(NamedTuple):
    """Of the symbols of one plane, R of them. Surprisals are in steps, SCORE_ONE a bit.

    Attributes:
        symbols: int64 (R,).
        own: int64 (R,), by how much they surprise.
        others: int64 (R,), by how much any symbol would there, on average.
        new: bool (R,): none of the candidates, the symbols around, is the same.
    """

    symbols: npt.NDArray[np.int64]
    own: Steps
    others: Steps
    new: npt.NDArray[np.bool_]


def surprisals(
    network: Network, ops: Any, symbols: npt.NDArray[np.int32], known: int, planes: int
) -> Iterator[Surprisals]:
    """Of the first planes, of the frames of a clip's symbols (T, S, P) after the first `known`.

    Before those the network has seen nothing. known: 0 to HISTORY, and less than T.
    """
    history = network.followed(network.no_symbols(1, HISTORY - known), symbols[None])
    embedded, features, _ = network.look(history, network.begin(1))
    seen = list(network.seen(history, embedded, features, planes))
    priors = ops.numpy(network.priors(seen))
    every = max(1, priors.shape[2] // _OTHERS)
    for plane, of_plane in enumerate(seen):
        found = symbols[known:, :, plane].reshape(-1).astype(np.int64)
        steps = priors[:, plane]
        some = steps[:, ::every]
        yield Surprisals(
            symbols=found,
            own=steps[np.arange(len(found)), found].astype(np.int64),
            others=some.sum(axis=1, dtype=np.int64) // some.shape[1],
            new=(ops.numpy(of_plane.candidates) != found[:, None]).all(axis=1),
        )
