"""Training curves for TensorBoard, where they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import MissingDependencyError
from .loop import Progress

#: Steps between two points of the training curve.
_EVERY = 10


@contextmanager
def event_log(
    directory: str | os.PathLike[str] | None,
) -> Iterator[Callable[[Progress], None]]:
    """A function that logs progress to `directory`, or does nothing if that is None.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """
    if directory is None:
        yield lambda progress: None
        return
    writer = _writer(os.fspath(directory))
    try:
        yield lambda progress: _log(writer, progress)
    finally:
        writer.close()


def _writer(directory: str) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "logs for TensorBoard need the package tensorboard: pip install 'tokenzip[train]'"
        ) from error
    return SummaryWriter(directory)


def _log(writer: Any, progress: Progress) -> None:
    if progress.validated:
        writer.add_scalar("validation/bits_per_token", progress.bits, progress.step)
        writer.add_scalar("validation/best", progress.best, progress.step)
    elif progress.step % _EVERY == 0:
        writer.add_scalar("training/bits_per_token", progress.loss, progress.step)
        writer.add_scalar("training/tokens_per_second", progress.rate, progress.step)
        writer.add_scalar("training/tokens", progress.tokens, progress.step)
