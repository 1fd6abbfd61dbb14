"""A window LSTM: five frames of a 5 x 5 window, one call of the network for each token."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.base import ALPHABET, COLUMNS, ROWS, SITES, UNKNOWN, Peer, one_by_one

_REACH = 2  # positions to each side
_FRAMES = 5  # the frame itself is one of them
_EMBEDDING = 16
_HIDDEN = 256


class WindowLstm(Peer):
    """An LSTM reads the windows of frames t-4 ... t, the newest one as far as it is decoded."""

    segment = _FRAMES
    predicted = 32  # some positions of a frame: each of them costs a call
    batch = 8

    def __init__(self) -> None:
        super().__init__()
        self.steps = one_by_one()
        self.embed = nn.Embedding(ALPHABET + 1, _EMBEDDING)
        self.lstm = nn.LSTM((2 * _REACH + 1) ** 2 * _EMBEDDING, _HIDDEN, batch_first=True)
        self.out = nn.Linear(_HIDDEN, ALPHABET)
        self._past = torch.empty(0)

    def loss(self, frames: Tensor) -> Tensor:
        sites = torch.randperm(SITES)[: self.predicted].tolist()
        padded = _pad(frames)
        windows = torch.cat([_window(padded, site) for site in sites])
        target = torch.cat([frames[:, -1, site] for site in sites])
        return F.cross_entropy(self._logits(windows), target)

    def begin(self, past: Tensor) -> None:
        lacking = max(0, _FRAMES - 1 - past.shape[1])
        before = past.new_full((len(past), lacking, past.shape[2]), UNKNOWN)
        self._past = torch.cat([before, past[:, past.shape[1] - (_FRAMES - 1 - lacking) :]], 1)

    def step(self, frame: Tensor, sites: slice) -> Tensor:
        frames = torch.cat([self._past, frame[:, None]], 1)
        return self._logits(_window(_pad(frames), sites.start))[:, None]

    def _logits(self, windows: Tensor) -> Tensor:
        """(N, frames, positions of the window) -> (N, ALPHABET)."""
        seen = self.embed(windows).flatten(2)
        return self.out(self.lstm(seen)[0][:, -1])


def _pad(frames: Tensor) -> Tensor:
    """(B, frames, ROWS + 4, COLUMNS + 4), with UNKNOWN around."""
    grid = frames.unflatten(2, (ROWS, COLUMNS))
    return F.pad(grid, (_REACH, _REACH, _REACH, _REACH), value=UNKNOWN)


def _window(padded: Tensor, site: int) -> Tensor:
    """The window around a position, without what comes at or after it, (B, frames, 25)."""
    row, column = divmod(site, COLUMNS)
    side = 2 * _REACH + 1
    window = padded[:, :, row : row + side, column : column + side].flatten(2).clone()
    window[:, -1, side * side // 2 :] = UNKNOWN
    return window
