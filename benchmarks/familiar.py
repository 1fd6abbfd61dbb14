"""How well networks know tokens of their kind from others, of few of them.

    python benchmarks/familiar.py                  # the data in TOKENZIP_DATA (or ../shared/data)
    python benchmarks/familiar.py --tokens 1024 --markdown out/familiar.md

Parts of clips of so many tokens, from several places of each, as they are and with their symbols
renamed by chance (twice), are shown to each model for such frames, as encode does where it has too
few tokens to try predictors on. "models": how many encode would have had to choose from, which
decides how much each is asked. Of the parts that a model is for: how many it was said not to know.
Of the others (renamed, or of another tokenizer of video): how many it was said to know. "least" and
"most": how much of what is needed to be known the worst of them had. commavq-1 was trained on two
of the three clips of commaVQ, the other models on none of the clips shown to them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ratio import load_clips
from tables import Table

from tokenzip.choosing import Chosen, asking, familiar
from tokenzip.choosing.candidates import OF_ASKING, weight
from tokenzip.choosing.sample import sample
from tokenzip.grid import TokenGrid
from tokenzip.models import Geometry, Model
from tokenzip.models.search import as_model
from tokenzip.predictors.network.predictor import Backend, NetworkPredictor

HERE = Path(__file__).resolve().parent
ALPHABET = 1024
COLUMNS = (
    "model", "tokens", "models", "asked",
    "its own", "not known", "least", "others", "known", "most",
)  # fmt: skip

#: Data sets: files, and places of each clip.
DATA = {
    "drive": ("drive/val.h5", 4),
    "commaVQ": ("commavq/[tv]*_*.npy", 40),
    "encodec": ("encodec/val.h5", 4),
}
#: Models, and the data sets for whose frames they are, their own first.
MODELS = {
    "commavq-1": ("commaVQ", "drive"),
    "drive_lstm_small": ("drive", "commaVQ"),
    "drive_lstm_base": ("drive", "commaVQ"),
    "drive_conv3d_base": ("drive", "commaVQ"),
    "encodec-24khz-2": ("encodec",),
    "encodec_lstm_base": ("encodec",),
}


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    clips = {}
    for name, (pattern, _) in DATA.items():
        paths = [str(path) for path in sorted(Path(options.data).glob(pattern))]
        if not paths:
            raise SystemExit(f"there is no {pattern} in {options.data}")
        clips[name] = load_clips(paths)
    table = Table("How well networks know their tokens", COLUMNS)
    for tokens in options.tokens:
        for models in options.models:
            for name, sets in MODELS.items():
                path = HERE / "models" / f"{name}.safetensors"
                model = as_model(path if path.is_file() else name)
                parts = [part for of in sets for part in _parts(of, clips[of], tokens)]
                table.add(measure(name, model, sets[0], parts, tokens, models))
    table.save(options.markdown)
    return 0


def measure(
    name: str,
    model: Model,
    own: str,
    parts: list[tuple[str, bool, npt.NDArray[np.uint16]]],
    tokens: int,
    models: int,
) -> list[str]:
    """A row of the table."""
    predictor = NetworkPredictor(model, Backend("numba"))
    scores: dict[bool, list[float]] = {True: [], False: []}
    wrong = {True: 0, False: 0}
    for of, renamed, part in parts:
        grid = TokenGrid.of(part, ALPHABET)
        weights = (Chosen("adaptive"), Chosen("hybrid", model))
        geometry = Geometry.of(grid.frame, ALPHABET)
        fastest = min(weight(one, geometry) for one in weights)
        time = part.size * asking.PERCENT * fastest // 100 - OF_ASKING
        places, symbols = asking.how_much_to_ask([model] * models, time)
        pieces = sample([grid], min(places * asking.LOOK, part.size), None, places)
        answers = [
            predictor.surprisals(*familiar.liveliest(piece, symbols), familiar.CODEBOOKS)
            for piece in pieces
        ]
        fits = of == own and not renamed
        less, count = familiar.how_much_less(answers)
        scores[fits].append(less / max(1, familiar.enough(count, ALPHABET)))
        wrong[fits] += familiar.knows(answers, ALPHABET) != fits
    return [
        *(name, f"{tokens:,}", str(models), f"{places} x {symbols}"),
        *(str(len(scores[True])), str(wrong[True]), f"{min(scores[True]):.2f}"),
        *(str(len(scores[False])), str(wrong[False]), f"{max(scores[False]):.2f}"),
    ]


def _parts(
    name: str, clips: list[Any], tokens: int
) -> Iterator[tuple[str, bool, npt.NDArray[np.uint16]]]:
    """(data set, whether renamed, tokens)."""
    for number, clip in enumerate(clips):
        frames = tokens // clip[0].size
        if len(clip) < frames:
            continue
        chance = np.random.default_rng(number)
        for start in np.linspace(0, len(clip) - frames, DATA[name][1]).astype(int):
            part = clip[start : start + frames].astype(np.uint16)
            yield name, False, part
            for _ in range(2):
                yield name, True, chance.permutation(ALPHABET).astype(np.uint16)[part]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("TOKENZIP_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("--data", default=str(data), help="folder of the project's token data")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 3072], help="of a part")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 2], help="to choose from")
    parser.add_argument("--markdown", help="write the table to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
