"""Code clips with a float predictor and constriction's range coder, as the published scripts do.

Encoder and decoder call the network in the same way, since floats of one call and of another
differ: this is why these blobs decode at the batch size that wrote them, and for certain at no
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import constriction
import numpy as np
import numpy.typing as npt
import torch

from peers.base import SITES, UNKNOWN, Peer

Words = npt.NDArray[np.uint32]
Tokens = npt.NDArray[np.int32]  # (B, T, SITES)
#: Given clip, its symbols if known, and their probabilities: the symbols.
_Code = Callable[[int, "Tokens | None", npt.NDArray[np.float32]], Tokens]

_family = constriction.stream.model.Categorical(perfect=False)


def encode(peer: Peer, clips: Tokens) -> list[Words]:
    """The clips of one batch, each into words of its own."""
    encoders = [constriction.stream.queue.RangeEncoder() for _ in clips]

    def code(clip: int, symbols: Tokens | None, chances: npt.NDArray[np.float32]) -> Tokens:
        assert symbols is not None
        encoders[clip].encode(np.ascontiguousarray(symbols), _family, chances)
        return symbols

    _run(peer, clips.shape[:2], code, clips)
    return [encoder.get_compressed() for encoder in encoders]


def decode(peer: Peer, words: Sequence[Words], frames: int) -> Tokens:
    """The clips of these words, in one batch."""
    decoders = [constriction.stream.queue.RangeDecoder(one) for one in words]

    def code(clip: int, symbols: Tokens | None, chances: npt.NDArray[np.float32]) -> Tokens:
        decoded: Tokens = decoders[clip].decode(_family, chances)
        return decoded

    return _run(peer, (len(words), frames), code)


@torch.inference_mode()
def _run(peer: Peer, shape: tuple[int, ...], code: _Code, known: Tokens | None = None) -> Tokens:
    """Code frame by frame and step by step, as the peer has it."""
    count, frames = shape
    clips = torch.full((count, frames, SITES), UNKNOWN)
    for t in range(frames):
        peer.begin(clips[:, :t])
        for sites in peer.steps:
            chances = torch.softmax(peer.step(clips[:, t], sites), -1).numpy()
            for clip in range(count):
                symbols = None if known is None else known[clip, t, sites]
                coded = code(clip, symbols, np.ascontiguousarray(chances[clip]))
                clips[clip, t, sites] = torch.from_numpy(coded.astype(np.int64))
    return clips.numpy().astype(np.int32)
