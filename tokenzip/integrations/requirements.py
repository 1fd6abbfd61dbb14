"""What an optional package's absence says."""

from __future__ import annotations

from ..errors import MissingDependencyError


def missing(package: str, extra: str | None = None) -> MissingDependencyError:
    """The error to raise (`from` the ImportError) where `package` is not installed."""
    what = f"'tokenzip[{extra}]'" if extra else package
    return MissingDependencyError(f"this needs the package {package}: pip install {what}")
