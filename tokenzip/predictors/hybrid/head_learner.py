"""HeadLearner: a network's hidden layers follow the clip by gradient descent (FORMAT.md 10.10).

What the network's bodies and outputs say stays as it was trained; only how a head combines what it
sees is learned on. It learns from the mixer's final tables, and so what the mixer does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ...integer.gemm import pack
from ...integer.head import SeenByOutput
from ...integer.layers import Layer
from ...models.bounds import PRODUCT_LIMIT, SUM_LIMIT
from ...models.geometry import Geometry
from ..network.network import Network
from .gradient import FINE_BITS, add_gradient, follow_gradient, gradient_room

#: Weights change when a plane has seen so many symbols or more, whole frames.
LEAST_ROWS = 32
#: Errors that are kept at most, two bytes each: networks of larger frames do not learn.
MOST_ERRORS = 2**26
#: log2 of the learning rate. A step is this times the gradient, over the root mean square of the
#: output's weights: networks whose hidden numbers mean little have small gradients.
_RATE = 34
_MOST_RATE = 2**28 - 1
#: The most that one symbol moves a weight for an input of one, in units of 2**-16, and that the
#: rows of a step do together: with inputs of 128 at most, sums are at most 2**30.
_MOST_STEP = 2**15 - 1
_MOST_STEPS = 2**23

Array = Any


@dataclass(frozen=True, eq=False)
class _Trained:
    """What learning in one plane takes of the model; see gradient.py for the arrays' meaning."""

    weight: npt.NDArray[np.int8]
    shares: npt.NDArray[np.int32]
    backwards: tuple[npt.NDArray[Any], npt.NDArray[np.int32]]
    rate: npt.NDArray[np.int64]


class _Plane:
    """What is learned in one plane."""

    def __init__(self, trained: _Trained) -> None:
        self.trained = trained
        shape = trained.weight.shape
        self.gradient, self.fine = (np.empty(shape, np.int32) for _ in range(2))
        self.weight = np.empty(shape, np.int8)

    def reset(self) -> None:
        self.gradient[:] = 0
        self.weight[:] = self.trained.weight
        self.fine[:] = self.trained.weight.astype(np.int32) << FINE_BITS


class HeadLearner:
    """The network of a coder, as it is after what has been coded since the last reset.

    Args:
        network: as it is at first.
        ops: its operations.

    Attributes:
        network: as it is now.
        period: frames between two changes. A chunk's last frame is followed by one, too.
    """

    def __init__(self, network: Network, ops: Any) -> None:
        self._first, self._ops = network, ops
        geometry = network.geometry
        self.period = _period(geometry)
        self._most = np.int64(min(_MOST_STEP, _MOST_STEPS // (self.period * geometry.sites)))
        self._planes = [
            _Plane(trained) for trained in network.once("trained", partial(_trained, network))
        ]
        of_any, rows = self._planes[0].trained, self.period * geometry.sites
        weight, _ = of_any.backwards
        self._room = gradient_room(weight, of_any.shares.size, len(of_any.rate), rows)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.network = self._first
        for plane in self._planes:
            plane.reset()

    def learn(
        self, features: Array, seen: Sequence[SeenByOutput], errors: npt.NDArray[np.int16]
    ) -> None:
        """Change the network after frames that it saw.

        Args:
            features: int8 (1, T, S, F), the body's output for them.
            seen: what the output layer of each plane saw.
            errors: int16 (T * S * P or more, A), of all their symbols (adaptive/state.Block).
        """
        of_body = self._rows(features)
        by_row = errors.reshape(-1, len(self._planes), errors.shape[1])
        for number, (plane, parts) in enumerate(zip(self._planes, seen, strict=True)):
            x, z, candidates = (self._rows(part) for part in parts)
            trained = plane.trained
            add_gradient(
                *(by_row[: len(z)], number, np.concatenate([of_body, x], axis=1)),
                *(z, candidates, trained.shares, *trained.backwards, trained.rate, self._most),
                *(self._room, plane.gradient),
            )
            follow_gradient(plane.gradient, trained.rate, trained.weight, plane.fine, plane.weight)
        self.network = self.network.with_hidden([plane.weight.copy() for plane in self._planes])

    def _rows(self, part: Array) -> npt.NDArray[Any]:
        """As a matrix, in numpy; not by -1, which does not work for rows of no entries."""
        array = self._ops.numpy(part)
        return np.ascontiguousarray(array.reshape(prod(array.shape[:-1]), array.shape[-1]))


def head_learner(network: Network, ops: Any) -> HeadLearner | None:
    """What lets this network learn, by operations `ops`; None if its frames are too large."""
    geometry = network.geometry
    errors = _period(geometry) * geometry.sites * geometry.planes * geometry.symbols
    return HeadLearner(network, ops) if errors <= MOST_ERRORS else None


def _period(geometry: Geometry) -> int:
    return -(-LEAST_ROWS // geometry.sites)


def _trained(network: Network) -> list[_Trained]:
    """Of every plane."""
    symbols = network.geometry.symbols
    return [_of_layers(*layers, symbols) for layers in network.head_layers]


def _of_layers(
    hidden: Layer, site_bias: npt.NDArray[np.int32], output: Layer, symbols: int
) -> _Trained:
    largest = max(int(output.multiplier.max()), 1)
    shares = np.minimum((output.multiplier.astype(np.int64) << 15) // largest, 2**15 - 1)
    strength = _root_mean_square(output.weight[:symbols], shares[:symbols])
    backwards = np.ascontiguousarray(output.weight.T)
    return _Trained(
        weight=hidden.weight,
        shares=shares.astype(np.int32),
        backwards=pack(backwards, np.zeros(len(backwards), np.int32)),
        rate=_rates(hidden, site_bias, strength),
    )


def _root_mean_square(weight: npt.NDArray[np.int8], shares: npt.NDArray[np.int64]) -> int:
    """Of the weights by their outputs' shares, with 16 bits below the unit."""
    squares = (weight.astype(np.int64) * shares[:, None]) ** 2
    # Python's integers: the sum of all need not fit into 64 bits.
    return isqrt((sum(squares.sum(axis=1).tolist()) << 32) // weight.size)


def _rates(hidden: Layer, site_bias: npt.NDArray[np.int32], strength: int) -> npt.NDArray[np.int64]:
    """Of every row; 0 where any weights in int8 might make a sum overflow (models/bounds.py)."""
    inputs = hidden.weight.shape[1]
    bias = np.abs(hidden.bias.astype(np.int64)) + np.abs(site_bias.astype(np.int64)).max(axis=0)
    rates = []
    for multiplier, largest_bias in zip(hidden.multiplier.tolist(), bias.tolist(), strict=True):
        largest = inputs * 2**14 + largest_bias
        safe = largest <= SUM_LIMIT and multiplier * largest + 2**hidden.shift <= PRODUCT_LIMIT
        divisor = strength * multiplier
        known = safe and divisor > 0
        rates.append(min((1 << (_RATE + 16 + hidden.shift)) // divisor, _MOST_RATE) if known else 0)
    return np.array(rates, np.int64)
