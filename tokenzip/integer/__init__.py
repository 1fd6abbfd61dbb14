"""The integer operations that networks are made of: one meaning, one file per backend.

`numba_backend.py` runs them on CPUs, `torch_backend.py` on CPUs and CUDA devices. Both have a class
`Operations` with the methods below, which give the same integers for the same arguments: array
types differ, numbers do not (tests/test_integer_operations.py holds either against plain numpy).
Networks are written once, in terms of these methods (predictors/network/).

Activations are int8 with ONE = 64 standing for 1.0; sums are int32. All shifts floor.

    embed(table, symbols)
        table (planes, symbols + 1, E) int8, symbols (..., planes) int32
        -> (..., planes * E) int8: table[plane, symbol], plane by plane.
    windows(values, places, first, frames)
        values (N, F, S + 1, C): row S of a frame stands for all places outside
        places: Places around n sites
        -> (N, frames, n, places * C): for frame first + t, what stands at every place around them.
    matches(symbols, a, b, first, frames)
        symbols (N, F, S + 1, P) int32; a, b: as many Places around the same n sites
        -> int8 (N, frames, n, places * P): ONE where both places hold the same symbol and hold
        one at all (not `none`), else 0.
    linear(x, layer)
        x (..., K) int8 -> int32 (..., M): sum_k x[k] * weight[m, k] + bias[m].
    dense(x, layer, low, add=None)
        clip((linear(x) + add) * multiplier[m] + half >> shift, low, 127) as int8, with
        half = 2^(shift - 1); the product is taken in 64 bits. add: int32.
    gated(x, layer, tables)
        With [o, g] = clip(linear(x) requantised as in dense, +-2047), each half of the outputs, and
        tables SIGMOID and TANH in Q15 over Q8 arguments:
            min((SIGMOID[o] * TANH[g] + 2^22) >> 23, 127) as int8
    lstm(x, layer, state, tables)
        x (T, R, K) int8, state (h int8 (R, D), c int32 (R, D)) -> h of all T frames (T, R, D),
        and the state after them. With [i, f, o, g] = clip(linear([x_t, h]) requantised, +-2047)
        and c in Q12:
            c = clip((SIGMOID[f] * c + (SIGMOID[i] * TANH[g] >> 3) + 2^14) >> 15, +-32767)
            h = min((SIGMOID[o] * TANH[clip(c >> 4, +-2047)] + 2^22) >> 23, 127)
    intervals(z, layer, candidates, targets)
        z (R, H) int8, candidates (R, C) int32 (`none`: no candidate), targets (R,) int32
        -> cum, freq int32 (R,) of each target in its table. The scores of a row are
        clip(linear(z) requantised, +-SCORE_LIMIT), of which the last C are bonuses, each added to
        the score of its candidate; coding/tables.py makes a table of scores.
    decode(z, layer, candidates, lanes, rows)
        The symbols int32 (R,) that the lanes (of open_lanes) hold under the same tables; `rows`
        says which lane each row is in. Rows of one lane are decoded in their order. Words that no
        encoder wrote give any symbols.
"""

from __future__ import annotations

from typing import Any

#: The int8 activation that stands for 1.0.
ONE = 64
LARGEST = 127

#: LSTM gates: Q8 arguments in +-GATE_LIMIT, tables over them in Q15, cell state in Q12.
GATE_LIMIT = 2047
GATE_ONE = 256
TABLE_ONE = 32767
CELL_LIMIT = 32767
CELL_ONE = 4096

#: Scores (1/64 bits) are clipped to this before bonuses are added.
SCORE_LIMIT = 8191


def operations(backend: str = "auto", device: str | None = None, threads: int = 1) -> Any:
    from .numba_backend import Operations

    return Operations(threads)
