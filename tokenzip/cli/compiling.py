"""Say so when numba compiles: the first use on a machine takes seconds, later ones do not."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session

PATIENCE_SECONDS = 1.0
MESSAGE = "compiling tokenzip for this machine (first use only) ..."


def _load_compiled_code() -> Callable[[], object] | None:
    """The function that compiles the adaptive predictor or loads it from numba's cache."""
    try:
        module = importlib.import_module("tokenzip.predictors.adaptive")
    except ImportError:
        return None
    return getattr(module, "warm", None)


@contextlib.contextmanager
def announced(session: Session, *, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Print `MESSAGE` on standard error, once, if the block takes longer than `patience` seconds.

    Only if somebody watches: not in pipes and logs, not with --quiet.
    """
    if not session.interactive:
        yield
        return
    console = session.stderr
    timer = threading.Timer(patience, lambda: console.print(MESSAGE))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def warm_up(session: Session, *, patience: float = PATIENCE_SECONDS) -> None:
    """Compile or load the adaptive predictor now, saying so if that takes long.

    Without a terminal nothing is said, and so nothing needs to be done ahead of the work.
    """
    if not session.interactive:
        return
    load = _load_compiled_code()
    if load is not None:
        with announced(session, patience=patience):
            load()
