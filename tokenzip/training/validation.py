"""What clips cost in the float twin, as training goes on: close to what the integers cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..models import HISTORY, Spec
from .clips import Clip
from .twin import State, Twin

#: Symbols (of all clips side by side) that go through the twin in one go.
_SYMBOLS = {"cpu": 1 << 13, "cuda": 1 << 16}
#: Clips side by side.
_CLIPS = 64
#: Of clips that are not taken whole, the first tokens up to about this many.
_PART_TOKENS = 12_000


@dataclass(frozen=True)
class Cost:
    """Bits and tokens of some clips."""

    bits: float
    tokens: int

    @property
    def per_token(self) -> float:
        return self.bits / self.tokens if self.tokens else float("nan")


def sample(clips: Sequence[Clip], most_tokens: int) -> list[Clip]:
    """Clips of about `most_tokens` tokens: all of them, the beginnings of all, or those of some."""
    if sum(clip.tokens for clip in clips) <= most_tokens:
        return list(clips)
    frame = clips[0].tokens // clips[0].frames
    wanted = max(_PART_TOKENS, most_tokens // len(clips))
    frames = max(1, wanted // frame)
    count = max(1, min(len(clips), most_tokens // (frames * frame)))
    chosen = [clips[len(clips) * i // count] for i in range(count)]
    return [clip.part(0, min(clip.frames, frames)) for clip in chosen]


def first(spec: Spec, state: State, clips: int) -> State:
    """The body's state of the first clips alone."""
    rows = clips * spec.geometry.sites if spec.family == "lstm" else clips
    return tuple(part[:rows] for part in state)


def cost(
    twin: Twin,
    clips: Sequence[Clip],
    dtype: torch.dtype,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
) -> Cost | None:
    """What the clips cost, each from its beginning to its end; None if `stop` said to stop."""
    was_training = twin.training
    twin.eval()
    try:
        bits, tokens = 0.0, 0
        longest_first = sorted(clips, key=lambda clip: -clip.frames)
        for start in range(0, len(longest_first), _CLIPS):
            batch = longest_first[start : start + _CLIPS]
            found = _batch(twin, batch, dtype, device, stop)
            if found is None:
                return None
            bits += found
            tokens += sum(clip.tokens for clip in batch)
        return Cost(bits, tokens)
    finally:
        twin.train(was_training)


@torch.no_grad()
def _batch(
    twin: Twin,
    clips: Sequence[Clip],
    dtype: torch.dtype,
    device: torch.device,
    stop: Callable[[], bool],
) -> float | None:
    """Bits of clips side by side, the longest first."""
    spec, geometry = twin.spec, twin.spec.geometry
    sites = (geometry.height, geometry.width, geometry.planes)
    bits, start, active = 0.0, 0, len(clips)
    state: State | None = None
    while True:
        while active and clips[active - 1].frames <= start:
            active -= 1
        if not active:
            return bits
        if stop():
            return None
        most = max(1, _SYMBOLS[device.type] // (active * geometry.sites * geometry.planes))
        end = min(clips[active - 1].frames, start + most)
        before = min(HISTORY, start)
        shape = (active, HISTORY + end - start, *sites)
        symbols = np.full(shape, geometry.symbols, np.int64)
        for number, clip in enumerate(clips[:active]):
            run = geometry.to_symbols(clip.read(start - before, end))
            symbols[number, HISTORY - before :] = run.reshape(-1, *sites)
        if state is not None:
            state = first(spec, state, active)
        costs, state = twin(torch.from_numpy(symbols).to(device), state, dtype)
        bits += float(costs.double().sum())
        start = end
