"""How the frames of a grid are cut into chunks: the one rule that writer and reader share."""

from __future__ import annotations

from collections.abc import Iterator

#: Defaults: a chunk has at least this many frames and at least this many tokens. 1200 frames are
#: one commaVQ clip (a minute of video); the tokens keep chunks of thin streams (audio codes, 1-D)
#: long enough to learn from.
DEFAULT_FRAMES = 1200
DEFAULT_TOKENS = 150_000


def default_chunk_frames(frame_tokens: int) -> int:
    """Frames per chunk when the caller names none."""
    return max(DEFAULT_FRAMES, -(-DEFAULT_TOKENS // max(frame_tokens, 1)))


def chunk_count(frames: int, chunk_frames: int) -> int:
    """Number of chunks of a grid of `frames` >= 1: the tail gets its own from half a chunk up."""
    whole, tail = divmod(frames, chunk_frames)
    return max(1, whole + (2 * tail >= chunk_frames))


def chunk_bounds(frames: int, chunk_frames: int) -> Iterator[tuple[int, int]]:
    """First and last-plus-one frame of every chunk; the last takes the tail (or is the tail)."""
    last = (chunk_count(frames, chunk_frames) - 1) * chunk_frames
    for start in range(0, last, chunk_frames):
        yield start, start + chunk_frames
    yield last, frames
