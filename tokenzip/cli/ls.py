"""`tokenzip ls`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import archive as archives
from ..blob import dtype_name
from ..packing.unpack import choose
from .session import Session, printable
from .unpack import say_problems


def ls(session: Session, path: str, patterns: Sequence[str], *, long: bool, recover: bool) -> int:
    """List the clips of an archive; returns the exit code."""
    with archives.open(path, recover=recover) as archive:
        say_problems(session, archive)
        for name in choose(archive, patterns):
            clip = archive[name]
            if session.json:
                session.result(
                    {
                        "source": path,
                        "clip": name,
                        "shape": list(clip.shape),
                        "dtype": dtype_name(clip.dtype),
                        "alphabet": clip.alphabet,
                        "predictor": clip.predictor,
                        "tokens": clip.size,
                        "raw_bytes": clip.raw_bytes,
                        "bytes": clip.compressed_bytes,
                        "attrs": dict(clip.attrs),
                    }
                )
                continue
            line = [printable(name)]
            if long:
                bits = 8 * clip.compressed_bytes / clip.size if clip.size else 0.0
                line += [
                    "x".join(map(str, clip.shape)) or "()",
                    dtype_name(clip.dtype),
                    str(clip.alphabet),
                    clip.predictor,
                    str(clip.compressed_bytes),
                    f"{bits:.3f}",
                ]
            sys.stdout.write("\t".join(line) + "\n")
    return session.finish()
