"""Measure each kind of peer on the same clips: sizes, speeds, and other batch sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import tokenzip
from peers import coding
from peers.base import ALPHABET, SITES, Peer
from peers.programs import Program
from tokenzip.bench.layouts import Layout
from tokenzip.bench.result import Result
from tokenzip.models.packed import pack as pack_model

Clips = Sequence[npt.NDArray[np.uint16]]  # each (T, 8, 16), all of one length

#: Position after position, two bytes a token: comma.ai's layout, and the best of most programs.
_LAYOUT = Layout(by_position=True, form="words")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        result: sizes and times, clip by clip.
        model_bytes: what a decoder needs beside the blobs; None where that is nothing.
        portable: does what one batch size wrote decode at another; "" where there are no batches.
        learned: how the model was made.
    """

    result: Result
    model_bytes: int | None = None
    portable: str = ""
    learned: str = ""


def measure_network(name: str, peer: Peer, clips: Clips, learned: str) -> Row:
    """A float peer: each clip in a batch of its own, then the same blobs decoded all at once."""
    grids = np.stack([clip.reshape(len(clip), SITES) for clip in clips]).astype(np.int32)
    begin = time.process_time()
    words = [coding.encode(peer, grid[None])[0] for grid in grids]
    encoded = time.process_time()
    decoded = [coding.decode(peer, [one], grids.shape[1])[0] for one in words]
    seconds = encoded - begin, time.process_time() - encoded
    if not np.array_equal(np.stack(decoded), grids):
        raise RuntimeError(f"{name} did not give the tokens back at its own batch size")
    size = sum(one.nbytes for one in words)
    weights = sum(4 * value.numel() for value in peer.state_dict().values())
    return Row(_result(name, clips, size, seconds), weights, _at_once(peer, words, grids), learned)


def _at_once(peer: Peer, words: Sequence[coding.Words], grids: coding.Tokens) -> str:
    """What becomes of blobs written clip by clip that are decoded in one batch."""
    try:
        right = coding.decode(peer, words, grids.shape[1]) == grids
    except Exception as error:  # what a decoder that lost its way may run into
        return f"no: {type(error).__name__}"
    return "yes" if right.all() else f"no: {1 - right.mean():.0%} of the tokens wrong"


def measure_ours(
    name: str, predictor: str, clips: Clips, model: str | Path | None, learned: str
) -> Row:
    """tokenzip on one thread, clip by clip, then all clips as one blob at two batch sizes."""
    given = {} if model is None else {"model": tokenzip.Model.load(model)}
    encoder = tokenzip.Codec(alphabet=ALPHABET, predictor=predictor, **given)
    decoder = tokenzip.Codec(**given)
    decoder.decode(encoder.encode(clips[0][:8]))  # loaded, proved and compiled
    begin = time.process_time()
    blobs = [encoder.encode(clip) for clip in clips]
    encoded = time.process_time()
    decoded = [decoder.decode(blob) for blob in blobs]
    seconds = encoded - begin, time.process_time() - encoded
    if not all(np.array_equal(was, now) for was, now in zip(clips, decoded, strict=True)):
        raise RuntimeError(f"{name} did not give the tokens back")
    result = _result(name, clips, sum(map(len, blobs)), seconds)
    if model is None:
        return Row(result)
    settings = {"alphabet": ALPHABET, "predictor": predictor, **given}
    one = tokenzip.Codec(**settings, batch=1).encode(list(clips))
    back = tokenzip.Codec(**given, batch=len(clips)).decode(one)
    same = all(np.array_equal(was, now) for was, now in zip(clips, back, strict=True))
    packed = len(pack_model(given["model"]))
    return Row(result, packed, "yes" if same else "no", learned)


def measure_program(program: Program, clips: Clips) -> Row:
    """A program that compresses files. Times are those of the clock."""
    size, encoding, decoding = 0, 0.0, 0.0
    for clip in clips:
        begin = time.perf_counter()
        data = program.compress(_LAYOUT.to_bytes([clip], ALPHABET))
        encoded = time.perf_counter()
        plain = program.decompress(data, 2 * clip.size)
        decoding += time.perf_counter() - encoded
        encoding += encoded - begin
        size += len(data)
        if not np.array_equal(_LAYOUT.from_bytes(plain, [clip.shape], ALPHABET)[0], clip):
            raise RuntimeError(f"{program.name} did not give the tokens back")
    return Row(_result(program.name, clips, size, (encoding, decoding), layout=_LAYOUT.name))


def _result(
    name: str, clips: Clips, size: int, seconds: tuple[float, float], layout: str = "tokens"
) -> Result:
    return Result(
        compressor=name,
        layout=layout,
        solid=False,
        grids=len(clips),
        tokens=sum(clip.size for clip in clips),
        alphabet=ALPHABET,
        compressed_bytes=size,
        encode_seconds=seconds[0],
        decode_seconds=seconds[1],
        peak_bytes=None,
    )
