"""FORMAT.md section 10 against the code: blobs and models read by a decoder written from the text.

`reference/network_decoder.py` knows nothing of the package; whatever it decodes, the text alone
explains.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from network_cases import calm_tokens, flat, noise, tiny_model
from neural import random_spec
from reference import blob_decoder
from reference import network_decoder as reference

import tokenzip
from tokenzip import integer
from tokenzip.coding import weights
from tokenzip.models import CONV_TIMES, HISTORY, Geometry, bounds, features, packed, steps
from tokenzip.models.parts import tensor_forms

#: (frame, alphabet, frames)
CASES = {
    "video": ((3, 4), 20, 15),
    "square": ((4, 4), 300, 8),
    "one site": ((1, 1), 9, 40),
    "stream": ((), 300, 60),
    "codebooks": ((5,), 20, 20),
    "one codebook": ((1,), 50, 50),
    "row": ((40,), 7, 9),
    "codebooks in a plane": ((2, 3, 4), 20, 8),
    "codebooks in a box": ((2, 1, 3, 2), 12, 8),
    "wide last axis": ((2, 2, 33), 9, 6),
    "two symbols": ((3, 3), 2, 40),
    "split": ((3, 4), 5000, 8),
    "split codebooks": ((2,), 65536, 20),
    "two lanes": ((10, 3), 20, 137),
    "three lanes": ((4, 2, 8), 6, 96),
}

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("case", CASES)
def test_blobs(family: str, case: str, tmp_path: Path) -> None:
    frame, alphabet, frames = CASES[case]
    model = tiny_model(family, frame, alphabet, seed=len(case))
    model.save(tmp_path / "model.safetensors")
    of_file = reference.read_model_file((tmp_path / "model.safetensors").read_bytes())
    assert of_file.identity() == model.identity
    tokens = calm_tokens((frames, *frame), alphabet)
    blob = tokenzip.encode(tokens, alphabet=alphabet, model=model, predictor=family)
    assert tokenzip.inspect(blob).predictor == family
    assert reference.decode_blob(blob, of_file) == [flat(tokens)]


def test_embedded_models(family: str) -> None:
    """A blob that brings its model needs nothing else."""
    model = tiny_model(family, (), 32, coarse=True)
    tokens = calm_tokens((9500 if family == "conv3d" else 6500,), 32, calm=0.98)
    blob = tokenzip.encode(tokens, model=model, predictor=family, embed_model=True)
    assert len(packed.pack(model)) == min(len(packed.pack(model, version)) for version in (1, 2))
    parsed = blob_decoder.parse(blob)
    assert parsed.flags == 12 and parsed.model == model.identity
    assert reference.decode_blob(blob) == [flat(tokens)]


@pytest.mark.parametrize("version", packed.VERSIONS)
def test_embedded_models_of_several_planes(family: str, version: int) -> None:
    model = tiny_model(family, (2, 3, 2), 5000)
    found = reference.read_embedded(packed.pack(model, version), model.identity)
    for name, tensor in model.tensors.items():
        assert found.tensors[name].entries == flat(tensor)


def test_lists_chunks_and_smaller_alphabets(family: str) -> None:
    model = tiny_model(family, (3, 2), 40)
    file = reference.read_model_file(model.to_bytes())
    grids = [
        calm_tokens((50, 3, 2), 40, 1, ">u4"),
        calm_tokens((31, 3, 2), 7, 2, "uint8"),
        np.zeros((0, 3, 2), np.int8),
        noise((9, 3, 2), 33, 3),
        calm_tokens((20, 3, 2), 2, 4).astype(bool),
    ]
    blob = tokenzip.encode(grids, model=model, predictor=family, chunk_frames=12)
    kinds = {chunk.kind for grid in tokenzip.inspect(blob).grids for chunk in grid.chunks}
    assert kinds == {"stored", "predicted"}
    assert reference.decode_blob(blob, file) == [flat(grid) for grid in grids]


def test_a_changed_model_is_told_by_its_identity(family: str) -> None:
    data = bytearray(tiny_model(family, (2, 2), 5).to_bytes())
    data[-1] ^= 1
    with pytest.raises(reference.Corrupt):
        reference.read_model_file(bytes(data))


class TestWhatTheTextSays:
    """Values of section 10 that decoding few symbols would not show."""

    def test_constants(self) -> None:
        text = (ROOT / "FORMAT.md").read_text(encoding="utf-8")
        section = text.partition("\n## 10. ")[2].partition("\n## 11. ")[0]
        for value in (
            f"(0 to {HISTORY})",
            f"-{integer.GATE_LIMIT}, {integer.GATE_LIMIT}",
            f"({2 * integer.GATE_LIMIT + 1},)",
            f"-{integer.SCORE_LIMIT}, {integer.SCORE_LIMIT}",
            f"-{integer.CELL_LIMIT}, {integer.CELL_LIMIT}",
            f"shift is 1 to {bounds.MAX_SHIFT}",
            f"min(height, {steps.MAX_LANES}, T * S * P // {steps.LANE_SYMBOLS})",
            f"{steps.LAG}y",
            f"{integer.ONE} if the symbols",
            f"at most {features.REACH + 1} rows",
        ):
            assert value in section, value
        assert bounds.SUM_LIMIT == 2**31 - 1 and bounds.PRODUCT_LIMIT == 2**62
        assert CONV_TIMES == ((0, 1, 2), (0, 3, 6))
        assert packed.MAX_WEIGHTS == 2**26

    def test_powers_of_two(self) -> None:
        assert weights.EXP2.tolist() == reference.EXP2

    @pytest.mark.parametrize(
        "frame",
        [
            *[(), (1,), (8,), (32,), (33,), (4096,), (8, 16), (64, 64), (1, 1), (2, 3, 4)],
            *[(2, 3, 32), (2, 3, 33), (5, 4, 3, 2), (1, 1, 1, 40)],
        ],
    )
    @pytest.mark.parametrize("alphabet", [2, 4096, 4097, 5000, 8192, 8193, 10000, 65535, 65536])
    def test_geometry(self, frame: tuple[int, ...], alphabet: int) -> None:
        found = Geometry.of(frame, alphabet)
        height, width, codebooks = reference.frame_of(list(frame))
        assert (found.height, found.width, found.codebooks) == (height, width, codebooks)
        spec = {"height": height, "width": width, "codebooks": codebooks, "alphabet": alphabet}
        sizes = reference.Sizes(
            spec
            | dict.fromkeys(SIZES, 1)
            | {"family": "lstm", "features": dict.fromkeys(LISTS, ())}
        )
        assert (sizes.sites, sizes.planes) == (found.sites, found.planes)
        assert (sizes.symbols, sizes.half) == (found.symbols, found.split)

    @pytest.mark.parametrize("preset", ["small", "base", "large"])
    @pytest.mark.parametrize("frame", [(8, 16), (8,), (), (4, 4, 3)])
    def test_tensors(self, family: str, preset: str, frame: tuple[int, ...]) -> None:
        spec = random_spec(family, frame, 6000, preset)
        wanted = dict(sorted(tensor_forms(spec).items()))
        as_json = json.loads(json.dumps(spec.to_dict()))
        assert list(reference.tensors_of(as_json).items()) == list(wanted.items())


SIZES = ("embedding", "state", "squeeze", "hidden")
LISTS = ("window", "past", "neighbours", "now", "candidates")
