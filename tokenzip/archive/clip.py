"""A clip of an archive: an array that is decoded where it is looked at."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..blob import BlobInfo, BlobSource, ChunkInfo
from ..codec import inspect
from ..errors import ArchiveDamagedError, BlobError
from .contents import Entry, Kind
from .load import single_grid

if TYPE_CHECKING:
    from .archive import Archive

Array = npt.NDArray[Any]


class ArchivedClip:
    """One clip, as a lazy array like h5py's datasets.

    It has shape, dtype, ndim, size, len() and attrs without reading any tokens. Indexing works as
    numpy's, and decodes the chunks that hold the frames (axis 0) that are asked for; `clip[:]` and
    numpy.asarray(clip) decode all. The chunk that was used last is kept.

    Several threads may read it, and it may be pickled and sent to other processes.
    """

    def __init__(self, archive: Archive, entry: Entry) -> None:
        self._archive = archive
        self._entry = entry
        self._source: BlobSource | None = None
        self._info: BlobInfo | None = None
        self._recent: tuple[ChunkInfo, Array] | None = None

    @property
    def name(self) -> str:
        return self._entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._entry.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._entry.kind.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of tokens."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded array."""
        return self.size * self.dtype.itemsize

    @property
    def alphabet(self) -> int:
        return self._entry.kind.alphabet

    @property
    def predictor(self) -> str:
        return self._entry.kind.predictor

    @property
    def compressed_bytes(self) -> int:
        """Length of the clip's blob."""
        return self._entry.length

    @property
    def raw_bytes(self) -> int:
        """Bytes of the bit-packed tokens: what ratios refer to."""
        return (self.size * (self.alphabet - 1).bit_length() + 7) // 8

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The clip's metadata; of an archive that is open for writing it can be changed."""
        return self._archive._attributes_of(self._entry)

    @property
    def archive_models(self) -> Mapping[str, bytes]:
        """The models that its archive keeps (search.read_model reads them), by identity."""
        return self._archive.models

    @property
    def info(self) -> BlobInfo:
        """What the blob's header says: chunks, predictor, checksums."""
        if self._info is None:
            with self._named():
                info = single_grid(inspect(self._blob_source()))
                kind, entry = Kind.of(info), self._entry
                if (kind, info.grids[0].frames) != (entry.kind, entry.frames):
                    raise ArchiveDamagedError(
                        f"the index says {entry.frames} frames of {entry.kind}, the blob "
                        f"{info.grids[0].frames} of {kind}"
                    )
            self._info = info
        return self._info

    def blob(self) -> bytes:
        """The clip as tokenzip.encode returned it; tokenzip.decode decodes it."""
        return self._archive.read_blob(self.name)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a clip without dimensions")
        return self.shape[0]

    def __bool__(self) -> bool:
        raise ValueError("a clip is neither true nor false; use len(clip) or numpy.any(clip)")

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        first = parts[0] if parts else Ellipsis
        if (
            not self.shape
            or first is Ellipsis
            or first is None
            or isinstance(first, (bool, np.bool_))
        ):
            return self._frames(slice(None))[key]
        if isinstance(first, slice):
            sliced = (slice(None), *parts[1:])
            return self._frames(first)[sliced]
        try:
            index = operator.index(first)
        except TypeError:
            return self._fancy(np.asarray(first), parts[1:], key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of clip {self.name!r}, which has {len(self)}")
        index %= len(self)
        single = (0, *parts[1:])
        return self._frames(slice(index, index + 1))[single]

    def __iter__(self) -> Iterator[Array]:
        """The frames, decoded chunk by chunk."""
        len(self)
        for chunk in self.info.grids[0].chunks:
            yield from self._frames(slice(chunk.start, chunk.start + chunk.frames))
        if not self.size:
            yield from np.empty(self.shape, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a clip is decoded into a new array, which copy=False forbids")
        array: Array = self._frames(slice(None))
        return array if dtype is None else array.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<tokenzip clip {self.name!r}: shape {self.shape}, dtype {self.dtype}>"

    def __reduce__(self) -> Any:
        return _clip_of, (self._archive, self.name)

    def _fancy(self, index: Array, rest: tuple[Any, ...], key: Any) -> Any:
        """Frames that are listed, or marked by bools."""
        if index.dtype.kind == "b" and index.ndim == 1:
            if len(index) != len(self):
                raise IndexError(f"{len(index)} bools for {len(self)} frames")
            index = np.flatnonzero(index)
        elif index.size == 0 and not isinstance(key, np.ndarray):
            index = index.astype(np.int64)
        if index.dtype.kind not in "iu":
            # Bools for more than the frames, or what numpy will refuse.
            return self._frames(slice(None))[key]
        outside = (index < -len(self)) | (index >= len(self))
        if outside.any():
            raise IndexError(
                f"frame {index[outside].flat[0]} of clip {self.name!r}, which has {len(self)}"
            )
        wanted, places = np.unique(index.astype(np.int64) % max(1, len(self)), return_inverse=True)
        frames = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for chunk in self.info.grids[0].chunks:
            low, high = np.searchsorted(wanted, (chunk.start, chunk.start + chunk.frames))
            if low < high:
                frames[low:high] = self._chunk(chunk)[wanted[low:high] - chunk.start]
        chosen = (places.reshape(index.shape), *rest)
        return frames[chosen]

    def _frames(self, part: slice) -> Array:
        """Some frames, as an array of their own."""
        if self.shape:
            wanted = range(len(self))[part]
            ends = (wanted[0], wanted[-1]) if wanted else (0, -1)
            low, high = min(ends), max(ends) + 1
            for chunk in self.info.grids[0].chunks:
                if chunk.start <= low and high <= chunk.start + chunk.frames and low < high:
                    held = self._chunk(chunk)
                    start, stop = wanted.start - chunk.start, wanted.stop - chunk.start
                    inside = slice(start, stop if stop >= 0 else None, wanted.step)
                    return np.array(held[inside])
        with self._named():
            info = self.info  # the blob is what the index says
            decoded = self._archive._decode(self._blob_source(), info, part if self.shape else None)
        assert isinstance(decoded, np.ndarray)
        return decoded

    def _chunk(self, chunk: ChunkInfo) -> Array:
        """A whole chunk; not to be written to."""
        recent = self._recent
        if recent is not None and recent[0] is chunk:
            return recent[1]
        with self._named():
            frames = slice(chunk.start, chunk.start + chunk.frames)
            decoded = self._archive._decode(self._blob_source(), self.info, frames)
        assert isinstance(decoded, np.ndarray)
        if not self.info.solid:
            self._recent = (chunk, decoded)
        return decoded

    def _blob_source(self) -> BlobSource:
        if self._source is None:
            self._source = self._archive._blob_source(self._entry)
        return self._source

    def _named(self) -> _Named:
        return _Named(f"{self._archive.name}: clip {self.name!r}")


def _clip_of(archive: Archive, name: str) -> ArchivedClip:
    return archive[name]


class _Named:
    """Errors of blobs get to know which clip of which archive they are about."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (BlobError, ArchiveDamagedError)) and not str(error).startswith(
            self._what
        ):
            error.args = (f"{self._what}: {error}",)
