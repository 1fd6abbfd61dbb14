"""What clips cost under a model, by the integers that `encode` computes. Needs no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..blob import chunk_bounds, chunk_count, default_chunk_frames
from ..blob.fields import bits_per_raw_token
from ..errors import ModelMismatchError, OptionError
from ..models import Model
from ..models.search import as_model
from ..predictors import HYBRID, resolve
from ..predictors.stored import packed_size
from .clips import Clip, Clips, Data, Tokens, open_clips

if TYPE_CHECKING:
    from ..predictors.network.predictor import NetworkPredictor

#: Chunks coded side by side hold about this many symbols, and are so many, at most.
_BATCH_SYMBOLS = 1 << 21
_BATCH_CHUNKS = 64


@dataclass(frozen=True)
class ClipCost:
    """What one clip costs.

    Attributes:
        name, group: of the clip.
        tokens: how many.
        bytes: of its payloads; a blob adds about 60 bytes of header and checksums.
    """

    name: str
    group: str
    tokens: int
    bytes: int

    @property
    def bits_per_token(self) -> float:
        return 8 * self.bytes / self.tokens


@dataclass(frozen=True)
class Evaluation:
    """What clips cost under a model.

    Attributes:
        model: its name, the short form of its identity.
        predictor: "hybrid", or the model's family: its network alone.
        clips: the cost of each.
        token_bits: ceil(log2 alphabet), what ratios are to.
        model_bytes: size of the model file.
        embedded_bytes: size of the model inside a blob (embed_model), entropy-coded.
        chunk_frames: how clips were cut.
        seconds: that encoding took.
    """

    model: str
    predictor: str
    clips: tuple[ClipCost, ...]
    token_bits: int
    model_bytes: int
    embedded_bytes: int
    chunk_frames: int
    seconds: float

    @property
    def tokens(self) -> int:
        return sum(clip.tokens for clip in self.clips)

    @property
    def bytes(self) -> int:
        return sum(clip.bytes for clip in self.clips)

    @property
    def bits_per_token(self) -> float:
        return 8 * self.bytes / self.tokens

    @property
    def ratio(self) -> float:
        """Compression of the tokens at token_bits each."""
        return self.token_bits / self.bits_per_token

    @property
    def model_bits_per_token(self) -> float:
        """What the model adds to each of these tokens, embedded with them."""
        return 8 * self.embedded_bytes / self.tokens

    @property
    def ratio_with_model(self) -> float:
        """The ratio, the embedded model counted."""
        return self.token_bits / (self.bits_per_token + self.model_bits_per_token)

    @property
    def groups(self) -> dict[str, ClipCost]:
        """The sums over clips of the same group; empty if no clip has one."""
        found: dict[str, ClipCost] = {}
        for clip in self.clips:
            if clip.group:
                before = found.get(clip.group, ClipCost(clip.group, clip.group, 0, 0))
                found[clip.group] = ClipCost(
                    clip.group, clip.group, before.tokens + clip.tokens, before.bytes + clip.bytes
                )
        return dict(sorted(found.items()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able fields."""
        clips = [{**asdict(clip), "bits_per_token": clip.bits_per_token} for clip in self.clips]
        groups = {
            name: {"tokens": g.tokens, "bytes": g.bytes, "bits_per_token": g.bits_per_token}
            for name, g in self.groups.items()
        }
        return {
            "model": self.model,
            "predictor": self.predictor,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "bits_per_token": self.bits_per_token,
            "ratio": self.ratio,
            "model_bytes": self.model_bytes,
            "embedded_bytes": self.embedded_bytes,
            "model_bits_per_token": self.model_bits_per_token,
            "ratio_with_model": self.ratio_with_model,
            "chunk_frames": self.chunk_frames,
            "seconds": self.seconds,
            "groups": groups,
            "clips": clips,
        }


def evaluate(
    model: Model | str | os.PathLike[str],
    data: Data | Sequence[Data],
    *,
    select: Sequence[str] = (),
    predictor: str | None = None,
    chunk_frames: int | None = None,
    threads: int = 1,
    backend: str = "auto",
    device: str | None = None,
    report: Callable[[ClipCost], None] = lambda clip: None,
) -> Evaluation:
    """Encode clips with a model, each on its own, in chunks as `encode` makes them.

    Args:
        model: a model or its file.
        data: files (.npy, .npz, .h5), directories, patterns, arrays, or several of these.
        select: arrays of .npz and .h5 files, as names, groups or patterns.
        predictor: "hybrid", what `encode` does with a model unless told otherwise; None or the
            model's family: the network alone, which is several times as fast.
        chunk_frames: frames of a chunk; None: as `encode` chooses.
        threads: of the CPU.
        backend, device: where integers are computed, as for encode; no result depends on it.
        report: called with every clip, in no particular order.

    Raises:
        ModelMismatchError: the model is for frames of another shape, or a smaller alphabet.
        ModelError: the model cannot be used.
        TokenzipError: as open_clips.
    """
    if threads < 1:
        raise OptionError(f"threads must be above 0, not {threads}")
    if chunk_frames is not None and chunk_frames < 1:
        raise OptionError(f"chunk_frames must be above 0, not {chunk_frames}")
    chosen = as_model(model)
    size = len(chosen.to_bytes()) if isinstance(model, Model) else Path(model).stat().st_size
    name = resolve(predictor or chosen.spec.family, chosen.spec.family)
    clips = open_clips(data, select=select)
    check_clips(chosen, clips)
    return evaluate_clips(
        chosen,
        clips,
        predictor=name,
        chunk_frames=chunk_frames,
        threads=threads,
        backend=backend,
        device=device,
        model_bytes=size,
        report=report,
    )


def check_clips(model: Model, clips: Clips) -> None:
    """Raise ModelMismatchError, naming the file, if the model cannot code these clips."""
    from ..predictors.network.predictor import check_match

    for clip in clips:
        try:
            check_match(model, clip.frame, max(2, clip.largest + 1))
        except ModelMismatchError as error:
            raise ModelMismatchError(f"{clip.name}: {error}") from error


def evaluate_clips(
    model: Model,
    clips: Clips,
    *,
    predictor: str | None = None,
    chunk_frames: int | None = None,
    threads: int = 1,
    backend: str = "auto",
    device: str | None = None,
    model_bytes: int | None = None,
    report: Callable[[ClipCost], None] = lambda clip: None,
) -> Evaluation:
    """As evaluate, of clips that are open and known to match."""
    from ..models.packed import pack
    from ..predictors.network.predictor import Backend, NetworkPredictor

    bits = bits_per_raw_token(model.spec.geometry.alphabet)
    frames = chunk_frames or default_chunk_frames(model.spec.geometry.frame_tokens)
    network = NetworkPredictor(model, Backend(backend, device, threads))
    encode = _one_by_one(network, threads) if predictor == HYBRID else network.encode
    left = [chunk_count(clip.frames, frames) for clip in clips]
    sizes = [0] * len(clips)
    costs: list[ClipCost] = []
    begin = time.perf_counter()
    for batch in _batches(clips.clips, frames):
        payloads = encode([tokens for _, tokens in batch])
        for (number, tokens), payload in zip(batch, payloads, strict=True):
            # A chunk that got no smaller is stored.
            sizes[number] += min(len(payload), packed_size(tokens.size, bits))
            left[number] -= 1
            if left[number] == 0:
                clip = clips.clips[number]
                costs.append(ClipCost(clip.name, clip.group, clip.tokens, sizes[number]))
                report(costs[-1])
    order = {clip.name: number for number, clip in enumerate(clips)}
    costs.sort(key=lambda cost: order[cost.name])
    return Evaluation(
        model=model.name,
        predictor=predictor or model.spec.family,
        clips=tuple(costs),
        token_bits=bits,
        model_bytes=len(model.to_bytes()) if model_bytes is None else model_bytes,
        embedded_bytes=len(pack(model)),
        chunk_frames=frames,
        seconds=time.perf_counter() - begin,
    )


def _one_by_one(
    network: NetworkPredictor, threads: int
) -> Callable[[Sequence[Tokens]], list[bytes]]:
    """What encodes chunks by the hybrid predictor, as many at a time as there are threads."""
    from ..predictors import hybrid

    make, alphabet = hybrid.coders(network), network.network.geometry.alphabet

    def encode(tokens: Tokens) -> bytes:
        return make(alphabet, tokens.shape[1:], tokens.size).encode(tokens)

    def every(chunks: Sequence[Tokens]) -> list[bytes]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(encode, chunks))

    return every


def _batches(clips: Sequence[Clip], frames: int) -> Iterator[list[tuple[int, Tokens]]]:
    """Chunks to code side by side, of about the same length: (number of the clip, tokens)."""
    chunks = [
        (stop - start, number, start, stop)
        for number, clip in enumerate(clips)
        for start, stop in chunk_bounds(clip.frames, frames)
    ]
    batch: list[tuple[int, Tokens]] = []
    symbols = 0
    for _, number, start, stop in sorted(chunks):
        tokens = clips[number].read(start, stop)
        if batch and (symbols + tokens.size > _BATCH_SYMBOLS or len(batch) >= _BATCH_CHUNKS):
            yield batch
            batch, symbols = [], 0
        batch.append((number, tokens))
        symbols += tokens.size
    if batch:
        yield batch
