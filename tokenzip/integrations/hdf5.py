"""An HDF5 filter: after `import tokenzip.integrations.hdf5`, plain h5py reads compressed datasets.

    from tokenzip.integrations import hdf5

    file.create_dataset("tokens", data=tokens, chunks=(60, 8, 16), compression=hdf5.Tokenzip(1024))
    h5py.File("clips.h5")["tokens"][100:110]  # in any process that has imported this module

Each chunk of the dataset is a blob. HDF5 calls the functions below from inside its own; they hold
Python's lock while they run, and h5py's own lock keeps other threads out of HDF5 meanwhile.

What HDF5 makes of a failure is an OSError without reasons; last_error() has them.
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CorruptError, DTypeError, OptionError
from .chunks import Settings, decode_chunk
from .requirements import missing

try:
    import h5py
    from h5py import h5z
except ImportError as error:
    raise missing("h5py") from error

from . import hdf5_library as library

#: From the range that HDF5 leaves to private use; not registered with The HDF Group.
FILTER_ID = 486

_VERSION = 1
_PREDICTORS = ("auto", "adaptive", "stored")

_seen = threading.local()


class Tokenzip(h5py.filters.FilterRefBase):  # type: ignore[misc, name-defined, unused-ignore]
    """What `create_dataset(compression=...)` takes.

    Args:
        alphabet: number of symbols; None takes the largest token of each chunk plus one.
        predictor: "auto", "adaptive" or "stored", as in tokenzip.encode.
        frame: shape of a frame, such as (8, 16), for chunks that hold several clips. None takes a
            chunk's first axis longer than one as time.

    Chunks with values that are no tokens (below 0 or above 65,535) are kept uncompressed.

    Raises:
        OptionError: a setting is wrong.
    """

    filter_id = FILTER_ID

    def __init__(
        self, alphabet: int | None = None, *, predictor: str = "auto", frame: Any = None
    ) -> None:
        settings = Settings(alphabet, predictor, None, frame)
        self.filter_options = _settings_to_values(settings)


def last_error() -> BaseException | None:
    """Why the filter last failed in this thread, such as a CorruptError; None if it never did."""
    return getattr(_seen, "error", None)


# What a file keeps beside each dataset: unsigned integers, the settings and then the chunk's form.


def _settings_to_values(settings: Settings) -> tuple[int, ...]:
    frame = settings.frame or ()
    predictor = _PREDICTORS.index(settings.predictor)
    return (_VERSION, settings.alphabet or 0, predictor, len(frame), *frame)


def _settings_of_values(values: Sequence[int]) -> tuple[Settings, Sequence[int]]:
    """The settings, and what follows them."""
    if len(values) < 4 or values[0] != _VERSION:
        raise CorruptError(f"filter values {list(values)}: not of this version of the filter")
    frame = values[4 : 4 + values[3]]
    if len(frame) != values[3] or values[2] >= len(_PREDICTORS):
        raise CorruptError(f"filter values {list(values)} make no sense")
    try:
        settings = Settings(values[1] or None, _PREDICTORS[values[2]], None, tuple(frame) or None)
    except OptionError as error:
        raise CorruptError(f"filter values {list(values)}: {error}") from error
    return settings, values[4 + len(frame) :]


@dataclass(frozen=True)
class _Chunk:
    """What all chunks of a dataset have in common."""

    settings: Settings
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def to_values(self) -> tuple[int, ...]:
        # dtype as a letter's code: "<u2" is ord("<"), ord("u"), 2
        form = ord(self.dtype.str[0]), ord(self.dtype.kind), self.dtype.itemsize
        return (*_settings_to_values(self.settings), *form, len(self.shape), *self.shape)

    @classmethod
    def of_values(cls, values: Sequence[int]) -> _Chunk:
        settings, form = _settings_of_values(values)
        dimensions = form[4:]
        known = len(form) > 4 and form[3] == len(dimensions) and 0 not in dimensions
        if (
            not known
            or form[0] not in b"<>|"
            or form[1] not in b"iu"
            or form[2] not in (1, 2, 4, 8)
        ):
            raise CorruptError(f"filter values {list(values)}: no chunk of integers")
        dtype = np.dtype(f"{form[0]:c}{form[1]:c}{form[2]}")
        return cls(settings, dtype, tuple(dimensions))


# The three functions that HDF5 calls. An exception must not leave them.


def _guarded(failure: int, work: Callable[[], int]) -> int:
    try:
        return work()
    except BaseException as error:
        _seen.error = error.with_traceback(None)
        if isinstance(error, KeyboardInterrupt):
            # Again, when HDF5 has returned: here, HDF5 makes a failed chunk of it.
            threading.Timer(0.02, _thread.interrupt_main).start()
        return failure


def _can_apply(properties: int, datatype: int, space: int) -> int:
    """Whether a dataset of this type can be compressed: HDF5 asks when it is created."""

    def work() -> int:
        if library.integer_dtype(datatype) is None:
            message = "tokenzip compresses integers only, not this dataset's type"
            library.push_message(message)
            raise DTypeError(message)
        return 1

    return _guarded(-1, work)


def _set_local(properties: int, datatype: int, space: int) -> int:
    """Put the form of the chunks beside the settings."""

    def work() -> int:
        dtype = library.integer_dtype(datatype)
        if dtype is None:
            raise DTypeError("tokenzip compresses integers only")
        settings, _ = _settings_of_values(library.filter_values(properties, FILTER_ID))
        chunk = _Chunk(settings, dtype, library.chunk_shape(properties))
        library.set_filter_values(properties, FILTER_ID, chunk.to_values())
        return 1

    return _guarded(-1, work)


def _filter(flags: int, count: int, values: Any, used: int, size: Any, buffer: Any) -> int:
    """Encode or decode one chunk in `buffer`; returns the bytes in it afterwards, 0 for failure."""

    def work() -> int:
        chunk = _Chunk.of_values(values[:count])
        # A copy: decoding works on what was checked.
        data = ctypes.string_at(buffer[0], used)
        if flags & library.REVERSE:
            result = decode_chunk(data, chunk.shape, chunk.dtype).tobytes()
        elif used == chunk.bytes:
            tokens = np.frombuffer(data, chunk.dtype).reshape(chunk.shape)
            result = chunk.settings.encode(tokens)
        else:
            raise OptionError(f"{used:,} bytes for a chunk of {chunk.bytes:,}: no first filter?")
        library.replace(buffer, size, result)
        return len(result)

    return _guarded(0, work)


# HDF5 keeps pointers to all of these, so they live as long as the process.
_functions = (
    library.CAN_APPLY(_can_apply),
    library.CAN_APPLY(_set_local),
    library.FILTER(_filter),
)
_class = library.filter_class(FILTER_ID, b"tokenzip", *_functions)


def _register() -> None:
    if not h5z.filter_avail(FILTER_ID):
        h5z.register_filter(ctypes.addressof(_class))
        atexit.register(_flush_all)


def _flush_all() -> None:
    """Write what files still open hold back: HDF5 itself would do so after Python has gone."""
    for identifier in h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_FILE):
        try:
            h5py.h5f.flush(identifier)
        except Exception:  # read-only, or a disk that is full: nobody is left to be told
            continue


_register()
