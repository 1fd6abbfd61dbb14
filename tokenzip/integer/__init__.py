"""The integer operations that networks are made of: one meaning, one file per backend.

`numba_backend.py` runs them on CPUs, `torch_backend.py` on CPUs and CUDA devices. Both have a class
`Operations` with the methods below, which give the same integers for the same arguments: array
types differ, numbers do not (tests/test_integer_operations.py holds either against plain numpy).
Networks are written once, in terms of these methods (predictors/network/).

Activations are int8 with ONE = 64 standing for 1.0; sums are int32. All shifts floor. What
models/bounds.py proves of a model keeps every sum in int32 and every product in int64.

    embed(table, symbols)
        table (planes, symbols + 1, E) int8, symbols (..., planes) int32
        -> (..., planes * E) int8: table[plane, symbol], plane by plane.
    windows(values, places, first, frames)
        values (N, F, S + 1, C): row S of a frame stands for all places outside
        places: Places around n sites
        -> (N, frames, n, places * C): for frame first + t, what stands at every place around them.
    matches(symbols, a, b, first, frames, none)
        symbols (N, F, S + 1, P) int32; a, b: as many Places around the same n sites
        -> int8 (N, frames, n, places * P): ONE where both places hold the same symbol and hold
        one at all (not `none`), else 0.
    inputs(embedded, symbols, places, a, b, first, frames, none, known)
        windows(embedded, places, ...) and behind them matches(symbols, a, b, ...), int8
        (N, frames, n, both). In what the last place and the last pair give, the planes from
        `known` on (of P, each P-th part of C) are zeros.
    site_inputs(embedded, symbols, window, position, a, b, first, frames, none)
        windows(embedded, window, ...), position int8 (S, E) and matches(symbols, a, b, ...) one
        behind another, around all sites: int8 (N, frames, S, all three).
    put(symbols, embedded, table, found, sites, plane, frame)
        Writes found int32 (N * n), clip by clip, into one plane of n sites (int64) of a frame of
        symbols (N, F, S + 1, P), and table[plane, found] into that plane of embedded.
    linear(x, layer, add=None)
        x (..., K) int8 -> int32 (..., M): sum_k x[k] * weight[m, k] + bias[m], and where x is
        (..., S, K), add (S, M) int32 to all these (S, M).
    dense(x, layer, low, add=None)
        clip((linear(x) + add) * multiplier[m] + half >> shift, low, 127) as int8, with
        half = 2^(shift - 1); the product is taken in 64 bits. add: int32.
    gated(x, layer, tables)
        With [o, g] = clip(linear(x) requantised as in dense, +-2047), each half of the outputs, and
        tables SIGMOID and TANH in Q15 over Q8 arguments -2047 .. 2047:
            min((SIGMOID[o] * TANH[g] + 2^22) >> 23, 127) as int8
    lstm(x, layer, state, tables)
        x (T, R, K) int8, T >= 1, state (h int8 (R, D), c int32 (R, D)) -> h of all T frames
        (T, R, D), and the state after them, for which the arrays of the one before may be used.
        With [i, f, o, g] = clip(linear([x_t, h]) requantised, +-2047) and c in Q12:
            c = clip((SIGMOID[f] * c + (SIGMOID[i] * TANH[g] >> 3) + 2^14) >> 15, +-32767)
            h = min((SIGMOID[o] * TANH[clip(c >> 4, +-2047)] + 2^22) >> 23, 127)
    scores(z, layer, candidates)
        z (R, H) int8, candidates (R, C) int32 (`none`: no candidate) -> int32 (R, symbols):
        clip(linear(z) requantised, +-SCORE_LIMIT), of which the last C are bonuses, each added to
        the score of its candidate.
    intervals(z, layer, candidates, targets)
        targets (R,) int32 -> cum, freq int32 (R,) of each target in the table that
        coding/tables.py makes of the row's scores.
    priors(z, layer, candidates)
        int16 (R, symbols): how far below certainty each symbol is, in 1/64 bits: what
        coding/tables.steps_from_scores makes of each row's scores.
    decode(z, layer, candidates, lanes, rows)
        The symbols int32 (R,) that the lanes (of open_lanes) hold under the same tables; `rows`
        says which lane each row is in. Rows of one lane are decoded in their order. Words that no
        encoder wrote give any symbols, the same ones on every backend.
    decode_head(head, symbols, embedded, bases, lanes, rows)
        Decodes the last frame of symbols (N, F, S + 1, P) and fills in its embeddings: site by site
        in the order of wavefronts and plane by plane, from what the body gave to the sums of the
        hidden layer (bases: of every plane int32 (N, 1, S, hidden)). It means
        head.decode_by_steps; head and rows are of `head` and `lane_rows`.

Around them, a backend has `layer`, `places`, `head`, `lane_rows` and `array` (plain numpy to what
it computes with), `with_hidden` (a head with other hidden layers: what `layer` made of each
plane's), `numpy` (back again), `full`, `concatenate`, `stack` and `contiguous` as numpy has them,
`running` (a context around all that is computed), and `repeat(step, carried, times)`:
step(carried) -> (carried, output), so many times, which a device may record and replay; and
`concurrent` says whether threads may compute side by side. numba's has `frame`, `with_base` and
`decode_frames`, too, for what predictors/network/batch.py repeats, in one loop.
"""

from __future__ import annotations

from typing import Any

from ..errors import MissingDependencyError, OptionError

#: The int8 activation that stands for 1.0.
ONE = 64
LARGEST = 127

#: LSTM gates: Q8 arguments in +-GATE_LIMIT, tables over them in Q15, cell state in Q12.
GATE_LIMIT = 2047
GATE_ONE = 256
TABLE_ONE = 32767
CELL_LIMIT = 32767

#: Scores (1/64 bits) are clipped to this before bonuses are added.
SCORE_LIMIT = 8191

BACKENDS = ("auto", "numba", "torch")


def operations(backend: str = "auto", device: Any = None, threads: int = 1) -> Any:
    """The operations of a backend.

    Args:
        backend: "numba", "torch", or "auto": torch for a CUDA device, else numba.
        device: what torch calls a device ("cpu", "cuda", "cuda:1" or a torch.device); None is the
            CPU. numba knows "cpu" only.
        threads: how many a CPU may use.

    Raises:
        OptionError: an unknown backend; a device that is unknown, not there, or not the backend's.
        MissingDependencyError: torch is wanted and not installed.
    """
    if backend not in BACKENDS:
        raise OptionError(f"the backend {backend!r} is unknown; there are {', '.join(BACKENDS)}")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise OptionError(f"threads is {threads!r}; it has to be a number, at least 1")
    on_cpu = device is None or str(device) == "cpu"
    if backend == "numba" or (backend == "auto" and on_cpu):
        if not on_cpu:
            raise OptionError(
                f"backend='numba' runs on CPUs, not on {str(device)!r}: use backend='torch'"
            )
        from .numba_backend import Operations as NumbaOperations

        return NumbaOperations(threads)
    return _torch_operations("cpu" if device is None else device, threads)


def _torch_operations(device: Any, threads: int) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "backend='torch' and CUDA devices need torch: pip install 'tokenzip[torch]'"
        ) from error
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise OptionError(f"torch knows no device {device!r}") from error
    if wanted.type not in ("cpu", "cuda"):
        raise OptionError(f"the device {str(wanted)!r} is neither a CPU nor a CUDA device")
    if wanted.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (wanted.index or 0) >= there:
            raise OptionError(
                f"there is no device {str(wanted)!r}: torch {torch.__version__} sees {there} "
                "CUDA devices"
            )
    from .torch_backend import Operations as TorchOperations

    return TorchOperations(wanted, threads)
