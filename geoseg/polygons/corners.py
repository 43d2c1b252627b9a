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

_SUMS = 6  # ∫v du and ∫du in the wall's sense, ∫v and length of the boundary, sum and number of fixed coordinates


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
def place_corners(xy, vertices, offsets, family, arcs_by_family, family_offsets, angles, kept, kinds, sums, tolerance):
    """Give each corner its place; families are placed in order, and what an earlier one has placed stays.

    Parameters
    ----------
    xy, vertices, offsets, tolerance : as `cut_into_walls` takes them
    kept, kinds, sums : as it returns them
    family, angles : (arc,) family (-1: the arc stays as it is) and its main direction
    arcs_by_family, family_offsets : the arcs of each family

    Returns
    -------
    (vertex, 2) m. A corner keeps the coordinates that none of its walls tells: oblique ones tell none.
    """
    n = len(xy)
    placed = xy.copy()
    is_fixed = np.zeros(n, np.bool_)
    for arc in range(len(family)):
        if family[arc] < 0:
            is_fixed[vertices[offsets[arc] : offsets[arc + 1]]] = True
    forest = np.arange(2 * n)  # of coordinates: v of each vertex, then u of each; those along one wall are one
    walls = np.zeros((2 * n, _SUMS))
    for f in range(len(family_offsets) - 1):
        arcs = arcs_by_family[family_offsets[f] : family_offsets[f + 1]]
        for arc in arcs:  # coordinates that an earlier family has used start anew
            for k in range(offsets[arc], offsets[arc + 1]):
                for slot in (vertices[k], vertices[k] + n):
                    forest[slot] = slot
                    walls[slot] = 0.0
        for arc in arcs:
            for k in range(offsets[arc], offsets[arc + 1] - 1):
                if kept[k] and kinds[k] != OBLIQUE:
                    shift = 0 if kinds[k] == ALONG else n
                    unite(forest, vertices[k] + shift, vertices[_next(kept, k)] + shift)
        for arc in arcs:
            _add_walls(arc, xy, placed, vertices, offsets, angles[arc], kept, kinds, sums, is_fixed, forest, walls)
        for arc in arcs:
            for k in range(offsets[arc], offsets[arc + 1]):
                vertex = vertices[k]
                if kept[k] and not is_fixed[vertex]:
                    u, v = turn(xy[vertex, 0], xy[vertex, 1], angles[arc])
                    v = _number(walls[find(forest, vertex)], v, tolerance)
                    u = _number(walls[find(forest, vertex + n)], u, tolerance)
                    placed[vertex, 0], placed[vertex, 1] = turn(u, v, -angles[arc])
        for arc in arcs:
            for k in range(offsets[arc], offsets[arc + 1]):
                if kept[k]:
                    is_fixed[vertices[k]] = True
    return placed


@njit(nogil=True, cache=True)
def _next(kept, k):
    """The place of the next corner."""
    k += 1
    while not kept[k]:
        k += 1
    return k


@njit(nogil=True, cache=True)
def _add_walls(arc, xy, placed, vertices, offsets, angle, kept, kinds, sums, is_fixed, forest, walls):
    """Add what the walls of an arc, and its fixed vertices, tell about coordinates."""
    n = len(xy)
    first = vertices[offsets[arc]]
    u0, v0 = turn(xy[first, 0], xy[first, 1], angle)  # sums are relative to the arc's first vertex
    for k in range(offsets[arc], offsets[arc + 1]):
        if not kept[k]:
            continue
        vertex = vertices[k]
        if is_fixed[vertex]:
            u, v = turn(placed[vertex, 0], placed[vertex, 1], angle)
            for slot, number in ((find(forest, vertex), v), (find(forest, vertex + n), u)):
                walls[slot, 4] += number
                walls[slot, 5] += 1
        if k + 1 < offsets[arc + 1] and kinds[k] != OBLIQUE:
            end = vertices[_next(kept, k)]
            du, dv = turn(xy[end, 0] - xy[vertex, 0], xy[end, 1] - xy[vertex, 1], angle)
            if kinds[k] == ALONG:
                slot, run, area, moment, base = find(forest, vertex), du, sums[k, 6], sums[k, 2], v0
            else:
                slot, run, area, moment, base = find(forest, vertex + n), dv, sums[k, 7], sums[k, 1], u0
            sign = 1.0 if run > 0 else -1.0
            walls[slot, 0] += sign * (area + base * run)
            walls[slot, 1] += sign * run
            walls[slot, 2] += moment + base * sums[k, 0]
            walls[slot, 3] += sums[k, 0]


@njit(nogil=True, cache=True)
def _number(wall, before, tolerance):
    """The coordinate of a wall: that of its fixed vertices, or else the mean that keeps the area."""
    if wall[3] == 0:  # no wall
        return before
    if wall[5] > 0:
        return wall[4] / wall[5]
    mean = wall[2] / wall[3]
    if wall[1] > tolerance and abs(wall[0] / wall[1] - mean) < tolerance:
        return wall[0] / wall[1]
    return mean  # too short, or too crooked, for its area to tell


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
