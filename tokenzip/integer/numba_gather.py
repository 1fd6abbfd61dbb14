"""What networks see of symbols and their embeddings, gathered from the places around sites."""

from __future__ import annotations

import numpy as np

from ..coding.compiled import borrowing
from . import ONE
from .gemm_inputs import putting

#: copy(row, first, values): row[first + k] = values[k].
copy = putting(0)


@borrowing
def embed_rows(table, symbols, out):  # type: ignore[no-untyped-def]
    planes, _, width = table.shape
    for i in range(symbols.shape[0]):
        for plane in range(planes):
            row = table[plane, symbols[i, plane]]
            for e in range(width):
                out[i, plane * width + e] = row[e]


@borrowing
def gather_windows(values, places, first, out, begin):  # type: ignore[no-untyped-def]
    """values (N, F, S + 1, C), C-contiguous; places as of Places.rows; into out[..., begin:]."""
    clips, frames, of_frame, width = values.shape
    rows = values.reshape(clips, frames * of_frame, width)
    for n in range(clips):
        for t in range(out.shape[1]):
            start = (first + t) * of_frame
            for s in range(places.shape[0]):
                target, of_site, at = out[n, t, s], places[s], np.uint64(begin)
                for p in range(of_site.size):
                    row = rows[n, np.uint64(start + of_site[p])]
                    for c in range(width):
                        target[at + np.uint64(c)] = row[c]
                    at += np.uint64(width)


@borrowing
def gather_matches(symbols, a, b, first, none, out, begin):  # type: ignore[no-untyped-def]
    """a, b: Places.rows times planes, which saves products; into out[..., begin:]."""
    clips, frames, of_frame, planes = symbols.shape
    flat = symbols.reshape(clips, frames * of_frame * planes)
    for n in range(clips):
        of_clip = flat[n]
        for t in range(out.shape[1]):
            start = (first + t) * of_frame * planes
            for s in range(a.shape[0]):
                target, of_a, of_b = out[n, t, s], a[s], b[s]
                for plane in range(planes):
                    for p in range(of_a.size):
                        one = of_clip[np.uint64(start + of_a[p] + plane)]
                        other = of_clip[np.uint64(start + of_b[p] + plane)]
                        same = (one == other) & (one != none)
                        target[np.uint64(begin + p * planes + plane)] = ONE if same else 0


@borrowing
def gather_inputs(embedded, symbols, around, a, b, first, none, known, out):  # type: ignore[no-untyped-def]
    width, planes = embedded.shape[3], symbols.shape[3]
    places, pairs = around.shape[1], a.shape[1]
    start = places * width
    gather_windows(embedded, around, first, out, 0)
    gather_matches(symbols, a, b, first, none, out, start)
    if known < planes:
        if places:
            out[:, :, :, start - (planes - known) * (width // planes) : start] = 0
        if pairs:
            out[:, :, :, start + (pairs - 1) * planes + known :] = 0


@borrowing
def gather_site_inputs(embedded, symbols, window, position, a, b, first, none, out):  # type: ignore[no-untyped-def]
    start = window.shape[1] * embedded.shape[3]
    gather_windows(embedded, window, first, out, 0)
    for n in range(out.shape[0]):
        for t in range(out.shape[1]):
            for s in range(position.shape[0]):
                copy(out[n, t, s], start, position[s])
    gather_matches(symbols, a, b, first, none, out, start + position.shape[1])


@borrowing
def gather_candidates(symbols, places, plane, out):  # type: ignore[no-untyped-def]
    """Of the last frame, the symbols of a plane: out int32 (N * n, places), clip after clip."""
    clips, frames, of_frame, planes = symbols.shape
    flat = symbols.reshape(clips, frames * of_frame * planes)
    start, count = (frames - 1) * of_frame, places.shape[0]
    for n in range(clips):
        of_clip = flat[n]
        for s in range(count):
            target, of_site = out[n * count + s], places[s]
            for p in range(of_site.size):
                target[p] = of_clip[np.uint64((start + of_site[p]) * planes + plane)]


@borrowing
def put(symbols, embedded, table, found, sites, plane, frame):  # type: ignore[no-untyped-def]
    width, of_plane = table.shape[2], table[plane]
    for n in range(symbols.shape[0]):
        for i in range(sites.size):
            site, symbol = np.uint64(sites[i]), np.uint64(found[n * sites.size + i])
            symbols[n, frame, site, plane] = symbol
            for e in range(width):
                embedded[n, frame, site, plane * width + e] = of_plane[symbol, e]
