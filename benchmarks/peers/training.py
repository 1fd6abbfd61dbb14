"""Train a peer for so many seconds of one processor core."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from peers.base import SITES, Peer

#: Peak of the learning rate, and the share of the time in which it is reached.
_RATE, _WARM_UP = 1e-3, 0.03


def train(
    peer: Peer,
    clips: Sequence[npt.NDArray[np.uint16]],
    seconds: float,
    report: Callable[[str], None],
    seed: int = 0,
) -> int:
    """Train on examples from clips (T, 8, 16); returns how many tokens it learned from.

    The budget is time of the processor, not of the clock, so that other work on the machine takes
    nothing away. AdamW; warm-up, then a cosine; gradients are clipped.
    """
    rng = np.random.default_rng(seed)
    long = [clip.reshape(len(clip), SITES) for clip in clips if len(clip) >= peer.segment]
    weights = np.array([len(clip) for clip in long], dtype=float)
    weights /= weights.sum()
    optimiser = torch.optim.AdamW(peer.parameters(), _RATE, betas=(0.9, 0.95), weight_decay=0.01)
    peer.train()
    begin, count, said, mean = time.process_time(), 0, 0.0, math.nan
    while (passed := (time.process_time() - begin) / seconds) < 1:
        rate = _RATE * min(passed / _WARM_UP, 0.5 + 0.5 * math.cos(math.pi * passed))
        for group in optimiser.param_groups:
            group["lr"] = max(rate, 1e-6)
        examples = []
        for index in rng.choice(len(long), peer.batch, p=weights):
            start = rng.integers(len(long[index]) - peer.segment + 1)
            examples.append(long[index][start : start + peer.segment])
        frames = torch.from_numpy(np.stack(examples).astype(np.int64))
        loss = peer.loss(frames)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimiser.step()
        count += 1
        bits = loss.item() / math.log(2)
        mean = bits if math.isnan(mean) else 0.98 * mean + 0.02 * bits
        if passed - said > 0.05:
            said = passed
            report(f"{passed:.0%}, step {count}, {mean:.2f} bits/token")
    peer.eval()
    return count * peer.batch * peer.predicted
