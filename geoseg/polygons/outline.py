"""A boundary's vertices → the points that are drawn, after simplification and smoothing.

Points are lattice coordinates, multiples of 1/128, so both sides of a border compute the very same numbers.
"""

from __future__ import annotations

from geoseg.polygons.compiled import inner
from geoseg.polygons.trace import COLUMN, DROPPED, ROUNDED, STRAIGHT

__all__ = ["MOST_POINTS", "outline"]

MOST_POINTS = 5
"""Points that a vertex may become."""


@inner
def outline(vertices, kept, points):
    """Write the points of a ring.

    Parameters
    ----------
    vertices : (n,) int64
        `trace.CORNER.at`.
    kept : (>= n,) int64
        Scratch.
    points : (>= 5 n, 2) float64
        Row and column of each point; the first one is not repeated.

    Returns
    -------
    int
        Number of points.
    """
    m = 0
    for v in vertices:
        if not v & DROPPED:
            kept[m] = v
            m += 1
    n = 0
    for k in range(m):
        v = kept[k]
        y, x = _place(v)
        level = v // ROUNDED & 3
        if level == 0 and not v & STRAIGHT:
            points[n, 0] = y
            points[n, 1] = x
            n += 1
            continue
        ay, ax = _place(kept[k - 1 if k > 0 else m - 1])
        by, bx = _place(kept[k + 1 if k + 1 < m else 0])
        ay -= y
        ax -= x
        by -= y
        bx -= x
        if level == 0:
            if ay * bx != ax * by:  # else the line goes straight on
                points[n, 0] = y
                points[n, 1] = x
                n += 1
            continue
        # A parabola from one side to the other, with the vertex as its control point, at 0, 1/4 or 1/2, and so on.
        part = 2.0 ** (level - 4)
        dot = ay * by + ax * bx
        cross = ay * bx - ax * by
        steps = 2 if -dot > abs(cross) else 4  # two chords are smooth enough where it turns by less than 45 degrees
        for step in range(steps + 1):
            s = step / steps
            p = part * (1 - s) * (1 - s)
            q = part * s * s
            points[n, 0] = y + p * ay + q * by
            points[n, 1] = x + p * ax + q * bx
            if n == 0 or points[n, 0] != points[n - 1, 0] or points[n, 1] != points[n - 1, 1]:
                n += 1
    if n > 1 and points[n - 1, 0] == points[0, 0] and points[n - 1, 1] == points[0, 1]:
        n -= 1
    return n


@inner(inline="always")
def _place(vertex):
    return float(vertex >> 32), float((vertex & 0xFFFFFFFF) >> COLUMN)
