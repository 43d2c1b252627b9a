"""Where walls meet: one coordinate for all corners along a wall, so that shared walls and fronts of rows stay joined.

In the main direction a wall is one number. Walls that meet end to end at a node are one wall; its number is the mean of
the boundary along it, taken so that the area on both sides is kept (∫v du / ∫du, by Green's theorem).

Where a narrow gap between two walls closes, both leave the same node along the same line; `zip_walls` gives the longer
one the corner at which the shorter one ends, so that they keep fitting edge to edge.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.polygons.connect import find, unite
from geoseg.polygons.walls import ALONG, OBLIQUE, central, turn

__all__ = ["only_corners", "place_corners", "slopes", "zip_walls"]


@njit(nogil=True, cache=True)
def slopes(family, n_families, offsets, kept, kinds, sums):
    """How far walls as found are turned from the main direction, by least squares: (family,) radians."""
    none = np.zeros(sums.shape[1])
    up = np.zeros(n_families)
    down = np.zeros(n_families)
    for arc in range(len(offsets) - 1):
        if family[arc] < 0:
            continue
        for k in range(offsets[arc], offsets[arc + 1] - 1):
            if kept[k] and kinds[k] != OBLIQUE:
                uu, uv, vv = central(sums[k], none)
                up[family[arc]] += uv if kinds[k] == ALONG else -uv
                down[family[arc]] += uu if kinds[k] == ALONG else vv
    return np.arctan2(up, np.maximum(down, 1e-300))


@njit(nogil=True, cache=True)
def place_corners(xy, vertices, offsets, family, arcs_by_family, family_offsets, angles, kept, kinds, sums, reach):
    """Give each corner its place; families are placed in order, and what an earlier one has placed stays.

    Parameters
    ----------
    family, angles : (arc,) family (-1: the arc stays as it is) and its main direction
    arcs_by_family, family_offsets : arcs of each family
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


def only_corners(
    vertices: np.ndarray, offsets: np.ndarray, kept: np.ndarray, kinds: np.ndarray, closed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The arcs with their corners alone, for `Arcs.polygons`: vertices and offsets."""
    kept = kept.copy()
    corner = np.flatnonzero(kept)
    first = np.searchsorted(corner, offsets[:-1])
    last = np.searchsorted(corner, offsets[1:]) - 1
    before = corner[last - 1]
    straight = closed & (kinds[before] == kinds[offsets[:-1]]) & (kinds[before] != OBLIQUE) & (last - first > 3)
    kept[offsets[:-1][straight]] = False  # no corner: its two walls are one
    vertices = vertices.copy()
    vertices[offsets[1:][straight] - 1] = vertices[corner[first[straight] + 1]]
    counts = np.add.reduceat(kept, offsets[:-1], dtype=np.int64)
    return vertices[kept], np.concatenate([[0], np.cumsum(counts)])


def zip_walls(
    xy: np.ndarray, vertices: np.ndarray, offsets: np.ndarray, closed: np.ndarray, precision: float
) -> tuple[np.ndarray, np.ndarray]:
    """Put the end of a wall on each longer wall that leaves its node along the same line; vertices and offsets."""
    while True:
        arcs = np.tile(np.flatnonzero(~closed), 2)
        backwards = np.arange(len(arcs)) >= len(arcs) // 2
        place = np.where(backwards, offsets[arcs + 1] - 1, offsets[arcs])
        order = np.argsort(vertices[place], kind="stable")
        place, backwards, arcs = place[order], backwards[order], arcs[order]
        node, end = vertices[place], vertices[np.where(backwards, place - 1, place + 1)]
        step = xy[end] - xy[node]
        length = np.hypot(*step.T)
        into = np.full(len(place), -1)
        for apart in range(1, 4):
            a, b = np.arange(len(place) - apart), np.arange(apart, len(place))
            cross = step[a, 0] * step[b, 1] - step[a, 1] * step[b, 0]
            along = (step[a] * step[b]).sum(axis=1)
            longer = np.maximum(length[a], length[b])
            fits = (node[a] == node[b]) & (along > 0) & (np.abs(cross) < precision * longer) & (length[a] != length[b])
            a, b = a[fits], b[fits]
            short, long = np.where(length[a] < length[b], (a, b), (b, a))
            into[long] = end[short]
        chosen = np.flatnonzero(into >= 0)
        if not len(chosen):
            return vertices, offsets
        at = np.where(backwards[chosen], place[chosen], place[chosen] + 1)
        vertices = np.insert(vertices, at, into[chosen])
        offsets = offsets + np.concatenate([[0], np.cumsum(np.bincount(arcs[chosen], minlength=len(offsets) - 1))])
