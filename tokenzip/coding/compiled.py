"""How every hot function of the package is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with numba on first use, without the GIL, and keep the machine code.

    Where numba finds no writable place for its cache (a read-only installation without a home), the
    function is compiled anew in every process instead.
    """
    try:
        return _compiled(function, cache=True)
    except RuntimeError:
        return _compiled(function, cache=False)


def _compiled(function: Callable[..., Any], *, cache: bool) -> Callable[..., Any]:
    made: Callable[..., Any] = njit(cache=cache, nogil=True, error_model="numpy")(function)
    return made
