"""Muon and AdamW side by side."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from tokenzip.models import Geometry, new_spec  # noqa: E402
from tokenzip.training.compact import CompactTwin  # noqa: E402
from tokenzip.training.optimizer import Muon, optimizer_of, orthogonalised  # noqa: E402
from tokenzip.training.twin import Twin  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SPECS = {name: new_spec(name, "small", Geometry.of((3, 4), 6)) for name in ("lstm", "conv3d")}


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 20), (2, 20, 6), (1, 1, 7)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_singular_values_become_one(shape: tuple[int, ...], size: float) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * size
    found = orthogonalised(matrices)
    for before, after in zip(matrices, found, strict=True):
        u, _, v = torch.linalg.svd(before, full_matrices=False)
        kept = u.mT @ after @ v.mT
        values = kept.diagonal()
        # The same directions; the smallest values get there last.
        assert (kept - torch.diag(values)).abs().max() < 1e-3
        assert values.max() < 1.25 and values.median() > 0.65


def test_no_gradient_is_no_update() -> None:
    assert not orthogonalised(torch.zeros(2, 4, 5)).any()


def test_every_part_is_a_matrix_of_its_own() -> None:
    torch.manual_seed(1)
    gradient = torch.randn(12, 5)
    whole = torch.nn.Parameter(torch.zeros(12, 5))
    parts = [torch.nn.Parameter(torch.zeros(4, 5)) for _ in range(3)]
    whole.grad = gradient.clone()
    for part, of_part in zip(parts, gradient.split(4), strict=True):
        part.grad = of_part.clone()
    Muon([{"params": [whole], "parts": 3}], 0.1, 0.0, torch.float32).step()
    Muon([{"params": parts}], 0.1, 0.0, torch.float32).step()
    torch.testing.assert_close(whole.detach(), torch.cat([p.detach() for p in parts]))
    # As large as AdamW's.
    assert float(whole.detach().square().mean().sqrt()) == pytest.approx(0.1 * 0.2, rel=0.4)


def test_weights_decay() -> None:
    weight = torch.nn.Parameter(torch.ones(3, 3))
    weight.grad = torch.zeros(3, 3)
    Muon([{"params": [weight]}], 0.1, 0.5, torch.float32).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 3), 0.95))


@pytest.mark.parametrize("family", SPECS)
@pytest.mark.parametrize("compact", [False, True])
def test_every_parameter_has_one_optimizer(family: str, compact: bool) -> None:
    spec = SPECS[family]
    twin = CompactTwin(spec, symbols=1e4) if compact else Twin(spec)
    both = optimizer_of(twin, "muon", 0.01, 0.1, torch.float32)
    seen = [p for group in both.param_groups for p in group["params"]]
    assert len(seen) == len(set(seen)) and set(seen) == set(twin.parameters())
    names = {p: name for name, p in twin.named_parameters()}
    by_muon = {names[p] for group in both.param_groups if "parts" in group for p in group["params"]}
    body = {f"body.{name}.weight" for name in twin.body}
    assert by_muon == body | {"heads.0.layer.weight"}
    for group in both.param_groups:
        for p in group["params"]:
            assert p.shape[0] % group.get("parts", 1) == 0
            # Steps, biases and the like do not decay.
            assert (group["weight_decay"] == 0.1) == (p.ndim > 1)
    little = optimizer_of(twin, "muon", 0.01, 0.001, torch.float32)
    for group in little.param_groups:
        if "parts" in group:
            assert group["weight_decay"] == 0.1  # or they would grow without end
    alone = optimizer_of(twin, "adamw", 0.01, 0.1, torch.float32)
    assert {p for group in alone.param_groups for p in group["params"]} == set(twin.parameters())


def test_state_there_and_back() -> None:
    def stepped(twin: Twin, both: object) -> None:
        for p in twin.parameters():
            torch.manual_seed(p.numel())
            p.grad = torch.randn_like(p)
        both.step()  # type: ignore[attr-defined]

    twins = [Twin(SPECS["lstm"]) for _ in range(2)]
    twins[1].load_state_dict(twins[0].state_dict())
    both = [optimizer_of(twin, "muon", 0.01, 0.1, torch.float32) for twin in twins]
    stepped(twins[0], both[0])
    twins[1].load_state_dict(twins[0].state_dict())
    # A copy, as torch keeps the tensors that it is given.
    both[1].load_state_dict(copy.deepcopy(both[0].state_dict()))
    for twin, one in zip(twins, both, strict=True):
        stepped(twin, one)
    for p, q in zip(twins[0].parameters(), twins[1].parameters(), strict=True):
        assert torch.equal(p, q) and bool(p.isfinite().all())
    with pytest.raises(ValueError, match="shorter"):
        both[0].load_state_dict(both[0].state_dict()[:1])
