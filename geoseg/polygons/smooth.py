"""Rounding the vertices of simplified borders: see `simplify` for why the curves do not cross."""

from __future__ import annotations

import numpy as np

from geoseg.polygons.compiled import entry, inner

__all__ = ["round_vertices"]


@entry
def round_vertices(chains, starts, vertices, scale, kept, levels):
    """Give each kept inner vertex a level: 0, or n to round it over 2**(n - 4) of its two sides."""
    arc = vertices[3]
    stay = np.empty(64, np.int32)
    for a in range(starts.shape[0] - 1):
        chain = chains[starts[a] : starts[a + 1]]
        if chain.shape[0] > stay.shape[0]:
            stay = np.empty(2 * chain.shape[0], np.int32)
        n = 0
        for t in range(chain.shape[0]):
            if kept[chain[t]]:
                stay[n] = chain[t]
                n += 1
        if arc[chain[0]] == a:  # a ring without a node: its first vertex is an inner one, too
            levels[chain[0]] = _level(stay[n - 2], stay[0], stay[1], vertices, scale, kept)
        for t in range(1, n - 1):
            levels[stay[t]] = _level(stay[t - 1], stay[t], stay[t + 1], vertices, scale, kept)


@inner
def _level(a, p, b, vertices, scale, kept):
    """How far vertex p, between a and b, can be rounded: 3, 2 or 1 for a half, quarter or eighth of its sides, or 0."""
    row_starts, rows_of, cols = vertices[:3]
    y, x = float(rows_of[p]), float(cols[p])
    ay, ax = rows_of[a] - y, cols[a] - x
    by, bx = rows_of[b] - y, cols[b] - x
    level = 3
    while level > 0:
        part = 2.0 ** (level - 4)
        ys = (y, y + part * ay, y + part * by)
        xs = (x, x + part * ax, x + part * bx)
        # The parabola's middle is where it is furthest from the vertex.
        away = np.hypot((ay + by) * scale[0], (ax + bx) * scale[1]) * part / 4
        if away <= 1.0 and _is_empty(ys, xs, p, row_starts, cols, kept):
            return level
        level -= 1
    return level


@inner
def _is_empty(ys, xs, p, row_starts, cols, kept):
    """Whether a triangle holds no kept vertex but its own, p."""
    slack = 1e-9  # a vertex on the border counts as inside
    for r in range(int(np.ceil(min(ys) - slack)), int(np.floor(max(ys) + slack)) + 1):
        west, east = np.inf, -np.inf
        for k in range(3):
            y0, x0, y1, x1 = ys[k], xs[k], ys[(k + 1) % 3], xs[(k + 1) % 3]
            if min(y0, y1) - slack <= r <= max(y0, y1) + slack:
                if abs(y1 - y0) <= slack:
                    low, high = min(x0, x1), max(x0, x1)
                else:
                    low = high = x0 + (x1 - x0) * min(max((r - y0) / (y1 - y0), 0.0), 1.0)
                west = min(west, low - slack)
                east = max(east, high + slack)
        low_v, high_v = row_starts[r], row_starts[r + 1]
        while low_v < high_v:
            middle = (low_v + high_v) // 2
            if cols[middle] < west:
                low_v = middle + 1
            else:
                high_v = middle
        while low_v < row_starts[r + 1] and cols[low_v] <= east:
            if kept[low_v] and low_v != p:
                return False
            low_v += 1
    return True
