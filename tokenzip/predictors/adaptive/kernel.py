"""The coding loop: one function for encoder, decoder and observer, all in integers.

For every symbol, from the state at its block's start and the symbols before it:

1. the experts of token contexts score all symbols on top of their plain frequency
   (a product of Dirichlet-smoothed experts, DESIGN.md section 7);
2. the scores, sharpened by a learned exponent, become the first distribution;
3. the experts of class contexts score classes of symbols, those of mixed contexts symbols, relative
   to the first distribution; candidate symbols gain a learned bonus;
4. the scores, sharpened again, become the table that the range coder uses.

The update of a block adds its gradients to the weights and its symbols to the counts: sums, whose
order does not matter. FORMAT.md section 9 is the same in words.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import borrowing, compiled, inner
from tokenzip.coding.decoder import advance, peek
from tokenzip.coding.logarithms import log2_steps
from tokenzip.coding.tables import MOST_STEPS, cumulative, frequencies_from_scores, symbol_at
from tokenzip.coding.team import (
    FAILED,
    HELPED,
    LINE,
    OPEN,
    TOLD,
    all_done,
    load,
    next_task,
    open_tasks,
    store,
    task_done,
)

from .experts import (
    MOST_WEIGHT,
    SCORE_SHIFT,
    add_gradient,
    fetch_first,
    learn_classes,
    learn_lists,
    score_classes,
    score_lists,
    train,
)
from .lists import (
    count_classes,
    count_symbols,
    fetch_class_counts,
    fetch_classes,
    fetch_counts,
    fetch_rows,
    has_room,
)
from .logs import BASE_SHIFT
from .state import LEAST_SHARPNESS, MOST_SHARPNESS

#: What the loop does with each symbol.
ENCODE, DECODE = 0, 1

MOST_BONUS = 1 << 22
# Symbols whose counts are fetched before they are counted.
COUNTS_FETCHED = 2
_CERTAIN = np.int64(24 * 64)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.int64(1)


@inner
def _look(state, layout, symbols, t, p, seen):  # type: ignore[no-untyped-def]
    """Fill `seen` (2D,) with the neighbours' symbols, then their classes; outside is one more."""
    neighbours = state.places.neighbours
    d = neighbours.shape[0]
    rows = symbols.shape[1] // layout.columns
    row = p // layout.columns
    column = p % layout.columns
    for i in range(d):
        tt = t - neighbours[i, 0]
        rr = row - neighbours[i, 1]
        cc = column - neighbours[i, 2]
        if tt < 0 or rr < 0 or rr >= rows or cc < 0 or cc >= layout.columns:
            seen[i] = layout.alphabet
            seen[d + i] = layout.classes
        else:
            q = rr * layout.columns + cc
            symbol = np.int64(symbols[tt, q])
            seen[i] = symbol
            seen[d + i] = state.shared.classes[q % layout.planes, symbol]


@inner
def _shared_index(layout, symbols, t, p):  # type: ignore[no-untyped-def]
    """What every context of this symbol shares: its plane and, for a low half, the high half."""
    plane = p % layout.planes
    if not layout.split:
        return plane
    high = np.int64(0)
    if p % 2 == 1:
        high = np.int64(symbols[t, p - 1])
    return plane * layout.alphabet + high


@inner
def _find_rows(terms, layout, seen, shared_index, p, rows):  # type: ignore[no-untyped-def]
    """Fill `rows` (R,) with the row of every context: a mixed-radix number, hashed if too large."""
    for r in range(terms.bits.size):
        index = np.uint64(shared_index)
        if terms.position[r]:
            index = index * np.uint64(layout.positions) + np.uint64(p)
        for k in range(terms.begin[r], terms.begin[r + 1]):
            index = index * terms.radix[k] + np.uint64(seen[terms.term[k]])
        if terms.hashed[r]:
            index = ((index + np.uint64(1)) * _GOLDEN) >> np.uint64(64 - terms.bits[r])
        rows[r] = terms.first[r] + np.int64(index)


@inner
def _pattern(places, seen):  # type: ignore[no-untyped-def]
    """Which pairs of neighbours agree, a bit each."""
    bits = np.int64(0)
    for i in range(places.pattern.shape[0]):
        if seen[places.pattern[i, 0]] == seen[places.pattern[i, 1]]:
            bits |= _ONE << i
    return bits


@inner
def _bonus_index(places, seen, m, pattern):  # type: ignore[no-untyped-def]
    """Which bonus candidate m has: by pattern and by whether candidate 0 is the same symbol."""
    if m > 0 and seen[places.copies[m]] == seen[places.copies[0]]:
        return pattern + (_ONE << places.pattern.shape[0])
    return pattern


@inner
def _sharpen(score, sharpness, drop, steps):  # type: ignore[no-untyped-def]
    """drop int16 (A,): steps below the best score; steps: the same, sharpened and negated."""
    high = score[0]
    for s in range(score.size):
        high = max(high, score[s])
    beta = np.int32(sharpness >> np.int64(8))
    for s in range(score.size):
        low = min((high - score[s]) >> np.int32(6), np.int32(1 << 16))
        drop[s] = low >> np.int32(4)
        steps[s] = -((low * beta) >> np.int32(16))


@inner
def _learn_sharpness(sharpness, which, plane, drop, freq, x):  # type: ignore[no-untyped-def]
    """d log p(x) / d sharpness is how much less x dropped than is expected."""
    expected = np.int64(0)
    for s in range(drop.size):
        expected += np.int64(freq[s]) * np.int64(drop[s])
    add_gradient(sharpness, which, plane, -np.int64(drop[x]), -expected)


@inner
def _class_masses(freq, symbol_class, mass):  # type: ignore[no-untyped-def]
    """Probability of each class in units of 2**-24."""
    mass[:] = 0
    for s in range(symbol_class.size):
        mass[symbol_class[s]] += np.int64(freq[s])


@inner
def _plain_steps(layout, unigram, begin, end, plain):  # type: ignore[no-untyped-def]
    """-log2 of (2 n + 1) / (2 N + A) of every symbol, in steps, in the planes of a block."""
    for i in range(begin, min(end, begin + layout.planes)):
        z = i % layout.positions % layout.planes
        total = np.int64(unigram.shape[1])
        for s in range(unigram.shape[1]):
            total += 2 * unigram[z, s]
        log_total = log2_steps(total)
        for s in range(unigram.shape[1]):
            steps = log_total - log2_steps(2 * unigram[z, s] + 1)
            plain[z, s] = np.int16(min(steps, np.int64(MOST_STEPS)))


@inner
def _begin_first(prior, alpha, score, base):  # type: ignore[no-untyped-def]
    """Scores and bases (see experts.score_lists) of the first distribution."""
    shift = np.int32(BASE_SHIFT - alpha)
    for s in range(score.size):
        steps = np.int32(prior[s])
        score[s] = -(steps << np.int32(SCORE_SHIFT))
        base[s] = steps + shift


@inner
def _begin_last(steps, best_freq, class_score, symbol_class, alpha, score, base):  # type: ignore[no-untyped-def]
    """The same of the last one: the first one's steps and what the classes say."""
    top = np.int32(_CERTAIN - log2_steps(np.int64(best_freq)))
    shift = np.int32(BASE_SHIFT - alpha)
    for s in range(score.size):
        surprise = min(np.int32(top - steps[s]), np.int32(MOST_STEPS))
        base[s] = surprise + shift
    for s in range(score.size):
        score[s] = (steps[s] << np.int32(SCORE_SHIFT)) + class_score[np.uint64(symbol_class[s])]


@inner
def _first_distribution(state, scratch, rows, plane, prior):  # type: ignore[no-untyped-def]
    """The prior and the token contexts: scratch.first_freq, and its best symbol."""
    _begin_first(prior, state.tuning.token_alpha, scratch.score, scratch.base)
    fetch_first(state.token_lists, rows)
    score_lists(
        state.token_lists, state.token_experts, rows, plane, scratch.base, scratch.score,
        scratch.token_levels, scratch.token_begins, scratch.token_said, scratch.token_gains,
    )  # fmt: skip
    sharpness = state.sharpness.weight[0, plane]
    _sharpen(scratch.score, sharpness, scratch.first_drop, scratch.steps)
    return frequencies_from_scores(scratch.steps, scratch.first_freq)


@inner
def _last_distribution(state, scratch, class_rows, mixed_rows, plane, pattern, best):  # type: ignore[no-untyped-def]
    """Classes, mixed contexts and candidates on top of the first: scratch.last_freq."""
    places = state.places
    score = scratch.score
    symbol_class = state.shared.classes[plane]
    fetch_first(state.mixed_lists, mixed_rows)
    _class_masses(scratch.first_freq, symbol_class, scratch.mass)
    score_classes(
        state.class_counts, state.class_experts, class_rows, plane, scratch.mass,
        state.tuning.class_alpha, scratch.class_base, scratch.class_score, scratch.class_levels,
        scratch.class_growth,
    )  # fmt: skip
    best_freq = scratch.first_freq[best]
    _begin_last(
        scratch.steps, best_freq, scratch.class_score, symbol_class, state.tuning.mixed_alpha,
        score, scratch.base,
    )  # fmt: skip
    score_lists(
        state.mixed_lists, state.mixed_experts, mixed_rows, plane, scratch.base, score,
        scratch.mixed_levels, scratch.mixed_begins, scratch.mixed_said, scratch.mixed_gains,
    )  # fmt: skip
    for m in range(places.copies.size):
        candidate = scratch.seen[places.copies[m]]
        if candidate < score.size:
            bonus = state.shared.bonus[m, _bonus_index(places, scratch.seen, m, pattern)]
            score[candidate] += np.int32(bonus >> 2)
    _sharpen(score, state.sharpness.weight[1, plane], scratch.last_drop, scratch.steps)
    frequencies_from_scores(scratch.steps, scratch.last_freq)


@inner
def predict(state, layout, scratch, block, symbols, t, p, j, prior):  # type: ignore[no-untyped-def]
    """The table of the symbol at (t, p), number j of its block, in scratch.last_freq.

    prior int16 (A,): steps below certainty of every symbol before any context has voted. Returns
    the pattern, for `learn`.
    """
    plane = p % layout.planes
    _look(state, layout, symbols, t, p, scratch.seen)
    own = _shared_index(layout, symbols, t, p)
    _find_rows(state.token_terms, layout, scratch.seen, own, p, block.token_rows[j])
    _find_rows(state.class_terms, layout, scratch.seen, own, p, block.class_rows[j])
    _find_rows(state.mixed_terms, layout, scratch.seen, own, p, block.mixed_rows[j])
    fetch_rows(state.token_lists, block.token_rows[j])
    fetch_rows(state.mixed_lists, block.mixed_rows[j])
    fetch_classes(state.class_counts, block.class_rows[j])
    pattern = _pattern(state.places, scratch.seen)
    best = _first_distribution(state, scratch, block.token_rows[j], plane, prior)
    _last_distribution(
        state, scratch, block.class_rows[j], block.mixed_rows[j], plane, pattern, best
    )
    return pattern


@inner
def learn(state, layout, scratch, block, t, p, j, x, pattern):  # type: ignore[no-untyped-def]
    """Collect what symbol x at (t, p), which was just predicted, teaches."""
    shared = state.shared
    places = state.places
    plane = p % layout.planes
    # Half of the symbols teach the token experts, who have most to read and learn as well.
    if (t + p) % 2 == 0:
        learn_lists(
            state.token_lists, state.token_experts, block.token_rows[j], scratch.token_levels,
            scratch.token_begins, scratch.token_said, scratch.token_gains, scratch.first_freq, x,
            block.token_places[j],
        )  # fmt: skip
    else:
        block.token_places[j] = -1
    learn_lists(
        state.mixed_lists, state.mixed_experts, block.mixed_rows[j], scratch.mixed_levels,
        scratch.mixed_begins, scratch.mixed_said, scratch.mixed_gains, scratch.last_freq, x,
        block.mixed_places[j],
    )  # fmt: skip
    _class_masses(scratch.last_freq, shared.classes[plane], scratch.mass)
    learn_classes(
        state.class_experts, scratch.class_levels, scratch.class_growth, scratch.mass,
        shared.classes[plane, x],
    )  # fmt: skip
    _learn_sharpness(state.sharpness, 0, plane, scratch.first_drop, scratch.first_freq, x)
    _learn_sharpness(state.sharpness, 1, plane, scratch.last_drop, scratch.last_freq, x)
    for m in range(places.copies.size):
        candidate = scratch.seen[places.copies[m]]
        if candidate < scratch.last_freq.size:
            hit = _ONE << np.int64(24) if candidate == x else np.int64(0)
            miss = hit - np.int64(scratch.last_freq[candidate])
            shared.bonus_gradient[m, _bonus_index(places, scratch.seen, m, pattern)] += miss
    if block.errors.shape[0]:
        number = (np.int64(t) * layout.positions + p) % block.errors.shape[0]
        _note_errors(scratch.last_freq, x, block.errors[number])


@inner
def _note_errors(freq, x, errors):  # type: ignore[no-untyped-def]
    """errors int16 (A,): what the table freq of symbol x said too much, in units of 2**-14."""
    half, shift = np.int32(1 << 9), np.int32(10)
    for s in range(freq.size):
        errors[s] = (freq[s] + half) >> shift
    errors[x] = (freq[x] - np.int32(1 << 24) + half) >> shift


@inner
def _train_bonus(shared, rate):  # type: ignore[no-untyped-def]
    for m in range(shared.bonus.shape[0]):
        for i in range(shared.bonus.shape[1]):
            if shared.bonus_gradient[m, i] != 0:
                value = shared.bonus[m, i] + ((shared.bonus_gradient[m, i] * rate) >> 24)
                shared.bonus[m, i] = min(max(value, -MOST_BONUS), MOST_BONUS)
                shared.bonus_gradient[m, i] = 0


@compiled
def _block_end(layout, begin):  # type: ignore[no-untyped-def]
    """Where the block that starts at symbol `begin` ends (see contexts.geometry)."""
    end = begin + layout.block_symbols
    if layout.block_symbols >= layout.positions:
        return end
    if layout.block_symbols < layout.columns:
        return min(end, (begin // layout.columns + 1) * layout.columns)
    return min(end, (begin // layout.positions + 1) * layout.positions)


@inner
def _count_classed(state, mixed_rows, class_rows, mixed_places, x, k):  # type: ignore[no-untyped-def]
    """Count symbol x of class k in the contexts that have classes."""
    count_symbols(state.mixed_lists, mixed_rows, x, mixed_places)
    count_classes(state.class_counts, class_rows, k)


@inner
def _fetch_counts(state, layout, block, symbols, i):  # type: ignore[no-untyped-def]
    """Fetch what counting symbol i will change."""
    j = i - block.pending[2]
    x = np.int64(symbols[i // layout.positions, i % layout.positions])
    fetch_counts(state.token_lists, block.token_rows[j], x, block.token_places[j])
    fetch_counts(state.mixed_lists, block.mixed_rows[j], x, block.mixed_places[j])
    k = state.shared.classes[i % layout.positions % layout.planes, x]
    fetch_class_counts(state.class_counts, block.class_rows[j], k)


@compiled
def count_block(state, layout, block, symbols):  # type: ignore[no-untyped-def]
    """Count the pending symbols of a coded block; false where a pool is full before the last."""
    positions = layout.positions
    while block.pending[0] < block.pending[1]:
        i = block.pending[0]
        j = i - block.pending[2]
        if i + COUNTS_FETCHED < block.pending[1]:
            _fetch_counts(state, layout, block, symbols, i + COUNTS_FETCHED)
        if not has_room(state.token_lists, block.token_rows.shape[1]):
            return False
        if not has_room(state.mixed_lists, block.mixed_rows.shape[1]):
            return False
        x = np.int64(symbols[i // positions, i % positions])
        z = i % positions % layout.planes
        state.shared.unigram[z, x] += 1
        count_symbols(state.token_lists, block.token_rows[j], x, block.token_places[j])
        k = state.shared.classes[z, x]
        _count_classed(state, block.mixed_rows[j], block.class_rows[j], block.mixed_places[j], x, k)
        block.pending[0] = i + 1
    return True


@inner
def _take_sums(total, parts, k):  # type: ignore[no-untyped-def]
    """Add part k, which is 0 afterwards."""
    for r in range(total.shape[0]):
        for i in range(total.shape[1]):
            # What is written here has to come back to the helper's core.
            if parts[k, r, i] != 0:
                total[r, i] += parts[k, r, i]
                parts[k, r, i] = 0


@inner
def _take_experts(experts, gradients, energies, k):  # type: ignore[no-untyped-def]
    _take_sums(experts.gradient, gradients, k)
    _take_sums(experts.energy, energies, k)


@inner
def _take_all(state, others, team):  # type: ignore[no-untyped-def]
    """Add what helpers have learned: sums, whose order does not matter."""
    for k in range(others.bonus_gradient.shape[0]):
        helped = HELPED + LINE * (k + 1)
        if load(team, helped) == 0:
            continue
        store(team, helped, 0)
        _take_experts(state.token_experts, others.token_gradient, others.token_energy, k)
        _take_experts(state.class_experts, others.class_gradient, others.class_energy, k)
        _take_experts(state.mixed_experts, others.mixed_gradient, others.mixed_energy, k)
        _take_experts(state.sharpness, others.sharpness_gradient, others.sharpness_energy, k)
        _take_sums(state.shared.bonus_gradient, others.bonus_gradient, k)


@compiled
def end_block(state, others, block, team, begin, end):  # type: ignore[no-untyped-def]
    """Learn from the block of symbols `begin` to `end`; they remain to be counted."""
    tuning = state.tuning
    _take_all(state, others, team)
    train(state.token_experts, tuning.weight_rate, -MOST_WEIGHT, MOST_WEIGHT)
    train(state.class_experts, tuning.weight_rate, -MOST_WEIGHT, MOST_WEIGHT)
    train(state.mixed_experts, tuning.weight_rate, -MOST_WEIGHT, MOST_WEIGHT)
    train(state.sharpness, tuning.sharpness_rate, LEAST_SHARPNESS, MOST_SHARPNESS)
    _train_bonus(state.shared, tuning.bonus_rate)
    block.pending[0] = begin
    block.pending[1] = end
    block.pending[2] = begin


# What the leader tells helpers: the symbols to code are from FIRST up to LAST, every task being one
# and all that follow it by STRIDE; the first of these tasks, of the block, and of the priors.
_FIRST, _LAST, _STRIDE, _TASK, _BLOCK, _PRIORS = range(TOLD, TOLD + 6)


@inner
def tell_block(team, begin):  # type: ignore[no-untyped-def]
    """The block that begins with symbol `begin` is next."""
    store(team, _BLOCK, begin)


@inner
def open_symbols(team, first, last, tasks, priors):  # type: ignore[no-untyped-def]
    """Open symbols `first` to `last`, numbered in the job's order, in so many tasks or fewer.

    Each task is symbols at equal distances, one after the other. priors: the symbol of the first of
    the job's priors.
    """
    store(team, _FIRST, first)
    store(team, _LAST, last)
    store(team, _STRIDE, tasks)
    store(team, _TASK, load(team, OPEN))
    store(team, _PRIORS, priors)
    open_tasks(team, min(tasks, last - first))


@borrowing
def code_symbols(state, layout, scratch, block, job, me):  # type: ignore[no-untyped-def]
    """Code open symbols until there is no task for thread `me` of the team.

    state, scratch: with sums and room of the thread's own. Where the words cannot come from an
    encoder, the team fails.
    """
    team, symbols, positions = job.team, job.symbols, layout.positions
    while True:
        task = next_task(team, me)
        if task < 0:
            return
        first = load(team, _FIRST) + task - load(team, _TASK)
        for i in range(first, load(team, _LAST), load(team, _STRIDE)):
            t = i // positions
            p = job.order[i % positions]
            j = t * positions + p - load(team, _BLOCK)
            prior = scratch.plain[p % layout.planes]
            if job.priors.shape[0]:
                prior = job.priors[i - load(team, _PRIORS)]
            pattern = predict(state, layout, scratch, block, symbols, t, p, j, prior)
            if job.mode == DECODE:
                lane = job.lane_of[i % positions]
                quantile = peek(job.lanes, lane)
                if quantile < 0:
                    store(team, FAILED, 1)
                    break
                x, below = symbol_at(scratch.last_freq, quantile)
                advance(job.lanes, lane, job.words, below, scratch.last_freq[x])
                symbols[t, p] = x
            else:
                x = np.int64(symbols[t, p])
                job.cum[i] = cumulative(scratch.last_freq, x)
                job.freq[i] = scratch.last_freq[x]
            learn(state, layout, scratch, block, t, p, j, x, pattern)
        task_done(team)


@compiled
def code_blocks(state, others, layout, scratch, block, job, begin, stop):  # type: ignore[no-untyped-def]
    """Code whole blocks in raster order, from symbol `begin`, until `stop` or a pool is full.

    Returns the index of the next symbol to code, or -1 when the words cannot come from an encoder.
    If that is before `stop`, give the pools more room and call again. The symbols of the last block
    are left to be counted.
    """
    last = job.symbols.shape[0] * layout.positions
    stop = min(stop, last)
    first = begin
    while begin < stop:
        if not count_block(state, layout, block, job.symbols):
            return begin
        end = min(_block_end(layout, begin), last)
        if job.priors.shape[0] == 0:
            _plain_steps(layout, state.shared.unigram, begin, end, scratch.plain)
        tell_block(job.team, begin)
        # A decoder must know a symbol before it can predict the next one.
        tasks = np.int64(1) if job.mode == DECODE else end - begin
        open_symbols(job.team, begin, end, tasks, first)
        code_symbols(state, layout, scratch, block, job, 0)
        if not all_done(job.team):
            return np.int64(-1)
        end_block(state, others, block, job.team, begin, end)
        begin = end
    return begin


@compiled
def recount(state, layout, scratch, symbols, begin, stop):  # type: ignore[no-untyped-def]
    """Count symbols `begin` to `stop` again in all contexts with classes, after these changed.

    Returns the index of the next symbol, less than `stop` where the pool is full.
    """
    class_rows = np.empty(state.class_terms.bits.size, np.int64)
    mixed_rows = np.empty(state.mixed_terms.bits.size, np.int64)
    unknown = np.full(mixed_rows.size, -1, np.int64)
    while begin < stop:
        t = begin // layout.positions
        p = begin % layout.positions
        _look(state, layout, symbols, t, p, scratch.seen)
        own = _shared_index(layout, symbols, t, p)
        _find_rows(state.class_terms, layout, scratch.seen, own, p, class_rows)
        _find_rows(state.mixed_terms, layout, scratch.seen, own, p, mixed_rows)
        if not has_room(state.mixed_lists, mixed_rows.size):
            break
        x = np.int64(symbols[t, p])
        k = state.shared.classes[p % layout.planes, x]
        _count_classed(state, mixed_rows, class_rows, unknown, x, k)
        begin += 1
    return begin
