"""`tokenzip challenge`."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import OptionError
from ..packing.challenge import Score, build_submission, check_submission
from ..packing.sources import find_clips
from .compiling import warm_up
from .session import Session, printable


def challenge(
    session: Session,
    arguments: Sequence[str],
    *,
    output: str | None,
    only_check: str | None,
    check: bool,
    force: bool,
    predictor: str,
    part: int,
    workers: int | None,
) -> int:
    """Build a submission of the clips that `arguments` mean, and check it; the exit code."""
    if (output is None) == (only_check is None):
        raise OptionError("name the submission with -o, or one that is there with --check")
    sources = find_clips(arguments, exclude=output)
    path = only_check or output or ""
    score: Score | None = None
    if output is not None:
        if workers is None:
            warm_up(session)
        score = build_submission(
            output,
            sources,
            predictor=predictor,
            clips_of_a_part=part,
            workers=workers,
            force=force,
            done=lambda clips, size: session.say(f"{clips:,} clips, {size:,} bytes"),
        )
    if score is None or check:
        score = check_submission(path, sources)
    checked = "checked as evaluate.sh does" if score.checked else "not checked"
    session.say(
        f"{printable(path)}: {score.clips:,} clips, {score.tokens:,} tokens, {score.bytes:,} "
        f"bytes, {checked}"
    )
    if not session.json:
        session.report(f"Compression rate: {score.rate:.3f}")
    session.result(
        {
            "source": list(arguments),
            "output": path,
            "clips": score.clips,
            "tokens": score.tokens,
            "bytes": score.bytes,
            "compression_rate": score.rate,
            "checked": score.checked,
        }
    )
    return session.finish()
