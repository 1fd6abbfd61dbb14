"""The integer operations on torch's devices, CPUs and CUDA; what they mean stands in __init__.py.

Nothing here asks the device for a number while it computes: no branch on data, no index of unknown
size, no constant made on the host. So a device is never waited for inside a frame, and a frame's
operations can be captured as a CUDA graph (`repeat`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..coding.constants import PRECISION, SCORE_ONE, USABLE
from ..coding.logarithms import DIRECT, LOG2_STEPS
from ..coding.tables import MOST_STEPS
from ..coding.weights import EXP2
from . import CELL_LIMIT, GATE_LIMIT, LARGEST, ONE, SCORE_LIMIT
from .head import Head, HeadBySteps, LaneRows, by_steps, decode_by_steps, with_hidden
from .layers import Layer, Places
from .torch_lanes import Lanes, decode, exhausted, open_lanes

#: Numbers of a slice of rows of scores: they stay in a CPU's cache, or bound a GPU's memory.
_SLICE = {"cpu": 2**18, "cuda": 2**23}
#: CUDA's int8 product wants more rows than 16, and inputs and outputs in multiples of 8.
_LEAST_ROWS = 17
_MULTIPLE = 8
#: Float sums of integers are exact below these.
_EXACT_FLOAT32, _EXACT_FLOAT64 = 2**24, 2**53
#: Steps that run one by one before one is captured as a graph, and fewest steps worth a graph.
_WARM_UP, _WORTH_A_GRAPH = 2, 8


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer on its device; weight (padded K, padded M) by columns, in int8 or a float dtype."""

    weight: Tensor
    bias: Tensor
    multiplier: Tensor
    shift: int


@dataclass(frozen=True, eq=False)
class _Places:
    """Places.rows, and by the number of a frame the same rows from that frame on."""

    rows: Tensor
    of_frame: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _LaneRows:
    """The lanes of a step's rows, in rounds that want no lane twice.

    For each round the numbers of its rows (None: all of them), and their lanes.
    """

    rounds: list[tuple[Tensor | None, Tensor]]


#: Any other process was forked from this one, and OpenMP's threads stayed behind.
_IMPORTED_IN = os.getpid()


@contextlib.contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    """torch with so many threads on the CPU (None: its own number), and afterwards as it was.

    In a forked child with one: torch's other threads stayed with the parent, and OpenMP would wait
    for them for ever.
    """
    before = torch.get_num_threads()
    number = wanted if os.getpid() == _IMPORTED_IN else 1
    if number is not None and number != before:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


class Operations:
    """The operations on tensors of a device.

    Args:
        device: "cpu", "cuda", "cuda:1" ...
        threads: of torch while it runs on a CPU (`running`); None leaves torch's own number.
        graphs: repeat steps as CUDA graphs, where the device is a CUDA device.
        int_mm: whether to use torch's int8 product; None tries whether it is there, and exact.
    """

    name = "torch"
    #: The number of threads is torch's, and one for all.
    concurrent = False

    def __init__(
        self,
        device: str | torch.device = "cpu",
        threads: int | None = None,
        graphs: bool = False,
        int_mm: bool | None = None,
    ) -> None:
        self.device = torch.device(device)
        self._threads = threads if self.device.type == "cpu" else None
        self._graphs = graphs and self.device.type == "cuda"
        self._int_mm = int_mm_is_exact(self.device) if int_mm is None else int_mm
        self._exp2 = self.array(EXP2.astype(np.int32))
        self._log2 = self.array(LOG2_STEPS.astype(np.int64))
        # As many of these as a number reaches, so many bits it has beyond the table's.
        self._powers = self.array(np.int64(DIRECT) << np.arange(32))
        self._slice = _SLICE.get(self.device.type, _SLICE["cpu"])

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around everything: torch as these operations want it, and afterwards as it was."""
        with _threads(self._threads), torch.no_grad():
            yield

    # Arrays in and out

    def layer(self, layer: Layer) -> _Layer:
        outputs, inputs = layer.weight.shape
        padded = np.zeros((_padded(outputs), _padded(inputs)), np.int8)
        padded[:outputs, :inputs] = layer.weight
        weight = self.array(padded)
        if not self._int_mm:
            weight = weight.to(_exact_float(layer.weight, self.device))
        return _Layer(
            weight.t(),
            self.array(layer.bias),
            self.array(layer.multiplier.astype(np.int64)),
            int(layer.shift),
        )

    def places(self, places: Places) -> _Places:
        return _Places(self.array(places.rows()))

    def lane_rows(self, rows: LaneRows) -> list[_LaneRows]:
        return [
            _LaneRows(
                [
                    (None if numbers is None else self.array(numbers), self.array(lanes))
                    for numbers, lanes in _rounds(of_step)
                ]
            )
            for of_step in rows.of_steps()
        ]

    def head(self, head: Head) -> HeadBySteps:
        return by_steps(head, self)

    def with_hidden(self, head: HeadBySteps, hidden: list[_Layer]) -> HeadBySteps:
        return with_hidden(head, hidden)

    def array(self, array: npt.NDArray[Any]) -> Tensor:
        # A copy: what comes may be read-only, which a tensor cannot be.
        return torch.from_numpy(np.array(array, order="C")).to(self.device)

    def numpy(self, array: Tensor) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = array.cpu().numpy()
        return found

    def full(self, shape: tuple[int, ...], value: int, dtype: str) -> Tensor:
        return torch.full(shape, value, dtype=getattr(torch, dtype), device=self.device)

    def concatenate(self, parts: list[Tensor], axis: int) -> Tensor:
        return torch.cat(parts, axis)

    def stack(self, parts: list[Tensor], axis: int) -> Tensor:
        return torch.stack(parts, axis)

    def contiguous(self, array: Tensor) -> Tensor:
        return array.contiguous()

    # What networks are made of

    def embed(self, table: Tensor, symbols: Tensor) -> Tensor:
        planes, entries, width = table.shape
        first = torch.arange(planes, device=self.device, dtype=torch.int32) * entries
        numbers = (symbols + first).reshape(-1)
        rows = table.reshape(-1, width).index_select(0, numbers)
        return rows.reshape(*symbols.shape[:-1], planes * width)

    def windows(self, values: Tensor, places: _Places, first: int, frames: int) -> Tensor:
        clips, width, (n, count) = len(values), values.shape[3], places.rows.shape
        flat = values.reshape(clips, -1, width)
        numbers = _numbers(places, first, frames, values.shape[2])
        found = flat.index_select(1, numbers.reshape(-1))
        return found.reshape(clips, frames, n, count * width)

    def matches(
        self, symbols: Tensor, a: _Places, b: _Places, first: int, frames: int, none: int
    ) -> Tensor:
        one = self.windows(symbols, a, first, frames)
        other = self.windows(symbols, b, first, frames)
        return ((one == other) & (one != none)).to(torch.int8) * ONE

    def inputs(
        self,
        embedded: Tensor,
        symbols: Tensor,
        places: _Places,
        a: _Places,
        b: _Places,
        first: int,
        frames: int,
        none: int,
        known: int,
    ) -> Tensor:
        planes = symbols.shape[3]
        seen = self.windows(embedded, places, first, frames)
        equal = self.matches(symbols, a, b, first, frames, none)
        if known < planes:
            # By zero_: assigning a number would make a tensor of it on the host.
            unknown = planes - known
            if seen.shape[3]:
                seen[..., seen.shape[3] - unknown * (embedded.shape[3] // planes) :].zero_()
            if equal.shape[3]:
                equal[..., equal.shape[3] - unknown :].zero_()
        return torch.cat([seen, equal], 3)

    def site_inputs(
        self,
        embedded: Tensor,
        symbols: Tensor,
        window: _Places,
        position: Tensor,
        a: _Places,
        b: _Places,
        first: int,
        frames: int,
        none: int,
    ) -> Tensor:
        seen = self.windows(embedded, window, first, frames)
        where = position.expand(*seen.shape[:2], *position.shape)
        return torch.cat([seen, where, self.matches(symbols, a, b, first, frames, none)], 3)

    def put(
        self,
        symbols: Tensor,
        embedded: Tensor,
        table: Tensor,
        found: Tensor,
        sites: Tensor,
        plane: int,
        frame: int,
    ) -> None:
        width = table.shape[2]
        rows = table[plane].index_select(0, found)
        of_frame = embedded[:, frame, :, plane * width : (plane + 1) * width]
        of_frame.index_copy_(1, sites, rows.reshape(len(symbols), -1, width))
        symbols[:, frame, :, plane].index_copy_(1, sites, found.reshape(len(symbols), -1))

    def linear(self, x: Tensor, layer: _Layer, add: Tensor | None = None) -> Tensor:
        sums = self._sums(_rows(x), layer).reshape(*x.shape[:-1], len(layer.bias))
        return sums if add is None else sums + add

    def dense(self, x: Tensor, layer: _Layer, low: int, add: Tensor | None = None) -> Tensor:
        flat, outputs = _rows(x), len(layer.bias)
        adds = None if add is None else add.reshape(-1, outputs)

        def part(rows: slice) -> Tensor:
            sums = self._sums(flat[rows], layer)
            if adds is not None:
                sums += adds[rows]
            return _scaled(sums, layer, low, LARGEST).to(torch.int8)

        return self._by_slices(part, len(flat), outputs).reshape(*x.shape[:-1], outputs)

    def gated(self, x: Tensor, layer: _Layer, tables: tuple[Tensor, Tensor]) -> Tensor:
        flat, width = _rows(x), len(layer.bias) // 2

        def part(rows: slice) -> Tensor:
            at = _arguments(self._sums(flat[rows], layer), layer)
            return _gate(at[:, :width], at[:, width:], tables)

        return self._by_slices(part, len(flat), 2 * width).reshape(*x.shape[:-1], width)

    def lstm(
        self, x: Tensor, layer: _Layer, state: tuple[Tensor, Tensor], tables: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state
        out = []
        for now in x:
            at = _arguments(self._sums(torch.cat([now, h], 1), layer), layer)
            entering, forget, leaving, new = at.chunk(4, 1)
            product = (_look(tables[0], entering) * _look(tables[1], new)) >> 3
            c = (_look(tables[0], forget) * c + product + (1 << 14)) >> 15
            c = c.clamp(-CELL_LIMIT, CELL_LIMIT)
            at_cell = (c >> 4).clamp(-GATE_LIMIT, GATE_LIMIT) + GATE_LIMIT
            h = _gate(leaving, at_cell.to(torch.int64), tables)
            out.append(h)
        return torch.stack(out), (h, c)

    def scores(self, z: Tensor, layer: _Layer, candidates: Tensor) -> Tensor:
        """The scores themselves, int32 (R, symbols)."""
        y = _scaled(self._sums(z, layer), layer, -SCORE_LIMIT, SCORE_LIMIT).to(torch.int32)
        count = candidates.shape[1]
        symbols = y.shape[1] - count
        if count:
            bonuses = y[:, symbols:].clone()
            # Bonuses of no candidate go to the column behind the symbols, which nobody reads.
            y.scatter_add_(1, candidates.clamp(max=symbols).to(torch.int64), bonuses)
        return y[:, :symbols]

    def intervals(
        self, z: Tensor, layer: _Layer, candidates: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        cum = torch.empty(len(z), dtype=torch.int32, device=self.device)
        freq = torch.empty_like(cum)
        for rows in self._slices(len(z), len(layer.bias)):
            table = self._frequencies(self.scores(z[rows], layer, candidates[rows]))
            target = targets[rows].to(torch.int64)[:, None]
            order = torch.arange(table.shape[1], device=self.device)
            cum[rows] = (table * (order < target)).sum(1)
            freq[rows] = table.gather(1, target)[:, 0]
        return cum, freq

    def priors(self, z: Tensor, layer: _Layer, candidates: Tensor) -> Tensor:
        def part(rows: slice) -> Tensor:
            return self._steps(self.scores(z[rows], layer, candidates[rows]))

        return self._by_slices(part, len(z), len(layer.bias))

    def open_lanes(self, words: npt.NDArray[np.uint32], bounds: npt.NDArray[np.int64]) -> Lanes:
        """Lanes side by side: lane i is words[bounds[i]:bounds[i + 1]]."""
        # The word behind all others is read wherever a lane has none left.
        extended = np.append(words, np.uint32(0)).astype(np.uint32, copy=False).view(np.int32)
        return open_lanes(self.array(extended), self.array(bounds))

    def lanes_exhausted(self, lanes: Lanes) -> bool:
        """Whether all lanes ended with their last word, as an encoder's do."""
        return bool(exhausted(lanes).all())

    def decode(
        self, z: Tensor, layer: _Layer, candidates: Tensor, lanes: Lanes, rows: _LaneRows
    ) -> Tensor:
        def ends_of(part: slice) -> Tensor:
            freq = self._frequencies(self.scores(z[part], layer, candidates[part]))
            return freq.cumsum(1, dtype=torch.int32)

        ends = self._by_slices(ends_of, len(z), len(layer.bias))
        out = torch.empty(len(z), dtype=torch.int32, device=self.device)
        for numbers, of_lane in rows.rounds:
            if numbers is None:
                out = decode(lanes, of_lane, ends)
            else:
                out.index_copy_(0, numbers, decode(lanes, of_lane, ends[numbers]))
        return out

    def decode_head(
        self,
        head: HeadBySteps,
        symbols: Tensor,
        embedded: Tensor,
        bases: list[Tensor],
        lanes: Lanes,
        rows: list[_LaneRows],
    ) -> None:
        decode_by_steps(self, head, symbols, embedded, bases, lanes, rows)

    # Steps

    def repeat(
        self,
        step: Callable[[tuple[Tensor, ...]], tuple[tuple[Tensor, ...], Tensor]],
        carried: tuple[Tensor, ...],
        times: int,
    ) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """What is carried after so many steps, and the output of each."""
        alone = min(times, _WARM_UP) if self._graphs and times >= _WORTH_A_GRAPH else times
        outputs = []
        for _ in range(alone):
            carried, output = step(carried)
            outputs.append(output)
        if alone < times:
            carried, replayed = _replayed(step, carried, times - alone)
            outputs += replayed
        return carried, outputs

    # Parts of the above

    def _sums(self, x: Tensor, layer: _Layer) -> Tensor:
        """linear of a matrix."""
        return self._product(x, layer) + layer.bias

    def _product(self, x: Tensor, layer: _Layer) -> Tensor:
        """int32 (R, M): x (R, K) times the layer's weights."""
        rows, outputs = len(x), len(layer.bias)
        more = _LEAST_ROWS - rows if self.device.type == "cuda" and rows < _LEAST_ROWS else 0
        inputs = layer.weight.shape[0]
        if more or x.shape[1] < inputs:
            x = torch.nn.functional.pad(x, (0, inputs - x.shape[1], 0, more))
        if layer.weight.dtype == torch.int8:
            sums = torch._int_mm(x.contiguous(), layer.weight)
        else:
            # Whole numbers below the limits of _exact_float are exact in any order of summation.
            sums = (x.to(layer.weight.dtype) @ layer.weight).to(torch.int32)
        return sums[:rows, :outputs]

    def _frequencies(self, scores: Tensor) -> Tensor:
        """int64 (R, symbols): the tables of scores int32, as coding/tables.py defines them."""
        symbols = scores.shape[1]
        high = scores.amax(1, keepdim=True)
        order = torch.arange(symbols, device=self.device, dtype=torch.int32)
        # The first best one: argmax does not promise that on every device.
        best = torch.where(scores == high, order, symbols).amin(1, keepdim=True)
        distance = (high - scores).clamp_(max=len(self._exp2) - 1).to(torch.int64)
        weight = _look(self._exp2, distance).to(torch.int64)
        factor = ((USABLE - symbols) << 32) // weight.sum(1, keepdim=True)
        freq = weight.mul_(factor).bitwise_right_shift_(32).add_(1)
        left = USABLE - freq.sum(1, keepdim=True)
        return freq.scatter_add_(1, best.to(torch.int64), left)

    def _steps(self, scores: Tensor) -> Tensor:
        """int16 (R, symbols): coding/tables.steps_from_scores of scores int32."""
        high = scores.amax(1, keepdim=True)
        distance = (high - scores).clamp_(max=len(self._exp2) - 1).to(torch.int64)
        total = _look(self._exp2, distance).to(torch.int64).sum(1, keepdim=True)
        # log2_steps: the ten leading bits from a table, the others counted.
        shift = (total >= self._powers).sum(1, keepdim=True)
        log = self._log2[total >> shift] + shift * SCORE_ONE
        top = high + (log - PRECISION * SCORE_ONE).to(torch.int32)
        return (top - scores).clamp_(max=MOST_STEPS).to(torch.int16)

    def _by_slices(self, part: Callable[[slice], Tensor], rows: int, width: int) -> Tensor:
        """The parts of all rows, one under the other; what each takes to compute is bounded."""
        slices = self._slices(rows, width)
        if len(slices) == 1:
            return part(slices[0])
        return torch.cat([part(rows) for rows in slices or [slice(0, 0)]])

    def _slices(self, rows: int, width: int) -> list[slice]:
        """Rows in slices of bounded memory."""
        size = max(_LEAST_ROWS, self._slice // width)
        return [slice(start, start + size) for start in range(0, rows, size)]


def int_mm_is_exact(device: torch.device) -> bool:
    """Whether torch has an int8 product on this device that is exact, and no slow stand-in.

    It is tried, not believed: torch 2.4 and older saturate 16-bit sums of pairs on CPUs without
    VNNI instructions (pytorch issue 136746). Newer ones are exact there but run a plain loop.
    """
    if not hasattr(torch, "_int_mm"):
        return False
    if device.type == "cpu" and not getattr(torch.cpu, "_is_vnni_supported", lambda: True)():
        return False
    try:
        with _threads(None):
            return all(_int_mm_agrees(device, *shape) for shape in ((17, 8, 8), (64, 256, 32)))
    except (RuntimeError, NotImplementedError):
        return False


def _int_mm_agrees(device: torch.device, rows: int, inputs: int, outputs: int) -> bool:
    """Tried on the extremes, in pairs of all signs."""
    extremes = np.array([127, 127, -128, -128, 127, -128, -127], np.int8)
    x = np.resize(extremes, (rows, inputs))
    weight = np.resize(extremes[::-1], (outputs, inputs))
    x[0], weight[0] = 127, 127
    x[1], weight[1] = -128, -128
    tensors = [torch.from_numpy(array).to(device) for array in (x, weight)]
    found = torch._int_mm(tensors[0], tensors[1].t()).cpu().numpy()
    return bool((found == x.astype(np.int64) @ weight.T.astype(np.int64)).all())


def _exact_float(weight: npt.NDArray[np.int8], device: torch.device) -> torch.dtype:
    """The float dtype whose sums of these weights times any int8 numbers are exact.

    No partial sum, in any order, exceeds 128 times the sum of an output's magnitudes. On CUDA
    always float64, which no setting replaces by TF32.
    """
    largest = int(np.abs(weight.astype(np.int64)).sum(axis=1).max(initial=0)) * 128
    if device.type == "cpu" and largest < _EXACT_FLOAT32:
        return torch.float32
    if largest >= _EXACT_FLOAT64:
        raise ValueError(f"{weight.shape[1]} inputs are too many")
    return torch.float64


def _padded(size: int) -> int:
    return max(1, -(-size // _MULTIPLE)) * _MULTIPLE


def _rows(x: Tensor) -> Tensor:
    """x as a matrix; not by -1, which does not work for rows of no entries."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1])


def _numbers(places: _Places, first: int, frames: int, rows: int) -> Tensor:
    """int64 (frames, n, places): where the places are in a clip's frames of so many rows each."""
    if first not in places.of_frame:
        places.of_frame[first] = places.rows + first * rows
    found = places.of_frame[first]
    if frames == 1:
        return found
    start = torch.arange(frames, device=found.device) * rows
    return start[:, None, None] + found


def _rounds(
    lanes: npt.NDArray[np.int32],
) -> list[tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]]:
    """(rows, their lanes) of every round; lanes int32 (clips, sites), no two clips sharing one."""
    flat = lanes.reshape(-1).astype(np.int64)
    # How many earlier sites of the clip are in the same lane: they come first.
    turn = np.zeros(lanes.shape, np.int64)
    for site in range(lanes.shape[1]):
        turn[:, site] = (lanes[:, :site] == lanes[:, site, None]).sum(axis=1)
    if not turn.any():
        return [(None, flat)]
    rounds = [np.flatnonzero(turn.reshape(-1) == number) for number in range(int(turn.max()) + 1)]
    return [(numbers, flat[numbers]) for numbers in rounds]


def _look(table: Tensor, numbers: Tensor) -> Tensor:
    """table[numbers] for a matrix of int64 numbers; gather is torch's fastest way."""
    return table.expand(len(numbers), -1).gather(1, numbers)


def _gate(sigmoid_at: Tensor, tanh_at: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    product = _look(tables[0], sigmoid_at) * _look(tables[1], tanh_at)
    return ((product + (1 << 22)) >> 23).clamp(max=LARGEST).to(torch.int8)


def _scaled(sums: Tensor, layer: _Layer, low: int, high: int) -> Tensor:
    """The sums requantised and clipped, int64."""
    wide = sums.to(torch.int64).mul_(layer.multiplier).add_(1 << (layer.shift - 1))
    return wide.bitwise_right_shift_(layer.shift).clamp_(low, high)


def _arguments(sums: Tensor, layer: _Layer) -> Tensor:
    """The sums as places in the tables of sigmoid and tanh."""
    return _scaled(sums, layer, -GATE_LIMIT, GATE_LIMIT).add_(GATE_LIMIT)


def _replayed(
    step: Callable[[tuple[Tensor, ...]], tuple[tuple[Tensor, ...], Tensor]],
    carried: tuple[Tensor, ...],
    times: int,
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """The step captured once as a CUDA graph, and replayed so many times."""
    static = tuple(part.clone() for part in carried)
    graph = torch.cuda.CUDAGraph()
    # Capturing runs nothing: lanes and carried tensors are as the last step left them.
    with torch.cuda.graph(graph):
        after, output = step(static)
        for part, new in zip(static, after, strict=True):
            part.copy_(new)
    outputs = []
    for _ in range(times):
        graph.replay()
        outputs.append(output.clone())
    return static, outputs
