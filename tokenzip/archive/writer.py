"""An archive that is open for writing."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import replace as replaced
from typing import Any

import numpy as np

from ..codec import Codec, inspect
from ..errors import (
    ArchiveError,
    ClipExistsError,
    FileExistsRefusedError,
    InputError,
    OptionError,
    TokenzipError,
)
from ..files.atomic import remove
from ..files.reasons import os_error_text
from ..models import Model
from ..models.search import as_models, find, is_single
from .archive import Archive
from .attributes import Attributes
from .bytesource import FileSource
from .clip import ArchivedClip
from .contents import Contents, Entry, Kind
from .index import START, first_page, index_record
from .load import crc_of, single_grid
from .lock import WriterLock
from .parallel import Work, in_order
from .records import (
    ATTRIBUTES,
    CLIP,
    HEAD_BYTES,
    MODEL,
    REMOVAL,
    REPLACES,
    VOID,
    attributes_text,
    check_name,
    head_bytes,
    parse_attributes,
)

#: Clips of `append`: tokens by name, or (name, tokens) or (name, tokens, attributes) in a row.
Clips = Mapping[str, Any] | Iterable[tuple[Any, ...]]


#: What is compressed goes to the disk together, at least so often, and not more at a time.
_FLUSH_SECONDS = 1.0
_FLUSH_BYTES = 1 << 22
#: More clips than are ever on their way to the workers.
_REMEMBERED = 10_000


class ArchiveWriter(Archive):
    """An archive to which clips are added; see `tokenzip.open`.

    When a call that adds, changes or removes something returns, that is in the file: a process
    that is killed loses nothing of it. `flush` makes it outlast a power cut too. `close`
    (or the end of a with block) writes the index, with which it opens faster; without it, the next
    to open it walks through what was added.
    """

    def __init__(self, path: str, mode: str, *, codec: Codec, recover: bool) -> None:
        self.mode = mode
        self._lock = threading.RLock()
        self._dirty = False
        self._models_at_hand: list[Model] = []
        self._held = _begin(path, mode)
        try:
            super().__init__(
                FileSource(path, self._held.descriptor), codec=codec, recover=recover, check=True
            )
            if self._contents.problems:
                # What is left becomes a sound archive before anything is added.
                self._truncate()
                self._clear_ruins()
                self._write_index()
        except BaseException:
            self._held.release()
            raise

    # Adding

    def __setitem__(self, name: str, tokens: Any) -> None:
        self.add(name, tokens)

    def add(
        self,
        name: str,
        tokens: Any,
        *,
        attrs: Mapping[str, Any] | None = None,
        replace: bool = False,
        **options: Any,
    ) -> ArchivedClip:
        """Compress one clip and add it.

        Args:
            name: what it is called: a relative path, such as "drives/monday/3".
            tokens: an array as tokenzip.encode takes it; or a clip of an archive, whose bytes are
                then taken over, and its attributes unless `attrs` is given.
            attrs: metadata, JSON values by name.
            replace: allow a clip of this name to be there, and take its place. The old bytes stay
                in the file, unused, until it is packed anew.
            options: for encoding, in place of those that the archive was opened with.

        Raises:
            ClipExistsError: there is a clip of this name, and `replace` is not set.
            InputError: the tokens, the name or an option cannot be used.
            ArchiveError: it cannot be written. What was added before is not affected.
        """
        self._check_free(check_name(name), replace)
        if isinstance(tokens, ArchivedClip) and not options:
            attrs = dict(tokens.attrs) if attrs is None else attrs
            self.take_models(tokens)
            return self.add_blob(name, tokens.blob(), attrs=attrs, replace=replace)
        text = attributes_text(attrs, f"clip {name!r}")
        blob = self._encoder(options).encode(_one_array(tokens))
        return self._add(name, blob, text, replace)

    def add_blob(
        self,
        name: str,
        blob: bytes,
        *,
        attrs: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> ArchivedClip:
        """Add a clip that is compressed already: what tokenzip.encode made of one array."""
        self._check_free(check_name(name), replace)
        return self._add(name, bytes(blob), attributes_text(attrs, f"clip {name!r}"), replace)

    def append(
        self,
        clips: Clips,
        *,
        workers: int | None = None,
        executor: Executor | None = None,
        replace: bool = False,
        verify: bool = False,
        failed: Callable[[str, Exception], object] | None = None,
        done: Callable[[ArchivedClip], object] | None = None,
        **options: Any,
    ) -> int:
        """Compress and add many clips, several at a time, in their order.

        Args:
            clips: a mapping from names to arrays, or any iterable of (name, tokens) or (name,
                tokens, attributes). It is read as fast as the clips are compressed: memory does not
                grow with their number.
            workers: processes to compress in; None is this one. A process that dies is replaced,
                and what it was working on is done again. As with all of Python's processes, a
                script needs `if __name__ == "__main__":` around what starts them.
            executor: anything like concurrent.futures.Executor instead, such as dask's
                Client.get_executor().
            replace: as in `add`.
            verify: decode each clip and compare before it is added.
            failed: called with the name and the error of a clip that cannot be compressed, which is
                then left out; without it, the first one ends the call.
            done: called with each clip when it has been added and flushed.
            options: for encoding.

        Returns:
            How many clips were added.

        Raises:
            What `add` raises. The clips before the one at fault are in the archive.
        """
        codec = self._encoder(options)
        pieces = self._pieces(clips, codec, replace, verify, failed)
        waiting: list[tuple[str, bytes, bytes]] = []
        count = 0

        def commit() -> None:
            nonlocal count
            added = [self._add(name, blob, text, replace) for name, blob, text in waiting]
            waiting.clear()
            if added:
                self.flush()
            count += len(added)
            for clip in added:
                if done is not None:
                    done(clip)

        last, held = time.monotonic(), 0
        try:
            for outcome in in_order(pieces, workers=workers, executor=executor):
                name = outcome.work.label
                if outcome.error is None:
                    waiting.append((name, outcome.value, outcome.work.extra))
                    held += len(outcome.value)
                else:
                    _handle(name, outcome.error, failed)
                if held >= _FLUSH_BYTES or time.monotonic() - last >= _FLUSH_SECONDS:
                    commit()
                    last, held = time.monotonic(), 0
        finally:
            # What is compressed is added, also where what came after it failed.
            commit()
        return count

    # Changing

    @property
    def attrs(self) -> Attributes:
        """The archive's own metadata: JSON values by name."""
        return Attributes(self._contents.attrs, self._save_attrs)

    def __delitem__(self, name: str) -> None:
        """Remove a clip. Its bytes stay in the file, unused, until it is packed anew."""
        with self._lock:
            self._entry(name)
            self._write(REMOVAL, name)
            self._contents.remove(name)

    def add_model(self, identity: str, data: bytes) -> None:
        """Keep a model that clips need, by its identity; what is there already stays.

        data: a model file, or a packed model as blobs have them.
        """
        with self._lock:
            if check_name(identity) not in self._contents.models:
                body = bytes(data)
                start = self._write(MODEL, identity, b"", body)
                self._contents.models[identity] = (start, len(body), zlib.crc32(body))

    def take_models(self, clip: ArchivedClip) -> None:
        """Keep the model that a clip of another archive needs, if that archive keeps it."""
        if clip.info.model is None:
            return
        identity, models = clip.info.model.hex(), clip.archive_models
        if identity in models and identity not in self._contents.models:
            self.add_model(identity, models[identity])

    # Life

    def flush(self) -> None:
        """Make all that was written outlast a power cut."""
        self._check_open()
        try:
            os.fsync(self._held.descriptor)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Write the index and close the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                # A process that was forked off has let go of the file.
                if self._dirty and self._held.descriptor >= 0:
                    self._write_index()
            finally:
                self._source.descriptor = -1  # type: ignore[attr-defined]
                self._held.release()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    # Inside

    def _pieces(
        self,
        clips: Clips,
        codec: Codec,
        replace: bool,
        verify: bool,
        failed: Callable[[str, Exception], object] | None,
    ) -> Iterator[Work]:
        seen: deque[str] = deque(maxlen=_REMEMBERED)  # those on their way are not in the table yet
        for item in clips.items() if isinstance(clips, Mapping) else clips:
            name, tokens, attrs = _clip_item(item)
            try:
                self._check_free(check_name(name), replace)
                if name in seen:
                    raise ClipExistsError(f"{self.name}: two of the clips are called {name!r}")
                seen.append(name)
                text = attributes_text(attrs, f"clip {name!r}")
                array = np.asarray(tokens) if isinstance(tokens, ArchivedClip) else tokens
                work = Work(name, encode_clip, (codec, _one_array(array), verify), text)
            except (TokenzipError, OSError) as error:
                _handle(str(name), error, failed)
                continue
            yield work

    def _encoder(self, options: dict[str, Any]) -> Codec:
        if options.get("solid"):
            raise OptionError("solid is for lists of arrays; the clips of an archive stand alone")
        try:
            codec = replaced(self._codec, **options)
        except TypeError as error:
            raise OptionError(f"an option that there is not: {error}") from None
        if codec.embed_model:
            raise OptionError("an archive keeps a model once, for all clips: leave out embed_model")
        if codec.model is None:
            return codec
        models = as_models(codec.model)  # files are read once, not for each clip
        known = {model.identity for model in self._models_at_hand}
        self._models_at_hand += [model for model in models if model.identity not in known]
        return replaced(codec, model=models[0] if is_single(codec.model) else models)

    def _check_free(self, name: str, replace: bool) -> None:
        self._check_open()
        if not replace and name in self._contents:
            raise ClipExistsError(
                f"{self.name}: there is a clip {name!r} already; use replace=True to put another "
                "in its place"
            )

    def _add(self, name: str, blob: bytes, attributes: bytes, replace: bool) -> ArchivedClip:
        info = single_grid(inspect(blob))
        with self._lock:
            self._check_free(name, replace)
            if info.model is not None and not info.embedded_bytes:
                self._keep_model(info.model)
            flags = REPLACES if name in self._contents else 0
            start = self._write(CLIP, name, attributes, blob, flags)
            frames, crc = info.grids[0].frames, zlib.crc32(blob)
            self._contents.add(
                Entry(name, start, len(blob), frames, Kind.of(info), crc, len(attributes))
            )
        return self[name]

    def _keep_model(self, identity: bytes) -> None:
        """Put the model of a blob into the archive, before the blob."""
        if identity.hex() not in self._contents.models:
            model = find(identity, self._models_at_hand)
            self.add_model(identity.hex(), model.to_bytes())

    def _save_attrs(self, values: dict[str, Any]) -> dict[str, Any]:
        text = attributes_text(values, "the archive")
        with self._lock:
            self._write(ATTRIBUTES, "", text)
            self._contents.attrs = parse_attributes(text, "the archive")
            return self._contents.attrs

    def _attributes_of(self, entry: Entry) -> Attributes:
        def save(values: dict[str, Any]) -> dict[str, Any]:
            text = attributes_text(values, f"clip {entry.name!r}")
            with self._lock:
                self._entry(entry.name)
                self._write(ATTRIBUTES, entry.name, text)
                self._contents.changed[entry.name] = parse_attributes(text, entry.name)
                return self._contents.changed[entry.name]

        return Attributes(self._read_attributes(entry), save)

    def _write(
        self, kind: int, name: str, attributes: bytes = b"", body: bytes = b"", flags: int = 0
    ) -> int:
        """Add a record; where its body begins."""
        self._check_open()
        head = head_bytes(kind, name, attributes, len(body), zlib.crc32(body), flags)
        start = self._contents.end
        if not self._dirty:
            self._truncate()
            self._dirty = True
        try:
            # The head last: where there is a head, there is a whole record.
            self._write_at(start + len(head), body)
            self._write_at(start, head)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._held.descriptor, start)
            raise
        self._contents.end = start + len(head) + len(body)
        return start + len(head)

    def _write_index(self) -> None:
        """Make the file one that opens without walking, and that HDF5 programs understand."""
        start = self._contents.end
        record, root = index_record(self._contents, start)
        end = start + len(record)
        try:
            self._write_at(start, record)
            os.ftruncate(self._held.descriptor, end)
            os.fsync(self._held.descriptor)
            # The only bytes of an archive that ever change, and in one piece.
            self._write_at(0, first_page(start, len(self._contents), end, root))
            os.fsync(self._held.descriptor)
        except ArchiveError:
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        self._contents.end = end
        self._dirty = False

    def _clear_ruins(self) -> None:
        """Make damaged parts records of no meaning, so that they are no damage any more."""
        for start, stop in self._contents.ruins:
            body = stop - start - HEAD_BYTES
            crc = crc_of(self._source, start + HEAD_BYTES, body) if body >= 0 else None
            if crc is not None:
                self._write_at(start, head_bytes(VOID, "", b"", body, crc))

    def _truncate(self) -> None:
        """Cut off what is no record, such as the beginning of one that was never finished."""
        try:
            os.ftruncate(self._held.descriptor, self._contents.end)
        except OSError as error:
            raise self._unwritable(error) from error

    def _write_at(self, start: int, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._held.descriptor, view, start)
                view = view[written:]
                start += written
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ArchiveError:
        return ArchiveError(
            f"{self.name}: cannot be written: {os_error_text(error)}. "
            f"The {len(self):,} clips that were added before are in it"
        )


def _begin(path: str, mode: str) -> WriterLock:
    """The file, locked, with at least an empty archive in it."""
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0)
    try:
        while True:
            if not os.path.lexists(path):
                _create(path, replace=False).release()
            elif mode == "x":
                raise FileExistsRefusedError(
                    f"{path}: exists; mode 'w' replaces it, mode 'a' adds to it"
                )
            held = WriterLock(path, path, flags)
            with contextlib.suppress(FileNotFoundError):
                # Another may have taken its place between opening and locking.
                if os.path.samestat(os.fstat(held.descriptor), os.stat(path)):
                    if mode == "w" and os.fstat(held.descriptor).st_size:
                        fresh = _create(path, replace=True)
                        held.release()
                        return fresh
                    return held
            held.release()
    except (ArchiveError, FileExistsRefusedError):
        raise
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written: {os_error_text(error)}") from error


def _create(path: str, *, replace: bool) -> WriterLock:
    """An empty archive, which gets its name when it is whole; locked from the start."""
    parent, base = os.path.split(path)
    scratch = os.path.join(parent, f".{base[:40]}.{secrets.token_hex(8)}.tmp")
    record, root = index_record(Contents(), START)
    held = WriterLock(path, scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        data = first_page(START, 0, START + len(record), root) + record
        if os.write(held.descriptor, data) != len(data):
            raise OSError("no space left")
        os.fsync(held.descriptor)
        if replace:
            os.replace(scratch, path)
        else:
            _link(scratch, path)
        return held
    except BaseException:
        held.release()
        raise
    finally:
        with contextlib.suppress(OSError):
            remove(scratch)


def _link(scratch: str, path: str) -> None:
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass  # another was faster; it is opened like any that is there
    except OSError:
        os.replace(scratch, path)


def encode_clip(codec: Codec, tokens: Any, verify: bool) -> bytes:
    """What workers do."""
    blob = codec.encode(tokens)
    if verify:
        array = np.asarray(tokens)
        back = replaced(codec, max_tokens=max(1, array.size), limits=None).decode(blob)
        same = isinstance(back, np.ndarray) and back.dtype == array.dtype
        if not same or not np.array_equal(back, array):
            raise TokenzipError(
                "what was decoded differs from what was encoded; the clip was not added. This is a "
                "bug in tokenzip or faulty memory: please report it"
            )
    return blob


def _handle(name: str, error: Exception, failed: Callable[[str, Exception], object] | None) -> None:
    """Hand the error of a clip on, or raise it."""
    if failed is None or not isinstance(error, (TokenzipError, OSError, MemoryError)):
        if isinstance(error, InputError):
            error.args = (f"clip {name!r}: {error}",)
        raise error
    failed(name, error)


def _one_array(tokens: Any) -> Any:
    if isinstance(tokens, (list, tuple)) and any(hasattr(item, "shape") for item in tokens):
        raise OptionError("a clip of an archive is one array; give each array a name of its own")
    return tokens


def _clip_item(item: Any) -> tuple[Any, Any, Any]:
    if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 3:
        raise OptionError(
            "clips are (name, tokens) or (name, tokens, attributes), or a mapping; "
            f"this is {type(item).__name__}"
        )
    return item[0], item[1], item[2] if len(item) == 3 else None
