"""From arguments to an exit code: signals, errors, broken pipes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from types import FrameType
from typing import Any, NoReturn

import typer

from ..errors import OptionError, TokenzipError
from .session import EXIT_FAILED, EXIT_OK, EXIT_SIGNAL, EXIT_USAGE, ReaderGone, Session

# typer brings its own copy of click since 0.25 and uses the installed one before; this is the base
# of its usage errors in both.
_CLICK_ERROR: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)


class Interrupted(BaseException):
    """A signal asked the process to end; an exception, so that unfinished files are removed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # Impatience must not interrupt the removal of what the first signal left unfinished.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(number)


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    previous: dict[int, object] = {}
    for number in _SIGNALS:
        # A signal that the parent ignores (nohup) stays ignored; ValueError: not the main thread.
        if signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):
                previous[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def _silence(stream_name: str) -> None:
    """Point a stream whose reader is gone at nothing, so that exiting does not complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, getattr(sys, stream_name).fileno())
        os.close(nowhere)


def _asked_for_json(arguments: Sequence[str]) -> bool:
    """Whether --json stands among the options; usage errors must know before parsing is done."""
    options = list(arguments)
    if "--" in options:
        options = options[: options.index("--")]
    return "--json" in options


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv[1:]) and return its exit code.

    No expected failure leaves as an exception: each becomes one line on standard error (and the
    JSON document with --json).
    """
    args = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(json_output=_asked_for_json(args))
    try:
        with _signals_as_exceptions():
            code = _run(args, session)
            sys.stdout.flush()
            return code
    except (ReaderGone, BrokenPipeError):
        _silence("stdout")
        _silence("stderr")
        return EXIT_SIGNAL + int(getattr(signal, "SIGPIPE", 13))
    except Interrupted as stop:
        with contextlib.suppress(OSError):
            session.interrupted()
        return EXIT_SIGNAL + stop.number


@cache
def _command() -> Any:
    """All commands and their options: built once, as it takes longer than most small commands."""
    from .app import app

    return typer.main.get_command(app)


def _run(args: list[str], session: Session) -> int:
    try:
        result = _command().main(args, prog_name="tokenzip", standalone_mode=False, obj=session)
    except _CLICK_ERROR as error:
        described: Any = error
        context = getattr(described, "ctx", None)
        hint = f"; see '{context.command_path} --help'" if context is not None else ""
        text = " ".join(described.format_message().split()).rstrip(".")
        return session.fatal(error, EXIT_USAGE, text + hint)
    except typer.Abort:
        return EXIT_SIGNAL + int(signal.SIGINT)
    except OptionError as error:
        return session.fatal(error, EXIT_USAGE)
    except SystemExit as leaving:  # how typer ends after showing a completion script
        return leaving.code if isinstance(leaving.code, int) else EXIT_OK
    except BrokenPipeError:
        raise
    except (TokenzipError, OSError, MemoryError) as error:
        return session.fatal(error, EXIT_FAILED)
    return result if isinstance(result, int) else 0
