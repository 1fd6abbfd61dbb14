"""What the tests of archives share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenzip.blob import write_blob
from tokenzip.chunk_coding import encode_chunks
from tokenzip.grid import token_grids


def chunked(tokens: Any, chunk_frames: int, alphabet: int | None = None) -> bytes:
    """A blob of several chunks that needs no compilation.

    encode(predictor="stored") would make a single chunk, for chunks cost more than they save here.
    """
    grids, _ = token_grids(np.asarray(tokens), alphabet)
    coded, _ = encode_chunks(
        grids, predictor=None, chunk_frames=chunk_frames, solid=False, threads=1
    )
    return write_blob(coded, is_list=False)
