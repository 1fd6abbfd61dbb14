"""`tokenzip evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from ..codec import Codec
from ..models import Model
from ..training.evaluate import ClipCost, Evaluation
from ..training.evaluate import evaluate as measure
from .compiling import warm_up
from .progress import progress_bar
from .session import Session, printable


def evaluate(
    session: Session,
    model: str,
    arguments: Sequence[str],
    *,
    select: Sequence[str],
    predictor: str | None,
    chunk_frames: int | None,
    threads: int,
    backend: str,
    device: str | None,
) -> int:
    """Measure a model on the clips that `arguments` mean; returns the exit code."""
    network = Model.load(model)
    warm_up(session, Codec(model=network, predictor=predictor or network.spec.family))
    with progress_bar(session, 1) as bar:
        bar.start("evaluating")

        def report(clip: ClipCost) -> None:
            bar.start(f"evaluated {printable(clip.name)}")

        found = measure(
            network,
            list(arguments),
            select=select,
            predictor=predictor,
            chunk_frames=chunk_frames,
            threads=threads,
            backend=backend,
            device=device,
            report=report,
        )
    if session.json:
        session.extra(source=model, evaluation=found.to_dict())
    else:
        for line in _lines(found):
            session.report(line)
    return session.finish()


def _lines(found: Evaluation) -> list[str]:
    lines = [
        f"{clip.bits_per_token:8.4f} bits/token  {found.token_bits / clip.bits_per_token:7.3f}x  "
        f"{clip.tokens:>12,} tokens  {printable(clip.name)}"
        for clip in found.clips
    ]
    for name, clip in found.groups.items():
        lines.append(
            f"{clip.bits_per_token:8.4f} bits/token  "
            f"{found.token_bits / clip.bits_per_token:7.3f}x  {clip.tokens:>12,} tokens  "
            f"all of source {printable(name)}"
        )
    lines.append(
        f"{found.bits_per_token:8.4f} bits/token  {found.ratio:7.3f}x  {found.tokens:>12,} tokens  "
        f"total, {len(found.clips)} clips, {found.tokens / max(found.seconds, 1e-9):,.0f} tokens/s"
    )
    lines.append(
        f"{found.model_bits_per_token:8.4f} bits/token  for the model's {found.embedded_bytes:,} "
        f"bytes, were it embedded with these tokens: {found.ratio_with_model:.3f}x"
    )
    return lines
