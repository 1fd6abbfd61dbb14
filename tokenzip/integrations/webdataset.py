""".tkz members of WebDataset tar shards.

wds.WebDataset("clips-{0000..0009}.tar").decode(decoder)       # sample["tkz"] is an array
wds.ShardWriter("clips-%04d.tar", encoder=encoder(alphabet=1024))
"""

from __future__ import annotations

from typing import Any

from ..codec import Codec, decode
from ..errors import CorruptError
from ..files import split_names
from .requirements import missing


def decoder(key: str, data: bytes) -> Any:
    """A handler for `WebDataset.decode`: every member whose name ends in .tkz.

    The array of a blob, the list of a blob of several; a dict by name for .tkz files of .npz or .h5
    files. Raises as tokenzip.decode does; WebDataset says which member it was.
    """
    if not key.endswith(".tkz"):
        return None
    members, blob = split_names(data)
    tokens = decode(blob)
    if members is None:
        return tokens
    names = [_path(member.name, array) for member in members for array in member.arrays]
    arrays = tokens if isinstance(tokens, list) else [tokens]
    if len(names) != len(arrays):
        raise CorruptError(f"{len(names)} names but {len(arrays)} arrays", where="names")
    return dict(zip(names, arrays, strict=True))


def encoder(**settings: Any) -> dict[str, Any]:
    """What `ShardWriter(encoder=...)` takes: WebDataset's own handlers, and one for .tkz fields.

    Args:
        settings: those of tokenzip.Codec.

    Raises:
        OptionError: a setting is wrong.
        MissingDependencyError: WebDataset is not installed.
    """
    try:
        from webdataset.writer import make_handlers
    except ImportError as error:
        raise missing("webdataset", extra="webdataset") from error
    return {**make_handlers(), "tkz": Codec(**settings).encode}


def _path(*parts: str) -> str:
    return "/".join(part for part in parts if part)
