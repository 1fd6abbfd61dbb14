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

from tokenzip.coding.decoder import advance, find_symbol, peek
from tokenzip.coding.tables import table_from_scores

from .logs import LOG2_STEPS, LOG_ONE_PLUS, LOWEST_U, integer_sqrt, log2_steps
from .state import LEVELS, LIST_CHUNK, WEIGHT_ONE

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
MOST_COUNT = 65535
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
def _log_count(count):  # type: ignore[no-untyped-def]
    if count < 1024:
        return np.int32(LOG2_STEPS[count])
    return np.int32(LOG2_STEPS[count >> 6]) + np.int32(384)


@njit(cache=True, nogil=True, error_model="numpy")
def _score_lists(lists, experts, rows, plane, base, score, levels, begins, what, growth):  # type: ignore[no-untyped-def]
    """Add every list's evidence to `score`; remember who said what for the gradient.

    base int32 (A,): steps below certainty of each symbol, less log2 ALPHA. begins int64 (R + 1,),
    what int32 (n, 2): symbol and place in the pool; growth int32 (n,): log2(1 + c / (ALPHA p)).
    """
    n = np.int64(0)
    for r in range(rows.size):
        row = rows[r]
        begins[r] = n
        level = plane * LEVELS + _level(lists.total[row])
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        chunk = np.int64(lists.head[row])
        entries = (np.int64(lists.length[row]) + LIST_CHUNK - 2) % (LIST_CHUNK - 1) + 1
        while chunk >= 0:
            at = chunk * LIST_CHUNK
            for e in range(1, entries + 1):
                entry = lists.pool[at + e]
                symbol = np.int64(entry & np.uint32(0xFFFF))
                u = _log_count(np.int64(entry >> np.uint32(16))) + base[symbol]
                gain = np.int32(LOG_ONE_PLUS[u - LOWEST_U])
                what[n, 0] = symbol
                what[n, 1] = at + e
                growth[n] = gain
                score[symbol] += weight * gain
                n += 1
            chunk = np.int64(lists.pool[at]) - 1
            entries = LIST_CHUNK - 1
    begins[rows.size] = n


@njit(cache=True, nogil=True, error_model="numpy")
def _learn_lists(experts, levels, begins, what, growth, cdf, x, places):  # type: ignore[no-untyped-def]
    """Add one symbol's gradient of every expert; note where x stands in each list (or -1)."""
    for r in range(begins.size - 1):
        expected = np.int64(0)
        place = np.int64(-1)
        truth = np.int64(0)
        for k in range(begins[r], begins[r + 1]):
            s = what[k, 0]
            expected += np.int64(cdf[s + 1] - cdf[s]) * np.int64(growth[k])
            if s == x:
                place = what[k, 1]
                truth = np.int64(growth[k])
        places[r] = place
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
def _learn_sharpness(gradient, which, pattern, drop, cdf, x):  # type: ignore[no-untyped-def]
    expected = np.int64(0)
    for s in range(drop.size):
        expected += np.int64(cdf[s + 1] - cdf[s]) * np.int64(drop[s])
    gradient[which, pattern] += expected - (np.int64(drop[x]) << np.int64(24))


@njit(cache=True, nogil=True, error_model="numpy")
def _class_masses(cdf, symbol_class, mass):  # type: ignore[no-untyped-def]
    """Probability of each class in units of 2**-24."""
    mass[:] = 0
    for s in range(symbol_class.size):
        mass[symbol_class[s]] += np.int64(cdf[s + 1] - cdf[s])


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
        level = _level(counts.total[row])
        levels[r] = -1
        if level == 0:
            continue
        level += plane * LEVELS
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        for k in range(mass.size):
            count = np.int64(counts.count[row, k])
            gain = np.int16(0)
            if count > 0:
                gain = LOG_ONE_PLUS[_log_count(count) + base[k]]
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
def _count_symbol(lists, row, x, place):  # type: ignore[no-untyped-def]
    """Count x once more in a row; `place` is where its entry is known to stand, or -1."""
    lists.total[row] += 1
    length = np.int64(lists.length[row])
    head = np.int64(lists.head[row])
    chunk = head
    entries = (length + LIST_CHUNK - 2) % (LIST_CHUNK - 1) + 1
    while place < 0 and chunk >= 0:
        at = chunk * LIST_CHUNK
        for e in range(1, entries + 1):
            if np.int64(lists.pool[at + e] & np.uint32(0xFFFF)) == x:
                place = at + e
        chunk = np.int64(lists.pool[at]) - 1
        entries = LIST_CHUNK - 1
    if place >= 0:
        if lists.pool[place] >> np.uint32(16) < np.uint32(MOST_COUNT):
            lists.pool[place] += np.uint32(1 << 16)
        return
    slot = length % (LIST_CHUNK - 1)
    if slot == 0:
        fresh = lists.used[0]
        lists.used[0] = fresh + 1
        lists.pool[fresh * LIST_CHUNK] = np.uint32(head + 1)
        lists.head[row] = fresh
        head = fresh
    lists.pool[head * LIST_CHUNK + slot + 1] = np.uint32((1 << 16) | x)
    lists.length[row] = length + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _count_class(counts, row, k):  # type: ignore[no-untyped-def]
    counts.total[row] += 1
    if counts.count[row, k] < MOST_COUNT:
        counts.count[row, k] += np.uint16(1)


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
def has_room(lists, contexts, block):  # type: ignore[no-untyped-def]
    """Whether a block's new symbols fit the pool, however they fall."""
    return (lists.used[0] + contexts * block) * LIST_CHUNK <= lists.pool.size


@njit(cache=True, nogil=True, error_model="numpy")
def code_blocks(state, symbols, columns, planes, split, block, begin, stop, mode, cum, freq, lanes, words):  # type: ignore[no-untyped-def]
    """Code whole blocks from symbol `begin` until `stop` is reached or the pools may run short.

    symbols uint16 (T, positions): read when encoding, written when decoding. cum, freq uint32
    (T * positions,): written when encoding. lanes uint64 (L, 4) and words uint32: read when
    decoding; row r is in lane r % L. Returns the index of the next symbol, or -1 when the words
    cannot come from an encoder.
    """
    shared = state.shared
    places = state.places
    positions = symbols.shape[1]
    alphabet = shared.unigram.shape[1]
    class_count = state.class_counts.count.shape[1]
    neighbours = places.neighbours.shape[0]
    token_contexts = state.token_terms.count.size
    class_contexts = state.class_terms.count.size
    mixed_contexts = state.mixed_terms.count.size
    end_of_all = symbols.shape[0] * positions
    half = places.pattern.shape[0]

    seen = np.empty(2 * neighbours, np.int64)
    token_rows = np.empty((block, token_contexts), np.int64)
    class_rows = np.empty((block, class_contexts), np.int64)
    mixed_rows = np.empty((block, mixed_contexts), np.int64)
    token_places = np.empty((block, token_contexts), np.int64)
    mixed_places = np.empty((block, mixed_contexts), np.int64)
    token_levels = np.empty(token_contexts, np.int64)
    class_levels = np.empty(class_contexts, np.int64)
    mixed_levels = np.empty(mixed_contexts, np.int64)
    token_begins = np.empty(token_contexts + 1, np.int64)
    mixed_begins = np.empty(mixed_contexts + 1, np.int64)
    token_what = np.empty((token_contexts * alphabet + 1, 2), np.int32)
    mixed_what = np.empty((mixed_contexts * alphabet + 1, 2), np.int32)
    token_growth = np.empty(token_contexts * alphabet + 1, np.int32)
    mixed_growth = np.empty(mixed_contexts * alphabet + 1, np.int32)
    class_growth = np.zeros((class_contexts, class_count), np.int16)
    class_score = np.empty(class_count, np.int32)
    mass = np.empty(class_count, np.int64)
    plain = np.empty((planes, alphabet), np.int32)
    base = np.empty(alphabet, np.int32)
    score = np.empty(alphabet, np.int32)
    first_drop = np.empty(alphabet, np.int32)
    drop = np.empty(alphabet, np.int32)
    steps = np.empty(alphabet, np.int32)
    first_cdf = np.empty(alphabet + 1, np.uint32)
    cdf = np.empty(alphabet + 1, np.uint32)

    while begin < stop and begin < end_of_all:
        if not has_room(state.token_lists, token_contexts, block):
            break
        if not has_room(state.mixed_lists, mixed_contexts, block):
            break
        end = min(_block_end(begin, positions, columns, block), end_of_all)
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
            _find_rows(state.token_terms, seen, start, p, positions, alphabet, class_count, token_rows[j])
            _find_rows(state.class_terms, seen, start, p, positions, alphabet, class_count, class_rows[j])
            _find_rows(state.mixed_terms, seen, start, p, positions, alphabet, class_count, mixed_rows[j])
            pattern = _pattern(places, seen)
            mood = (z << half) + pattern

            # The first distribution: plain frequency and the token contexts.
            for s in range(alphabet):
                score[s] = -(plain[z, s] << np.int32(SCORE_SHIFT))
                base[s] = plain[z, s] - np.int32(TOKEN_ALPHA)
            _score_lists(
                state.token_lists, state.token_experts, token_rows[j], z, base, score, token_levels,
                token_begins, token_what, token_growth,
            )  # fmt: skip
            _sharpen(score, shared.sharpness[0, mood], first_drop, steps)
            table_from_scores(steps, first_cdf)

            # The last one: classes, mixed contexts and candidates on top of the first.
            best = np.int64(0)
            while steps[best] < 0:
                best += 1
            top = np.int64(24 * 64) - log2_steps(np.int64(first_cdf[best + 1] - first_cdf[best]))
            for s in range(alphabet):
                base[s] = min(top - steps[s], np.int64(MOST_STEPS)) - np.int64(MIXED_ALPHA)
            _class_masses(first_cdf, symbol_class, mass)
            _score_classes(
                state.class_counts, state.class_experts, class_rows[j], z, mass, class_score,
                class_levels, class_growth,
            )  # fmt: skip
            for s in range(alphabet):
                score[s] = (steps[s] << np.int32(SCORE_SHIFT)) + class_score[symbol_class[s]]
            _score_lists(
                state.mixed_lists, state.mixed_experts, mixed_rows[j], z, base, score, mixed_levels,
                mixed_begins, mixed_what, mixed_growth,
            )  # fmt: skip
            for m in range(places.copies.size):
                candidate = seen[places.copies[m]]
                if candidate < alphabet:
                    which = pattern
                    if m > 0 and candidate == seen[places.copies[0]]:
                        which += _ONE << half
                    score[candidate] += np.int32(shared.bonus[m, which] >> 2)
            _sharpen(score, shared.sharpness[1, mood], drop, steps)
            table_from_scores(steps, cdf)

            if mode == DECODE:
                lane = (p // columns) % lanes.shape[0]
                quantile = peek(lanes, lane)
                if quantile < 0:
                    return np.int64(-1)
                x = find_symbol(cdf, quantile)
                advance(lanes, lane, words, cdf[x], cdf[x + 1] - cdf[x])
                symbols[t, p] = x
            else:
                x = np.int64(symbols[t, p])
                cum[i] = cdf[x]
                freq[i] = cdf[x + 1] - cdf[x]

            # What the block teaches, collected until its end.
            _learn_lists(
                state.token_experts, token_levels, token_begins, token_what, token_growth,
                first_cdf, x, token_places[j],
            )  # fmt: skip
            _learn_lists(
                state.mixed_experts, mixed_levels, mixed_begins, mixed_what, mixed_growth,
                cdf, x, mixed_places[j],
            )  # fmt: skip
            _class_masses(cdf, symbol_class, mass)
            _learn_classes(
                state.class_experts, class_levels, class_growth, mass, symbol_class[x]
            )
            _learn_sharpness(shared.sharpness_gradient, 0, mood, first_drop, first_cdf, x)
            _learn_sharpness(shared.sharpness_gradient, 1, mood, drop, cdf, x)
            for m in range(places.copies.size):
                candidate = seen[places.copies[m]]
                if candidate < alphabet:
                    which = pattern
                    if m > 0 and candidate == seen[places.copies[0]]:
                        which += _ONE << half
                    hit = np.int64(1 << 24) if candidate == x else np.int64(0)
                    expected = np.int64(cdf[candidate + 1] - cdf[candidate])
                    shared.bonus_gradient[m, which] += hit - expected

        _train(state.token_experts)
        _train(state.class_experts)
        _train(state.mixed_experts)
        _train_shared(shared)
        for i in range(begin, end):
            j = i - begin
            p = i % positions
            x = np.int64(symbols[i // positions, p])
            shared.unigram[p % planes, x] += 1
            for r in range(token_contexts):
                _count_symbol(state.token_lists, token_rows[j, r], x, token_places[j, r])
            for r in range(mixed_contexts):
                _count_symbol(state.mixed_lists, mixed_rows[j, r], x, mixed_places[j, r])
            for r in range(class_contexts):
                _count_class(state.class_counts, class_rows[j, r], shared.classes[p % planes, x])
        begin = end
    return begin


@njit(cache=True, nogil=True, error_model="numpy")
def recount(state, symbols, columns, planes, split, begin, stop):  # type: ignore[no-untyped-def]
    """Count symbols `begin` to `stop` again in all contexts with classes, after these changed.

    Returns the index of the next symbol, less than `stop` where the pool has run short.
    """
    places = state.places
    positions = symbols.shape[1]
    alphabet = state.shared.unigram.shape[1]
    class_count = state.class_counts.count.shape[1]
    classes = state.shared.classes
    seen = np.empty(2 * places.neighbours.shape[0], np.int64)
    class_rows = np.empty(state.class_terms.count.size, np.int64)
    mixed_rows = np.empty(state.mixed_terms.count.size, np.int64)
    while begin < stop and has_room(state.mixed_lists, mixed_rows.size, 1):
        t = begin // positions
        p = begin % positions
        _look(places, symbols, classes, planes, columns, t, p, seen, alphabet, class_count)
        start = _start_index(symbols, t, p, planes, split, alphabet)
        _find_rows(state.class_terms, seen, start, p, positions, alphabet, class_count, class_rows)
        _find_rows(state.mixed_terms, seen, start, p, positions, alphabet, class_count, mixed_rows)
        x = np.int64(symbols[t, p])
        for r in range(mixed_rows.size):
            _count_symbol(state.mixed_lists, mixed_rows[r], x, np.int64(-1))
        for r in range(class_rows.size):
            _count_class(state.class_counts, class_rows[r], classes[p % planes, x])
        begin += 1
    return begin
