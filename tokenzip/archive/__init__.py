"""Archives: many clips in one file, each of which is compressed and read on its own.

    with tokenzip.open("data.tkz.h5", "w", alphabet=1024) as archive:
        archive["monday/1"] = tokens                       # or archive.append(clips, workers=8)
    archive = tokenzip.open("data.tkz.h5")
    window = archive["monday/1"][100:116]                  # decodes the chunks that hold these

An archive is a sequence of records that is only ever added to, with an index at its end that HDF5
programs understand. FORMAT.md, section 14, has every byte.
"""

from __future__ import annotations

from .archive import Archive
from .attributes import Attributes
from .bytesource import ByteSource, FileSource, ObjectSource
from .check import Finding, verify
from .clip import ArchivedClip
from .open import open
from .writer import ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveWriter",
    "ArchivedClip",
    "Attributes",
    "ByteSource",
    "FileSource",
    "Finding",
    "ObjectSource",
    "open",
    "verify",
]
