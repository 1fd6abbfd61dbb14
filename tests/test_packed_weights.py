"""Matrices of weights as words (models/magnitudes.py), and models packed either way."""

from __future__ import annotations

import numpy as np
import pytest
from network_cases import tiny_model

from tokenzip.errors import CorruptError, ModelFormatError
from tokenzip.models import packed
from tokenzip.models.magnitudes import decode_matrix, encode_matrix
from tokenzip.models.search import read_model


def laplacian(rows: int, columns: int, scale: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(np.rint(rng.laplace(0, scale, (rows, columns))), -127, 127).astype(np.int16)


CASES = {
    "none": np.zeros((0, 4), np.int16),
    "one": np.array([[-128]], np.int16),
    "every value": np.arange(-128, 128, dtype=np.int16).reshape(16, 16),
    "zeros": np.zeros((300, 70), np.int16),
    "a column": laplacian(500, 1, 3.0),
    "a row": laplacian(1, 500, 3.0),
    "dense": laplacian(60, 80, 40.0),
    "sparse": laplacian(60, 80, 0.2),
}


@pytest.mark.parametrize("name", CASES)
def test_matrices_come_back(name: str) -> None:
    entries = CASES[name]
    words = encode_matrix(entries)
    found = np.full(entries.shape, 99, np.int8)
    assert decode_matrix(words, 1, found)
    assert np.array_equal(found, entries)
    if entries.size > 1000 and entries.any():
        assert not decode_matrix(words[: len(words) // 2], 1, found)


def test_rows_and_columns_of_one_size_cost_little() -> None:
    """Where magnitudes follow rows and columns, no table of all entries does as well."""
    rng = np.random.default_rng(1)
    scale = np.exp(rng.normal(0, 1.2, (200, 1)) + rng.normal(0, 1.2, (1, 150)))
    entries = np.clip(np.rint(rng.laplace(0, 0.5, (200, 150)) * scale), -127, 127)
    _, counts = np.unique(entries, return_counts=True)
    entropy = -(counts * np.log2(counts / entries.size)).sum() / 8
    assert 4 * len(encode_matrix(entries.astype(np.int16))) < 0.9 * entropy


def test_a_matrix_without_order_costs_its_entropy() -> None:
    entries = laplacian(400, 300, 1.0, seed=2)
    _, counts = np.unique(entries, return_counts=True)
    entropy = -(counts * np.log2(counts / entries.size)).sum() / 8
    assert 4 * len(encode_matrix(entries)) < 1.02 * entropy + 50


@pytest.mark.parametrize("version", packed.VERSIONS)
def test_models_are_read_however_they_are_kept(version: int) -> None:
    model = tiny_model("lstm", (2, 3), 11)
    assert read_model(model.to_bytes()).identity == model.identity
    assert read_model(packed.pack(model, version)).identity == model.identity
    with pytest.raises(CorruptError):
        read_model(packed.pack(model, version)[:-20])
    for none in (b"", b"\0" * 100):
        with pytest.raises(ModelFormatError):
            read_model(none)


@pytest.mark.parametrize("grid", [1, 2, 3, 64, 127, 128])
def test_grids(grid: int) -> None:
    model = tiny_model("lstm", (2, 3), 11)
    tensors = dict(model.tensors)
    shape = tensors["embedding"].shape
    least, most = -(128 // grid), 127 // grid
    values = np.random.default_rng(grid).integers(least, most + 1, shape) * grid
    tensors["embedding"] = values.astype(np.int8)
    changed = type(model)(model.spec, tensors)
    assert packed.unpack(packed.pack(changed, 2)).identity == changed.identity


class TestFastCost:
    """The compiled cost against torch's own operations."""

    @pytest.mark.parametrize(
        ("symbols", "candidates"), [(1024, 14), (8, 3), (2, 0), (17, 1), (255, 16)]
    )
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_it_is_that_of_softmax(self, symbols: int, candidates: int, dtype: str) -> None:
        torch = pytest.importorskip("torch")
        from tokenzip.training.functions import cost

        generator = torch.Generator().manual_seed(symbols)
        shape = (50, symbols + candidates)
        scores = (torch.randn(shape, generator=generator) * 8).to(getattr(torch, dtype))
        scores.requires_grad_()
        places = torch.randint(0, symbols + 1, (50, candidates), generator=generator)
        targets = torch.randint(0, symbols, (50,), generator=generator)
        bits = cost(scores, places, targets)
        bits.sum().backward()
        own = scores.detach().float().requires_grad_()
        padded = torch.nn.functional.pad(own[:, :symbols], (0, 1))
        total = padded.scatter_add(1, places, own[:, symbols:])[:, :symbols]
        wanted = torch.nn.functional.cross_entropy(total * np.log(2), targets, reduction="none")
        wanted.sum().backward()
        assert torch.allclose(bits, wanted / np.log(2), atol=1e-4)
        tolerance = 4e-3 if dtype == "bfloat16" else 1e-5
        assert own.grad is not None and scores.grad is not None
        found = scores.grad.float()
        assert torch.allclose(found, own.grad / np.log(2), atol=tolerance)

    def test_scores_far_apart(self) -> None:
        torch = pytest.importorskip("torch")
        from tokenzip.training.fast_cost import fast_cost

        scores = torch.tensor([[0.0, -1e4, 3e4], [-1e30, 0.0, 0.0]])
        nothing = torch.zeros((2, 0), dtype=torch.int64)
        bits, gradient = fast_cost(scores, nothing, torch.tensor([2, 1]), want=True)
        assert torch.allclose(bits, torch.tensor([0.0, 1.0]), atol=1e-5)
        assert torch.isfinite(gradient).all()
        bits, gradient = fast_cost(scores, nothing, torch.tensor([0, 0]), want=False)
        assert float(bits[0]) == 3e4 and gradient.shape == (0, 3)
