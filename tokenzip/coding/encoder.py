"""From integer intervals to constriction's range coder words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.constants import USABLE

# Rows handed to constriction in one call. A row takes 16 bytes here, so that a slice takes 1 MiB
# however long the lane is. The words do not depend on it.
SLICE_ROWS = 2**16


def encode_lane(
    cum: NDArray[Any], freq: NDArray[Any], *, slice_rows: int = SLICE_ROWS
) -> NDArray[np.uint32]:
    """Code symbols, given by their intervals, into one lane of range coder words.

    cum, freq: integer arrays of shape (n,), symbol i owning the counts [cum[i], cum[i] + freq[i])
    out of USABLE = 2**24 - 2; freq[i] >= 1. n may be 0, which gives no words.

    The words cost the ideal code length, about 1.5e-4 bits a symbol (the coder loses the remainder
    of range / 2**24) and at most 8 bytes for the end.

    Returns the words, uint32 of shape (k,): exactly what constriction's RangeEncoder writes for
    Categorical rows of freq - 1 with one guard entry of 0 at either end.

    Raises ValueError for arrays of other shapes or dtypes and for intervals that leave the table.
    """
    # Imported here because only encoding needs it: decoding works without constriction.
    import constriction

    cum, freq = np.asarray(cum), np.asarray(freq)
    if cum.ndim != 1 or cum.shape != freq.shape:
        raise ValueError(
            f"cum and freq must be 1-D and of one length, got {cum.shape} and {freq.shape}"
        )
    if cum.dtype.kind not in "iu" or freq.dtype.kind not in "iu":
        raise ValueError(f"cum and freq must be integers, got {cum.dtype} and {freq.dtype}")
    if slice_rows < 1:
        raise ValueError(f"slice_rows must be at least 1, got {slice_rows}")

    encoder = constriction.stream.queue.RangeEncoder()
    model = constriction.stream.model.Categorical(perfect=False)
    size = min(slice_rows, len(cum))
    # Any table looks to the coder like "before, this symbol, after". Entries are counts less one,
    # because constriction gives every entry one count for free; they are integers below 2**24 and
    # sum to 2**24 - 3, hence exact in float32. Fortran order would be misread: keep C order.
    rows = np.empty((size, 3), np.float32)
    ones = np.ones(size, np.int32)
    for start in range(0, len(cum), slice_rows):
        part_cum = cum[start : start + slice_rows].astype(np.int64)
        part_freq = freq[start : start + slice_rows].astype(np.int64)
        after = USABLE - part_cum - part_freq
        bad = (part_cum < 0) | (part_freq < 1) | (after < 0) | (part_freq > USABLE)
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(
                f"interval {start + i} (cum {part_cum[i]}, freq {part_freq[i]}) "
                f"is empty or leaves the {USABLE} counts of a table"
            )
        count = len(part_cum)
        rows[:count, 0] = part_cum
        rows[:count, 1] = part_freq - 1
        rows[:count, 2] = after
        encoder.encode(ones[:count], model, rows[:count])
    words: NDArray[np.uint32] = encoder.get_compressed()
    return words
