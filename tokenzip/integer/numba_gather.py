"""What networks see of symbols and their embeddings, gathered from the places around sites."""

from __future__ import annotations

import numpy as np

from ..coding.compiled import compiled
from . import ONE


@compiled
def embed_rows(table, symbols, out):  # type: ignore[no-untyped-def]
    planes, _, width = table.shape
    for i in range(symbols.shape[0]):
        for plane in range(planes):
            row = table[plane, symbols[i, plane]]
            for e in range(width):
                out[i, plane * width + e] = row[e]


@compiled
def gather_windows(values, back, site, first, out):  # type: ignore[no-untyped-def]
    width = np.uint64(values.shape[3])
    for n in range(out.shape[0]):
        for t in range(out.shape[1]):
            for s in range(out.shape[2]):
                target, start = out[n, t, s], np.uint64(0)
                for p in range(back.size):
                    row = values[n, first + t - back[p], site[p, s]]
                    for c in range(width):
                        target[start + c] = row[c]
                    start += width


@compiled
def gather_matches(symbols, back_a, site_a, back_b, site_b, first, none, out):  # type: ignore[no-untyped-def]
    planes = symbols.shape[3]
    for n in range(out.shape[0]):
        for t in range(out.shape[1]):
            target = out[n, t]
            # All sites of a place in turn, which takes a quarter of the time.
            for p in range(back_a.size):
                frame_a = symbols[n, first + t - back_a[p]]
                frame_b = symbols[n, first + t - back_b[p]]
                sites_a, sites_b = site_a[p], site_b[p]
                for plane in range(planes):
                    column = p * planes + plane
                    for s in range(sites_a.size):
                        a = frame_a[np.uint32(sites_a[s]), plane]
                        same = (a == frame_b[np.uint32(sites_b[s]), plane]) & (a != none)
                        target[s, column] = ONE if same else 0


@compiled
def gather_inputs(  # type: ignore[no-untyped-def]
    embedded, symbols, back, site, back_a, site_a, back_b, site_b, first, none, known, out
):
    width, planes = embedded.shape[3], symbols.shape[3]
    start = back.size * width
    windows, equal = out[:, :, :, :start], out[:, :, :, start:]
    gather_windows(embedded, back, site, first, windows)
    gather_matches(symbols, back_a, site_a, back_b, site_b, first, none, equal)
    if known < planes:
        if back.size:
            windows[:, :, :, start - (planes - known) * (width // planes) :] = 0
        if back_a.size:
            equal[:, :, :, (back_a.size - 1) * planes + known :] = 0


@compiled
def gather_site_inputs(  # type: ignore[no-untyped-def]
    embedded, symbols, back, site, position, back_a, site_a, back_b, site_b, first, none, out
):
    start = back.size * embedded.shape[3]
    stop = start + position.shape[1]
    gather_windows(embedded, back, site, first, out[:, :, :, :start])
    for n in range(out.shape[0]):
        for t in range(out.shape[1]):
            out[n, t, :, start:stop] = position
    gather_matches(symbols, back_a, site_a, back_b, site_b, first, none, out[:, :, :, stop:])


@compiled
def put(symbols, embedded, table, found, sites, plane, frame):  # type: ignore[no-untyped-def]
    width = table.shape[2]
    for n in range(symbols.shape[0]):
        for i in range(sites.size):
            symbol = found[n * sites.size + i]
            symbols[n, frame, sites[i], plane] = symbol
            for e in range(width):
                embedded[n, frame, sites[i], plane * width + e] = table[plane, symbol, e]
