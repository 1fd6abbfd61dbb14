"""One family of exceptions, whole after pickling, and caught by the built-in classes too."""

from __future__ import annotations

import pickle

import pytest

from tokenzip import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES)
def test_family_and_pickling(cls: type[Exception]) -> None:
    error = cls("what, where, what to do")
    assert isinstance(error, errors.TokenzipError)
    assert str(error) == "what, where, what to do"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls and str(copy) == str(error)


def test_every_exception_of_the_module_is_listed() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize(
    ("cls", "bases"),
    [
        (errors.DTypeError, (errors.InputError, TypeError, ValueError)),
        (errors.TokenRangeError, (errors.InputError, ValueError)),
        (errors.ShapeError, (errors.InputError, ValueError)),
        (errors.OptionError, (errors.InputError, ValueError)),
        (errors.NotABlobError, (errors.BlobError, ValueError)),
        (errors.UnsupportedVersionError, (errors.BlobError, ValueError)),
        (errors.TruncatedError, (errors.BlobError, ValueError)),
        (errors.CorruptError, (errors.BlobError, ValueError)),
        (errors.TrailingDataError, (errors.BlobError, ValueError)),
        (errors.LimitError, (errors.BlobError, ValueError)),
        (errors.FileFormatError, (errors.FileError, OSError)),
        (errors.FileExistsRefusedError, (errors.FileError, OSError)),
        (errors.MissingDependencyError, (ImportError,)),
        (errors.DownloadError, (OSError,)),
    ],
)
def test_bases(cls: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    assert all(issubclass(cls, base) for base in bases)


def test_attributes_survive_pickling() -> None:
    copy = pickle.loads(pickle.dumps(errors.TokenRangeError("m", index=(1, 2), value=-3)))
    assert (copy.index, copy.value) == ((1, 2), -3)
    assert pickle.loads(pickle.dumps(errors.CorruptError("m", where="header"))).where == "header"
