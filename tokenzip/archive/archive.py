"""An archive that is open for reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import numpy.typing as npt

from ..blob import BlobInfo, BlobSource
from ..codec import Codec
from ..errors import ArchiveDamagedError, ArchiveError, ClipNotFoundError
from ..models.search import read_model
from .attributes import Attributes
from .bytesource import ByteSource
from .clip import ArchivedClip
from .contents import Entry
from .load import blob_source, crc_of, load
from .records import check_name, parse_attributes

_Self = TypeVar("_Self", bound="Archive")


class Archive(Mapping[str, ArchivedClip]):
    """Many clips in one file, as a mapping from names to lazy arrays; see `tokenzip.open`.

    What it holds is what was in the file when it was opened; open it again to see what a writer
    has added since. Threads may share it, processes may inherit it, and it may be pickled, which
    hands on the path.
    """

    mode = "r"

    def __init__(
        self, source: ByteSource, *, codec: Codec, recover: bool = False, check: bool = False
    ) -> None:
        self._source = source
        self._codec = codec
        self._recover = recover
        self._contents = load(source, recover=recover, check=check, limits=codec.allowed)
        self._codecs: dict[bytes, Codec] = {}  # with the models of the archive

    # What is in it

    @property
    def name(self) -> str:
        """The file's path, or what else it was opened by."""
        return self._source.name

    @property
    def problems(self) -> tuple[str, ...]:
        """Damage that was met when it was opened: lines of text, none if all is well."""
        return tuple(self._contents.problems)

    @property
    def incomplete(self) -> bool:
        """Whether clips may be missing; only with recover=True."""
        return self._contents.lost

    @property
    def attrs(self) -> Attributes:
        """The archive's own metadata: JSON values by name."""
        return Attributes(self._contents.attrs, None)

    @property
    def models(self) -> Mapping[str, bytes]:
        """The models in the archive, as files or packed, by identity; read when looked at."""
        return _Models(self)

    def __getitem__(self, name: str) -> ArchivedClip:
        return ArchivedClip(self, self._entry(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents)

    def __len__(self) -> int:
        return len(self._contents)

    def __contains__(self, name: object) -> bool:
        return name in self._contents

    # Two archives are the same only if they are one object: comparing tokens would decode all.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def read_blob(self, name: str) -> bytes:
        """A clip's blob, as tokenzip.encode returned it. Its checksum is verified.

        Raises:
            ClipNotFoundError: there is no such clip.
            ArchiveDamagedError: the bytes are not those that were written.
        """
        entry = self._entry(name)
        self._check_open()
        if crc_of(self._source, entry.offset, entry.length) != entry.crc:
            raise ArchiveDamagedError(
                f"{self.name}: clip {name!r} is damaged: wrong CRC-32",
                problems=(f"clip {name!r}: wrong CRC-32",),
            )
        return self._source.read_at(entry.offset, entry.length)

    # Life

    @property
    def closed(self) -> bool:
        return self._closed

    _closed = False

    def close(self) -> None:
        """Close the file. Clips taken from the archive cannot be read any more."""
        self._closed = True
        self._source.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self)} clips, mode {self.mode!r}"
        return f"<tokenzip archive {self.name!r}: {state}>"

    def __reduce__(self) -> Any:
        from .open import reopen

        return reopen, (self._source, self._codec, self._recover)

    # For clips

    def _entry(self, name: Any) -> Entry:
        try:
            return self._contents.entry(name)
        except (KeyError, TypeError):
            raise ClipNotFoundError(
                f"{self.name}: no clip {name!r} among {len(self):,}; iterate over the archive, or "
                "use tokenzip ls, for their names"
            ) from None

    def _blob_source(self, entry: Entry) -> BlobSource:
        self._check_open()
        return blob_source(self._source, entry.offset, entry.length)

    def _decode(self, blob: BlobSource, info: BlobInfo, frames: slice | None) -> npt.NDArray[Any]:
        """Some frames of a blob, whose header says `info`."""
        decoded = self.codec_for(info).decode(blob, frames=frames)
        if isinstance(decoded, list):
            raise ArchiveError("a clip of an archive is one array, and this blob is a list")
        return decoded

    def codec_for(self, info: BlobInfo) -> Codec:
        """What decodes a blob with this header: with the archive's own model, if it needs one."""
        identity = info.model
        if identity is None or info.embedded_bytes:
            return self._codec
        if identity not in self._codecs and identity.hex() in self._contents.models:
            model = read_model(self.models[identity.hex()], self._codec.allowed)
            if model.identity != identity:
                raise ArchiveDamagedError(f"{self.name}: model {identity.hex()} is another model")
            self._codecs[identity] = replace(self._codec, model=model)
        return self._codecs.get(identity, self._codec)

    def _attributes_of(self, entry: Entry) -> Attributes:
        return Attributes(self._read_attributes(entry), None)

    def _read_attributes(self, entry: Entry) -> dict[str, Any]:
        changed = self._contents.changed.get(entry.name)
        if changed is not None:
            return changed
        if not entry.attributes:
            return {}
        self._check_open()
        what = f"bytes of the attributes of clip {entry.name!r}"
        self._codec.allowed.check("json_bytes", entry.attributes, what)
        text = self._source.read_at(entry.offset - entry.attributes, entry.attributes)
        return parse_attributes(text, f"clip {entry.name!r} of {self.name}")

    def _check_open(self) -> None:
        if self._closed:
            raise ArchiveError(f"{self.name}: the archive is closed")


class _Models(Mapping[str, bytes]):
    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def __getitem__(self, identity: str) -> bytes:
        offset, length, crc = self._archive._contents.models[check_name(identity)]
        source = self._archive._source
        if crc_of(source, offset, length) != crc:
            raise ArchiveDamagedError(f"{source.name}: model {identity} is damaged: wrong CRC-32")
        return source.read_at(offset, length)

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive._contents.models)

    def __len__(self) -> int:
        return len(self._archive._contents.models)
