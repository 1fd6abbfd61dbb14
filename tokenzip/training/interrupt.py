"""Ctrl-C and SIGTERM during training: a wish to end well, not an end in the middle of a step."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType
from typing import Any

_SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM") if hasattr(signal, n)]


class TrainingInterrupted(KeyboardInterrupt):
    """A signal ended a training run, after its checkpoint and model were written.

    Attributes:
        number: of the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class Interruptions:
    """Within a `with`, the first signal is only noted; a second Ctrl-C does what it always did."""

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruptions:
        for number in _SIGNALS:
            # A signal that the parent ignores (nohup) stays ignored; ValueError: another thread.
            if signal.getsignal(number) is not signal.SIG_IGN:
                with contextlib.suppress(ValueError):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def wanted(self) -> bool:
        """Whether to end."""
        return self.number != 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        # torchrun sends SIGTERM after the terminal's SIGINT: only a second Ctrl-C is impatience.
        if self.number == number == signal.SIGINT:
            previous = self._previous[number]
            signal.signal(number, previous)
            if callable(previous):
                previous(number, frame)
        self.number = self.number or number
