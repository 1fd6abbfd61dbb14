"""How weights are changed: matrices of hidden layers by Muon, all else by AdamW.

Muon (Jordan et al. 2024) replaces the averaged gradient of a matrix by the nearest matrix whose
singular values are all 1, so that rare directions are learned as fast as frequent ones. Updates are
scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982), so that both go with one learning
rate. Embeddings and output layers, of whose rows a step touches few, are AdamW's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .twin import Twin

_MOMENTUM = 0.95
#: Size of an entry of AdamW's updates, as root mean square, in learning rates.
_ENTRY = 0.2
#: Its matrices decay by this at least: updates of one size would let them grow without end. (A
#: fitted network, without it, got worse after 26,000 steps at 6e-3: benchmarks/FIT.md.)
_LEAST_DECAY = 0.1
#: Steps of the Newton-Schulz iteration, and the polynomial of each: x -> a x + b x^3 + c x^5 takes
#: singular values from 0.01 or so to between 0.7 and 1.2, which is near enough.
_STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalised(matrices: Tensor) -> Tensor:
    """(n, rows, columns), each matrix with singular values of about 1 instead of its own."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / x.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Muon for parameters (rows, columns); "parts" of a group: matrices that rows are made of.

    The rows of an LSTM's layer are four matrices, one a gate, each orthogonalised by itself, in
    `dtype`: bfloat16 is enough.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        dtype: torch.dtype,
    ) -> None:
        self._dtype = dtype
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "parts": 1})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._change(weight, group)

    def _change(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["average"] = torch.zeros_like(weight)
        average = state["average"].lerp_(weight.grad, 1 - _MOMENTUM)
        # Nesterov's: where the average will be after this gradient once more.
        ahead = torch.lerp(weight.grad, average, _MOMENTUM)
        parts = ahead.view(group["parts"], -1, weight.shape[1])
        size = _ENTRY * math.sqrt(max(parts.shape[1:]))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        update = orthogonalised(parts.to(self._dtype)).reshape_as(weight)
        weight.add_(update.to(weight.dtype), alpha=-group["lr"] * size)


class Optimizers:
    """Several as one."""

    def __init__(self, *each: torch.optim.Optimizer) -> None:
        self._each = each

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for one in self._each for group in one.param_groups]

    def step(self) -> None:
        for one in self._each:
            one.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [one.state_dict() for one in self._each]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Raises ValueError, KeyError or RuntimeError where they are of other parameters."""
        for one, state in zip(self._each, states, strict=True):
            one.load_state_dict(state)


def optimizer_of(
    twin: Twin, name: str, lr: float, weight_decay: float, dtype: torch.dtype
) -> Optimizers:
    """The optimizer of a twin's parameters; name: "muon", or "adamw" for all of them."""
    hidden: dict[nn.Parameter, int] = {}
    if name == "muon":
        hidden = {layer.weight: parts for layer, parts in twin.hidden_layers()}
    rest = [p for p in twin.parameters() if p not in hidden]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = rest[0].device.type == "cuda"
    adamw = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=fused)
    if not hidden:
        return Optimizers(adamw)
    by_parts = [{"params": [p], "parts": parts} for p, parts in hidden.items()]
    return Optimizers(adamw, Muon(by_parts, lr, max(weight_decay, _LEAST_DECAY), dtype))
