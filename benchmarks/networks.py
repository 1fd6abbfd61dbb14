"""Measure the neural predictors: bits per token, speed, and how much of the machine they use.

    python benchmarks/networks.py                     # everything, for benchmarks/models/
    python benchmarks/networks.py --only speed --threads 2
    python benchmarks/networks.py --only twin --checkpoint drive_my.safetensors.checkpoint
    python benchmarks/networks.py --markdown out/networks.md my.safetensors

Bits: every validation clip is coded by itself (drive/val.h5, encodec/val.h5; TOKENZIP_DATA, else
../shared/data beside this repository); sizes are whole blobs without the model, whose own size
stands beside them. A model is measured on the data that its name begins with. Speed: warm, on the
first of these clips; --cpu-time counts what one thread took of the processor, not what passed
meanwhile. Efficiency: multiply-accumulates of the network times tokens per second,
against matrix products of int8 numbers on one thread by torch._int_mm and by tokenzip's own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from adaptive_goals import Skip, data_path
from rich.console import Console

import tokenzip
from tokenzip.bench.machine import machine_info, machine_line
from tokenzip.models import FAMILIES, PRESETS, Geometry, new_spec
from tokenzip.models.blank import blank_model
from tokenzip.models.packed import pack as pack_model
from tokenzip.predictors.network.predictor import Backend, NetworkPredictor

MODELS = Path(__file__).parent / "models"
Tokens = npt.NDArray[np.uint16]
Row = Sequence[str]


def bits(models: Sequence[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """Bits per token of each model on its validation clips, alone and as hybrid, by source."""
    rows: list[Row] = []
    for path in models:
        model = tokenzip.Model.load(path)
        clips = _clips(path)
        alone: list[int] = []
        for predictor in (model.spec.family, "hybrid"):
            codec = tokenzip.Codec(alphabet=1024, model=model, predictor=predictor)
            with ThreadPoolExecutor(arguments.threads) as pool:
                sizes = list(pool.map(len, pool.map(codec.encode, [clip for _, clip in clips])))
            alone = alone or sizes
            of_group: dict[str, list[int]] = defaultdict(list)
            for number, (source, _) in enumerate(clips):
                for group in {source, "all"}:
                    of_group[group].append(number)
            for group, numbers in sorted(of_group.items(), key=lambda g: (g[0] == "all", g[0])):
                tokens = sum(clips[number][1].size for number in numbers)
                rate = 8 * sum(sizes[number] for number in numbers) / tokens
                gains = [100 * (1 - sizes[number] / alone[number]) for number in numbers]
                saved = f"{statistics.mean(gains):.1f} %" if predictor == "hybrid" else ""
                cells = [f"{tokens:,}", f"{rate:.3f}", f"{10 / rate:.3f}", saved]
                rows.append([path.stem, predictor, group, *cells])
        packed = len(pack_model(model))
        rows.append([path.stem, "the model, packed", "", "", f"{packed:,} bytes", "", ""])
    heads = ["model", "predictor", "clips", "tokens", "bits/token", "ratio"]
    yield from _table([*heads, "smaller than the network, mean of clips"], rows)


def hybrid(models: Sequence[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """Tokens per second of the hybrid: chunks are spread over threads, one is one thread's."""
    rows: list[Row] = []
    for path in models:
        model = tokenzip.Model.load(path)
        clips = [clip[: arguments.frames] for _, clip in _clips(path)]
        codec = tokenzip.Codec(
            alphabet=1024, model=model, predictor="hybrid", threads=arguments.threads
        )
        for count in (1, arguments.clips):
            some = clips[:count]
            blob = codec.encode(some)
            total = sum(clip.size for clip in some)
            encode = _seconds(partial(codec.encode, some), arguments.clock, most=3)
            decode = _seconds(partial(codec.decode, blob), arguments.clock, most=3)
            rates = [f"{total / seconds:,.0f}" for seconds in (encode, decode)]
            rows.append([path.stem, str(count), *rates])
    yield from _table(["model", "clips", "encode tokens/s", "decode tokens/s"], rows)
    yield f"{_threads(arguments)}, {arguments.frames} frames a clip."


def twin(models: Sequence[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """What the float twins of checkpoints cost, and their integers, in lanes and whole blobs."""
    if not arguments.checkpoint:
        raise Skip("no --checkpoint")
    import torch

    from tokenzip.models import Spec
    from tokenzip.training import checkpoint, validation
    from tokenzip.training.clips import open_clips
    from tokenzip.training.export import export
    from tokenzip.training.twin import Twin

    torch.set_num_threads(arguments.threads)
    rows: list[Row] = []
    for path in arguments.checkpoint:
        content = checkpoint.read(path)
        trained = Twin(Spec.from_dict(content["setup"]["spec"]))
        trained.load_state_dict(content["best_weights"] or content["twin"])
        clips = open_clips(_data(path)).clips
        cost = validation.cost(trained, clips, torch.float32, torch.device("cpu"))
        assert cost is not None
        model, row = export(trained), [path.name.partition(".")[0], f"{cost.per_token:.4f}"]
        tokens = [clip for _, clip in _clips(path)]
        predictor = NetworkPredictor(model, Backend("numba", threads=arguments.threads))
        for coded in (
            predictor.encode(tokens),
            [
                tokenzip.encode(clip, alphabet=1024, model=model, predictor=model.spec.family)
                for clip in tokens
            ],
        ):
            rate = 8 * sum(map(len, coded)) / cost.tokens
            row.append(f"{rate:.4f} ({100 * (rate / cost.per_token - 1):+.2f} %)")
        rows.append(row)
    yield from _table(["model", "twin, bits/token", "integers, in lanes", "blobs"], rows)


def speed(models: Sequence[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """Tokens per second of encoding and decoding one clip, and several at once."""
    rows: list[Row] = []
    for path in models:
        model = tokenzip.Model.load(path)
        clips = [clip[: arguments.frames] for _, clip in _clips(path)]
        clips = [clip for clip in clips if len(clip) == arguments.frames]
        for backend in arguments.backend:
            for count in (1, arguments.clips):
                predictor = NetworkPredictor(model, Backend(backend, threads=arguments.threads))
                encode, decode = _rates(predictor, clips[:count], arguments.clock)
                macs = model.spec.macs["total"]
                rows.append(
                    [
                        *(path.stem, f"{macs / 1e3:,.0f} k", backend, str(len(clips[:count]))),
                        *(f"{encode:,.0f}", f"{decode:,.0f}"),
                        *(f"{2 * macs * encode / 1e9:.0f}", f"{2 * macs * decode / 1e9:.0f}"),
                    ]
                )
    heads = ["model", "MACs/token", "backend", "clips", "encode tokens/s", "decode tokens/s"]
    yield from _table([*heads, "encode GOP/s", "decode GOP/s"], rows)
    yield f"{_threads(arguments)}, {arguments.frames} frames a clip."


def ceiling(models: Sequence[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """What the machine's int8 matrix products reach, on one thread."""
    rows: list[Row] = []
    for rows_of_x, k, m in ((8, 576, 768), (128, 576, 768), (1024, 576, 768), (1024, 160, 1024)):
        rng = np.random.default_rng(0)
        x = rng.integers(-127, 128, (rows_of_x, k), np.int8)
        w = rng.integers(-127, 128, (m, k), np.int8)
        work = 2.0 * rows_of_x * k * m
        products = (_numba(x, w), _int_mm(x, w))
        rates = [work / _seconds(product, arguments.clock) / 1e9 for product in products]
        rows.append([f"{rows_of_x} x {k} x {m}", *(f"{rate:.0f}" for rate in rates)])
    yield from _table(["rows x inputs x outputs", "tokenzip GOP/s", "torch._int_mm GOP/s"], rows)


def presets(models: Sequence[Path], arguments: argparse.Namespace) -> Iterator[str]:
    """Speed of the presets, with weights of zero, on drawn tokens: 8 x 16 sites, alphabet 1024."""
    clip = tokenzip.samples.drive(frames=arguments.frames)
    rows: list[Row] = []
    for family in FAMILIES:
        for preset in PRESETS[family]:
            spec = new_spec(family, preset, Geometry.of((8, 16), 1024))
            predictor = NetworkPredictor(
                blank_model(spec), Backend("numba", threads=arguments.threads)
            )
            rates = [
                _rates(predictor, [clip] * count, arguments.clock) for count in (1, arguments.clips)
            ]
            rates_text = [f"{rate:,.0f}" for pair in rates for rate in pair]
            rows.append([f"{family} {preset}", f"{spec.macs['total'] / 1e3:,.0f} k", *rates_text])
    some = f"{arguments.clips} clips"
    heads = ["preset", "MACs/token", "encode, 1 clip", "decode, 1 clip"]
    yield from _table([*heads, f"encode, {some}", f"decode, {some}"], rows)
    yield f"Tokens/s; {_threads(arguments)}, {arguments.frames} frames a clip."


PARTS: dict[str, Callable[..., Iterator[str]]] = {
    "bits": bits,
    "twin": twin,
    "speed": speed,
    "hybrid": hybrid,
    "presets": presets,
    "ceiling": ceiling,
}


def _data(path: Path) -> Path:
    """The validation clips that a model is for."""
    return data_path(f"{path.stem.split('_')[0]}/val.h5")


def _clips(path: Path) -> list[tuple[str, Tokens]]:
    """(source, tokens) of these clips."""
    with h5py.File(_data(path)) as file:
        return [
            (str(clip.attrs.get("source", "all")), clip["tokens"][:].astype(np.uint16))
            for clip in file["clips"].values()
        ]


def _threads(arguments: argparse.Namespace) -> str:
    time_of = "CPU time" if arguments.clock is time.process_time else "wall time"
    return f"threads: {arguments.threads}, {time_of}"


def _rates(
    predictor: NetworkPredictor, clips: Sequence[Tokens], clock: Callable[[], float]
) -> tuple[float, float]:
    """Tokens per second of encoding and decoding, the best of some runs after one to warm up."""
    payloads = predictor.encode(clips)
    frames = [len(clip) for clip in clips]
    for tokens, clip in zip(predictor.decode(payloads, frames), clips, strict=True):
        if not np.array_equal(tokens.reshape(clip.shape), clip):
            raise AssertionError("a clip came back changed")
    total = sum(clip.size for clip in clips)
    encode = _seconds(lambda: predictor.encode(clips), clock, most=5)
    decode = _seconds(lambda: predictor.decode(payloads, frames), clock, most=5)
    return total / encode, total / decode


def _seconds(work: Callable[[], Any], clock: Callable[[], float], *, most: int = 200) -> float:
    """The shortest time that the work took, of up to `most` runs within about a second."""
    work()
    best, end = float("inf"), time.perf_counter() + 1
    for _ in range(most):
        start = clock()
        work()
        best = min(best, clock() - start)
        if time.perf_counter() > end and most > 5:
            break
    return best


def _numba(x: npt.NDArray[np.int8], w: npt.NDArray[np.int8]) -> Callable[[], Any]:
    from tokenzip.integer.gemm import pack, product, put_inputs, room

    weights, biases = pack(w, np.zeros(len(w), np.int32))
    inputs, sums = room(len(x), weights)
    for row, values in zip(inputs, x, strict=True):
        put_inputs(row, 0, values)
    return lambda: product(inputs, weights, biases, sums)


def _int_mm(x: npt.NDArray[np.int8], w: npt.NDArray[np.int8]) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    a, b = torch.from_numpy(x), torch.from_numpy(w).t()
    return lambda: torch._int_mm(a, b)


def _table(heads: Row, rows: Sequence[Row]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--backend", action="append", choices=["numba", "torch"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--cpu-time", action="store_true", help="for a machine with other work")
    parser.add_argument("--checkpoint", action="append", type=Path, help="for --only twin")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    arguments.backend = arguments.backend or ["numba"]
    arguments.clock = time.process_time if arguments.cpu_time else time.perf_counter
    if arguments.cpu_time and arguments.threads > 1:
        parser.error("--cpu-time is for one thread")
    models = arguments.models or sorted(MODELS.glob("*.safetensors"))
    console, lines = Console(), ["## Networks", "", machine_line(machine_info()), ""]
    for part in arguments.only or PARTS:
        lines += [f"### {PARTS[part].__doc__}", ""]
        try:
            for line in PARTS[part](models, arguments):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
                lines.append(line)
        except Skip as reason:
            lines.append(f"Skipped: {reason}")
            console.print(lines[-1])
        lines.append("")
    if arguments.markdown:
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
