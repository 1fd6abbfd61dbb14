"""How large a network should be that travels with its data."""

from __future__ import annotations

from ..models import Geometry, Spec, new_spec
from ..training.clips import Clips

FAMILY = "lstm"

#: From the smallest to the largest: (embedding, state, hidden).
SIZES = {
    "tiny": (16, 32, 32),
    "small": (16, 64, 64),
    "middle": (24, 128, 112),
    "base": (32, 192, 160),
}


def spec_of(name: str, geometry: Geometry) -> Spec:
    """The spec of a size for these frames."""
    embedding, state, hidden = SIZES[name]
    sizes = {"embedding": embedding, "state": state, "hidden": hidden}
    return new_spec(FAMILY, "small", geometry, **sizes)


def choose(clips: Clips, geometry: Geometry) -> str:
    return "middle"
