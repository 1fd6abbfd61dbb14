"""Many chunks coded together by a network: chunks to payloads and back.

Chunks of a batch advance frame by frame side by side, the longest first; those that end drop out
at the bottom. What a chunk costs, and its bytes, do not depend on the others in the batch: every
row of every operation is computed by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...coding.encoder import encode_lane
from ...errors import CorruptError
from ...integer.head import LaneRows
from ...models import HISTORY, Geometry
from ...models.steps import lane_count, lane_order, wavefronts
from ..lanes import join_lanes, split_lanes
from .network import Network

Tokens = npt.NDArray[np.uint16]
Symbols = npt.NDArray[np.int32]
Carried = tuple[Any, ...]

#: Symbols, and multiply-accumulates, of one compiled loop: a second or two, for it cannot be
#: interrupted.
SYMBOLS_AT_ONCE = 1 << 18
WORK_AT_ONCE = 1 << 38

#: Rows (symbols of all chunks) that the encoder computes in one go: bounds the working memory.
ENCODE_ROWS = 1 << 15


def encode_batch(network: Network, ops: Any, chunks: Sequence[Tokens]) -> list[bytes]:
    """The payload of every chunk, tokens uint16 (frames, *frame) each, frames >= 1."""
    with ops.running():
        return _encode_batch(network, ops, chunks)


def _encode_batch(network: Network, ops: Any, chunks: Sequence[Tokens]) -> list[bytes]:
    geometry = network.geometry
    longest_first = sorted(range(len(chunks)), key=lambda i: -len(chunks[i]))
    symbols = [geometry.to_symbols(chunks[i]) for i in longest_first]
    lengths = [len(s) for s in symbols]
    shape = (geometry.sites, geometry.planes)
    cum = [np.empty((length, *shape), np.int32) for length in lengths]
    freq = [np.empty((length, *shape), np.int32) for length in lengths]
    state, history = network.begin(len(chunks)), network.no_symbols(len(chunks), HISTORY)
    for start, stop, active in _runs(lengths, ENCODE_ROWS // (geometry.sites * geometry.planes)):
        state, history = network.first(state, active), history[:active]
        history = network.followed(history, np.stack([s[start:stop] for s in symbols[:active]]))
        cums, freqs, state = network.intervals(history, state)
        cums, freqs = ops.numpy(cums), ops.numpy(freqs)
        for i in range(active):
            cum[i][start:stop], freq[i][start:stop] = cums[i], freqs[i]
        history = ops.contiguous(history[:, -HISTORY:])
    payloads = [b""] * len(chunks)
    for place, i in enumerate(longest_first):
        payloads[i] = payload_of(geometry, cum[place], freq[place])
    return payloads


def payload_of(geometry: Geometry, cum: npt.NDArray[Any], freq: npt.NDArray[Any]) -> bytes:
    """The payload of a chunk whose symbols have these intervals, (frames, ...) each."""
    by_frame = cum.reshape(len(cum), -1), freq.reshape(len(freq), -1)
    orders = lane_order(geometry, lane_count(geometry, len(cum)))
    return join_lanes(
        [encode_lane(*(part[:, order].reshape(-1) for part in by_frame)) for order in orders]
    )


def decode_batch(
    network: Network, ops: Any, payloads: Sequence[bytes], frames: Sequence[int]
) -> list[Tokens]:
    """The tokens uint16 (frames, tokens of a frame) of every payload.

    Raises:
        CorruptError: no encoder writes one of these payloads.
    """
    with ops.running():
        return _decode_batch(network, ops, payloads, frames)


def _decode_batch(
    network: Network, ops: Any, payloads: Sequence[bytes], frames: Sequence[int]
) -> list[Tokens]:
    geometry = network.geometry
    longest_first = sorted(range(len(payloads)), key=lambda i: -frames[i])
    lengths = [frames[i] for i in longest_first]
    lane_counts = [lane_count(geometry, length) for length in lengths]
    lanes = _open([payloads[i] for i in longest_first], lane_counts, ops)
    shape = (geometry.sites, geometry.planes)
    found = [np.empty((length, *shape), np.int32) for length in lengths]
    state = network.begin(len(payloads))
    symbols = network.no_symbols(len(payloads), HISTORY + 1)
    embedded = network.embed(symbols)
    for start, stop, active in _runs(lengths, max(lengths, default=1)):
        state, symbols, embedded = network.first(state, active), symbols[:active], embedded[:active]
        rows = ops.lane_rows(lane_rows(geometry, lane_counts[:active]))
        carried = symbols, embedded, *state
        decode = _decode_at_once if ops.name == "numba" else _decode_by_frames
        carried, of_run = decode(network, ops, carried, stop - start, lanes, rows)
        symbols, embedded, *rest = carried
        state = tuple(rest)
        for i in range(active):
            found[i][start:stop] = of_run[i]
    if not ops.lanes_exhausted(lanes):
        raise CorruptError("the payload has words left over", where="payload")
    tokens: list[Tokens] = [np.empty(0, np.uint16)] * len(payloads)
    for place, i in enumerate(longest_first):
        tokens[i] = geometry.to_tokens(found[place])
    return tokens


def _decode_by_frames(
    network: Network, ops: Any, carried: Carried, frames: int, lanes: Any, rows: Any
) -> tuple[Carried, Symbols]:
    """What is carried after so many frames of all active chunks, and their symbols.

    Carried from frame to frame: the last symbols, their embeddings, and the network's state.
    Symbols: int32 (N, frames, S, P).
    """
    frame = _frame(network, ops, len(carried[0]), lanes, rows)
    carried, decoded = ops.repeat(frame, carried, frames)
    return carried, ops.numpy(ops.stack(decoded, 1))


def _frame(
    network: Network, ops: Any, active: int, lanes: Any, rows: Any
) -> Callable[[Carried], tuple[Carried, Any]]:
    """The decoding of one frame of all active chunks, as ops.repeat takes it."""
    sites = network.geometry.sites
    nothing = network.nothing(active)

    def frame(carried: Carried) -> tuple[Carried, Any]:
        symbols, embedded, *state = carried
        after = network.decode_frame(symbols, embedded, tuple(state), lanes, rows)
        # A copy, so that no output keeps all the frames that it was decoded among.
        decoded = ops.concatenate([symbols[:, HISTORY, :sites]], 1)
        return (*network.moved_on(symbols, embedded, nothing), *after), decoded

    return frame


def _decode_at_once(
    network: Network, ops: Any, carried: Carried, frames: int, lanes: Any, rows: Any
) -> tuple[Carried, Symbols]:
    """The same in compiled loops, which go on with the arrays that they are given."""
    geometry, clips = network.geometry, len(carried[0])
    sites = clips * geometry.sites
    work = int(sites * geometry.codebooks * network.model.spec.macs["total"])
    most = max(1, min(SYMBOLS_AT_ONCE // (sites * geometry.planes), WORK_AT_ONCE // work))
    parts = [
        ops.decode_frames(network.frame, carried, min(most, frames - start), lanes, rows)
        for start in range(0, frames, most)
    ]
    return carried, np.concatenate(parts, 1)


def _runs(lengths: Sequence[int], most: int) -> Iterator[tuple[int, int, int]]:
    """(first frame, last plus one, chunks that have these frames), for falling lengths."""
    start, active = 0, len(lengths)
    while active:
        stop = min(lengths[active - 1], start + max(1, most // active))
        yield start, stop, active
        start = stop
        while active and lengths[active - 1] == start:
            active -= 1


def lane_rows(geometry: Geometry, lane_counts: Sequence[int]) -> LaneRows:
    """The lanes that the sites of chunks of so many lanes are in, chunk after chunk."""
    counts = np.array(lane_counts)
    first = np.cumsum(counts) - counts
    waves = wavefronts(geometry)
    rows = np.concatenate(waves) // geometry.width
    lanes = (first[:, None] + rows[None] % counts[:, None]).astype(np.int32)
    return LaneRows(lanes, np.cumsum([0, *map(len, waves)]))


def _open(payloads: Sequence[bytes], lane_counts: Sequence[int], ops: Any) -> Any:
    """The lanes of all payloads, side by side."""
    words, bounds, before = [], [np.zeros(1, np.int64)], 0
    for payload, lanes in zip(payloads, lane_counts, strict=True):
        of_chunk, bounds_of_chunk = split_lanes(payload, lanes)
        words.append(of_chunk)
        bounds.append(bounds_of_chunk[1:] + before)
        before += of_chunk.size
    return ops.open_lanes(np.concatenate(words), np.concatenate(bounds))
