"""--fit of `compress` and `pack`: a network trained on what is to be compressed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, OptionError, ShapeError
from ..fitting.api import DEFAULT_MINUTES, NEEDS_TORCH
from ..training.api import need_torch
from ..training.clips import open_clips
from .session import Session, printable
from .watching import watch

if TYPE_CHECKING:
    from ..codec import Codec
    from ..models import Model

#: What is put behind the name of an output for that of the checkpoint.
SUFFIX = ".fit"


@dataclass(frozen=True)
class FitWish:
    """What the command line says about fitting.

    Attributes:
        minutes: of training.
        size: of the network, or None.
    """

    minutes: float = DEFAULT_MINUTES
    size: str | None = None


def wish(
    fit: bool, minutes: float | None, size: str | None, codec: Codec, **other: object
) -> FitWish | None:
    """The options of --fit, checked; None without --fit.

    other: options that exclude --fit, by their names; those that are set are an error.

    Raises:
        OptionError: they contradict each other.
        MissingDependencyError: torch is not installed.
    """
    if not fit:
        if minutes is not None or size is not None:
            raise OptionError("--fit-minutes and --fit-size go with --fit")
        return None
    for name, value in {
        "--model": codec.model,
        "--embed-model": codec.embed_model,
        **other,
    }.items():
        if value:
            raise OptionError(f"--fit makes a network of its own: leave out {name}")
    if codec.predictor not in ("auto", "hybrid", "lstm"):
        raise OptionError(f"--fit makes a network, which {codec.predictor} has no use for")
    if codec.predictor == "lstm" and codec.solid:
        raise OptionError("a network alone learns nothing: --solid takes --predictor hybrid")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise OptionError(f"--fit-minutes must be above 0, not {minutes}")
    need_torch(NEEDS_TORCH)
    from ..fitting.sizes import SIZES

    if size is not None and size not in SIZES:
        raise OptionError(f"--fit-size must be {', '.join(SIZES)}, not {size!r}")
    return FitWish(DEFAULT_MINUTES if minutes is None else minutes, size)


def checkpoint_of(target: str) -> str | None:
    """Where the checkpoint of a fit for this output lies; None where there is no room for one."""
    from ..files.atomic import is_special

    return None if target == "-" or is_special(target) else target + SUFFIX


def fitted(
    session: Session,
    arrays: Sequence[np.ndarray[Any, Any]],
    wished: FitWish,
    codec: Codec,
    checkpoint: str | None,
    *,
    tokens: int | None = None,
) -> Model | None:
    """A network for these arrays; None, with a note that says why, if there is none that pays.

    tokens: how many it is for, if the arrays are only a part of the data.

    Raises:
        TrainingInterrupted: SIGTERM came.
        TokenzipError: as fitting.fit.fit, but for arrays that no single network could be for.
    """
    from ..fitting.fit import FitOptions, fit

    whole = [array if array.ndim else array.reshape(1) for array in arrays if array.size]
    if not whole:
        session.note("no network: there are no tokens")
        return None
    try:
        clips = open_clips(whole, alphabet=codec.alphabet)
    except ShapeError:
        session.note("no network: the arrays have frames of several shapes")
        return None
    except InputError:
        return None  # encoding says more exactly which array is at fault
    options = FitOptions(
        minutes=wished.minutes,
        size=wished.size,
        predictor="hybrid" if codec.predictor == "auto" else codec.predictor,
        solid=codec.solid,
        chunk_frames=codec.chunk_frames,
        threads=codec.threads,
        device=codec.device or "auto",
    )
    with watch(session, "fitting a network") as report:
        return fit(
            clips,
            codec.alphabet or max(2, clips.largest + 1),
            options,
            checkpoint=checkpoint,
            tokens=tokens,
            report=report,
            note=lambda text: session.note(printable(text)),
        )


def remove_checkpoint(checkpoint: str | None) -> None:
    """Remove a checkpoint that is not needed any more."""
    if checkpoint is not None:
        with contextlib.suppress(OSError):
            os.unlink(checkpoint)
