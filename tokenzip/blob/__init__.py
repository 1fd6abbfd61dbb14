"""The blob: byte layout, version, checksums, bounds. Knows no predictor; FORMAT.md is its text."""

from .choice import GIVEN, Candidate, Choice, note_size
from .chunks import chunk_bounds, chunk_count, default_chunk_frames
from .info import BlobInfo, ChunkInfo, GridInfo, dtype_name
from .read import check_limit, read_header
from .source import BlobBytes, BlobSource
from .write import CodedChunk, CodedGrid, write_blob

__all__ = [
    "GIVEN",
    "BlobBytes",
    "BlobInfo",
    "BlobSource",
    "Candidate",
    "Choice",
    "ChunkInfo",
    "CodedChunk",
    "CodedGrid",
    "GridInfo",
    "check_limit",
    "chunk_bounds",
    "chunk_count",
    "default_chunk_frames",
    "dtype_name",
    "note_size",
    "read_header",
    "write_blob",
]
