"""Archives as PyTorch datasets: `from tokenzip.torch import ArchiveDataset, ArchiveStream`."""

from __future__ import annotations

from .integrations.torch import ArchiveDataset, ArchiveStream

__all__ = ["ArchiveDataset", "ArchiveStream"]
