"""Packing at scale: clips from files, shards and data sets into an archive, and out of it again.

from tokenzip.packing import find_clips, pack

with tokenzip.open("data.tkz.h5", "x", alphabet=1024) as archive:
    report = pack(archive, find_clips(["clips/", "data-0000.tar.gz"]), workers=4)
"""

from __future__ import annotations

from .challenge import build_submission, check_submission
from .estimate import Estimate, estimate
from .pack import Progress, Report, pack
from .sources import SourceClip, Sources, find_clips
from .unpack import unpack

__all__ = [
    "Estimate",
    "Progress",
    "Report",
    "SourceClip",
    "Sources",
    "build_submission",
    "check_submission",
    "estimate",
    "find_clips",
    "pack",
    "unpack",
]
