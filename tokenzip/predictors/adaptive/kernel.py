"""The coding loop: one function for encoder, decoder and observer, all in integers.

For every symbol, from the state at its block's start and the symbols before it:

1. the experts of token contexts score all symbols on top of their plain frequency, score steps of
   1/64 bit: a symbol counted c times gains weight * log2(1 + c / (ALPHA * p)), p its probability
   so far (a product of Dirichlet-smoothed experts, DESIGN.md section 7);
2. the scores, sharpened by the neighbourhood's pattern, become the first distribution;
3. the experts of class contexts score classes of symbols in the same way, those of mixed contexts
   symbols, relative to the first distribution; candidate symbols gain a learned bonus;
4. the scores, sharpened again, become the table that the range coder uses.

The update of a block adds its gradients to the weights and its symbols to the counts: sums, whose
order does not matter. FORMAT.md section 9 is the same in words.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tokenzip.coding.decoder import advance, peek
from tokenzip.coding.tables import cumulative, frequencies_from_scores, symbol_at

from .logs import (
    LOG2_STEPS,
    LOG_ONE_PLUS,
    LOWEST_U,
    MOST_COUNT,
    integer_sqrt,
    log2_steps,
)
from .state import FEWEST_ENTRIES, LENGTH, LEVELS, START, TOTAL, WEIGHT_ONE

#: What the loop does with each symbol.
ENCODE, DECODE = 0, 1

# log2 of the prior's strength in counts, in steps: 32, 16 and 2.
TOKEN_ALPHA = 5 * 64
MIXED_ALPHA = 4 * 64
CLASS_ALPHA = 1 * 64
# No symbol's or class's probability counts as less than 2**-25.
MOST_STEPS = 25 * 64
# Scores are summed with ten bits below the step; weights (16 bits) lose six for it.
SCORE_SHIFT = 10
WEIGHT_SHIFT = 6
MOST_WEIGHT = 4 * WEIGHT_ONE
# Learning rates: of weights 0.05 in units of 2**-12, of sharpness and of bonuses per symbol.
WEIGHT_RATE = 205
WEIGHT_CALM = 1 << 21
SHARPNESS_RATE = 218
BONUS_RATE = 18904
LEAST_SHARPNESS, MOST_SHARPNESS = (1 << 20) // 4, (1 << 20) * 2 - 1
MOST_BONUS = 1 << 22
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.int64(1)


@njit(cache=True, nogil=True, error_model="numpy")
def _look(places, symbols, classes, planes, columns, t, p, seen, alphabet, class_count):  # type: ignore[no-untyped-def]
    """Fill `seen` (2D,) with the neighbours' symbols, then their classes; outside is one more."""
    d = places.neighbours.shape[0]
    row = p // columns
    column = p % columns
    for i in range(d):
        tt = t - places.neighbours[i, 0]
        rr = row - places.neighbours[i, 1]
        cc = column - places.neighbours[i, 2]
        rows = symbols.shape[1] // columns
        if tt < 0 or rr < 0 or rr >= rows or cc < 0 or cc >= columns:
            seen[i] = alphabet
            seen[d + i] = class_count
        else:
            q = rr * columns + cc
            symbol = np.int64(symbols[tt, q])
            seen[i] = symbol
            seen[d + i] = classes[q % planes, symbol]


@njit(cache=True, nogil=True, error_model="numpy")
def _find_rows(terms, seen, start, p, positions, alphabet, class_count, rows):  # type: ignore[no-untyped-def]
    """Fill `rows` (R,) with the row of every context; `start` is what all of them share."""
    d = seen.size // 2
    for r in range(terms.count.size):
        index = np.uint64(start)
        if terms.position[r]:
            index = index * np.uint64(positions) + np.uint64(p)
        for j in range(terms.count[r]):
            k = terms.term[r, j]
            radix = alphabet if k < d else class_count
            index = index * np.uint64(radix + 1) + np.uint64(seen[k])
        if terms.hashed[r]:
            index = ((index + np.uint64(1)) * _GOLDEN) >> np.uint64(64 - terms.bits[r])
        rows[r] = terms.first[r] + np.int64(index)


@njit(cache=True, nogil=True, error_model="numpy")
def _pattern(places, seen):  # type: ignore[no-untyped-def]
    """Which pairs of neighbours agree, a bit each."""
    bits = np.int64(0)
    for i in range(places.pattern.shape[0]):
        if seen[places.pattern[i, 0]] == seen[places.pattern[i, 1]]:
            bits |= _ONE << i
    return bits


@njit(cache=True, nogil=True, error_model="numpy")
def _level(total):  # type: ignore[no-untyped-def]
    """0 for no experience, then 1 + floor(1.5 * log2(total)), at most LEVELS - 1."""
    if total == 0:
        return np.int64(0)
    return min(np.int64(LEVELS - 1), _ONE + (np.int64(3) * log2_steps(total)) // np.int64(128))


@njit(cache=True, nogil=True, error_model="numpy")
def _score_lists(lists, experts, rows, plane, base, score, levels, begins, said):  # type: ignore[no-untyped-def]
    """Add every list's evidence to `score`; remember who said what for the gradient.

    base int32 (A,): steps below certainty of each symbol, less log2 ALPHA and LOWEST_U. begins
    int64 (R + 1,): where a context's part of `said` begins, uint32 (n,), symbol << 16 and
    log2(1 + c / (ALPHA p)).
    """
    n = np.int64(0)
    for r in range(rows.size):
        row = rows[r]
        begins[r] = n
        level = plane * LEVELS + _level(lists.row[row, TOTAL])
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        start = np.int64(lists.row[row, START])
        for e in range(start, start + np.int64(lists.row[row, LENGTH])):
            entry = lists.pool[e]
            symbol = entry >> np.uint32(16)
            u = np.int32(LOG2_STEPS[entry & np.uint32(0xFFFF)]) + base[symbol]
            gain = np.int32(LOG_ONE_PLUS[np.uint32(u)])
            said[n] = (entry & np.uint32(0xFFFF0000)) | np.uint32(gain)
            score[symbol] += weight * gain
            n += 1
    begins[rows.size] = n


@njit(cache=True, nogil=True, error_model="numpy")
def _learn_lists(experts, levels, begins, said, freq, x, places):  # type: ignore[no-untyped-def]
    """Add one symbol's gradient of every expert; note the place of x in each list.

    A place below 0 says that x is none of the list's first -1 - place entries.
    """
    for r in range(begins.size - 1):
        expected = np.int64(0)
        place = np.int64(-1)
        for k in range(begins[r], begins[r + 1]):
            symbol = said[k] >> np.uint32(16)
            expected += np.int64(freq[symbol]) * np.int64(said[k] & np.uint32(0xFFFF))
            if symbol == np.uint32(x):
                place = k
        truth = np.int64(0)
        if place >= 0:
            truth = np.int64(said[place] & np.uint32(0xFFFF))
            places[r] = place - begins[r]
        else:
            places[r] = begins[r] - begins[r + 1] - 1
        if begins[r + 1] > begins[r]:
            _add_gradient(experts, r, levels[r], truth, expected)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_gradient(experts, r, level, truth, expected):  # type: ignore[no-untyped-def]
    """d log p(x) / d weight = truth - expected, in steps; expected has 24 bits more."""
    gradient = ((truth << np.int64(24)) - expected) >> np.int64(16)
    experts.gradient[r, level] += gradient
    coarse = gradient >> np.int64(4)
    experts.energy[r, level] += coarse * coarse


@njit(cache=True, nogil=True, error_model="numpy")
def _sharpen(score, sharpness, drop, steps):  # type: ignore[no-untyped-def]
    """drop int32 (A,): steps below the best score; steps: the same, sharpened and negated."""
    high = score[0]
    for s in range(score.size):
        high = max(high, score[s])
    beta = np.int32(sharpness >> np.int64(8))
    for s in range(score.size):
        low = min((high - score[s]) >> np.int32(6), np.int32(1 << 16))
        drop[s] = low >> np.int32(4)
        steps[s] = -((low * beta) >> np.int32(16))


@njit(cache=True, nogil=True, error_model="numpy")
def _learn_sharpness(gradient, which, pattern, drop, freq, x):  # type: ignore[no-untyped-def]
    expected = np.int64(0)
    for s in range(drop.size):
        expected += np.int64(freq[s]) * np.int64(drop[s])
    gradient[which, pattern] += expected - (np.int64(drop[x]) << np.int64(24))


@njit(cache=True, nogil=True, error_model="numpy")
def _class_masses(freq, symbol_class, mass):  # type: ignore[no-untyped-def]
    """Probability of each class in units of 2**-24."""
    mass[:] = 0
    for s in range(symbol_class.size):
        mass[symbol_class[s]] += np.int64(freq[s])


@njit(cache=True, nogil=True, error_model="numpy")
def _score_classes(counts, experts, rows, plane, mass, score, levels, growth):  # type: ignore[no-untyped-def]
    """Score every class by every context; growth int16 (R, K) is kept for the gradient."""
    base = np.empty(mass.size, np.int32)
    for k in range(mass.size):
        steps = np.int64(MOST_STEPS)
        if mass[k] > 0:
            steps = min(steps, np.int64(24 * 64) - log2_steps(mass[k]))
        base[k] = steps - CLASS_ALPHA - LOWEST_U
        score[k] = 0
    for r in range(rows.size):
        row = rows[r]
        level = _level(counts.count[row, mass.size])
        levels[r] = -1
        if level == 0:
            continue
        level += plane * LEVELS
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        for k in range(mass.size):
            count = counts.count[row, k]
            gain = np.int16(0)
            if count > 0:
                gain = LOG_ONE_PLUS[np.uint32(np.int32(LOG2_STEPS[count]) + base[k])]
            growth[r, k] = gain
            score[k] += weight * np.int32(gain)


@njit(cache=True, nogil=True, error_model="numpy")
def _learn_classes(experts, levels, growth, mass, truth):  # type: ignore[no-untyped-def]
    for r in range(levels.size):
        if levels[r] < 0:
            continue
        expected = np.int64(0)
        for k in range(mass.size):
            expected += mass[k] * np.int64(growth[r, k])
        _add_gradient(experts, r, levels[r], np.int64(growth[r, truth]), expected)


@njit(cache=True, nogil=True, error_model="numpy")
def _room_class(length):  # type: ignore[no-untyped-def]
    """log2 of the room of an array with so many entries."""
    bits = np.int64(2)
    while (_ONE << bits) < length:
        bits += 1
    return bits


@njit(cache=True, nogil=True, error_model="numpy")
def _has_room(lists, rows):  # type: ignore[no-untyped-def]
    """Whether one more symbol in each of these rows fits the pool, whatever it is."""
    need = np.int64(0)
    for r in range(rows.size):
        length = np.int64(lists.row[rows[r], LENGTH])
        if length == 0:
            need += FEWEST_ENTRIES
        elif length == _ONE << _room_class(length):
            need += 2 * length
    return lists.top[0] + need <= lists.pool.size


@njit(cache=True, nogil=True, error_model="numpy")
def _take_array(lists, bits):  # type: ignore[no-untyped-def]
    """The start of an unused array with room for 2**bits entries."""
    start = lists.free[bits]
    if start >= 0:
        lists.free[bits] = np.int64(lists.pool[start]) - 1
        return start
    start = lists.top[0]
    lists.top[0] = start + (_ONE << bits)
    return start


@njit(cache=True, nogil=True, error_model="numpy")
def _append(lists, row, x):  # type: ignore[no-untyped-def]
    """A new entry of a row, counted once."""
    length = np.int64(lists.row[row, LENGTH])
    start = np.int64(lists.row[row, START])
    bits = _room_class(length)
    if length == 0:
        start = _take_array(lists, bits)
        lists.row[row, START] = start
    elif length == _ONE << bits:
        fresh = _take_array(lists, bits + 1)
        for e in range(length):
            lists.pool[fresh + e] = lists.pool[start + e]
        lists.pool[start] = np.uint32(lists.free[bits] + 1)
        lists.free[bits] = start
        start = fresh
        lists.row[row, START] = start
    lists.pool[start + length] = np.uint32((x << 16) | 1)
    lists.row[row, LENGTH] = length + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _count_symbol(lists, row, x, place):  # type: ignore[no-untyped-def]
    """Count x once more in a row; `place` is its place in the list (see _learn_lists)."""
    lists.row[row, TOTAL] += 1
    start = np.int64(lists.row[row, START])
    if place < 0:
        for e in range(-1 - place, np.int64(lists.row[row, LENGTH])):
            if np.int64(lists.pool[start + e] >> np.uint32(16)) == x:
                place = np.int64(e)
                break
    if place < 0:
        _append(lists, row, x)
        return
    if (lists.pool[start + place] & np.uint32(0xFFFF)) < np.uint32(MOST_COUNT):
        lists.pool[start + place] += np.uint32(1)


@njit(cache=True, nogil=True, error_model="numpy")
def _count_class(counts, row, k):  # type: ignore[no-untyped-def]
    total = counts.count.shape[1] - 1
    if counts.count[row, k] < MOST_COUNT:
        counts.count[row, k] += np.uint16(1)
    if counts.count[row, total] < MOST_COUNT:
        counts.count[row, total] += np.uint16(1)


@njit(cache=True, nogil=True, error_model="numpy")
def _train(experts):  # type: ignore[no-untyped-def]
    """Adagrad on every weight that this block touched, rounded to the nearest integer."""
    for r in range(experts.weight.shape[0]):
        for level in range(experts.weight.shape[1]):
            gradient = experts.gradient[r, level]
            if gradient != 0:
                root = integer_sqrt(experts.energy[r, level] + WEIGHT_CALM)
                step = (2 * gradient * WEIGHT_RATE + root) // (2 * root)
                weight = experts.weight[r, level] + step
                experts.weight[r, level] = min(max(weight, -MOST_WEIGHT), MOST_WEIGHT)
                experts.gradient[r, level] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _train_shared(shared):  # type: ignore[no-untyped-def]
    for which in range(shared.sharpness.shape[0]):
        for i in range(shared.sharpness.shape[1]):
            if shared.sharpness_gradient[which, i] != 0:
                step = (shared.sharpness_gradient[which, i] * SHARPNESS_RATE) >> 26
                value = shared.sharpness[which, i] + step
                shared.sharpness[which, i] = min(max(value, LEAST_SHARPNESS), MOST_SHARPNESS)
                shared.sharpness_gradient[which, i] = 0
    for m in range(shared.bonus.shape[0]):
        for i in range(shared.bonus.shape[1]):
            if shared.bonus_gradient[m, i] != 0:
                value = shared.bonus[m, i] + ((shared.bonus_gradient[m, i] * BONUS_RATE) >> 24)
                shared.bonus[m, i] = min(max(value, -MOST_BONUS), MOST_BONUS)
                shared.bonus_gradient[m, i] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _block_end(begin, positions, columns, block):  # type: ignore[no-untyped-def]
    """Where the block that starts at symbol `begin` ends (see contexts._block_symbols)."""
    if block >= positions:
        return begin + block
    end = begin + block
    if block < columns:
        return min(end, (begin // columns + 1) * columns)
    return min(end, (begin // positions + 1) * positions)


@njit(cache=True, nogil=True, error_model="numpy")
def _start_index(symbols, t, p, planes, split, alphabet):  # type: ignore[no-untyped-def]
    """What every context of this symbol shares: its plane and, for a low half, the high half."""
    plane = p % planes
    if not split:
        return plane
    high = np.int64(0)
    if p % 2 == 1:
        high = np.int64(symbols[t, p - 1])
    return plane * alphabet + high


@njit(cache=True, nogil=True, error_model="numpy")
def _count_classed(state, mixed_rows, class_rows, mixed_places, x, k):  # type: ignore[no-untyped-def]
    """Count symbol x of class k in the contexts that have classes."""
    for r in range(mixed_rows.size):
        _count_symbol(state.mixed_lists, mixed_rows[r], x, mixed_places[r])
    for r in range(class_rows.size):
        _count_class(state.class_counts, class_rows[r], k)


@njit(cache=True, nogil=True, error_model="numpy")
def _count_block(state, block, symbols, planes):  # type: ignore[no-untyped-def]
    """Count the pending symbols of a coded block, as far as the pools have room."""
    positions = symbols.shape[1]
    while block.pending[0] < block.pending[1]:
        i = block.pending[0]
        j = i - block.pending[2]
        if not _has_room(state.token_lists, block.token_rows[j]):
            return
        if not _has_room(state.mixed_lists, block.mixed_rows[j]):
            return
        x = np.int64(symbols[i // positions, i % positions])
        z = i % positions % planes
        state.shared.unigram[z, x] += 1
        for r in range(block.token_rows.shape[1]):
            _count_symbol(
                state.token_lists, block.token_rows[j, r], x, block.token_places[j, r]
            )
        k = state.shared.classes[z, x]
        _count_classed(
            state, block.mixed_rows[j], block.class_rows[j], block.mixed_places[j], x, k
        )
        block.pending[0] = i + 1


@njit(cache=True, nogil=True, error_model="numpy")
def code_blocks(state, block, symbols, columns, planes, split, size, begin, stop, mode, cum, freq, lanes, words):  # type: ignore[no-untyped-def]
    """Code whole blocks from symbol `begin` until `stop` is reached or a pool is full.

    symbols uint16 (T, positions): read when encoding, written when decoding. cum, freq uint32
    (T * positions,): written when encoding. lanes uint64 (L, 4) and words uint32: read when
    decoding; row r is in lane r % L. Returns the index of the next symbol to code, or -1 when the
    words cannot come from an encoder. With a full pool, symbols are left pending in `block`: give
    the pools more room and call again.
    """
    shared = state.shared
    places = state.places
    positions = symbols.shape[1]
    alphabet = shared.unigram.shape[1]
    class_count = state.class_counts.count.shape[1] - 1
    neighbours = places.neighbours.shape[0]
    token_contexts = state.token_terms.count.size
    class_contexts = state.class_terms.count.size
    mixed_contexts = state.mixed_terms.count.size
    end_of_all = symbols.shape[0] * positions
    half = places.pattern.shape[0]

    seen = np.empty(2 * neighbours, np.int64)
    token_levels = np.empty(token_contexts, np.int64)
    class_levels = np.empty(class_contexts, np.int64)
    mixed_levels = np.empty(mixed_contexts, np.int64)
    token_begins = np.empty(token_contexts + 1, np.int64)
    mixed_begins = np.empty(mixed_contexts + 1, np.int64)
    token_said = np.empty(token_contexts * alphabet + 1, np.uint32)
    mixed_said = np.empty(mixed_contexts * alphabet + 1, np.uint32)
    class_growth = np.zeros((class_contexts, class_count), np.int16)
    class_score = np.empty(class_count, np.int32)
    mass = np.empty(class_count, np.int64)
    plain = np.empty((planes, alphabet), np.int32)
    base = np.empty(alphabet, np.int32)
    score = np.empty(alphabet, np.int32)
    first_drop = np.empty(alphabet, np.int32)
    drop = np.empty(alphabet, np.int32)
    steps = np.empty(alphabet, np.int32)
    first_freq = np.empty(alphabet, np.int32)
    last_freq = np.empty(alphabet, np.int32)

    while True:
        _count_block(state, block, symbols, planes)
        if block.pending[0] < block.pending[1] or begin >= min(stop, end_of_all):
            return begin
        end = min(_block_end(begin, positions, columns, size), end_of_all)
        for z in range(planes):
            total = np.int64(alphabet)
            for s in range(alphabet):
                total += 2 * shared.unigram[z, s]
            log_total = log2_steps(total)
            for s in range(alphabet):
                steps_down = log_total - log2_steps(2 * shared.unigram[z, s] + 1)
                plain[z, s] = min(steps_down, np.int64(MOST_STEPS))

        for i in range(begin, end):
            t = i // positions
            p = i % positions
            z = p % planes
            j = i - begin
            symbol_class = shared.classes[z]
            _look(places, symbols, shared.classes, planes, columns, t, p, seen, alphabet, class_count)
            start = _start_index(symbols, t, p, planes, split, alphabet)
            _find_rows(state.token_terms, seen, start, p, positions, alphabet, class_count, block.token_rows[j])
            _find_rows(state.class_terms, seen, start, p, positions, alphabet, class_count, block.class_rows[j])
            _find_rows(state.mixed_terms, seen, start, p, positions, alphabet, class_count, block.mixed_rows[j])
            pattern = _pattern(places, seen)
            mood = (z << half) + pattern

            # The first distribution: plain frequency and the token contexts.
            for s in range(alphabet):
                score[s] = -(plain[z, s] << np.int32(SCORE_SHIFT))
                base[s] = plain[z, s] - np.int32(TOKEN_ALPHA + LOWEST_U)
            _score_lists(
                state.token_lists, state.token_experts, block.token_rows[j], z, base, score, token_levels,
                token_begins, token_said,
            )  # fmt: skip
            _sharpen(score, shared.sharpness[0, mood], first_drop, steps)
            best = frequencies_from_scores(steps, first_freq)

            # The last one: classes, mixed contexts and candidates on top of the first.
            top = np.int64(24 * 64) - log2_steps(np.int64(first_freq[best]))
            for s in range(alphabet):
                base[s] = min(top - steps[s], np.int64(MOST_STEPS)) - np.int64(MIXED_ALPHA + LOWEST_U)
            _class_masses(first_freq, symbol_class, mass)
            _score_classes(
                state.class_counts, state.class_experts, block.class_rows[j], z, mass, class_score,
                class_levels, class_growth,
            )  # fmt: skip
            for s in range(alphabet):
                score[s] = (steps[s] << np.int32(SCORE_SHIFT)) + class_score[symbol_class[s]]
            _score_lists(
                state.mixed_lists, state.mixed_experts, block.mixed_rows[j], z, base, score, mixed_levels,
                mixed_begins, mixed_said,
            )  # fmt: skip
            for m in range(places.copies.size):
                candidate = seen[places.copies[m]]
                if candidate < alphabet:
                    which = pattern
                    if m > 0 and candidate == seen[places.copies[0]]:
                        which += _ONE << half
                    score[candidate] += np.int32(shared.bonus[m, which] >> 2)
            _sharpen(score, shared.sharpness[1, mood], drop, steps)
            frequencies_from_scores(steps, last_freq)

            if mode == DECODE:
                lane = (p // columns) % lanes.shape[0]
                quantile = peek(lanes, lane)
                if quantile < 0:
                    return np.int64(-1)
                x, below = symbol_at(last_freq, quantile)
                advance(lanes, lane, words, below, last_freq[x])
                symbols[t, p] = x
            else:
                x = np.int64(symbols[t, p])
                cum[i] = cumulative(last_freq, x)
                freq[i] = last_freq[x]

            # What the block teaches, collected until its end.
            _learn_lists(
                state.token_experts, token_levels, token_begins, token_said, first_freq, x,
                block.token_places[j],
            )  # fmt: skip
            _learn_lists(
                state.mixed_experts, mixed_levels, mixed_begins, mixed_said, last_freq, x,
                block.mixed_places[j],
            )  # fmt: skip
            _class_masses(last_freq, symbol_class, mass)
            _learn_classes(
                state.class_experts, class_levels, class_growth, mass, symbol_class[x]
            )
            _learn_sharpness(shared.sharpness_gradient, 0, mood, first_drop, first_freq, x)
            _learn_sharpness(shared.sharpness_gradient, 1, mood, drop, last_freq, x)
            for m in range(places.copies.size):
                candidate = seen[places.copies[m]]
                if candidate < alphabet:
                    which = pattern
                    if m > 0 and candidate == seen[places.copies[0]]:
                        which += _ONE << half
                    hit = np.int64(1 << 24) if candidate == x else np.int64(0)
                    expected = np.int64(last_freq[candidate])
                    shared.bonus_gradient[m, which] += hit - expected

        _train(state.token_experts)
        _train(state.class_experts)
        _train(state.mixed_experts)
        _train_shared(shared)
        block.pending[0] = begin
        block.pending[1] = end
        block.pending[2] = begin
        begin = end


@njit(cache=True, nogil=True, error_model="numpy")
def recount(state, symbols, columns, planes, split, begin, stop):  # type: ignore[no-untyped-def]
    """Count symbols `begin` to `stop` again in all contexts with classes, after these changed.

    Returns the index of the next symbol, less than `stop` where the pool is full.
    """
    places = state.places
    positions = symbols.shape[1]
    alphabet = state.shared.unigram.shape[1]
    class_count = state.class_counts.count.shape[1] - 1
    classes = state.shared.classes
    seen = np.empty(2 * places.neighbours.shape[0], np.int64)
    class_rows = np.empty(state.class_terms.count.size, np.int64)
    mixed_rows = np.empty(state.mixed_terms.count.size, np.int64)
    unknown = np.full(mixed_rows.size, -1, np.int64)
    while begin < stop:
        t = begin // positions
        p = begin % positions
        _look(places, symbols, classes, planes, columns, t, p, seen, alphabet, class_count)
        start = _start_index(symbols, t, p, planes, split, alphabet)
        _find_rows(state.class_terms, seen, start, p, positions, alphabet, class_count, class_rows)
        _find_rows(state.mixed_terms, seen, start, p, positions, alphabet, class_count, mixed_rows)
        if not _has_room(state.mixed_lists, mixed_rows):
            break
        x = np.int64(symbols[t, p])
        _count_classed(state, mixed_rows, class_rows, unknown, x, classes[p % planes, x])
        begin += 1
    return begin
