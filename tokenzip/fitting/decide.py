"""Whether a network pays: the sizes of blobs with it and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..codec import Codec
from ..models import Model
from ..models.packed import pack
from ..predictors import HYBRID
from ..training.clips import Clips, Tokens

#: Blobs are made of all tokens up to so many; of more, of whole clips with about so many tokens.
MOST_TOKENS = 1_000_000
#: What a network must save where not all tokens were looked at. What flows from clip to clip in a
#: solid blob is worth the more, the more clips there are, so there it is more.
_MARGIN = {False: 0.005, True: 0.03}


@dataclass(frozen=True)
class Verdict:
    """What tokens cost with a network and without.

    Attributes:
        tokens: of all clips.
        looked_at: how many of them were encoded for this.
        with_model: bytes of all clips by the network, about (exactly if all were encoded).
        without: the same as encode does by default: by the adaptive predictor, or by a model that
            comes with tokenzip.
        model: bytes of the network inside a blob.
    """

    tokens: int
    looked_at: int
    with_model: int
    without: int
    model: int
    solid: bool

    @property
    def pays(self) -> bool:
        """Whether the network is worth its own bytes."""
        margin = 0.0 if self.looked_at == self.tokens else _MARGIN[self.solid]
        return self.with_model + self.model < self.without * (1 - margin)

    def __str__(self) -> str:
        """In words."""
        guessed = "" if self.looked_at == self.tokens else "about "
        return (
            f"{guessed}{self.with_model + self.model:,} bytes with a network ({self.model:,} of "
            f"them its own), {guessed}{self.without:,} without"
        )


def decide(
    model: Model,
    clips: Clips,
    *,
    tokens: int | None = None,
    predictor: str = HYBRID,
    solid: bool = False,
    chunk_frames: int | None = None,
    most_tokens: int = MOST_TOKENS,
) -> Verdict:
    """Encode the clips, or some of them, with the model and without.

    tokens: of the data, if the clips are only a part of them.
    """
    alphabet = model.spec.geometry.alphabet
    some = sample(clips, most_tokens)
    looked_at = sum(part.size for part in some)
    settings = {"alphabet": alphabet, "chunk_frames": chunk_frames, "solid": solid}
    own = Codec(predictor=predictor, model=model, **settings)  # type: ignore[arg-type]
    plain = Codec(**settings)  # type: ignore[arg-type]
    tokens = tokens or clips.tokens
    scale = tokens / looked_at
    return Verdict(
        tokens=tokens,
        looked_at=looked_at,
        with_model=round(len(own.encode(some)) * scale),
        without=round(len(plain.encode(some)) * scale),
        model=len(pack(model)),
        solid=solid,
    )


def sample(clips: Clips, most_tokens: int) -> Sequence[Tokens]:
    """All clips, or evenly spread ones of about `most_tokens` tokens, at least one (or its
    beginning)."""
    step = max(1, -(-clips.tokens // most_tokens))
    chosen = clips.clips[::step]
    frame_tokens = chosen[0].tokens // chosen[0].frames
    arrays, left = [], most_tokens
    for clip in chosen:
        if left < frame_tokens:
            break
        arrays.append(clip.read(0, min(clip.frames, max(1, left // frame_tokens))))
        left -= arrays[-1].size
    return arrays or [chosen[0].read(0, 1)]
