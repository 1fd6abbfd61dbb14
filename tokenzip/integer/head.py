"""The head of a network, as a decoder runs it: wavefront by wavefront, plane by plane.

`Head` is the plan in plain numpy. A backend either runs it step by step in terms of its other
operations (`by_steps` and `decode_by_steps`, which say what decoding a frame means), or has a loop
of its own that gives the same symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .layers import Layer, Places

Array = Any


@dataclass(frozen=True, eq=False)
class Head:
    """What is seen around every site, and the layers from there to scores.

    Attributes:
        table: int8 (planes, symbols + 1, E), the embedding; `none` is its last row.
        hidden, output: the layers of each plane.
        sites: int32 (S,), in the order of wavefronts.
        starts: int64 (wavefronts + 1,), where each one's sites begin among these.
        around: places whose embeddings are seen from the sites, in their order; likewise
        pairs: places compared, and
        candidates: places whose symbols get bonuses.
    """

    table: npt.NDArray[np.int8]
    hidden: tuple[Layer, ...]
    output: tuple[Layer, ...]
    sites: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    around: Places
    pairs: tuple[Places, Places]
    candidates: Places

    @property
    def none(self) -> int:
        """The number that stands for "no symbol here"."""
        return int(self.table.shape[1]) - 1


@dataclass(frozen=True, eq=False)
class LaneRows:
    """The lanes that the sites of a batch are in.

    Attributes:
        lanes: int32 (N, S): of every clip, in the order of wavefronts. No two clips share a lane.
        starts: as of the Head.
    """

    lanes: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]

    def of_steps(self) -> list[npt.NDArray[np.int32]]:
        """For every wavefront int32 (N, its sites)."""
        return [
            np.ascontiguousarray(self.lanes[:, start:stop])
            for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen around some sites, as in Head, in a backend's arrays."""

    around: Any
    pairs: tuple[Any, Any]
    candidates: Any


@dataclass(frozen=True, eq=False)
class Step:
    """A wavefront, in a backend's arrays."""

    sites: Array
    seen: Seen


@dataclass(frozen=True, eq=False)
class HeadBySteps:
    """A Head in a backend's arrays."""

    table: Array
    hidden: tuple[Any, ...]
    output: tuple[Any, ...]
    steps: tuple[Step, ...]
    none: int


class SeenByOutput(NamedTuple):
    """Rows, one a symbol of a plane, in a backend's arrays.

    Attributes:
        x: int8 (R, K), what the hidden layer sees besides the body's output.
        z: int8 (R, hidden), what it makes of both.
        candidates: int32 (R, C), symbols that get bonuses.
    """

    x: Array
    z: Array
    candidates: Array


def by_steps(head: Head, ops: Any) -> HeadBySteps:
    """The head in the arrays of these operations."""

    def step(start: int, stop: int) -> Step:
        def places(of: Places) -> Any:
            return ops.places(replace(of, site=np.ascontiguousarray(of.site[:, start:stop])))

        return Step(
            ops.array(head.sites[start:stop].astype(np.int64)),
            Seen(
                places(head.around),
                (places(head.pairs[0]), places(head.pairs[1])),
                places(head.candidates),
            ),
        )

    bounds = zip(head.starts[:-1].tolist(), head.starts[1:].tolist(), strict=True)
    return HeadBySteps(
        ops.array(head.table),
        tuple(ops.layer(layer) for layer in head.hidden),
        tuple(ops.layer(layer) for layer in head.output),
        tuple(step(start, stop) for start, stop in bounds),
        head.none,
    )


def with_hidden(head: HeadBySteps, hidden: Sequence[Any]) -> HeadBySteps:
    """The head with other hidden layers, in a backend's arrays."""
    return replace(head, hidden=tuple(hidden))


def seen_by_output(
    ops: Any,
    symbols: Array,
    embedded: Array,
    base: Array,
    hidden: Any,
    seen: Seen,
    plane: int,
    first: int,
    frames: int,
    none: int,
) -> SeenByOutput:
    """What the output layer of a plane sees in frames `first` and on.

    Encoders ask it for all sites of many frames, decoders for the sites of a step. base int32 (N,
    frames, n, hidden): what the body gave to the sums of the hidden layer at these n sites.
    """
    clips, _, _, planes = symbols.shape
    # Of the site itself, the planes before this one.
    known = plane if planes > 1 else 1
    x = ops.inputs(embedded, symbols, seen.around, *seen.pairs, first, frames, none, known)
    z = ops.dense(x, hidden, 0, add=base)
    of_plane = symbols
    if planes > 1:
        of_plane = ops.contiguous(symbols[..., plane : plane + 1])
    candidates = ops.windows(of_plane, seen.candidates, first, frames)
    # Not by -1, which does not work where there are no candidates.
    rows = clips * frames * candidates.shape[2]
    return SeenByOutput(
        *(part.reshape(rows, part.shape[3]) for part in (x, z, candidates)),
    )


def decode_by_steps(
    ops: Any,
    head: HeadBySteps,
    symbols: Array,
    embedded: Array,
    bases: list[Array],
    lanes: Any,
    rows: list[Any],
) -> None:
    """What `decode_head` means (see integer/__init__.py); rows: the lanes of each step."""
    frame, planes = symbols.shape[1] - 1, len(head.hidden)
    for step, of_lanes in zip(head.steps, rows, strict=True):
        for plane in range(planes):
            base = ops.contiguous(bases[plane][:, :, step.sites])
            hidden = head.hidden[plane]
            _, z, candidates = seen_by_output(
                ops, symbols, embedded, base, hidden, step.seen, plane, frame, 1, head.none
            )
            found = ops.decode(z, head.output[plane], candidates, lanes, of_lanes)
            ops.put(symbols, embedded, head.table, found, step.sites, plane, frame)
