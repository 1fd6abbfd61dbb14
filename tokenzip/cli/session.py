"""What one run of the command line says, and to whom.

Standard output carries what was asked for: compressed or restored bytes, tables, or with --json
one JSON document, whatever happens. Standard error carries the rest: errors, notes, progress.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import LimitError, OptionError, TokenzipError
from .limits import by_option

if TYPE_CHECKING:
    from rich.console import Console

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SIGNAL = 128  # plus the signal's number, as shells count: 130 Ctrl-C, 143 SIGTERM


def printable(text: str) -> str:
    """`text` on one line, without anything a terminal would obey or a stream could not hold."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii")
        for c in text
    )


def error_text(error: BaseException) -> str:
    """One line for an error, without Python's names for things."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and not isinstance(error, TokenzipError):
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return printable(where + (error.strerror or str(error)))
    text = by_option(str(error)) if isinstance(error, LimitError) else str(error)
    return printable(" ".join(text.split()) or type(error).__name__)


class ReaderGone(BaseException):
    """Whoever read our output closed the pipe.

    Not an Exception: typer and rich have their own ideas of what to do about a BrokenPipeError.
    """


class Session:
    """One run: its options that all commands share, and the results so far."""

    def __init__(self, *, json_output: bool = False) -> None:
        self.command = ""
        self.json = json_output
        self.quiet = False
        self.failed = False
        self._files: list[dict[str, Any]] = []
        self._extra: dict[str, Any] = {}
        self._stderr: Console | None = None
        self._stdout: Console | None = None

    @property
    def stderr(self) -> Console:
        """rich console on standard error; shared, so that lines and progress bar do not collide."""
        if self._stderr is None:
            self._stderr = _console(to_stderr=True)
        return self._stderr

    @property
    def stdout(self) -> Console:
        """rich console on standard output."""
        if self._stdout is None:
            self._stdout = _console(to_stderr=False)
        return self._stdout

    @property
    def interactive(self) -> bool:
        """Whether somebody watches standard error and has not asked for silence."""
        return not self.quiet and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """A line about what was done, on standard error; not with --quiet or --json."""
        if not self.quiet and not self.json:
            self._line(text)

    def report(self, text: str) -> None:
        """A line of what was asked for, on standard output; not with --json."""
        if self.json:
            return
        # Where both streams are one terminal, the progress bar must make room for the line.
        shared = self.interactive and sys.stdout.isatty()
        (self.stderr if shared else self.stdout).print(text, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line that is worth knowing though nothing failed; not with --quiet."""
        if not self.quiet:
            self._line(f"tokenzip: note: {text}")

    def result(self, entry: dict[str, Any]) -> None:
        """Record what happened to one file, for --json."""
        self._files.append({"ok": True, **entry})

    def extra(self, **fields: Any) -> None:
        """Record something about the whole run, for --json."""
        self._extra.update(fields)

    def collect(self, name: str, items: Sequence[Any]) -> None:
        """Add to a list about the whole run, for --json; without any there is no list."""
        if items:
            self._extra.setdefault(name, []).extend(items)

    def fail(self, error: BaseException, source: str, *, show: bool = True) -> None:
        """Record that one file failed; the run goes on."""
        self.failed = True
        text = error_text(error)
        if not text.startswith(printable(source)) and source:
            text = f"{printable(source)}: {text}"
        if show:
            self._line(f"tokenzip: error: {text}")
        self._files.append(
            {
                "ok": False,
                "source": source,
                "error": {"type": type(error).__name__, "message": text},
            }
        )

    def fatal(self, error: BaseException, code: int, message: str | None = None) -> int:
        """Report what ended the run; returns the exit code."""
        text = message if message is not None else error_text(error)
        self._line(f"tokenzip: error: {text}")
        if self.json:
            kind = type(error).__name__ if isinstance(error, TokenzipError) else "UsageError"
            self._print_json({"error": {"type": kind, "message": text}}, ok=False)
        return code

    def interrupted(self) -> None:
        """Say that a signal ended the run."""
        self._line("tokenzip: interrupted")
        if self.json:
            fields = {"error": {"type": "Interrupted", "message": "interrupted"}}
            self._print_json(fields, ok=False)

    def stopped(self, text: str, number: int) -> int:
        """Say how far a run came that signal `number` ended; returns the exit code."""
        self.say(f"tokenzip: {printable(text)}")
        self.interrupted()
        return EXIT_SIGNAL + number

    def finish(self) -> int:
        """Print the JSON document if one was asked for; returns the exit code."""
        if self.json:
            self._print_json({}, ok=not self.failed)
        return EXIT_FAILED if self.failed else EXIT_OK

    def _print_json(self, fields: dict[str, Any], *, ok: bool) -> None:
        from .. import __version__

        document = {
            "tokenzip": __version__,
            "command": self.command,
            "ok": ok,
            **fields,
            **self._extra,
            "files": self._files,
        }
        # ASCII only: file names with stray bytes then need no encoding that stdout may lack.
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()

    def _line(self, text: str) -> None:
        if self._stderr is not None and self._stderr.is_terminal:
            self._stderr.print(text, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


def _console(*, to_stderr: bool) -> Console:
    """A console that prints text as it is: names of files are not markup."""
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise ReaderGone

    stream = sys.stderr if to_stderr else sys.stdout
    # Not cut at 80 columns where a pipe or file has no width.
    width = None if stream.isatty() else 160
    return PlainConsole(stderr=to_stderr, markup=False, highlight=False, emoji=False, width=width)


def check_stdin() -> None:
    """Raise OptionError if standard input is a terminal, where reading would wait for ever."""
    if sys.stdin.isatty():
        raise OptionError("standard input is a terminal; give a file or a pipe")


def binary_stdout() -> BinaryIO:
    """Standard output for bytes. Raises OptionError if it is a terminal."""
    if sys.stdout.isatty():
        raise OptionError(
            "binary data is not written to a terminal; redirect it or name a file with -o"
        )
    return sys.stdout.buffer
