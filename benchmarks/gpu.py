"""Measure the neural predictors on a GPU: tokens per second, and where the time goes.

    python benchmarks/gpu.py                            # benchmarks/models/drive_*, 512 clips
    python benchmarks/gpu.py my.safetensors --clips 64 --frames 120
    python benchmarks/gpu.py --device cpu --clips 4 --frames 8 # try it where there is no GPU

Tokens are random walks over the alphabet: speed does not depend on them. Encoding and decoding are
timed whole, tokens in host memory to payloads and back. Then both are run once more with a wait
for the device after every operation, which gives the shares of GEMM (linear, dense, gated, lstm),
head inputs, tables and lanes (intervals, decode); these runs are slower than the timed ones.
The payloads of the first clips are compared with those of numba.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import tokenzip
from tokenzip.integer import operations
from tokenzip.predictors.network.batch import decode_batch, encode_batch
from tokenzip.predictors.network.network import Network

MODELS = Path(__file__).parent / "models"
PARTS = {
    "GEMM, gates": ("linear", "dense", "gated", "lstm"),
    "head inputs": ("embed", "windows", "inputs", "put", "concatenate", "contiguous"),
    "tables and lanes": ("intervals", "decode", "open_lanes"),
}


def tokens_for(model: tokenzip.Model, clips: int, frames: int) -> list[Any]:
    """Clips in which most tokens repeat the frame before."""
    geometry = model.spec.geometry
    rng = np.random.default_rng(0)
    made = []
    for _ in range(clips):
        fresh = rng.integers(0, geometry.alphabet, (frames, geometry.frame_tokens), np.uint16)
        for t in range(1, frames):
            same = rng.random(geometry.frame_tokens) < 0.5
            fresh[t, same] = fresh[t - 1, same]
        made.append(fresh)
    return made


def measure(path: Path, arguments: argparse.Namespace) -> list[str]:
    """The lines of one model."""
    model = tokenzip.Model.load(path)
    clips = tokens_for(model, arguments.clips, arguments.frames)
    lengths = [len(clip) for clip in clips]
    total = sum(clip.size for clip in clips)
    ops = operations("torch", arguments.device)
    network = Network(model, ops)
    small = [clip[:2] for clip in clips[:2]]
    decode_batch(network, ops, encode_batch(network, ops, small), [2, 2])  # warms up
    encode, payloads = _timed(lambda: encode_batch(network, ops, clips), arguments.device)
    decode, found = _timed(lambda: decode_batch(network, ops, payloads, lengths), arguments.device)
    if not all(np.array_equal(a, b) for a, b in zip(found, clips, strict=True)):
        raise AssertionError("a clip came back changed")
    numba = operations("numba")
    if encode_batch(Network(model, numba), numba, clips[:1]) != payloads[:1]:
        raise AssertionError("numba writes other bytes")
    rates = f"encode {total / encode:,.0f} tokens/s, decode {total / decode:,.0f} tokens/s"
    lines = [f"{path.stem}: {len(clips)} clips of {arguments.frames} frames, {rates}"]
    for name, work in (
        ("encode", lambda n, o: encode_batch(n, o, clips)),
        ("decode", lambda n, o: decode_batch(n, o, payloads, lengths)),
    ):
        lines.append(f"  {name}: {_shares(model, work, arguments.device)}")
    return lines


def _shares(model: tokenzip.Model, work: Callable[[Network, Any], Any], device: str) -> str:
    """Shares of the parts, with a wait for the device after every operation."""
    ops = operations("torch", device)
    seconds: dict[str, float] = defaultdict(float)
    for part, names in PARTS.items():
        for name in names:
            if hasattr(ops, name):
                setattr(ops, name, _watched(getattr(ops, name), part, seconds, device))
    whole, _ = _timed(lambda: work(Network(model, ops), ops), device)
    seconds["the rest"] = max(0.0, whole - sum(seconds.values()))
    return ", ".join(f"{part} {100 * s / whole:.0f} %" for part, s in seconds.items())


def _watched(
    operation: Callable[..., Any], part: str, seconds: dict[str, float], device: str
) -> Callable[..., Any]:
    inside = [False]

    def timed(*arguments: Any, **named: Any) -> Any:
        if inside[0]:  # an operation that another one calls is that one's
            return operation(*arguments, **named)
        inside[0] = True
        try:
            took, result = _timed(lambda: operation(*arguments, **named), device)
        finally:
            inside[0] = False
        seconds[part] += took
        return result

    return timed


def _timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    _wait(device)
    start = time.perf_counter()
    result = work()
    _wait(device)
    return time.perf_counter() - start, result


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--frames", type=int, default=240)
    arguments = parser.parse_args()
    console = Console()
    if arguments.device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise SystemExit("there is no CUDA device here; --device cpu tries the script")
        console.print(torch.cuda.get_device_name(arguments.device))
    for path in arguments.models or sorted(MODELS.glob("drive_*.safetensors")):
        for line in measure(path, arguments):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
