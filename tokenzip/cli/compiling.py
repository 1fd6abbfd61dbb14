"""Say so when numba compiles: the first use on a machine takes seconds, later ones do not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..models.bundled import entries
from ..predictors import HYBRID

if TYPE_CHECKING:
    from ..codec import Codec
    from .session import Session

PATIENCE_SECONDS = 1.0
MESSAGE = "compiling tokenzip for this machine (first use only) ..."


def _load_compiled_code(codec: Codec | None) -> None:
    """Compile the predictor that the codec is likely to need, or load it from numba's cache."""
    if codec is not None and codec.model is not None:
        if codec.predictor in ("auto", HYBRID):
            from ..predictors.hybrid import warm
        else:
            from ..predictors.network import warm
    else:
        from ..predictors.adaptive import warm

        if codec is not None and codec.predictor == "auto" and entries():
            # Which models fit shows only when the tokens are read, too late to say that it takes
            # long.
            from ..predictors import hybrid

            hybrid.warm()
    warm()


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


def warm_up(
    session: Session, codec: Codec | None = None, *, patience: float = PATIENCE_SECONDS
) -> None:
    """Compile or load the codec's predictor now (None: the adaptive one), saying so if that takes
    long.

    Without a terminal nothing is said, and so nothing needs to be done ahead of the work.
    """
    if session.interactive:
        with announced(session, patience=patience):
            _load_compiled_code(codec)
