"""What the system or a library says about a failure, in one line."""

from __future__ import annotations


def os_error_text(error: OSError) -> str:
    """What the system says about a failed call, without path or number."""
    return error.strerror or str(error) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its class where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
