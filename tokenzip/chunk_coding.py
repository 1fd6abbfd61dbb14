"""The chunks of one blob, coded and decoded: alone and side by side, or in one solid run.

A chunk that stands alone starts from a fresh coder, so chunks may be worked on by several
threads in any order. In a solid blob each group of grids with the same alphabet and frame shape
has one coder, and its chunks pass through it in the order of the blob. Groups do not depend on each
other, so one is finished before the next begins: a single coder is alive at any time. Networks code
many chunks at once, each by itself.
"""

from __future__ import annotations

import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .blob import (
    BlobBytes,
    BlobInfo,
    ChunkInfo,
    CodedChunk,
    CodedGrid,
    GridInfo,
    chunk_bounds,
    default_chunk_frames,
)
from .errors import CorruptError
from .grid import TokenGrid
from .predictors import BatchPredictor, Coder, CoderFactory
from .predictors.stored import pack, packed_size, unpack
from .selection import Selection

Tokens = npt.NDArray[np.uint16]
Group = tuple[int, tuple[int, ...]]  # alphabet, frame shape

#: A predicted payload holds at least one 32-bit word, so it cannot be smaller than this.
_LEAST_PREDICTED = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


# Encoding


@dataclass(frozen=True, eq=False)
class _Job:
    """One chunk to encode."""

    grid: TokenGrid
    start: int
    stop: int
    coder_tokens: int  # what its coder is made for, if the chunk stands alone

    @property
    def tokens(self) -> Tokens:
        return self.grid.tokens[self.start : self.stop]

    @property
    def group(self) -> Group:
        return self.grid.alphabet, self.grid.frame


def encode_chunks(
    grids: list[TokenGrid],
    *,
    predictor: BatchPredictor | CoderFactory | None,
    chunk_frames: int | None,
    solid: bool,
    threads: int,
) -> tuple[list[CodedGrid], bytes]:
    """Cut every grid into chunks and code them; also the predictor's parameters for the header.

    predictor: what codes batches, or makes coders; None stores.
    """
    sizes = [chunk_frames or default_chunk_frames(grid.frame_tokens) for grid in grids]
    plans = [_plan(grid, size) for grid, size in zip(grids, sizes, strict=True)]
    jobs = [job for plan in plans for job in plan]
    parameters = b""
    if predictor is None:
        chunks = _each(lambda job: _store(job.grid, job.tokens), jobs, threads)
    elif not callable(predictor):
        chunks = _encode_batch(predictor, jobs)
        parameters = predictor.parameters()
    else:
        coders = _Coders(predictor, threads if solid else _of_each(threads, len(jobs)))
        if solid:
            chunks = _encode_solid(coders, jobs)
        else:
            chunks = _each(_lone_encoder(coders), jobs, threads)
        parameters = coders.parameters
    coded = iter(chunks)
    return [
        _coded_grid(grid, size, [next(coded) for _ in plan])
        for grid, size, plan in zip(grids, sizes, plans, strict=True)
    ], parameters


def store_grid(grid: TokenGrid) -> CodedGrid:
    """The grid as a single stored chunk (none if it is empty)."""
    return _coded_grid(grid, 0, [_store(grid, grid.tokens)] if grid.tokens.size else [])


def _plan(grid: TokenGrid, chunk_frames: int) -> list[_Job]:
    if grid.tokens.size == 0:
        return []
    bounds = list(chunk_bounds(grid.frames, chunk_frames))
    largest = max(stop - start for start, stop in bounds) * grid.frame_tokens
    return [_Job(grid, start, stop, largest) for start, stop in bounds]


def _lone_encoder(coders: _Coders) -> Callable[[_Job], CodedChunk]:
    def encode(job: _Job) -> CodedChunk:
        if packed_size(job.tokens.size, job.grid.bits) <= _LEAST_PREDICTED:
            return _store(job.grid, job.tokens)
        return _predict(coders.fresh(*job.group, job.coder_tokens), job)

    return encode


def _encode_batch(predictor: BatchPredictor, jobs: list[_Job]) -> list[CodedChunk]:
    chunks = [np.require(job.tokens, requirements="W") for job in jobs]
    return [
        _smaller(payload, job) for payload, job in zip(predictor.encode(chunks), jobs, strict=True)
    ]


def _encode_solid(coders: _Coders, jobs: list[_Job]) -> list[CodedChunk]:
    coded: dict[int, CodedChunk] = {}
    for numbers in _grouped([job.group for job in jobs]).values():
        chunks = _encode_group(coders, [jobs[number] for number in numbers])
        coded.update(zip(numbers, chunks, strict=True))
    return [coded[number] for number in range(len(jobs))]


def _encode_group(coders: _Coders, jobs: list[_Job]) -> list[CodedChunk]:
    coder = coders.make(*jobs[0].group, sum(job.tokens.size for job in jobs))
    return [_predict(coder, job) for job in jobs]


def _predict(coder: Coder, job: _Job) -> CodedChunk:
    # Copied only if read-only, as arrays of files often are: numba would compile, or refuse to
    # compile, another version of its code for those.
    tokens = np.require(job.tokens, requirements="W")
    # The coder has learned from these tokens even if the payload is not used; the decoder of a
    # solid blob makes up for that with Coder.observe.
    return _smaller(bytes(coder.encode(tokens)), job)


def _smaller(payload: bytes, job: _Job) -> CodedChunk:
    """The chunk with this payload, or stored if that takes no more."""
    if len(payload) < packed_size(job.tokens.size, job.grid.bits):
        return CodedChunk(False, payload, _token_crc(job.tokens))
    return _store(job.grid, job.tokens)


def _store(grid: TokenGrid, tokens: Tokens) -> CodedChunk:
    return CodedChunk(True, pack(tokens, grid.bits), _token_crc(tokens))


def _coded_grid(grid: TokenGrid, chunk_frames: int, chunks: list[CodedChunk]) -> CodedGrid:
    several = chunk_frames if len(chunks) > 1 else None
    return CodedGrid(grid.shape, grid.dtype, grid.alphabet, several, tuple(chunks))


# Decoding


@dataclass(frozen=True, eq=False, slots=True)
class _Task:
    """One chunk to decode: where it is, and where its wanted frames go."""

    grid: GridInfo
    chunk: ChunkInfo
    grid_number: int | None  # in a list
    number: int
    selection: Selection
    output: npt.NDArray[Any]

    @property
    def where(self) -> str:
        chunk = f"chunk {self.number}"
        return chunk if self.grid_number is None else f"grid {self.grid_number} {chunk}"

    @property
    def wanted(self) -> bool:
        return self.selection.needs(self.chunk)

    @property
    def predicted(self) -> bool:
        return self.chunk.kind == "predicted"

    @property
    def group(self) -> Group:
        return self.grid.alphabet, self.grid.frame


def decode_chunks(
    blob: BlobBytes,
    info: BlobInfo,
    selections: list[Selection],
    *,
    threads: int,
    predictor: BatchPredictor | CoderFactory | None,
) -> list[npt.NDArray[Any]]:
    """The selected frames of every grid, (frames, *frame) each; every chunk used is verified.

    predictor: of the chunks that are not stored, as for encode_chunks.
    """
    outputs = [
        np.empty((len(selection.wanted), *grid.frame), grid.dtype)
        for grid, selection in zip(info.grids, selections, strict=True)
    ]
    tasks = [
        _Task(
            grid,
            chunk,
            number if info.is_list else None,
            index,
            selection,
            output,
        )
        for number, (grid, selection, output) in enumerate(
            zip(info.grids, selections, outputs, strict=True)
        )
        for index, chunk in enumerate(grid.chunks)
    ]
    if info.solid:
        assert callable(predictor)  # as reading the header has checked
        _decode_solid(blob, _Coders(predictor, threads), tasks)
        return outputs
    tasks = [task for task in tasks if task.wanted]
    coders = None
    if callable(predictor):
        coders = _Coders(predictor, _of_each(threads, sum(task.predicted for task in tasks)))
    if predictor is not None and not callable(predictor):
        _decode_batch(blob, predictor, [task for task in tasks if task.predicted])
        tasks = [task for task in tasks if not task.predicted]

    def decode(task: _Task) -> None:
        payload = _checked_payload(blob, task)
        coder = None
        if coders is not None and task.predicted:
            coder = coders.fresh(*task.group, task.grid.largest_chunk_tokens)
        _deliver(task, _checked_tokens(payload, task, coder))

    _each(decode, tasks, threads)
    return outputs


def _decode_batch(blob: BlobBytes, network: BatchPredictor, tasks: list[_Task]) -> None:
    payloads = [_checked_payload(blob, task) for task in tasks]
    frames = [task.chunk.frames for task in tasks]
    try:
        found = network.decode(payloads, frames)
    except CorruptError:
        # One of them cannot be decoded: find out which.
        for payload, task in zip(payloads, tasks, strict=True):
            try:
                network.decode([payload], [task.chunk.frames])
            except CorruptError as error:
                raise _corrupt_payload(error, task) from error
        raise
    for tokens, task in zip(found, tasks, strict=True):
        _deliver(task, _checked(tokens, task))


def _decode_solid(blob: BlobBytes, coders: _Coders, tasks: list[_Task]) -> None:
    for numbers in _grouped([task.group for task in tasks]).values():
        _decode_group(blob, coders, [tasks[number] for number in numbers])


def _decode_group(blob: BlobBytes, coders: _Coders, tasks: list[_Task]) -> None:
    """Decode a group from its start up to the last chunk that is wanted."""
    tokens_of_group = sum(task.chunk.frames * task.grid.frame_tokens for task in tasks)
    last_wanted = max((number for number, task in enumerate(tasks) if task.wanted), default=-1)
    tasks = tasks[: last_wanted + 1]
    last_predicted = max(
        (number for number, task in enumerate(tasks) if task.predicted), default=-1
    )
    coder: Coder | None = None
    for number, task in enumerate(tasks):
        needs_coder = number <= last_predicted  # behind it are stored chunks only
        if not (task.wanted or needs_coder):
            continue
        payload = _checked_payload(blob, task)
        if needs_coder and coder is None:
            coder = coders.make(*task.group, tokens_of_group)
        tokens = _checked_tokens(payload, task, coder)
        if needs_coder and coder is not None and not task.predicted:
            coder.observe(tokens)
        _deliver(task, tokens)


def _checked_payload(blob: BlobBytes, task: _Task) -> bytes:
    # A copy: what is decoded is then what was checked, even if the buffer is changed meanwhile.
    chunk = task.chunk
    payload = bytes(blob[chunk.offset : chunk.offset + chunk.bytes])
    if zlib.crc32(payload) != chunk.payload_crc:
        raise CorruptError(
            f"{task.where}: the payload's checksum does not match; the blob was damaged",
            where=f"{task.where} payload",
        )
    return payload


def _checked_tokens(payload: bytes, task: _Task, coder: Coder | None) -> Tokens:
    """The tokens of one chunk, (frames, *frame)."""
    grid, chunk = task.grid, task.chunk
    try:
        if task.predicted and coder is not None:
            tokens = coder.decode(payload, chunk.frames)
        else:
            tokens = unpack(payload, chunk.frames * grid.frame_tokens, grid.bits)
    except CorruptError as error:
        raise _corrupt_payload(error, task) from error
    return _checked(tokens, task)


def _corrupt_payload(error: CorruptError, task: _Task) -> CorruptError:
    return CorruptError(f"{task.where}: {error}", where=f"{task.where} payload")


def _checked(tokens: Tokens, task: _Task) -> Tokens:
    """Decoded tokens, held against the alphabet, the dtype and their checksum."""
    grid, chunk, where = task.grid, task.chunk, task.where
    tokens = tokens.reshape(chunk.frames, *grid.frame)
    largest = int(tokens.max())
    if largest >= grid.alphabet or largest > _largest_value(grid.dtype):
        raise CorruptError(
            f"{where}: token {largest} does not fit alphabet {grid.alphabet} and {grid.dtype}",
            where=f"{where} tokens",
        )
    if _token_crc(tokens) != chunk.token_crc:
        raise CorruptError(
            f"{where}: the decoded tokens' checksum does not match; the blob was damaged, or "
            "written by a faulty encoder",
            where=f"{where} tokens",
        )
    return tokens


def _deliver(task: _Task, tokens: Tokens) -> None:
    target, source = task.selection.within(task.chunk)
    task.output[target] = tokens[source]


def _largest_value(dtype: np.dtype[Any]) -> int:
    return 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)


# Both


class _Coders:
    """Makes coders, and keeps the last one of each thread for use on the next chunk.

    threads: how many each coder may use.
    """

    def __init__(self, factory: CoderFactory, threads: int) -> None:
        self._factory, self._threads = factory, threads
        self._kept = threading.local()
        self.parameters = b""

    def make(self, alphabet: int, frame: tuple[int, ...], tokens: int) -> Coder:
        coder = self._factory(alphabet, frame, tokens, self._threads)
        self.parameters = coder.parameters()
        return coder

    def fresh(self, alphabet: int, frame: tuple[int, ...], tokens: int) -> Coder:
        """A coder in its first state; one that is reset is cheaper than one that is made."""
        key = (alphabet, frame, tokens)
        if getattr(self._kept, "key", None) == key:
            coder: Coder = self._kept.coder
            coder.reset()
            return coder
        self._kept.key = self._kept.coder = None  # frees its memory before the next is made
        self._kept.coder = self.make(alphabet, frame, tokens)
        self._kept.key = key
        return self._kept.coder  # type: ignore[no-any-return]


def _grouped(groups: list[Group]) -> dict[Group, list[int]]:
    """The positions of each group's members in a list, in order."""
    positions: dict[Group, list[int]] = {}
    for position, group in enumerate(groups):
        positions.setdefault(group, []).append(position)
    return positions


def _of_each(threads: int, chunks: int) -> int:
    """Threads of each coder, where so many chunks are coded side by side by as many threads."""
    return max(1, threads // max(1, chunks))


def _each(work: Callable[[_Item], _Result], items: list[_Item], threads: int) -> list[_Result]:
    """work(item) for all items, in their order, by up to `threads` threads."""
    workers = min(threads, len(items))
    if workers <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


def _token_crc(tokens: Tokens) -> int:
    if sys.byteorder == "big":
        tokens = tokens.byteswap()
    return zlib.crc32(np.ascontiguousarray(tokens).data.cast("B") if tokens.size else b"")
