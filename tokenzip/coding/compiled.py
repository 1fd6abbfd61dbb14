"""How every hot function of the package is compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.options import DefaultOptions

#: Parts of the package that hold compiled functions.
_PARTS = ("coding", "integer", "predictors")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with numba on first use, without the GIL, and keep the machine code.

    Where numba finds no writable place for its cache (a read-only installation without a home), the
    function is compiled anew in every process instead.
    """
    return _compiled(function, counts=True)


def borrowing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a function that makes no arrays but works in those of its caller.

    It counts no references: a view of a row then costs an addition instead of two atomic ones, of
    20 cycles each, which for short rows take longer than what is done with them. Where such a
    function makes an array after all, numba refuses to compile it.
    """
    return _compiled(function)


def inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """A borrowing function that only compiled functions call, and that becomes part of them.

    LLVM, left alone, calls a large one, which takes a store and a load for each number that its
    arguments are made of: for tuples of many arrays some hundred, more than many a loop.

    One that returns a view may be called by borrowing functions only: one that counts would let go
    of a reference that nobody took, and free the array under its owner.

    It gets no way in from Python, which for arguments of many arrays takes longer to compile than
    what the function does.
    """
    return _compiled(function, from_python=False)


def _compiled(
    function: Callable[..., Any],
    *,
    from_python: bool = True,
    counts: bool = False,
) -> Callable[..., Any]:
    options: dict[str, Any] = {"no_cfunc_wrapper": True}
    # An option that numba keeps to itself: a numba without it counts, and is slower.
    if hasattr(DefaultOptions, "_nrt"):
        # Said of either kind, for else a function does as the one that calls it first.
        options["_nrt"] = counts
    if not from_python:
        options["no_cpython_wrapper"] = True
        options["forceinline"] = True
    try:
        made = _jitted(function, cache=True, **options)
    except RuntimeError:
        return _jitted(function, cache=False, **options)
    _date(made)
    return made


def _jitted(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = njit(nogil=True, error_model="numpy", **options)(function)
    return made


def _date(function: Any) -> None:
    """Tie the kept machine code to the sources of all compiled functions.

    numba ties it to the file of the function alone. Code of functions that it calls, from other
    files, is inside it, and would outlive an upgrade that changes those: it would go on writing
    blobs by the old rules.
    """
    kept: Any = getattr(getattr(function, "_cache", None), "_cache_file", None)
    if hasattr(kept, "_source_stamp"):
        kept._source_stamp = (kept._source_stamp, _sources())


@cache
def _sources() -> str:
    """A digest of all sources that compiled code is made from."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for path in sorted(path for part in _PARTS for path in (package / part).rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
