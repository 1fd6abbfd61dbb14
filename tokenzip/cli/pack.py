"""`tokenzip pack`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

from .. import archive as archives
from ..codec import Codec
from ..errors import (
    FileError,
    FileExistsRefusedError,
    MissingDependencyError,
    OptionError,
)
from ..files.atomic import is_special
from ..models.bundled import entries
from ..models.packed import pack as packed
from ..models.search import read_model
from ..packing import Progress, Sources, find_clips
from ..packing import estimate as guess
from ..packing import pack as run_pack
from ..packing.gather import gather
from ..training.interrupt import TrainingInterrupted
from .compiling import warm_up
from .fit import FitWish, checkpoint_of, fitted, remove_checkpoint
from .session import Session, printable


@dataclass(frozen=True)
class PackOptions:
    """What the options of `pack` say; see its --help."""

    output: str | None
    resume: bool
    append: bool
    force: bool
    estimate: bool
    sample: int
    workers: int | None
    dask: str | None
    verify: bool
    progress: float
    select: tuple[str, ...]
    column: str | None
    coding: dict[str, Any]
    fit: FitWish | None = None


def pack(session: Session, arguments: Sequence[str], options: PackOptions) -> int:
    """Pack the clips that `arguments` mean; returns the exit code."""
    try:
        return _pack(session, arguments, options)
    except TrainingInterrupted as stop:
        return session.stopped(f"{stop} with --resume", stop.number)


def _pack(session: Session, arguments: Sequence[str], options: PackOptions) -> int:
    if options.workers is not None and options.dask is not None:
        raise OptionError("--workers and --dask are two ways of working: choose one")
    sources = find_clips(
        arguments, select=options.select, column=options.column, exclude=options.output
    )
    if options.estimate:
        return _estimate(session, sources, options)
    if options.output is None:
        raise OptionError("name the archive with -o, or ask for an --estimate")
    mode = _mode(options.output, options)
    if options.coding.get("predictor") != "stored" and options.workers is None:
        warm_up(session)
    with (
        archives.open(options.output, mode, recover=options.resume) as archive,
        _executor(options.dask) as executor,
        _Shown(session, options.progress) as shown,
    ):
        for problem in archive.problems:
            session.note(f"{printable(options.output)}: {printable(problem)}")
        before = len(archive)
        coding = _with_network(session, archive, sources, options)

        def failed(name: str, error: Exception) -> None:
            session.fail(error, name)

        report = run_pack(
            archive,
            sources,
            workers=options.workers,
            executor=executor,
            resume=options.resume,
            verify=options.verify,
            failed=failed,
            progress=shown,
            **coding,
        )
        count = len(archive)
    if options.fit is not None:
        remove_checkpoint(checkpoint_of(options.output))
    size = os.path.getsize(options.output)
    if not count and not session.failed:
        raise FileError("there are no clips in these sources")
    session.say(
        f"{printable(options.output)}: {report.clips:,} clips"
        + (f", {report.skipped:,} were there" if report.skipped else "")
        + (f", {report.failed:,} failed" if report.failed else "")
        + f", {report.tokens:,} tokens"
        + (f", {report.ratio:.3f}x" if report.bytes else "")
        + f", {report.seconds:.1f} s; the archive has {count:,} clips, {size:,} bytes"
    )
    session.result(
        {
            "source": list(arguments),
            "output": options.output,
            **report.to_dict(),
            "skipped": report.skipped,
            "failed": report.failed,
            "archive_clips": count,
            "archive_clips_before": before,
            "archive_bytes": size,
        }
    )
    return session.finish()


def _with_network(
    session: Session, archive: archives.ArchiveWriter, sources: Sources, options: PackOptions
) -> dict[str, Any]:
    """The options for encoding, with a network of the clips' own if --fit finds one that pays."""
    if options.fit is None:
        return options.coding
    assert options.output is not None
    checkpoint = checkpoint_of(options.output)
    if options.force:
        remove_checkpoint(checkpoint)
    model = None
    if options.resume and archive.models:
        # Trained when this archive was begun; the newest is the last.
        model = read_model(archive.models[list(archive.models)[-1]])
        session.note(f"going on with the network {model.name}, which the archive has")
    else:
        some = gather(sources)
        codec = Codec(**options.coding)
        model = fitted(session, some.arrays, options.fit, codec, checkpoint, tokens=some.tokens)
    if model is None:
        return {**options.coding, "predictor": "auto"}
    archive.add_model(model.identity.hex(), packed(model))
    return {**options.coding, "model": model}


def _mode(output: str, options: PackOptions) -> Any:
    if sum((options.resume, options.append, options.force)) > 1:
        raise OptionError("--resume, --append and --force exclude each other")
    if is_special(output) or os.path.isdir(output):
        raise FileError(f"{output}: an archive is a file")
    if options.force:
        return "w"
    if options.resume or options.append:
        return "a"
    if os.path.lexists(output):
        raise FileExistsRefusedError(
            f"{output}: exists; --resume goes on with it, --append adds to it, --force begins anew"
        )
    return "x"


@contextlib.contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    """The executor of a dask cluster, if one was asked for."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError(
            "--dask needs the package distributed: pip install 'tokenzip[dask]'"
        ) from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise FileError(f"no dask scheduler answers at {address} ({error})") from error
    with client, client.get_executor(pure=False) as executor:
        yield executor


def _estimate(session: Session, sources: Sources, options: PackOptions) -> int:
    chosen = options.coding.get("predictor")
    coding = {name: value for name, value in options.coding.items() if name != "predictor"}
    predictors: tuple[str, ...] = ("adaptive", "stored")
    if coding.get("model") or entries():
        predictors = ("auto", *predictors)
    estimates = guess(
        sources,
        predictors=predictors if chosen is None else (chosen,),
        sample=options.sample,
        workers=options.workers or 1,
        failed=lambda name, error: session.fail(error, name),
        **coding,
    )
    session.extra(estimates=[asdict(item) for item in estimates])
    if not session.json:
        first = estimates[0]
        session.report(
            f"{first.clips:,} clips, about {first.tokens:,} tokens; {first.sampled} clips tried"
        )
        for item in estimates:
            session.report(
                f"{item.predictor}: {item.bytes:,} bytes (+- {item.error:,}), {item.ratio:.3f}x, "
                f"{item.bits_per_token:.3f} bits/token, {_duration(item.seconds)}"
            )
    return session.finish()


class _Shown:
    """Says how far it is: a bar on a terminal, else a line now and then."""

    def __init__(self, session: Session, seconds: float) -> None:
        self._session = session
        self._seconds = seconds
        self._last = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> _Shown:
        if self._session.interactive:
            from rich.live import Live
            from rich.text import Text

            self._live = Live(
                Text("packing ..."),
                console=self._session.stderr,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(_line(progress)))
        elif now - self._last >= self._seconds:
            self._last = now
            self._session.say(_line(progress))


def _line(progress: Progress) -> str:
    left = progress.seconds_left
    return (
        f"{progress.clips + progress.skipped:,} clips, {progress.tokens_per_second:,.0f} tokens/s, "
        f"{progress.ratio:.3f}x, " + ("" if left is None else f"{_duration(left)} left, ")
    ) + f"at {printable(progress.clip)}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
