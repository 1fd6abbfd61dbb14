"""Every exception that tokenzip raises on purpose: one family, one class per kind of failure.

    TokenzipError
    ├── InputError                 the caller's array or arguments cannot be used   (ValueError)
    │   ├── DTypeError             not integers: floats, objects, strings ...       (TypeError)
    │   ├── TokenRangeError        a token is negative or outside the alphabet; .index, .value
    │   ├── ShapeError             ragged, or more dimensions than the format holds
    │   └── OptionError            an unknown predictor, a bad chunk_frames ...
    ├── BlobError                  these bytes cannot be decoded                    (ValueError)
    │   ├── NotABlobError          empty, or they do not begin as a blob does
    │   ├── UnsupportedVersionError  written by a newer tokenzip
    │   ├── TruncatedError         the blob ends too early
    │   ├── CorruptError           a checksum or a field is wrong; .where
    │   ├── TrailingDataError      bytes follow the end of the blob
    │   └── LimitError             more than the caller's Limits allow
    ├── ModelError                 a model cannot be used                           (ValueError)
    │   ├── ModelFormatError       not a model file, or a damaged one
    │   ├── UnsupportedModelError  a model written by a newer tokenzip
    │   ├── UnsafeModelError       its sums could overflow; .layer
    │   ├── ModelMismatchError     made for other frames or another alphabet
    │   └── MissingModelError      a blob needs a model that is not here; .identity
    ├── TrainingError              a training run cannot go on                      (RuntimeError)
    │   ├── DivergedError          the loss is not finite any more
    │   ├── TrainingMemoryError    a step does not fit into memory                  (MemoryError)
    │   └── CheckpointError        not a checkpoint, or of another run
    ├── FileError                  reading or writing a token file                  (OSError)
    │   ├── FileFormatError        the file is not what its name or the options say
    │   ├── FileExistsRefusedError the target exists and overwriting was not asked for
    │   └── ArchiveError           an archive of many clips cannot be used
    │       ├── NotAnArchiveError  the file is something else
    │       ├── ArchiveDamagedError  parts of it are missing or wrong; .problems
    │       ├── ArchiveLockedError another process writes to it
    │       ├── UncheckedError     some of its clips could not be decoded here: a limit, a model
    │       ├── ClipNotFoundError  it holds no clip of this name                    (KeyError)
    │       └── ClipExistsError    it holds a clip of this name already
    ├── MissingDependencyError     an optional package is not installed             (ImportError)
    └── DownloadError              a sample or model could not be fetched           (OSError)

Each message says what was wrong, where, and what to do. The built-in class in brackets is a second
base, so `except ValueError` keeps working for callers who do not know this module. All of them
survive pickling, attributes included, so that they cross process boundaries whole.
"""

from __future__ import annotations

__all__ = [
    "ArchiveDamagedError",
    "ArchiveError",
    "ArchiveLockedError",
    "BlobError",
    "CheckpointError",
    "ClipExistsError",
    "ClipNotFoundError",
    "CorruptError",
    "DTypeError",
    "DivergedError",
    "DownloadError",
    "FileError",
    "FileExistsRefusedError",
    "FileFormatError",
    "InputError",
    "LimitError",
    "MissingDependencyError",
    "MissingModelError",
    "ModelError",
    "ModelFormatError",
    "ModelMismatchError",
    "NotABlobError",
    "NotAnArchiveError",
    "OptionError",
    "ShapeError",
    "TokenRangeError",
    "TokenzipError",
    "TrailingDataError",
    "TrainingError",
    "TrainingMemoryError",
    "TruncatedError",
    "UncheckedError",
    "UnsafeModelError",
    "UnsupportedModelError",
    "UnsupportedVersionError",
]


class TokenzipError(Exception):
    """Base class of everything tokenzip raises on purpose."""


class InputError(TokenzipError, ValueError):
    """The caller's array or arguments cannot be used."""


class DTypeError(InputError, TypeError):
    """The tokens are not integers or booleans."""


class TokenRangeError(InputError):
    """A token is negative, or not below the alphabet.

    Attributes:
        index: position of the first offending token, in C order, as an index tuple into the input.
        value: that token's value.
    """

    def __init__(self, message: str, *, index: tuple[int, ...] = (), value: int = 0) -> None:
        super().__init__(message)
        self.index = index
        self.value = value


class ShapeError(InputError):
    """The input is ragged, or has more dimensions than the format can record."""


class OptionError(InputError):
    """An argument other than the tokens is wrong: unknown predictor, bad chunk_frames ..."""


class BlobError(TokenzipError, ValueError):
    """These bytes are not a blob that can be decoded."""


class NotABlobError(BlobError):
    """The bytes are empty or do not begin with the magic number of a tokenzip blob."""


class UnsupportedVersionError(BlobError):
    """The blob needs a newer tokenzip: an unknown format version or predictor."""


class TruncatedError(BlobError):
    """The blob ends before what its header announces."""


class CorruptError(BlobError):
    """A checksum does not match, or a field contradicts another.

    Attributes:
        where: the part at fault, e.g. "header" or "chunk 3 payload".
    """

    def __init__(self, message: str, *, where: str = "blob") -> None:
        super().__init__(message)
        self.where = where


class TrailingDataError(BlobError):
    """Bytes follow the end of the blob."""


class LimitError(BlobError):
    """It asks for more than the caller's Limits allow; the message names the limit."""


class ModelError(TokenzipError, ValueError):
    """A model cannot be used."""


class ModelFormatError(ModelError):
    """Not a model file, or a damaged one."""


class UnsupportedModelError(ModelError):
    """The model was written by a newer tokenzip."""


class UnsafeModelError(ModelError):
    """The model's weights would let a sum overflow.

    Attributes:
        layer: the layer at fault.
    """

    def __init__(self, message: str, *, layer: str = "") -> None:
        super().__init__(message)
        self.layer = layer


class ModelMismatchError(ModelError):
    """The model was made for frames of another shape, or for another alphabet."""


class MissingModelError(ModelError):
    """A blob needs a model that was not given and is nowhere to be found.

    Attributes:
        identity: the SHA-256 that it must have, in hexadecimal.
    """

    def __init__(self, message: str, *, identity: str = "") -> None:
        super().__init__(message)
        self.identity = identity


class TrainingError(TokenzipError, RuntimeError):
    """A training run cannot go on."""


class DivergedError(TrainingError):
    """The loss is not finite any more."""


class TrainingMemoryError(TrainingError, MemoryError):
    """A training step does not fit into memory."""


class CheckpointError(TrainingError):
    """Not a checkpoint, a damaged one, or one of another run."""


class FileError(TokenzipError, OSError):
    """A token file could not be read or written."""


class FileFormatError(FileError):
    """A token file is not of the format that its name or the given options say."""


class FileExistsRefusedError(FileError):
    """The target file exists, and overwriting it was not asked for."""


class ArchiveError(FileError):
    """An archive could not be read or written as asked."""


class NotAnArchiveError(ArchiveError):
    """The file is not an archive that tokenzip wrote, or a newer one."""


class ArchiveDamagedError(ArchiveError):
    """Parts of an archive are missing or wrong; what is intact can still be read.

    Attributes:
        problems: what is wrong, a line for each.
    """

    def __init__(self, message: str, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class ArchiveLockedError(ArchiveError):
    """Another process has the archive open for writing."""


class UncheckedError(ArchiveError):
    """Nothing is known to be bad, but a limit or a missing model kept clips from being decoded."""


class ClipNotFoundError(ArchiveError, KeyError):
    """The archive holds no clip of this name."""


class ClipExistsError(ArchiveError):
    """The archive holds a clip of this name already, and replacing it was not asked for."""


class MissingDependencyError(TokenzipError, ImportError):
    """An optional package that this operation needs is not installed."""


class DownloadError(TokenzipError, OSError):
    """A sample or a model could not be downloaded, or is not what was expected."""
