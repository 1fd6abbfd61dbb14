"""Token files: arrays in, arrays out, and the `.tkz` files that the command line writes.

    for name, array in open_tokens("clips.h5"):      # .npy, .npz, .h5/.hdf5, raw, "-" (stdin)
        ...
    file = read_tokens("clips.npz", select=["tokens"])   # the same with the format and the rest
    write_tokens("tokens.npy", [("", array)])        # whole or not at all; never overwrites unasked

Nothing here unpickles, and nothing is allocated before a file's claims were held against its
length and against the machine's memory. Errors are `tokenzip.errors.FileError` and its subclasses,
each naming the file. numpy is imported here, h5py only when an HDF5 file is met.
"""

from __future__ import annotations

from .atomic import atomic_output
from .formats import COMPRESSED_SUFFIX, Format, format_of_suffix
from .named import NAMES_HEAD_BYTES, Member, join_names, names_bytes, split_names
from .read import TokenFile, open_tokens, read_tokens
from .write import array_bytes, write_arrays, write_tokens

__all__ = [
    "COMPRESSED_SUFFIX",
    "NAMES_HEAD_BYTES",
    "Format",
    "Member",
    "TokenFile",
    "array_bytes",
    "atomic_output",
    "format_of_suffix",
    "join_names",
    "names_bytes",
    "open_tokens",
    "read_tokens",
    "split_names",
    "write_arrays",
    "write_tokens",
]
