"""The targets by name, in the order in which `make fuzz` runs them."""

from __future__ import annotations

from ..target import Target
from . import archive, blob, command, files, model

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (blob.TARGET, model.TARGET, archive.TARGET, files.TARGET, command.TARGET)
}
