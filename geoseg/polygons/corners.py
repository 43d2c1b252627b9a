"""Where walls meet: one coordinate for all corners along a wall, so that shared walls and fronts of rows stay joined.

In the main direction a wall is one number. Walls that meet end to end at a node are one wall; its number is the mean of
the boundary along it, taken so that the area on both sides is kept (∫v du / ∫du, by Green's theorem).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.polygons.connect import find, unite
from geoseg.polygons.walls import ACROSS, ALONG, OBLIQUE, central, turn

__all__ = ["place_corners", "slopes"]


@njit(nogil=True, cache=True)
def slopes(family, n_families, offsets, kept, kinds, sums):
    """How far walls as found are turned from the main direction, by least squares: (family,) radians."""
    up = np.zeros(n_families)
    down = np.zeros(n_families)
    for arc in range(len(offsets) - 1):
        if family[arc] < 0:
            continue
        for k in range(offsets[arc], offsets[arc + 1] - 1):
            if kept[k] and kinds[k] != OBLIQUE:
                uu, uv, vv = central(sums[k])
                up[family[arc]] += uv if kinds[k] == ALONG else -uv
                down[family[arc]] += uu if kinds[k] == ALONG else vv
    return np.arctan2(up, np.maximum(down, 1e-300))


@njit(nogil=True, cache=True)
def place_corners(xy, vertices, offsets, closed, family, arcs_by_family, family_offsets, angles, kept, kinds, sums, reach):
    """Give each corner its place; families are placed in order, and what an earlier one has placed stays.

    Parameters
    ----------
    family, angles : (arc,) family (-1: the arc stays as it is) and its main direction
    arcs_by_family, family_offsets : arcs of each family
    kept : (place,) bool; a corner that turns out to lie on a straight wall is taken out
    reach : m, how far a corner at an oblique wall may leave the vertex that it was

    Returns
    -------
    (vertex, 2) m
    """
    placed = xy.copy()
    is_fixed = np.zeros(len(xy), np.bool_)
    for arc in range(len(family)):
        if family[arc] < 0:
            is_fixed[vertices[offsets[arc] : offsets[arc + 1]]] = True
    n = len(xy)
    forest = np.arange(2 * n)  # v of each vertex, then u
    known = np.zeros(2 * n, np.bool_)
    top = np.zeros(2 * n)
    bottom = np.zeros(2 * n)
    plain = np.zeros((2 * n, 2))
    pinned = np.zeros((2 * n, 2))
    for f in range(len(family_offsets) - 1):
        arcs = arcs_by_family[family_offsets[f] : family_offsets[f + 1]]
        for arc in arcs:
            for k in range(offsets[arc], offsets[arc + 1]):
                if kept[k]:
                    for slot in (vertices[k], vertices[k] + n):
                        forest[slot] = slot
                        known[slot] = False
                        top[slot] = bottom[slot] = 0.0
                        plain[slot] = 0.0
                        pinned[slot] = 0.0
        for arc in arcs:
            _walk(arc, vertices, offsets, kept, kinds, n, forest, known)
        for arc in arcs:
            angle = angles[arc]
            origin = turn(xy[vertices[offsets[arc]], 0], xy[vertices[offsets[arc]], 1], angle)
            for k in range(offsets[arc], offsets[arc + 1]):
                if not kept[k]:
                    continue
                vertex = vertices[k]
                if is_fixed[vertex]:
                    u, v = turn(placed[vertex, 0], placed[vertex, 1], angle)
                    for slot, value in ((find(forest, vertex), v), (find(forest, vertex + n), u)):
                        pinned[slot, 0] += value
                        pinned[slot, 1] += 1
                if k + 1 < offsets[arc + 1] and kinds[k] != OBLIQUE:
                    end = vertices[_next(kept, k)]
                    du, dv = turn(xy[end, 0] - xy[vertex, 0], xy[end, 1] - xy[vertex, 1], angle)
                    if kinds[k] == ALONG:
                        slot, run, area, mean, base = find(forest, vertex), du, sums[k, 6], sums[k, 2], origin[1]
                    else:
                        slot, run, area, mean, base = find(forest, vertex + n), dv, sums[k, 7], sums[k, 1], origin[0]
                    sign = 1.0 if run > 0 else -1.0
                    top[slot] += sign * (area + base * run)
                    bottom[slot] += sign * run
                    plain[slot, 0] += mean + base * sums[k, 0]
                    plain[slot, 1] += sums[k, 0]
        for arc in arcs:
            for k in range(offsets[arc], offsets[arc + 1]):
                vertex = vertices[k]
                if not kept[k] or is_fixed[vertex]:
                    continue
                u, v = turn(xy[vertex, 0], xy[vertex, 1], angles[arc])
                if known[vertex]:
                    v = _value(find(forest, vertex), top, bottom, plain, pinned, reach)
                if known[vertex + n]:
                    u = _value(find(forest, vertex + n), top, bottom, plain, pinned, reach)
                placed[vertex, 0], placed[vertex, 1] = turn(u, v, -angles[arc])
        for arc in arcs:
            for k in range(offsets[arc], offsets[arc + 1]):
                if kept[k]:
                    is_fixed[vertices[k]] = True
            first, last = offsets[arc], offsets[arc + 1] - 1
            if closed[arc]:
                k = last - 1
                while k > first and not kept[k]:
                    k -= 1
                if kinds[k] == kinds[first] and kinds[k] != OBLIQUE:
                    kept[first] = kept[last] = False
    return placed


@njit(nogil=True, cache=True)
def _next(kept, k):
    k += 1
    while not kept[k]:
        k += 1
    return k


@njit(nogil=True, cache=True)
def _walk(arc, vertices, offsets, kept, kinds, n, forest, known):
    """Unite the coordinates at both ends of each wall of an arc."""
    for k in range(offsets[arc], offsets[arc + 1] - 1):
        if kept[k] and kinds[k] != OBLIQUE:
            shift = 0 if kinds[k] == ALONG else n
            a, b = vertices[k] + shift, vertices[_next(kept, k)] + shift
            unite(forest, a, b)
            known[a] = known[b] = True


@njit(nogil=True, cache=True)
def _value(slot, top, bottom, plain, pinned, reach):
    """The number of a wall: that of its fixed vertices, or else the mean that keeps the area."""
    if pinned[slot, 1] > 0:
        return pinned[slot, 0] / pinned[slot, 1]
    mean = plain[slot, 0] / plain[slot, 1]
    if bottom[slot] > reach and abs(top[slot] / bottom[slot] - mean) < reach:
        return top[slot] / bottom[slot]
    return mean
