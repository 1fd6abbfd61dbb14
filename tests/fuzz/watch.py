"""One execution under watch: what comes out of it, how long it takes, what it allocates."""

from __future__ import annotations

import hashlib
import time
import traceback
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

from .target import Target, WrongError

#: CPU seconds that one input may take: the issue's two.
MOST_SECONDS = 2.0
#: Memory is measured in one of so many executions, for that makes them slower.
MEASURED = 16


@dataclass
class Watch:
    """Runs inputs through a target, and keeps those that do what none may do.

    Attributes:
        target: what is run.
        folder: where inputs of findings go; None: nowhere.
        executions, accepted: how many ran, and how many of them were taken as good.
        findings: a line for each different one, with how often it was seen.
        slowest: most CPU seconds of one input.
        largest: most bytes that one input allocated, of those that were measured.
    """

    target: Target
    folder: Path | None = None
    executions: int = 0
    accepted: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    largest: int = 0

    def run(self, data: bytes) -> None:
        """One execution."""
        measured = self.executions % MEASURED == 0
        self.executions += 1
        if measured:
            tracemalloc.start()
        start = time.process_time()
        try:
            self.accepted += self.target.run(data)
        except self.target.allowed:
            pass
        except WrongError as error:
            self._found(f"wrong: {error}", data)
        except MemoryError as error:
            self._found(f"memory: {_where(error)}", data)
        except Exception as error:
            self._found(f"{type(error).__name__}: {_where(error)}", data)
        seconds = time.process_time() - start
        if measured:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            self.largest = max(self.largest, peak)
            if peak > self.target.most_bytes:
                self._found(f"allocates more than {self.target.most_bytes:,} bytes", data)
        # The first executions load and compile; measuring memory takes time too.
        elif self.executions > 200:
            self.slowest = max(self.slowest, seconds)
            if seconds > MOST_SECONDS:
                self._found(f"takes longer than {MOST_SECONDS} s", data)

    def joined(self, other: Watch) -> Watch:
        """What both saw."""
        findings = dict(self.findings)
        for what, times in other.findings.items():
            findings[what] = findings.get(what, 0) + times
        return Watch(
            self.target,
            self.folder,
            self.executions + other.executions,
            self.accepted + other.accepted,
            findings,
            max(self.slowest, other.slowest),
            max(self.largest, other.largest),
        )

    def _found(self, what: str, data: bytes) -> None:
        if what not in self.findings and self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(what.encode()).hexdigest()[:12]
            (self.folder / f"{name}.bin").write_bytes(data)
            text = what + "\n\n" + traceback.format_exc()
            (self.folder / f"{name}.txt").write_text(text, errors="backslashreplace")
        self.findings[what] = self.findings.get(what, 0) + 1


def _where(error: BaseException) -> str:
    """File and line of the package where an exception came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/tokenzip/" in frame.filename] or frames
    return f"{own[-1].filename.rpartition('/tokenzip/')[2]}:{own[-1].lineno} ({frames[-1].name})"
