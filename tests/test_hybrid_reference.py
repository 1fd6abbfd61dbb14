"""FORMAT.md 10.8 and 10.10 against the code: blobs read by a decoder written from the text."""

from __future__ import annotations

import numpy as np
import pytest
from network_cases import calm_tokens, flat, noise, tiny_model
from reference import adaptive_decoder as adaptive
from reference import hybrid_decoder as reference
from reference import network_decoder as network

import tokenzip
from tokenzip.predictors.adaptive.contexts import context_set
from tokenzip.predictors.adaptive.state import ADAPTIVE
from tokenzip.predictors.hybrid.coder import TUNING, layout_of

#: (frame, alphabet, frames)
CASES = {
    "video": ((3, 4), 20, 15),
    "square": ((4, 4), 300, 8),
    "one site": ((1, 1), 9, 40),
    "stream": ((), 300, 60),
    "binary stream": ((), 2, 80),
    "codebooks": ((5,), 20, 20),
    "one codebook": ((1,), 50, 50),
    "row": ((40,), 7, 9),
    "codebooks in a plane": ((2, 3, 4), 20, 8),
    "codebooks in a row": ((3, 4), 20, 8),
    "codebooks in a box": ((2, 1, 3, 2), 12, 8),
    "few symbols in a plane": ((1, 2, 2), 5, 30),
    "two symbols": ((3, 3), 2, 40),
    "split": ((3, 4), 5000, 8),
    "split with many high halves": ((2, 2), 10_000, 8),
    "split codebooks": ((2,), 65536, 20),
    "split codebooks in a plane": ((2, 2, 2), 6000, 6),
    "split stream": ((), 4097, 30),
    "two lanes": ((10, 3), 20, 137),
    # Classes are learned at 1024 symbols, and again at twice the number where there are as many.
    "classes of a video": ((6, 8), 40, 45),
    "classes of codebooks": ((6,), 40, 360),
    "classes of a stream": ((), 40, 1100),
    "classes of a plane": ((3, 2, 4), 40, 50),
    "classes of split tokens": ((3, 4), 5000, 46),
}


@pytest.mark.parametrize("case", CASES)
def test_blobs(family: str, case: str) -> None:
    frame, alphabet, frames = CASES[case]
    model = tiny_model(family, frame, alphabet, seed=len(case))
    tokens = calm_tokens((frames, *frame), alphabet, calm=0.8)
    blob = tokenzip.encode(tokens, alphabet=alphabet, model=model)
    info = tokenzip.inspect(blob)
    assert info.predictor == "hybrid" and info.grids[0].chunks[0].kind == "predicted"
    assert reference.decode_blob(blob, network.read_model_file(model.to_bytes())) == [flat(tokens)]


def test_the_cases_learn_classes() -> None:
    """What the names of some promise."""
    for name, (frame, alphabet, frames) in CASES.items():
        symbols = frames * int(np.prod(frame, dtype=int)) * (2 if alphabet > 4096 else 1)
        assert (symbols > adaptive.C["FIRST_CLASSES"] + 24) == (
            "classes" in name or "two l" in name
        )


def test_an_embedded_model() -> None:
    """A blob that brings its model needs nothing else."""
    model = tiny_model("lstm", (), 12, coarse=True)
    tokens = calm_tokens((6500,), 12, calm=0.97)
    blob = tokenzip.encode(tokens, model=model, embed_model=True)
    assert tokenzip.inspect(blob).embedded_bytes
    assert reference.decode_blob(blob) == [flat(tokens)]


def test_embeddings_of_many_numbers() -> None:
    """Classes are found by the first 64."""
    model = tiny_model("lstm", (2, 3), 40, embedding=70)
    tokens = calm_tokens((12, 2, 3), 40, calm=0.8)
    blob = tokenzip.encode(tokens, alphabet=40, model=model)
    assert reference.decode_blob(blob, network.read_model_file(model.to_bytes())) == [flat(tokens)]


@pytest.mark.parametrize("solid", [False, True])
def test_lists_chunks_and_smaller_alphabets(family: str, solid: bool) -> None:
    """In a solid blob a state goes from chunk to chunk, through stored ones too."""
    model = tiny_model(family, (4, 5), 40)
    grids = [
        calm_tokens((50, 4, 5), 40, 1, ">u4"),
        np.zeros((0, 4, 5), np.int8),
        noise((5, 4, 5), 32, 3),
        calm_tokens((31, 4, 5), 7, 2, "uint8"),
        calm_tokens((20, 4, 5), 2, 4).astype(bool),
        calm_tokens((24, 4, 5), 39, 5),
    ]
    blob = tokenzip.encode(grids, model=model, chunk_frames=12, solid=solid)
    info = tokenzip.inspect(blob)
    assert info.solid == solid
    kinds = {chunk.kind for grid in info.grids for chunk in grid.chunks}
    assert kinds == {"stored", "predicted"}
    file = network.read_model_file(model.to_bytes())
    assert reference.decode_blob(blob, file) == [flat(grid) for grid in grids]


def test_solid_blobs_of_split_tokens(family: str) -> None:
    model = tiny_model(family, (2, 3), 5000)
    grids = [calm_tokens((14, 2, 3), 5000, 1), noise((3, 2, 3), 5000, 2)]
    grids.append(calm_tokens((90, 2, 3), 5000, 3))
    blob = tokenzip.encode(grids, alphabet=5000, model=model, solid=True, chunk_frames=10)
    file = network.read_model_file(model.to_bytes())
    assert reference.decode_blob(blob, file) == [flat(grid) for grid in grids]


class TestWhatTheTextSays:
    """By value."""

    @pytest.mark.parametrize("version", [1, 2])
    def test_constants(self, version: int) -> None:
        said = reference.CONSTANTS[version]
        tuning = TUNING[version]._asdict()
        assert said == adaptive.C | {name.upper(): value for name, value in tuning.items()}
        assert set(tuning) == set(ADAPTIVE._fields)

    @pytest.mark.parametrize("alphabet", [2, 16, 17, 4096, 4097, 5000, 10_000, 65536])
    @pytest.mark.parametrize(
        "frame",
        [(), (1,), (5,), (32,), (33,), (1, 1), (4, 6), (1, 7), (7, 1), (2, 3, 4), (1, 1, 6)],
    )
    def test_layout(self, frame: tuple[int, ...], alphabet: int) -> None:
        model = tiny_model("lstm", frame, alphabet)
        file = network.Model(model.spec.to_dict(), {})
        said, layout = reference.Layout(file, 100), layout_of(model.spec.geometry)
        for name in ("rows", "columns", "positions", "planes", "classes", "split", "step"):
            assert getattr(said, name) == getattr(layout, name), name
        assert (said.symbols, said.learns) == (layout.alphabet, layout.learns_classes)
        assert layout.block_symbols == layout.positions
        # The family, told by a list that only it has.
        texts = adaptive.LISTS[said.family, "copies"].copy()
        found = [(c.frames, c.rows, c.columns) for c in context_set(layout).copies]
        wanted = [adaptive.NEIGHBOURS[text] for text in texts]
        assert found == [(back, up, left * said.step) for back, up, left in wanted]
