"""The public commaVQ predictor of ../shared/data/commavq, as a teacher for `tokenzip train`.

    tokenzip train CLIPS --teacher benchmarks/commavq_teacher.py:load ...

A frame-parallel transformer of 2.2 M parameters (Josemedinan/commavq, MIT), as described beside its
weights: the 8 frames before predict all 128 places of the next one, each by itself. Where the data
lies: TOKENZIP_DATA, or ../shared/data beside the repository.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

HERE = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("TOKENZIP_DATA", HERE.parent / "shared" / "data"))


def load() -> CommaVQ:
    """The teacher; bfloat16 where the processor computes in it, which is three times as fast."""
    flags = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    fast = "avx512_bf16" in flags or "amx_bf16" in flags
    return CommaVQ(
        DATA / "commavq" / "teacher.safetensors", torch.bfloat16 if fast else torch.float32
    )


class CommaVQ:
    """See the top of the file."""

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        with safe_open(path, "pt") as file:
            self._config = json.loads(file.metadata()["config"])
            self._weights = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118
        self.frames: int = self._config["context_frames"]

    @torch.no_grad()
    def __call__(self, context: Tensor) -> Tensor:
        """Logits float32 (B, 8, 16, 1024) after context int64 (B, 8, 8, 16)."""
        weights, config = self._weights, self._config
        clips, _, height, width = context.shape
        x = weights["tok_embed.weight"][context.flatten(2)]
        x = x + weights["pos_embed.weight"] + weights["frame_embed.weight"][:, None]
        x = x.transpose(1, 2).flatten(0, 1)
        layers = config["temporal_layers"]
        for number in range(layers):
            # Of the last layer only the newest frame's place is needed.
            x = self._layer(x, f"temporal_encoder.layers.{number}.", last=number == layers - 1)
        x = x.view(clips, height * width, -1)
        for number in range(config["spatial_layers"]):
            x = self._layer(x, f"spatial_encoder.layers.{number}.")
        x = self._norm(x, "final_norm")
        scores = self._linear(x, "out_proj")
        scores = scores + self._linear(F.gelu(self._linear(x, "adapter_down")), "adapter_up")
        scores = scores.float() + weights["position_logit_bias"].float()
        scores = scores / weights["position_temperature"].float()[:, None]
        return scores.view(clips, height, width, -1)

    def _layer(self, x: Tensor, name: str, last: bool = False) -> Tensor:
        """A post-norm layer of torch.nn.TransformerEncoder over x (rows, places, channels)."""
        asking = x[:, -1:] if last else x
        y = self._norm(asking + self._attention(asking, x, f"{name}self_attn."), f"{name}norm1")
        z = self._linear(F.gelu(self._linear(y, f"{name}linear1")), f"{name}linear2")
        return self._norm(y + z, f"{name}norm2")

    def _attention(self, asking: Tensor, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}in_proj_weight"], self._weights[f"{name}in_proj_bias"]
        width, heads = x.shape[-1], self._config["temporal_heads"]
        query = F.linear(asking, weight[:width], bias[:width])
        key, value = F.linear(x, weight[width:], bias[width:]).chunk(2, -1)
        split = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
        found = F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        return self._linear(found, f"{name}out_proj")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, (x.shape[-1],), weight, bias)
