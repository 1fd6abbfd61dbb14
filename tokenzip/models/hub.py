"""Models from the Hugging Face Hub into the registry: hf://OWNER/NAME/FILE@REVISION."""

from __future__ import annotations

import importlib
import re
import tempfile
from pathlib import Path
from typing import Any

from ..errors import DownloadError, MissingDependencyError, OptionError
from ..files.reasons import first_line
from . import registry
from .registry import Registered

SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)/(?P<file>[^@]+)@(?P<revision>[^@]+)")


def is_address(text: str) -> bool:
    """Whether `text` is an address of the hub, be it a right one or not."""
    return text.startswith(SCHEME)


def download(address: str, identity: str) -> Registered:
    """Fetch a model file and put it into the registry, if it is the model that was pinned.

    Args:
        address: hf://OWNER/NAME/FILE@REVISION; the revision is a commit, tag or branch.
        identity: SHA-256 that the model must have, in hexadecimal.

    Raises:
        OptionError: the address or the identity is none.
        MissingDependencyError: huggingface_hub is not installed.
        DownloadError: it cannot be fetched: no network, no such file ...
        ModelError: what came is no model, or another one (ModelMismatchError). Nothing is kept.
        FileError: the registry cannot be written.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or ".." in found["file"].split("/"):
        raise OptionError(f"{address}: an address is hf://OWNER/NAME/FILE@REVISION")
    wanted = registry.checked_identity(identity)
    hub = _hub()
    with tempfile.TemporaryDirectory(prefix="tokenzip-") as scratch:
        try:
            path = hub.hf_hub_download(
                repo_id=found["repo"],
                filename=found["file"],
                revision=found["revision"],
                local_dir=scratch,
            )
        except Exception as error:  # the hub's own, and those of what it calls
            raise DownloadError(
                f"{address} could not be fetched ({first_line(error)}): check the network and the "
                "address, or fetch the file yourself: tokenzip models add FILE"
            ) from error
        return registry.add(Path(path), identity=wanted)


def _hub() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingDependencyError(
            "hf:// addresses need the package huggingface_hub: pip install 'tokenzip[hub]'"
        ) from error
