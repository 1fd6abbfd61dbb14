"""What the adaptive predictor remembers, as named tuples of arrays that numba can take.

Everything a table depends on is an integer here, and everything changes only between blocks, by
sums that do not depend on the order of their terms.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.compiled import compiled

from .contexts import Context, ContextSet, Geometry, Neighbour

Array = NDArray[Any]

#: Levels of a context's experience, each with a weight of its own.
LEVELS = 12
#: Fixed point of the expert weights (65,536 is 1) and of the sharpness (2**20 is 1).
WEIGHT_ONE = 1 << 16
SHARPNESS_ONE = 1 << 20
#: Entries of a pool to begin with.
FIRST_POOL = 1 << 12
LEAST_SHARPNESS, MOST_SHARPNESS = SHARPNESS_ONE // 4, 2 * SHARPNESS_ONE - 1
#: Entries of a pool at most (64 MiB), and symbols in all tables (48 MiB). What would need more is
#: not counted any longer.
MOST_POOL = 1 << 24
MOST_IN_TABLES = 1 << 24
#: Columns of Lists.row.
START, LENGTH, TOTAL, TABLE = 0, 1, 2, 3
#: Room of a list's first array.
FEWEST_ENTRIES = 4
#: Where an array would need more room than this part of the alphabet, a table takes its place.
TABLE_SHARE = 8
# Bytes that no two threads should write at a time.
_LINE = 128
# log2 of the rows of one context's table, at least and at most.
_FEWEST_ROWS = 8
_MOST_LIST_ROWS = 18
_MOST_CLASS_ROWS = 16


class Tuning(NamedTuple):
    """How much contexts count at first, and how fast that is learned.

    Attributes:
        first_weight: of contexts that count symbols; WEIGHT_ONE is 1. Likewise
        first_class_weight: of those that count classes.
        token_alpha: log2 of the prior's strength in counts, in steps (1/64 bit): of token contexts,
        mixed_alpha: of mixed ones, and
        class_alpha: of class contexts.
        weight_rate: learning rate of the weights in units of 2**-12.
        sharpness_rate: of the two sharpnesses in units of 2**-16.
        bonus_rate: of the candidates' bonuses.
    """

    first_weight: int
    first_class_weight: int
    token_alpha: int
    mixed_alpha: int
    class_alpha: int
    weight_rate: int
    sharpness_rate: int
    bonus_rate: int


#: On top of plain frequency, contexts know nearly all: they speak up from the first symbol.
ADAPTIVE = Tuning(
    first_weight=WEIGHT_ONE * 15 // 100,
    first_class_weight=WEIGHT_ONE * 10 // 100,
    token_alpha=5 * 64,
    mixed_alpha=4 * 64,
    class_alpha=1 * 64,
    weight_rate=205,
    sharpness_rate=4000,
    bonus_rate=18904,
)


class Places(NamedTuple):
    """The geometry in numbers that the kernel reads."""

    neighbours: Array  # int64 (D, 3): frames back, rows up, columns to the left
    pattern: Array  # int64 (B, 2): pairs of neighbours compared
    copies: Array  # int64 (M,): neighbours whose tokens are candidates


class Terms(NamedTuple):
    """Contexts of one kind: how each one's row is found."""

    term: Array  # int64 (n,): index into Scratch.seen of each term, context after context
    radix: Array  # uint64 (n,): how many values the term can have
    begin: Array  # int64 (R + 1,): where each context's terms begin
    position: Array  # bool (R,): whether the position in the frame is a term too
    hashed: Array  # bool (R,): whether the mixed-radix index is hashed to fit
    bits: Array  # int64 (R,): log2 of the rows
    first: Array  # int64 (R,): where its rows begin


class Lists(NamedTuple):
    """Counts of symbols by context: for each row one growing array of (symbol, count).

    An array of n entries has room for the power of two (at least FEWEST_ENTRIES) that holds n; it
    moves when it is full, and the space it leaves is used again. What has grown to an eighth of
    the alphabet becomes a table of all symbols, whose order lets a processor score many at once.
    """

    row: Array  # int32 (rows, 4): START, LENGTH (of the array), TOTAL (of counts), TABLE (or 0)
    pool: Array  # uint32: symbol << 16 | count
    top: Array  # int64 (1,): first entry of the pool that was never used
    free: Array  # int64 (32,): by log2 of its room, the first array left behind, -1 for none
    codes: Array  # uint8 (tables, A): LOG_CODES of the counts; table 0 is nobody's
    counts: Array  # uint16 (tables, A)
    tables: Array  # int64 (1,): first table that was never used


class ClassCounts(NamedTuple):
    """Counts of symbol classes by context."""

    table: Array  # uint16 (rows, K + 1): of each class, then of all
    codes: Array  # uint8 (rows, K): LOG_CODES of the counts


class Experts(NamedTuple):
    """Weights of one kind with what their training needs, a row a context (or distribution)."""

    weight: Array  # int64 (R, planes * LEVELS), WEIGHT_ONE is 1
    gradient: Array  # int64 (R, planes * LEVELS): this block's sum
    energy: Array  # int64 (R, planes * LEVELS): sum of squared gradients so far (Adagrad)


class Shared(NamedTuple):
    """What belongs to no context."""

    unigram: Array  # int64 (planes, A): occurrences of each symbol
    classes: Array  # uint8 (planes, A): class of each symbol
    bonus: Array  # int64 (M, 2 * patterns): of candidates, in 2**-12 score steps
    bonus_gradient: Array  # int64 (M, 2 * patterns)


class Scratch(NamedTuple):
    """Room for the work on one symbol; nothing in it outlives the symbol but `plain`."""

    seen: Array  # int64 (2D,): neighbours' symbols, then their classes
    plain: Array  # int16 (planes, A): steps below certainty by plain frequency, for a block
    base: Array  # int32 (A,): what a count is compared with
    score: Array  # int32 (A,)
    steps: Array  # int32 (A,): sharpened scores, 0 for the best
    class_score: Array  # int32 (K,)
    class_base: Array
    mass: Array  # int64 (K,): probability of each class
    first_drop: Array  # int16 (A,): steps below the best before sharpening; likewise last_drop
    last_drop: Array
    first_freq: Array  # int32 (A,): the two distributions, sum USABLE
    last_freq: Array
    token_levels: Array  # int64 (R,): level of each context, -1 for none; likewise the next two
    class_levels: Array
    mixed_levels: Array
    token_begins: Array  # int64 (R + 1,): where each context's votes begin
    mixed_begins: Array
    token_said: Array  # uint32: votes of arrays, symbol << 16 | steps
    mixed_said: Array
    token_gains: Array  # int16 (R, A): votes of tables
    mixed_gains: Array
    class_growth: Array  # int16 (R, K): votes for classes


class Block(NamedTuple):
    """Where the symbols of the block being coded belong, until they are counted."""

    token_rows: Array  # int64 (block, R): row of every context; likewise the next two
    class_rows: Array
    mixed_rows: Array
    token_places: Array  # int64 (block, R): the symbol's place in its list, or -1; likewise
    mixed_places: Array
    pending: Array  # int64 (3,): next symbol to count, end of the block, its beginning
    errors: Array  # int16 (n, A): tables less what came, in 2**-14, of symbol i in row i % n


class State(NamedTuple):
    tuning: Tuning
    places: Places
    token_terms: Terms
    class_terms: Terms
    mixed_terms: Terms
    token_lists: Lists
    class_counts: ClassCounts
    mixed_lists: Lists
    token_experts: Experts
    class_experts: Experts
    mixed_experts: Experts
    sharpness: Experts  # (2, planes): of the first and of the last distribution
    shared: Shared


class Others(NamedTuple):
    """What helpers of a team have learned of the block being coded, and its leader has not yet
    taken: like the arrays of Experts and Shared of these names, for each helper, and more rows."""

    token_gradient: Array  # int64 (H, more than R, planes * LEVELS)
    token_energy: Array
    class_gradient: Array
    class_energy: Array
    mixed_gradient: Array
    mixed_energy: Array
    sharpness_gradient: Array  # int64 (H, more than 2, planes)
    sharpness_energy: Array
    bonus_gradient: Array  # int64 (H, more than M, 2 * patterns)


class Job(NamedTuple):
    """Symbols to code.

    Attributes:
        mode: what to do with them (kernel.ENCODE or DECODE).
        symbols: uint16 (T, positions), read when encoding, written when decoding.
        order: int64 (positions,), of a frame: symbols are numbered frame by frame in this order.
        lane_of: int64 (positions,), in that order the lane of each, for decoding.
        priors: int16 (n, A), steps below certainty before any context has voted; where there are
            none, by plain frequency.
        cum, freq: uint32 (T * positions,), written when encoding.
        lanes, words: uint64 (L, 4) and uint32, of the decoder (coding/decoder.py).
        team: int64, who codes them (coding/team.py).
    """

    mode: int
    symbols: Array
    order: Array
    lane_of: Array
    priors: Array
    cum: Array
    freq: Array
    lanes: Array
    words: Array
    team: Array


def _terms(
    contexts: tuple[Context, ...],
    index: dict[Neighbour, int],
    layout: Geometry,
    tokens: int,
    most_bits: int,
) -> Terms:
    rows = len(contexts)
    term: list[int] = []
    radix: list[int] = []
    begin = np.zeros(rows + 1, np.int64)
    position = np.array([c.position for c in contexts], np.bool_)
    hashed = np.zeros(rows, np.bool_)
    bits = np.zeros(rows, np.int64)
    # More rows than symbols to come would never be used.
    roof = min(most_bits, max(_FEWEST_ROWS, tokens.bit_length() + 1))
    for r, context in enumerate(contexts):
        for neighbour, is_class in context.terms:
            term.append(index[neighbour] + (len(index) if is_class else 0))
            radix.append((layout.classes if is_class else layout.alphabet) + 1)
        begin[r + 1] = len(term)
        space = layout.planes * (layout.alphabet if layout.split else 1)
        space *= layout.positions if context.position else 1
        space *= prod(radix[begin[r] :])
        bits[r] = min(roof, (space - 1).bit_length())
        hashed[r] = space > 1 << int(bits[r])
    size = np.left_shift(1, bits)
    first = (np.cumsum(size) - size).astype(np.int64)
    return Terms(
        np.array(term, np.int64), np.array(radix, np.uint64), begin, position, hashed, bits, first
    )


def _rows(terms: Terms) -> int:
    return int(np.left_shift(1, terms.bits).sum())


def _lists(rows: int, alphabet: int) -> Lists:
    return Lists(
        np.zeros((rows, 4), np.int32),
        np.zeros(FIRST_POOL, np.uint32),
        np.zeros(1, np.int64),
        np.full(32, -1, np.int64),
        np.zeros((1, alphabet), np.uint8),
        np.zeros((1, alphabet), np.uint16),
        np.ones(1, np.int64),
    )


def _experts(shape: tuple[int, int], first: int) -> Experts:
    return Experts(
        np.full(shape, first, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    )


def new_state(
    layout: Geometry, contexts: ContextSet, tokens: int, tuning: Tuning = ADAPTIVE
) -> State:
    """The state before anything was seen; `tokens` (symbols to come) sizes the hashed tables."""
    index: dict[Neighbour, int] = {}
    for group in (contexts.tokens, contexts.classes, contexts.mixed):
        for context in group:
            for neighbour, _ in context.terms:
                index.setdefault(neighbour, len(index))
    for pair in contexts.pattern:
        for neighbour in pair:
            index.setdefault(neighbour, len(index))
    for neighbour in contexts.copies:
        index.setdefault(neighbour, len(index))
    neighbours = np.array([(n.frames, n.rows, n.columns) for n in index], np.int64).reshape(-1, 3)
    pattern = np.array([[index[p], index[q]] for p, q in contexts.pattern], np.int64).reshape(-1, 2)
    copies = np.array([index[n] for n in contexts.copies], np.int64)
    patterns = 1 << len(pattern)

    token_terms = _terms(contexts.tokens, index, layout, tokens, _MOST_LIST_ROWS)
    class_terms = _terms(contexts.classes, index, layout, tokens, _MOST_CLASS_ROWS)
    mixed_terms = _terms(contexts.mixed, index, layout, tokens, _MOST_LIST_ROWS)
    class_rows = _rows(class_terms)
    first_classes = np.arange(layout.alphabet) % layout.classes
    return State(
        tuning,
        Places(neighbours, pattern, copies),
        token_terms,
        class_terms,
        mixed_terms,
        _lists(_rows(token_terms), layout.alphabet),
        ClassCounts(
            np.zeros((class_rows, layout.classes + 1), np.uint16),
            np.zeros((class_rows, layout.classes), np.uint8),
        ),
        _lists(_rows(mixed_terms), layout.alphabet),
        _experts((len(contexts.tokens), layout.planes * LEVELS), tuning.first_weight),
        _experts((len(contexts.classes), layout.planes * LEVELS), tuning.first_class_weight),
        _experts((len(contexts.mixed), layout.planes * LEVELS), tuning.first_weight),
        _experts((2, layout.planes), SHARPNESS_ONE),
        Shared(
            np.zeros((layout.planes, layout.alphabet), np.int64),
            np.tile(first_classes.astype(np.uint8), (layout.planes, 1)),
            np.zeros((len(copies), 2 * patterns), np.int64),
            np.zeros((len(copies), 2 * patterns), np.int64),
        ),
    )


def _zeros(shape: int | tuple[int, ...], kind: type[np.generic]) -> Array:
    """As np.zeros, on cache lines of its own: they are written by one thread beside others."""
    count = prod(shape) if isinstance(shape, tuple) else shape
    size = count * np.dtype(kind).itemsize
    room = np.zeros(size + 2 * _LINE, np.uint8)
    return room[_LINE : _LINE + size].view(kind).reshape(shape)


def new_scratch(layout: Geometry, contexts: ContextSet, state: State) -> Scratch:
    """Room for the work on one symbol."""
    alphabet, classes = layout.alphabet, layout.classes
    tokens, mixed = len(contexts.tokens), len(contexts.mixed)

    def symbols() -> Array:
        return _zeros(alphabet, np.int32)

    return Scratch(
        seen=_zeros(2 * len(state.places.neighbours), np.int64),
        plain=_zeros((layout.planes, alphabet), np.int16),
        base=symbols(),
        score=symbols(),
        steps=symbols(),
        class_score=_zeros(classes, np.int32),
        class_base=_zeros(classes, np.int32),
        mass=_zeros(classes, np.int64),
        first_drop=_zeros(alphabet, np.int16),
        last_drop=_zeros(alphabet, np.int16),
        first_freq=symbols(),
        last_freq=symbols(),
        token_levels=_zeros(tokens, np.int64),
        class_levels=_zeros(len(contexts.classes), np.int64),
        mixed_levels=_zeros(mixed, np.int64),
        token_begins=_zeros(tokens + 1, np.int64),
        mixed_begins=_zeros(mixed + 1, np.int64),
        token_said=_zeros(tokens * longest_array(alphabet), np.uint32),
        mixed_said=_zeros(mixed * longest_array(alphabet), np.uint32),
        token_gains=_zeros((tokens, alphabet), np.int16),
        mixed_gains=_zeros((mixed, alphabet), np.int16),
        class_growth=_zeros((len(contexts.classes), classes), np.int16),
    )


def new_others(state: State, helpers: int) -> Others:
    """Of so many helpers, who have learned nothing."""

    def zeros(one: Array) -> Array:
        rows, columns = one.shape
        # Some rows more, so that helpers do not share cache lines.
        return np.zeros((helpers, rows + _LINE // 8, columns), np.int64)

    return Others(
        token_gradient=zeros(state.token_experts.gradient),
        token_energy=zeros(state.token_experts.energy),
        class_gradient=zeros(state.class_experts.gradient),
        class_energy=zeros(state.class_experts.energy),
        mixed_gradient=zeros(state.mixed_experts.gradient),
        mixed_energy=zeros(state.mixed_experts.energy),
        sharpness_gradient=zeros(state.sharpness.gradient),
        sharpness_energy=zeros(state.sharpness.energy),
        bonus_gradient=zeros(state.shared.bonus_gradient),
    )


def state_of_helper(state: State, others: Others, helper: int) -> State:
    """The state as helper number `helper` sees it: it learns into sums of its own."""

    def own(experts: Experts, gradient: Array, energy: Array) -> Experts:
        rows = len(experts.weight)
        return experts._replace(gradient=gradient[helper, :rows], energy=energy[helper, :rows])

    return state._replace(
        token_experts=own(state.token_experts, others.token_gradient, others.token_energy),
        class_experts=own(state.class_experts, others.class_gradient, others.class_energy),
        mixed_experts=own(state.mixed_experts, others.mixed_gradient, others.mixed_energy),
        sharpness=own(state.sharpness, others.sharpness_gradient, others.sharpness_energy),
        shared=state.shared._replace(
            bonus_gradient=others.bonus_gradient[helper, : len(state.shared.bonus)]
        ),
    )


def new_block(layout: Geometry, contexts: ContextSet, errors: int) -> Block:
    """Room for a block's symbols, none pending, and for the errors of so many."""

    def table(rows: tuple[Context, ...]) -> Array:
        return np.zeros((layout.block_symbols, len(rows)), np.int64)

    return Block(
        table(contexts.tokens),
        table(contexts.classes),
        table(contexts.mixed),
        table(contexts.tokens),
        table(contexts.mixed),
        np.zeros(3, np.int64),
        np.zeros((errors, layout.alphabet), np.int16),
    )


def forget_classes(state: State) -> None:
    """Empty all counts that were kept by class, before the classes change."""
    lists = state.mixed_lists
    lists.row[:] = 0
    lists.top[0] = 0
    lists.free[:] = -1
    lists.codes[: lists.tables[0]] = 0
    lists.counts[: lists.tables[0]] = 0
    lists.tables[0] = 1
    state.class_counts.table[:] = 0
    state.class_counts.codes[:] = 0


def longest_array(alphabet: int) -> int:
    """Room of the longest array; a row of more symbols is a table."""
    room = FEWEST_ENTRIES
    while TABLE_SHARE * 2 * room <= alphabet:
        room *= 2
    return room


@compiled
def most_tables(alphabet):  # type: ignore[no-untyped-def]
    """Tables at most, counting table 0."""
    return np.int64(MOST_IN_TABLES) // np.int64(alphabet) + np.int64(1)


@compiled
def room_for_a_symbol(contexts, alphabet):  # type: ignore[no-untyped-def]
    """Entries and tables that counting one symbol in each context takes at most."""
    longest = max(np.int64(FEWEST_ENTRIES), np.int64(alphabet) // np.int64(TABLE_SHARE))
    return np.int64(contexts) * longest, np.int64(contexts)


def with_more_room(lists: Lists, contexts: int) -> Lists:
    """The lists with room for one symbol at least: twice the pool, the tables, or both."""
    pool, codes, counts = lists.pool, lists.codes, lists.counts
    entries, tables = room_for_a_symbol(contexts, codes.shape[1])
    needed = int(lists.top[0]) + entries
    if needed > pool.size:
        pool = _grown(pool, min(max(2 * pool.size, needed), MOST_POOL))
    needed = int(lists.tables[0]) + tables
    if needed > len(codes):
        size = min(max(2 * len(codes), needed), most_tables(codes.shape[1]))
        codes, counts = _grown(codes, size), _grown(counts, size)
    return lists._replace(pool=pool, codes=codes, counts=counts)


def _grown(array: Array, size: int) -> Array:
    grown = np.zeros((size, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
