"""Classes of symbols that behave alike, found in the tokens coded so far.

Two symbols are alike when the same symbols stand before and after them, at the same position one
frame earlier and later (or beside and above them, where frames repeat less than rows do). Every
symbol is a sparse vector of log2(1 + 32 * lift) over those companions, normalised; spherical
k-means (Dhillon and Modha, 2001), seeded with the most frequent symbols, groups them. Integers
only: encoder and decoder find the same classes on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.compiled import compiled
from tokenzip.coding.logarithms import log2_steps

from .contexts import Geometry
from .logs import integer_sqrt

ROUNDS = 15
#: Length of a normalised vector.
LENGTH = 4096
#: Pairs that are counted at a stroke.
MOST_PAIRS = 1 << 19
#: Companions share features where the alphabet is larger than this.
MOST_FEATURES = 2048

Symbols = NDArray[np.uint16]


def find_classes(segments: Sequence[Symbols], layout: Geometry) -> NDArray[np.int64]:
    """The class of every symbol, int64 (planes, A), from segments uint16 (T, positions)."""
    found = np.zeros((layout.planes, layout.alphabet), np.int64)
    for plane in range(layout.planes):
        parts = [
            s.reshape(len(s), layout.rows, layout.columns)[:, :, plane :: layout.planes]
            for s in segments
        ]
        found[plane] = _classes_of_plane(parts, layout.alphabet, layout.classes)
    return found


def classes_of_vectors(vectors: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The class of every symbol, int64 (A,), from vectors (A, F) of numbers that int8 holds.

    They are compared as they lie around their mean. Seeds are symbols at equal distances.
    """
    symbols, features = vectors.shape
    around = vectors * symbols - vectors.sum(axis=0)
    values = np.empty(around.shape, np.int64)
    _normalise(around, values)
    symbol, feature = np.indices(vectors.shape).reshape(2, -1)
    seeds = np.arange(classes) * symbols // classes
    totals = np.ones(symbols, np.int64)
    found: NDArray[np.int64] = _k_means(
        symbol, feature, values.reshape(-1), totals, seeds, features, classes
    )
    return found


@compiled
def _normalise(vectors, values):  # type: ignore[no-untyped-def]
    """values (A, F): the vectors, each of about LENGTH."""
    for s in range(vectors.shape[0]):
        square = np.int64(0)
        for f in range(vectors.shape[1]):
            square += vectors[s, f] * vectors[s, f]
        length = integer_sqrt(square) + 1
        for f in range(vectors.shape[1]):
            values[s, f] = vectors[s, f] * LENGTH // length


def _classes_of_plane(parts: Sequence[Symbols], alphabet: int, classes: int) -> NDArray[np.int64]:
    before = [(p[1:], p[:-1]) for p in parts]
    left = [(p[:, :, 1:], p[:, :, :-1]) for p in parts]
    above = [(p[:, 1:], p[:, :-1]) for p in parts]
    pairs = before if _repeats(before) >= _repeats(left) else left + above

    features = min(alphabet, MOST_FEATURES)
    key, count = _pair_counts(pairs, features)
    symbol, feature = key // (2 * features), key % (2 * features)
    values, totals = _vectors(symbol, feature, count, alphabet, 2 * features)
    seeds = np.argsort(-totals, kind="stable")[:classes]
    labels: NDArray[np.int64] = _k_means(
        symbol, feature, values, totals, seeds, 2 * features, classes
    )
    return labels


def _pair_counts(
    pairs: Iterable[tuple[Symbols, Symbols]], features: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sorted keys symbol * 2 F + feature that occur, and how often each one does.

    A pair (x, y) gives x the feature y mod F, and y the feature F + x mod F. Counted in runs of
    MOST_PAIRS, so that memory does not grow with the number of pairs.
    """
    key, count = np.empty(0, np.int64), np.empty(0, np.int64)
    waiting: list[NDArray[np.int64]] = []
    size = 0
    for symbols, companions in pairs:
        all_s, all_c = symbols.reshape(-1), companions.reshape(-1)
        for start in range(0, all_s.size, MOST_PAIRS):
            s = all_s[start : start + MOST_PAIRS].astype(np.int64)
            c = all_c[start : start + MOST_PAIRS].astype(np.int64)
            waiting.append(s * (2 * features) + c % features)
            waiting.append(c * (2 * features) + features + s % features)
            size += s.size
            if size >= MOST_PAIRS:
                key, count = _merged(key, count, np.concatenate(waiting))
                waiting.clear()
                size = 0
    return _merged(key, count, np.concatenate(waiting)) if waiting else (key, count)


def _merged(
    key: NDArray[np.int64], count: NDArray[np.int64], more: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted keys and their counts after `more` keys have come."""
    fresh, times = np.unique(more, return_counts=True)
    both = np.concatenate([key, fresh])
    order = np.argsort(both, kind="stable")
    keys, first = np.unique(both[order], return_index=True)
    counts = np.concatenate([count, times.astype(np.int64)])[order]
    return keys, np.add.reduceat(counts, first)


def _repeats(pairs: Iterable[tuple[Symbols, Symbols]]) -> int:
    return sum(int(np.count_nonzero(s == c)) for s, c in pairs)


@compiled
def _vectors(symbol, feature, count, alphabet, features):  # type: ignore[no-untyped-def]
    """Normalised values of the sparse matrix's entries, and every symbol's total count."""
    totals = np.zeros(alphabet, np.int64)
    feature_totals = np.zeros(features, np.int64)
    total = np.int64(0)
    for i in range(count.size):
        totals[symbol[i]] += count[i]
        feature_totals[feature[i]] += count[i]
        total += count[i]
    values = np.empty(count.size, np.int64)
    squares = np.zeros(alphabet, np.int64)
    for i in range(count.size):
        # Below 2**28 symbols, in this order, nothing leaves 64 bits.
        share = count[i] * total // totals[symbol[i]]
        lift = share * 2048 // feature_totals[feature[i]]
        values[i] = log2_steps(64 + lift) - 384
        squares[symbol[i]] += values[i] * values[i]
    for i in range(count.size):
        values[i] = values[i] * LENGTH // (integer_sqrt(squares[symbol[i]]) + 1)
    return values, totals


@compiled
def _centres(symbol, feature, values, label, centres):  # type: ignore[no-untyped-def]
    """The normalised sum of every class's vectors; symbols labelled -1 belong to none."""
    centres[:] = 0
    for i in range(symbol.size):
        if label[symbol[i]] >= 0:
            centres[feature[i], label[symbol[i]]] += values[i]
    squares = np.zeros(centres.shape[1], np.int64)
    for f in range(centres.shape[0]):
        for k in range(centres.shape[1]):
            squares[k] += centres[f, k] * centres[f, k]
    for k in range(centres.shape[1]):
        squares[k] = integer_sqrt(squares[k]) + 1
    for f in range(centres.shape[0]):
        for k in range(centres.shape[1]):
            centres[f, k] = centres[f, k] * LENGTH // squares[k]


@compiled
def _k_means(symbol, feature, values, totals, seeds, features, classes):  # type: ignore[no-untyped-def]
    """Labels int64 (A,); ties go to the lower class, symbols never seen to class 0."""
    label = np.full(totals.size, -1, np.int64)
    for k in range(seeds.size):
        label[seeds[k]] = k
    centres = np.zeros((features, classes), np.int64)
    likeness = np.zeros(classes, np.int64)
    for _ in range(ROUNDS):
        _centres(symbol, feature, values, label, centres)
        changes = 0
        i = 0
        for s in range(totals.size):
            likeness[:] = 0
            while i < symbol.size and symbol[i] == s:
                for k in range(classes):
                    likeness[k] += values[i] * centres[feature[i], k]
                i += 1
            best = 0
            for k in range(1, classes):
                if likeness[k] > likeness[best]:
                    best = k
            if label[s] != best:
                changes += 1
            label[s] = best
        if changes == 0:
            break
    return label
