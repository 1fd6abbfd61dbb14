"""What the parts of the networks are worth: train each variant alike, compare bits and speed.

    python benchmarks/ablation.py --steps 500             # all variants, about two minutes each
    python benchmarks/ablation.py --only "no candidates" --markdown out/ablation.md

Every variant is a network of SIZES, trained for the same number of steps on the same segments of
drive/train.h5 and judged on clips of it that are held aside; drive/val.h5 plays no part. Bits are
those of the float twin (integers, in blobs, cost 0.4 % more). Steps per frame are those that the
places the head looks at allow. Speeds are of CPU time, on one clip and one thread; decoding is
measured for the order that tokenzip has (30 steps for 8 x 16). Results so far are kept beside the
report, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from adaptive_goals import data_path
from rich.console import Console

import tokenzip
from tokenzip.bench.machine import machine_info, machine_line
from tokenzip.models import HISTORY, Geometry, Spec, new_spec
from tokenzip.models.blank import blank_model
from tokenzip.models.features import AROUND, Features, Place
from tokenzip.predictors.network.predictor import Backend, NetworkPredictor
from tokenzip.training.clips import open_clips, split
from tokenzip.training.distributed import world
from tokenzip.training.loop import Loop
from tokenzip.training.options import Options
from tokenzip.training.twin import Twin

Change = Callable[[Features], Features]

#: Between the presets `small` and `base`.
SIZES = {
    "lstm": {"embedding": 16, "state": 96, "hidden": 64},
    "conv3d": {"embedding": 16, "state": 56, "squeeze": 16, "hidden": 64},
}

_PLUS = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
_LEFT, _UP, _UP_LEFT, _UP_RIGHT = (0, 0, -1), (0, -1, 0), (0, -1, -1), (0, -1, 1)


def _window(places: list[tuple[int, int]]) -> Change:
    return lambda f: replace(f, window=tuple((1, *place) for place in places))


def _head(*places: Place) -> Change:
    """The head sees only these places of the frame being coded, in every way."""

    def change(f: Features) -> Features:
        def seen(place: Place) -> bool:
            return place[0] > 0 or place in places

        return replace(
            f,
            neighbours=places,
            now=tuple(pair for pair in f.now if seen(pair[0]) and seen(pair[1])),
            candidates=tuple(place for place in f.candidates if seen(place)),
        )

    return change


def _interleaved(f: Features) -> Features:
    """The head sees all eight neighbours, as far as InterleavedTwin lets it."""
    around = [(0, *place) for place in AROUND if place != (0, 0)]
    straight = [place for place in around if 0 in place[1:]]
    now = [(place, (1, *place[1:])) for place in around]
    now += [
        ((0, y, x), (1, y + down, x + right)) for _, y, x in straight for _, down, right in around
    ]
    now += [((1, 0, 0), place) for place in straight]
    now += [((0, 0, -1), (0, 0, 1)), ((0, -1, 0), (0, 1, 0)), (_LEFT, _UP)]
    past = [place for place in f.candidates if place[0] > 0]
    return replace(f, neighbours=tuple(around), now=tuple(now), candidates=(*past, *around))


class InterleavedTwin(Twin):
    """Sites in four steps, by (row, column) modulo 2; the head sees those of earlier steps."""

    STEPS = torch.tensor([[0, 2], [3, 1]])

    def _at(self, values: torch.Tensor, place: Place) -> torch.Tensor:
        found = super()._at(values, place)
        if place[0] > 0:
            return found
        geometry = self.spec.geometry
        y, x = torch.arange(geometry.height)[:, None], torch.arange(geometry.width)
        step_there = self.STEPS[(y + place[1]) % 2, (x + place[2]) % 2]
        known = (step_there < self.STEPS[y % 2, x % 2])[:, :, None]
        # What pads a frame is "no symbol".
        return torch.where(known, found, values[:, HISTORY:, :1, :1])


#: name -> (family, change of the features, steps per frame of 8 x 16)
VARIANTS: dict[str, tuple[str, Change, int]] = {
    "lstm": ("lstm", lambda f: f, 30),
    "conv3d: 9 frames, no carried state": ("conv3d", lambda f: f, 30),
    "window 1 x 1": ("lstm", _window([(0, 0)]), 30),
    "window of 5, a plus": ("lstm", _window(_PLUS), 30),
    "window 5 x 5": (
        "lstm",
        _window([(y, x) for y in range(-2, 3) for x in range(-2, 3)]),
        30,
    ),
    "no head neighbours": ("lstm", _head(), 1),
    "head: left, up": ("lstm", _head(_LEFT, _UP), 23),
    "head: left, up, up-left": ("lstm", _head(_LEFT, _UP, _UP_LEFT), 23),
    "head: left, up, up-left, up-right": ("lstm", _head(_LEFT, _UP, _UP_LEFT, _UP_RIGHT), 30),
    "head: raster order, two further right": (
        "lstm",
        lambda f: replace(f, neighbours=(*f.neighbours, (0, -1, 2), (0, -1, 3))),
        128,
    ),
    "head: interleaved grids, all around": ("lstm", _interleaved, 4),
    "no candidates (copy term)": ("lstm", lambda f: replace(f, candidates=()), 30),
    "candidates: last frame only": (
        "lstm",
        lambda f: replace(f, candidates=((1, 0, 0),)),
        30,
    ),
    "no equalities": ("lstm", lambda f: replace(f, past=(), now=()), 30),
}


def _spec(name: str) -> Spec:
    family, change, _ = VARIANTS[name]
    plain = new_spec(family, "small", Geometry.of((8, 16), 1024), **SIZES[family])
    return replace(plain, features=change(plain.features))


def train(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one variant; what it costs."""
    family, change, _ = VARIANTS[name]
    clips = open_clips(data_path("drive/train.h5"))
    shown, held = split(clips, 0.08)
    options = Options(
        predictor=family,
        steps=arguments.steps,
        patience=0,
        validate_steps=arguments.steps + 1,
        validate_tokens=400_000,
        # As when ablation.md was made.
        optimizer="adamw",
        threads=1,
    )
    network = InterleavedTwin if change is _interleaved else Twin
    with world("cpu") as here:
        start = time.perf_counter()
        outcome = Loop(_spec(name), options, shown, held, here, network=network).run()
        seconds = time.perf_counter() - start
    return {
        "bits": outcome.progress.best,
        "tokens": outcome.progress.tokens,
        "seconds": round(seconds),
    }


def speeds(names: list[str]) -> dict[str, tuple[float, float | None]]:
    """Tokens per second of encoding and decoding a clip: weights of zero, the best of six turns."""
    clip = tokenzip.samples.drive(frames=120)
    predictors = {n: NetworkPredictor(blank_model(_spec(n)), Backend("numba")) for n in names}
    # Places that are known in another order only cannot be decoded in tokenzip's.
    decodes = {name for name in names if VARIANTS[name][2] == 30}
    encode, decode = (dict.fromkeys(names, float("inf")) for _ in range(2))
    for _ in range(6):
        for name, predictor in predictors.items():
            payloads = predictor.encode([clip])
            seconds = _seconds(lambda p=predictor: p.encode([clip]))
            encode[name] = min(encode[name], seconds)
            if name in decodes:
                seconds = _seconds(lambda p=predictor, of=payloads: p.decode(of, [len(clip)]))
                decode[name] = min(decode[name], seconds)
    return {
        name: (clip.size / encode[name], clip.size / decode[name] if name in decodes else None)
        for name in names
    }


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The results as lines of Markdown."""
    measured, first = speeds(list(results)), next(iter(results.values()))
    lines = [
        "| variant | bits/token | against the first | MACs/token | steps | encode | decode |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        change = 100 * (result["bits"] / first["bits"] - 1)
        encode, decode = measured[name]
        macs, steps = _spec(name).macs["total"], VARIANTS[name][2]
        lines.append(
            f"| {name} | {result['bits']:.3f} | {change:+.1f} % | {macs / 1e3:,.0f} k | {steps} | "
            f"{encode:,.0f} | {f'{decode:,.0f}' if decode else '-'} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--only", action="append", choices=VARIANTS)
    parser.add_argument("--markdown", type=Path, default=Path("out/ablation.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
    kept = arguments.markdown.with_suffix(".json")
    key = f"{arguments.steps} steps"
    known = json.loads(kept.read_text()) if kept.is_file() else {}
    results = known.setdefault(key, {})
    console = Console()
    for name in arguments.only or VARIANTS:
        if name not in results:
            results[name] = train(name, arguments)
            kept.write_text(json.dumps(known, indent=1))
        console.print(f"{name}: {results[name]['bits']:.3f}", markup=False, highlight=False)
    rows = {name: results[name] for name in VARIANTS if name in results}
    tokens = next(iter(rows.values()))["tokens"]
    lines = [
        "# What the parts of the networks are worth",
        "",
        f"`python benchmarks/ablation.py --steps {arguments.steps}`: {tokens:,} tokens of "
        "drive/train.h5 seen by each, judged on held-aside clips of it. Speeds in tokens/s of CPU "
        f"time, one clip, one thread, numba. {machine_line(machine_info())}",
        "",
        *table(rows),
    ]
    arguments.markdown.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
