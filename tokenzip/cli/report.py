"""`tokenzip report`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .. import archive as archives
from .. import report as reports
from ..codec import Codec, inspect
from ..errors import OptionError, TokenzipError
from ..files.atomic import atomic_output
from ..files.formats import format_of_suffix
from ..files.read import STDIN, read_tokens
from .archives import is_archive_file
from .compiling import announced
from .loading import labels_of, load, members_of
from .session import Session, check_stdin, printable
from .targets import STDOUT, check_early


@dataclass(frozen=True)
class ReportOptions:
    """What the options of `report` say; see its --help."""

    output: str | None
    force: bool
    tokens: int
    clips: int
    seed: int
    film: str | None
    select: tuple[str, ...]
    codec: Codec

    @property
    def sample(self) -> reports.Sample:
        sizes = {"tokens": self.tokens, "clips": self.clips, "seed": self.seed}
        if self.film is None:
            return reports.Sample(**sizes)
        found = re.fullmatch(r"(\d{1,15}):(\d{1,15})", self.film)
        if found is None or int(found[1]) >= int(found[2]):
            raise OptionError(f"--film {self.film}: must be A:B, frames A to B-1")
        start, stop = int(found[1]), int(found[2])
        return reports.Sample(**sizes, film=stop - start, film_start=start)


def report(session: Session, path: str, options: ReportOptions) -> int:
    """Write the report of a file; returns the exit code. Raises OptionError."""
    sample, output = options.sample, options.output
    if output is None and not session.json:
        raise OptionError("name the page with -o report.html, or ask for --json")
    if output == STDOUT and session.json:
        raise OptionError("--json and the page both want standard output; use -o FILE")
    if output is not None and output != STDOUT:
        check_early(output, force=options.force)
    try:
        with announced(session):
            found = _report(path, options, sample)
    except (TokenzipError, OSError, MemoryError) as error:
        session.fail(error, path)
        return session.finish()
    entry = {"source": path, "report": found.to_dict()}
    if output == STDOUT:
        session.stdout.file.write(reports.page(found))
    elif output is not None:
        with atomic_output(output, force=options.force) as file:
            file.write(reports.page(found).encode("utf-8"))
        entry["target"] = output
        looked = found.sampling
        session.say(
            f"{printable(output)}: {looked.tokens:,} of {looked.of_tokens:,} tokens in "
            f"{looked.clips:,} of {looked.of_clips:,} clips looked at"
        )
    session.result(entry)
    return session.finish()


def _report(path: str, options: ReportOptions, sample: reports.Sample) -> reports.Report:
    codec = options.codec
    if path == STDIN:
        check_stdin()
    elif is_archive_file(path):
        with archives.open(path, limits=codec.allowed, model=codec.model) as archive:
            size = os.path.getsize(path)
            return reports.of_archive(archive, source=path, file_bytes=size, sample=sample)
    elif format_of_suffix(path) is not None:
        arrays = read_tokens(path, select=options.select).arrays
        return reports.of_arrays(
            [array for _, array in arrays],
            codec=codec,
            names=[name or os.path.basename(path) for name, _ in arrays],
            source=path,
            sample=sample,
        )
    compressed = load(path, codec.allowed)
    labels = labels_of(members_of(compressed), len(inspect(compressed.blob).grids))
    return reports.of_blob(
        bytes(compressed.blob),
        codec=codec,
        names=[label or os.path.basename(path) for label in labels],
        source=path,
        file_bytes=compressed.size,
        sample=sample,
    )
