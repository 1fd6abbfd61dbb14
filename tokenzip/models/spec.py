"""What a network is: its family, geometry, features and sizes. Weights are elsewhere (file.py)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .features import AROUND, HISTORY, Features, features
from .geometry import Geometry
from .steps import is_before

FAMILIES = ("lstm", "conv3d")

#: Frames back of the three inputs of either temporal layer of conv3d.
CONV_TIMES = ((0, 1, 2), (0, 3, 6))
#: Places of its spatial layer.
CONV_SPACE = tuple((0, *place) for place in AROUND)

_LARGEST_SIZE = 4096
#: Bounds the memory that a hostile spec can ask for.
_LARGEST_LAYER = 2**28


@dataclass(frozen=True)
class Spec:
    """The shape of a network.

    Attributes:
        family: "lstm" or "conv3d".
        geometry: of the frames it predicts.
        features: the places it looks at.
        embedding: numbers a symbol is embedded in.
        state: width of the LSTM's state, or channels of each convolution.
        squeeze: channels that conv3d's spatial layer sees of each place (0 for lstm).
        hidden: width of the head.
    """

    family: str
    geometry: Geometry
    features: Features
    embedding: int
    state: int
    squeeze: int
    hidden: int

    @property
    def site_inputs(self) -> int:
        """Inputs of the body a site: embeddings of the window, the position, equalities."""
        f, planes = self.features, self.geometry.planes
        return (len(f.window) * planes + 1) * self.embedding + len(f.past) * planes

    @property
    def body_outputs(self) -> int:
        """Numbers a site that the body hands to the head."""
        return self.state if self.family == "lstm" else 4 * self.state

    @property
    def symbol_inputs(self) -> int:
        """Inputs of the head a symbol, besides the body's output.

        Embeddings of the neighbours and of the site's own planes, equalities of either with the
        frame before.
        """
        f, planes = self.features, self.geometry.planes
        own = planes if planes > 1 else 0
        return (len(f.neighbours) * planes + own) * self.embedding + len(f.now) * planes + own

    @property
    def macs(self) -> dict[str, float]:
        """Multiply-accumulates a token, by part."""
        geometry, state = self.geometry, self.state
        if self.family == "lstm":
            body = 4 * state * (self.site_inputs + state)
        else:
            inputs = self.site_inputs + sum(len(times) for times in CONV_TIMES) * state
            inputs += state + len(CONV_SPACE) * self.squeeze
            body = 2 * state * inputs + state * self.squeeze
        symbols = geometry.planes / geometry.codebooks
        outputs = geometry.symbols + len(self.features.candidates)
        parts = {
            "body": body / geometry.codebooks,
            "head": symbols * self.hidden * (self.body_outputs + self.symbol_inputs),
            "output": symbols * self.hidden * outputs,
        }
        return {**parts, "total": sum(parts.values())}

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able fields."""
        geometry = self.geometry
        return {
            "family": self.family,
            "height": geometry.height,
            "width": geometry.width,
            "codebooks": geometry.codebooks,
            "alphabet": geometry.alphabet,
            "embedding": self.embedding,
            "state": self.state,
            "squeeze": self.squeeze,
            "hidden": self.hidden,
            "features": self.features.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Spec:
        """The inverse of to_dict, also of its JSON.

        Raises:
            ValueError, TypeError, KeyError: the fields make no network. The message says which.
        """
        numbers = {}
        for name, least in _NUMBERS.items():
            value = fields[name]
            if type(value) is not int or not least <= value <= _LARGEST_SIZE << 4:
                raise ValueError(f"{name} is {value!r}")
            numbers[name] = value
        if fields["family"] not in FAMILIES:
            raise ValueError(f"the family {fields['family']!r} is unknown")
        geometry = Geometry(*(numbers.pop(name) for name in _GEOMETRY))
        spec = cls(
            family=fields["family"],
            geometry=geometry,
            features=Features.from_dict(fields["features"]),
            **numbers,
        )
        spec._check()
        return spec

    def _check(self) -> None:
        geometry, f = self.geometry, self.features
        sizes = (self.embedding, self.state, self.squeeze, self.hidden)
        if max(geometry.sites, geometry.alphabet >> 4, *sizes) > _LARGEST_SIZE:
            raise ValueError("a size is too large")
        if (self.squeeze > 0) != (self.family == "conv3d"):
            raise ValueError(f"squeeze is {self.squeeze} for {self.family}")
        if not all(place[0] > 0 for place in (*f.window, *(p for pair in f.past for p in pair))):
            raise ValueError("the body looks at the frame that it predicts")
        now = [place for pair in f.now for place in pair]
        if not all(is_before(place) for place in (*f.neighbours, *now, *f.candidates)):
            raise ValueError("the head looks at symbols that come later")
        if not all(place[0] == 0 for place in f.neighbours):
            raise ValueError("a neighbour of the head is in another frame")
        if not f.window:
            raise ValueError("there is no window")
        if len(f.places) > 1024:
            raise ValueError(f"{len(f.places)} places are too many")
        layer = max(
            4 * self.state * (self.site_inputs + self.state), self.hidden * geometry.symbols
        )
        if layer * geometry.planes > _LARGEST_LAYER:
            raise ValueError("a layer is too large")


_GEOMETRY = ("height", "width", "codebooks", "alphabet")
_NUMBERS = {
    "height": 1,
    "width": 1,
    "codebooks": 1,
    "alphabet": 2,
    "embedding": 1,
    "state": 1,
    "squeeze": 0,
    "hidden": 1,
}


#: Sizes of networks by family and preset, for frames of one symbol a site.
PRESETS = {
    "lstm": {
        "small": {"embedding": 16, "state": 48, "hidden": 32},
        "base": {"embedding": 32, "state": 192, "hidden": 160},
        "large": {"embedding": 48, "state": 384, "hidden": 320},
    },
    "conv3d": {
        "small": {"embedding": 16, "state": 32, "squeeze": 8, "hidden": 32},
        "base": {"embedding": 32, "state": 128, "squeeze": 32, "hidden": 160},
        "large": {"embedding": 48, "state": 256, "squeeze": 64, "hidden": 320},
    },
}


def new_spec(
    family: str, preset: str, geometry: Geometry, *, neighbours: int | None = None, **sizes: int
) -> Spec:
    """The spec of a new network.

    neighbours: how many symbols of the frame being coded the head sees the embeddings of, the
    nearest first; None: all that features.py lists. sizes: embedding, state, squeeze or hidden,
    where they are to differ from the preset's.
    """
    chosen = {"squeeze": 0, **PRESETS[family][preset]}
    if geometry.planes >= 4:
        # A site of several symbols is worth more, as the body runs once for all of them.
        chosen["state"] *= 2
    chosen.update(sizes)
    seen = features(family, geometry)
    if neighbours is not None:
        nearest = sorted(seen.neighbours, key=lambda place: place[1] ** 2 + place[2] ** 2)
        kept = set(nearest[:neighbours])
        seen = replace(seen, neighbours=tuple(place for place in seen.neighbours if place in kept))
    return Spec(family=family, geometry=geometry, features=seen, **chosen)


__all__ = ["CONV_SPACE", "CONV_TIMES", "FAMILIES", "HISTORY", "PRESETS", "Spec", "new_spec"]
