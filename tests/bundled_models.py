"""Stand-ins for the models that come with tokenzip, in a folder of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tokenzip.models import Model
from tokenzip.models.bundled import table
from tokenzip.models.bundled.adding import add


def use_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Only the models of this folder come with tokenzip, until the test ends."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(table, "FOLDER", folder)


def bring_along(
    monkeypatch: pytest.MonkeyPatch, folder: Path, models: Mapping[str, Model]
) -> list[table.Bundled]:
    """These models, by names as "video-1", come with tokenzip as numbers 1, 2 ... and no others."""
    use_folder(monkeypatch, folder)
    return [add(model, name, number) for number, (name, model) in enumerate(models.items(), 1)]
