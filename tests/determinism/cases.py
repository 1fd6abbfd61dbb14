"""Encode a fixed set of small arrays and print the SHA-256 of every blob: one process of many.

    PYTHONPATH=. python tests/determinism/cases.py [--tiny] [--match WORD] [--threads N] ...

prints a line "name: sha256" for each case. Whatever the process is told by its environment, the
lines are the same: test_determinism.py and versions.py hold them against SHA256SUMS beside this
file, which is this script's own output on one machine (of a plain run, and one with --tiny). Tokens
come from whole numbers and models from files, so that nothing but tokenzip is tested. What was
encoded is decoded too.

--tiny: arrays of some dozen tokens, for processes without compiled code.
--match: only cases whose names have this word in them.
--auto: instead, what the choice among the models that come with tokenzip makes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
sys.path.insert(0, str(FIXTURES))

import numpy as np  # noqa: E402
from make_fixtures import digest, lively, noise  # noqa: E402

import tokenzip  # noqa: E402

MODELS = FIXTURES / "network_v1"
FRAMES: dict[str, tuple[tuple[int, ...], int]] = {
    "video": ((10, 4), 24),
    "codebooks": ((5,), 60),
    "planes": ((2, 3, 2), 9),
    "split": ((2, 2), 5000),
    "stream": ((), 200),
}

Case = tuple[Any, dict[str, Any]]


def clip(kind: str, tokens: int, seed: int = 1) -> np.ndarray:
    """About so many tokens of a kind, at least two frames; they mostly repeat."""
    frame, alphabet = FRAMES[kind]
    frames = max(2, tokens // int(np.prod(frame, dtype=int)))
    return lively((frames, *frame), alphabet, "<u2", seed, calm=92)


def cases(tokens: int) -> dict[str, Case]:
    """Every predictor with every kind of frame, and what lists and chunks add."""
    found: dict[str, Case] = {"stored": (noise((tokens,), 1000, "<i4"), {"predictor": "stored"})}
    for kind in FRAMES:
        found[f"adaptive {kind}"] = (clip(kind, tokens), {"predictor": "adaptive"})
        for family in ("lstm", "conv3d"):
            model = MODELS / f"{family}_{kind}.safetensors"
            for predictor in (family, "hybrid"):
                options = {"predictor": predictor, "model": model}
                found[f"{family} {predictor} {kind}"] = (clip(kind, tokens), options)
    clips = [clip("video", tokens), noise((3, 10, 4), 24, "|u1"), clip("video", tokens, 2)]
    solid = {"alphabet": 24, "solid": True, "chunk_frames": max(2, tokens // 120)}
    found["adaptive solid"] = (clips, {**solid, "predictor": "adaptive"})
    for family in ("lstm", "conv3d"):
        model = MODELS / f"{family}_video.safetensors"
        found[f"{family} hybrid solid"] = (clips, {**solid, "predictor": "hybrid", "model": model})
        parts = {"chunk_frames": max(2, tokens // 120), "predictor": family, "model": model}
        found[f"{family} chunks"] = (clips[0], parts)
    several = [MODELS / f"{family}_video.safetensors" for family in ("lstm", "conv3d")]
    if tokens >= 1024:
        found["auto among models"] = (clip("video", 20 * tokens), {"model": several})
        found["auto of few tokens"] = (clip("video", 2 * tokens), {"model": several})
    return found


def auto() -> dict[str, Case]:
    """What comes out depends on which models come with tokenzip."""
    return {
        "auto video": (lively((10, 8, 16), 1024, "<i2", calm=60), {}),
        "auto codebooks": (lively((150, 8), 1024, "<i2", calm=60), {}),
        "auto nothing fits": (lively((300, 5), 77, "<i2", calm=60), {}),
    }


#: The same tokens otherwise laid out: byte order, order of axes, strides.
LAYOUTS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda a: a.astype(a.dtype.newbyteorder(">")),
    np.asfortranarray,
    lambda a: np.repeat(a, 2, axis=0)[::2],
    lambda a: a[::-1].copy()[::-1],
)


def payload(blob: bytes) -> bytes:
    return blob[tokenzip.inspect(blob).header_bytes :]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--auto", action="store_true")
    parser.add_argument("--match", default="")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--backend", default="numba")
    asked = parser.parse_args()
    # Without compiled code, the hashes' products are numpy's, which warns that they wrap around.
    np.seterr(over="ignore")
    common: dict[str, Any] = {"threads": asked.threads, "backend": asked.backend}
    prefix = "tiny " if asked.tiny else ""
    chosen = auto() if asked.auto else cases(120 if asked.tiny else 1200)
    for name, (tokens, options) in chosen.items():
        networks = asked.auto or "model" in options
        if asked.match not in name or (asked.backend != "numba" and not networks):
            continue
        blob = tokenzip.encode(tokens, **options, **common)
        decoded = tokenzip.decode(blob, model=MODELS, **common)
        ours, theirs = (a if isinstance(a, list) else [a] for a in (decoded, tokens))
        if not all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            sys.exit(f"{name}: a wrong array")
        if not isinstance(tokens, list) and name.endswith("video") and not asked.tiny:
            for layout in LAYOUTS:
                again = tokenzip.encode(layout(tokens), **options, **common)
                if payload(again) != payload(blob):
                    sys.exit(f"{name}: a layout changes the bytes")
        print(f"{prefix}{name}: {digest(blob)}", flush=True)


if __name__ == "__main__":
    main()
