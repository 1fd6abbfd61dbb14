"""Fit a network to clips and say what that saves, everything counted.

    python benchmarks/fit.py                              # 120 clips of drive/train.h5, 40 minutes
    python benchmarks/fit.py --minutes 5 --clips 20 --size small
    python benchmarks/fit.py --data ../shared/data/encodec/train.h5 --markdown out/fit.md

The first clips by name are compressed together (solid), once by zpaq -m5, once by the adaptive
predictor, and once by the hybrid with a network that was trained on just these clips, whose weights
are in the blob. Every blob of ours is decoded and compared. Data sets are looked for in
TOKENZIP_DATA, else ../shared/data beside this repository. What zpaq and the adaptive predictor
reach is kept in out/, by the hash of the tokens. A run that was interrupted goes on from
out/fit.checkpoint. Exit status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from adaptive_goals import (
    ALPHABET,
    REPOSITORY,
    Clips,
    Skip,
    at_most,
    data_path,
    kept_size,
    zpaq_size,
)

import tokenzip
from tokenzip.bench.machine import machine_info, machine_line
from tokenzip.fitting.fit import FitOptions, Progress, fit
from tokenzip.training.clips import open_clips

OUT = REPOSITORY / "out"
#: Sizes against which a fitted network was promised to be smaller by so much.
GOALS = {"zpaq -m5 solid": 0.80, "adaptive solid": 0.90}


def main(arguments: list[str] | None = None) -> int:
    """Run the measurement; returns the exit status."""
    options = _parser().parse_args(arguments)
    OUT.mkdir(exist_ok=True)
    path = Path(options.data) if options.data else data_path("drive/train.h5")
    with h5py.File(path) as file:
        names = sorted(file["clips"])[: options.clips]
        clips = [file[f"clips/{name}/tokens"][()] for name in names]
    tokens = sum(clip.size for clip in clips)
    say(f"{len(clips)} clips of {path}, {tokens:,} tokens; {machine_line(machine_info())}")
    found = _fitted(clips, options)
    sizes: dict[str, int] = {"adaptive solid": _adaptive(clips)}
    try:
        sizes["zpaq -m5 solid"] = zpaq_size(clips, solid=True)
    except Skip as reason:
        say(f"zpaq is left out: {reason}")
    rows = [*sizes.items(), ("fitted, solid", found["bytes"])]
    lines = [f"| {'compressor':16} | bytes | bits/token | ratio |", "|---|---:|---:|---:|"]
    for name, size in rows:
        bits = 8 * size / tokens
        lines.append(f"| {name} | {size:,} | {bits:.4f} | {10 / bits:.3f} |")
    lines += ["", f"{tokens:,} tokens of {len(clips)} clips. {found['words']}"]
    outcomes = [
        at_most(f"against {name}", found["bytes"] / sizes[name], limit, "{:.1%}")
        for name, limit in GOALS.items()
        if sizes.get(name)
    ]
    lines += [
        f"- {o.goal}: {o.measured}, wanted {o.target}: {'met' if o.met else 'MISSED'}"
        for o in outcomes
    ]
    say("\n".join(lines))
    if options.markdown:
        Path(options.markdown).write_text("\n".join(lines) + "\n")
    if options.json:
        Path(options.json).write_text(json.dumps({"sizes": sizes, "fitted": found}, indent=1))
    return 0 if all(outcome.met for outcome in outcomes) else 1


def _fitted(clips: Clips, options: argparse.Namespace) -> dict[str, Any]:
    """Train, encode, decode; sizes and times."""
    start = time.perf_counter()
    checkpoint = OUT / "fit.checkpoint"
    model = fit(
        open_clips(clips, alphabet=ALPHABET),
        ALPHABET,
        FitOptions(
            minutes=options.minutes,
            size=options.size,
            solid=True,
            device=options.device,
            threads=1,
        ),
        checkpoint=checkpoint,
        report=_Lines(),
        note=say,
    )
    trained = time.perf_counter()
    blob = tokenzip.encode(
        clips, alphabet=ALPHABET, model=model, embed_model=model is not None, solid=True
    )
    encoded = time.perf_counter()
    info = tokenzip.inspect(blob)
    say(f"{len(blob):,} bytes, {info.embedded_bytes:,} of them the network; decoding ...")
    if options.blob:
        Path(options.blob).write_bytes(blob)
    if options.verify:
        back = tokenzip.decode(blob)
        if not all(np.array_equal(a, b) for a, b in zip(clips, back, strict=True)):
            raise AssertionError("the blob decodes to other tokens")
    checkpoint.unlink(missing_ok=True)
    summary = model.summary if model is not None else {}
    spec = model.spec.to_dict() if model is not None else {}
    sizes = {name: spec.get(name) for name in ("embedding", "state", "hidden")}
    return {
        "bytes": len(blob),
        "embedded": info.embedded_bytes,
        "sizes": sizes,
        "summary": summary,
        "fit_seconds": trained - start,
        "encode_seconds": encoded - trained,
        "words": (
            f"The network: {sizes}, {info.embedded_bytes:,} bytes of the blob, trained for "
            f"{summary.get('seconds', 0) / 60:.1f} minutes on one thread "
            f"({summary.get('tokens_seen', 0):,} tokens seen); encoding took "
            f"{encoded - trained:.0f} s. {'The blob decodes to the clips.' * options.verify}"
        ),
    }


class _Lines:
    """A line a minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if progress.validated or time.monotonic() - self._last >= 60:
            self._last = time.monotonic()
            bits = "" if progress.bits is None else f", {progress.bits:.4f} with the network's own"
            say(
                f"{progress.seconds / 60:.1f} min, step {progress.step:,}, "
                f"{progress.tokens / 1e6:.2f} M tokens, {progress.rate:,.0f} tokens/s, "
                f"loss {progress.loss:.4f}{bits}"
            )


def _adaptive(clips: Clips) -> int:
    """The adaptive predictor's size of these clips, from the cache where it is known."""

    def compressed() -> int:
        say("compressing by the adaptive predictor ...")
        return len(tokenzip.encode(clips, alphabet=ALPHABET, predictor="adaptive", solid=True))

    return kept_size(OUT / "adaptive_reference.json", "adaptive solid", clips, compressed)


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="an .h5 file of clips/NAME/tokens (default: drive/train.h5)")
    parser.add_argument("--clips", type=int, default=120, help="the first so many by name")
    parser.add_argument("--minutes", type=float, default=40.0, help="of training")
    parser.add_argument("--size", help="of the network (default: chosen)")
    parser.add_argument("--device", default="cpu", help="where to train")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="do not decode")
    parser.add_argument("--blob", help="write the blob to this file")
    parser.add_argument("--markdown", help="write the table to this file")
    parser.add_argument("--json", help="write all figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
