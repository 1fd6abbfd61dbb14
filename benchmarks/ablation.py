"""What the parts of the networks are worth: train each variant alike, compare bits and speed.

    python benchmarks/ablation.py --steps 500             # all variants, about two minutes each
    python benchmarks/ablation.py --only "no candidates" --markdown out/ablation.md

Every variant is a `small` network, trained for the same number of steps on the same segments of
drive/train.h5 and judged on clips of it that are held aside; drive/val.h5 plays no part. Bits are
those of the float twin, which costs what the integers cost (0.1 %). Steps per frame are those that
the places the head looks at allow; decoding speed is measured for the order that tokenzip has (30
steps for 8 x 16), on one clip and one thread. Results so far are kept beside the report, so that a
run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adaptive_goals import data_path
from rich.console import Console

from tokenzip.bench.machine import machine_info, machine_line
from tokenzip.models import Geometry, Spec, new_spec
from tokenzip.models.features import Features, Place
from tokenzip.predictors.network.predictor import Backend, NetworkPredictor
from tokenzip.training.clips import open_clips, split
from tokenzip.training.distributed import world
from tokenzip.training.export import export
from tokenzip.training.loop import Loop
from tokenzip.training.options import Options

Change = Callable[[Features], Features]

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
    "no candidates (copy term)": ("lstm", lambda f: replace(f, candidates=()), 30),
    "candidates: last frame only": (
        "lstm",
        lambda f: replace(f, candidates=((1, 0, 0),)),
        30,
    ),
    "no equalities": ("lstm", lambda f: replace(f, past=(), now=()), 30),
}


def train(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one variant; what it costs."""
    family, change, steps = VARIANTS[name]
    plain = new_spec(family, arguments.preset, Geometry.of((8, 16), 1024))
    spec = replace(plain, features=change(plain.features))
    clips = open_clips(data_path("drive/train.h5"))
    shown, held = split(clips, 0.08)
    options = Options(
        predictor=family,
        preset=arguments.preset,
        steps=arguments.steps,
        patience=0,
        validate_steps=arguments.steps + 1,
        validate_tokens=400_000,
        threads=1,
    )
    with world("cpu") as here:
        start = time.perf_counter()
        outcome = Loop(spec, options, shown, held, here).run()
        seconds = time.perf_counter() - start
    assert held is not None
    clip = next(iter(held)).read(0, 120)
    # Places that are known in another order only cannot be decoded in tokenzip's.
    encode, decode = _speed(spec, outcome.twin, clip, decodes=steps == 30)
    return {
        "variant": name,
        "bits": outcome.progress.best,
        "tokens": outcome.progress.tokens,
        "seconds": round(seconds),
        "macs": spec.macs["total"],
        "steps": steps,
        "encode": encode,
        "decode": decode,
    }


def _speed(spec: Spec, twin: Any, clip: Any, *, decodes: bool) -> tuple[float, float | None]:
    """Tokens per second of the exported model on one clip, the best of some runs."""
    predictor = NetworkPredictor(export(twin), Backend("numba"))
    clip = np.asarray(clip, np.uint16)
    payloads = predictor.encode([clip])
    encode = min(_seconds(lambda: predictor.encode([clip])) for _ in range(5))
    if not decodes:
        return clip.size / encode, None
    decode = min(_seconds(lambda: predictor.decode(payloads, [len(clip)])) for _ in range(5))
    return clip.size / encode, clip.size / decode


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def table(results: list[dict[str, Any]]) -> list[str]:
    """The results as lines of Markdown."""
    lines = [
        "| variant | bits/token | against the first | MACs/token | steps | encode | decode |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results:
        change = 100 * (r["bits"] / results[0]["bits"] - 1)
        decode = f"{r['decode']:,.0f}" if r["decode"] else "-"
        lines.append(
            f"| {r['variant']} | {r['bits']:.3f} | {change:+.1f} % | {r['macs'] / 1e3:,.0f} k | "
            f"{r['steps']} | {r['encode']:,.0f} | {decode} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--only", action="append", choices=VARIANTS)
    parser.add_argument("--markdown", type=Path, default=Path("out/ablation.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
    kept = arguments.markdown.with_suffix(".json")
    key = f"{arguments.preset} {arguments.steps}"
    known = json.loads(kept.read_text()) if kept.is_file() else {}
    results = known.setdefault(key, {})
    console = Console()
    for name in arguments.only or VARIANTS:
        if name not in results:
            results[name] = train(name, arguments)
            kept.write_text(json.dumps(known, indent=1))
        console.print(table([results[name]])[2], markup=False, highlight=False, soft_wrap=True)
    rows = [results[name] for name in VARIANTS if name in results]
    lines = [
        "# What the parts of the networks are worth",
        "",
        f"`python benchmarks/ablation.py --steps {arguments.steps} --preset {arguments.preset}`: "
        f"{rows[0]['tokens']:,} tokens of drive/train.h5 seen by each, judged on held-aside clips "
        "of it. Speeds in tokens/s, one clip, one thread, numba. " + machine_line(machine_info()),
        "",
        *table(rows),
    ]
    arguments.markdown.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
