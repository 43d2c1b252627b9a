"""Arcs as walls: straight pieces along the main direction, across it, or (where that fits much better) oblique.

The boundary of an arc is cut at the vertices that Douglas and Peucker (1973) leave, into the walls whose squared
distances from it, plus a price for each wall, are least: optimal partitioning (Jackson et al. 2005, "An algorithm for
optimal partitioning of data on an interval"), pruned (Killick et al. 2012, "Optimal detection of changepoints with a
linear computational cost"), with moments of the boundary as prefix sums. Two walls along the main direction never
follow each other, so each corner is square or touches an oblique wall.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["ACROSS", "ALONG", "OBLIQUE", "corner_candidates", "cut_into_walls", "main_direction", "turn"]

ALONG, ACROSS, OBLIQUE = 0, 1, 2
"""Kinds of walls: v is constant, u is constant, neither; (u, v) are the coordinates in the main direction."""

_WALL = 1.5  # price of a wall, in cubes of the tolerance: of the distance², summed along the boundary
_OBLIQUE_WALL = 8.0
_SHORT_WALL = 8.0  # more for walls that are shorter than the tolerance
_NODE = 2.0  # an end at a node counts as so many tolerances of boundary, so that walls of other arcs are met there
_LONGEST = 32  # edges whose directions are tried
_MOMENTS = 8  # length, ∫u, ∫v, ∫u², ∫uv, ∫v² by length, ∫v du, ∫u dv


@njit(nogil=True, cache=True)
def corner_candidates(xy, vertices, offsets, tolerance):
    """The places of arcs that Douglas and Peucker leave: (place,) bool. Ends of arcs are kept."""
    marked = np.zeros(len(vertices), np.bool_)
    stack = np.empty((len(vertices) + 2, 2), np.int64)
    for arc in range(len(offsets) - 1):
        stack[0, 0], stack[0, 1] = offsets[arc], offsets[arc + 1] - 1
        marked[stack[0, 0]] = marked[stack[0, 1]] = True
        size = 1
        while size > 0:
            size -= 1
            first, last = stack[size]
            ax, ay = xy[vertices[first]]
            dx, dy = xy[vertices[last]] - xy[vertices[first]]
            length2 = dx * dx + dy * dy
            worst, farthest = 0.0, -1
            for k in range(first + 1, last):
                px, py = xy[vertices[k], 0] - ax, xy[vertices[k], 1] - ay
                along = 0.0 if length2 == 0 else min(max((px * dx + py * dy) / length2, 0.0), 1.0)
                distance2 = (px - along * dx) ** 2 + (py - along * dy) ** 2
                if distance2 > worst:
                    worst, farthest = distance2, k
            if worst > tolerance * tolerance:
                marked[farthest] = True
                stack[size, 0], stack[size, 1] = first, farthest
                stack[size + 1, 0], stack[size + 1, 1] = farthest, last
                size += 2
    return marked


@njit(nogil=True, cache=True)
def main_direction(steps, offsets):
    """The direction that most edges of each owner follow or cross: (owner,) angle in radians, 0 to π/2.

    It minimises Σ length² · |sin 2(direction - angle)| over the directions of the longest edges (the sum is concave
    between directions of edges), and is then the mean over the edges within 15° of it.

    steps : (edge, 2), offsets : (owner + 1,)
    """
    angles = np.zeros(len(offsets) - 1)
    for owner in range(len(angles)):
        mine = steps[offsets[owner] : offsets[owner + 1]]
        length2 = mine[:, 0] ** 2 + mine[:, 1] ** 2
        angle = np.arctan2(mine[:, 1], mine[:, 0])
        best, least = 0.0, np.inf
        for k in np.argsort(-length2, kind="mergesort")[:_LONGEST]:
            cost = 0.0
            for i in range(len(mine)):
                cost += length2[i] * abs(np.sin(2 * (angle[i] - angle[k])))
            if cost < least * (1 - 1e-9):
                best, least = angle[k], cost
        x = y = 0.0
        for i in range(len(mine)):
            off = 4 * (angle[i] - best)
            if np.cos(off) >= 0.5:
                x += length2[i] * np.cos(off)
                y += length2[i] * np.sin(off)
        angles[owner] = (best + np.arctan2(y, x) / 4) % (np.pi / 2) if len(mine) else 0.0
    return angles


@njit(nogil=True, cache=True)
def turn(x, y, angle):
    """Coordinates along and across a direction; with the angle's negative back again."""
    c, s = np.cos(angle), np.sin(angle)
    return c * x + s * y, c * y - s * x


@njit(nogil=True, cache=True)
def _moments(u, v, places, end_weight):
    """Sums over the boundary up to each of some places: (place, _MOMENTS)."""
    sums = np.zeros((len(places), _MOMENTS))
    total = np.zeros(_MOMENTS)
    next_place = 0
    for k in range(len(u)):
        if k > 0:
            du, dv = u[k] - u[k - 1], v[k] - v[k - 1]
            mu, mv = (u[k] + u[k - 1]) / 2, (v[k] + v[k - 1]) / 2
            length = np.hypot(du, dv)
            total[0] += length
            total[1] += length * mu
            total[2] += length * mv
            total[3] += length * (mu * mu + du * du / 12)
            total[4] += length * (mu * mv + du * dv / 12)
            total[5] += length * (mv * mv + dv * dv / 12)
            total[6] += mv * du
            total[7] += mu * dv
        if k == len(u) - 1:
            _add_point(total, u[k], v[k], end_weight)
        if next_place < len(places) and places[next_place] == k:
            sums[next_place] = total
            next_place += 1
        if k == 0:
            _add_point(total, u[k], v[k], end_weight)
    return sums


@njit(nogil=True, cache=True)
def _add_point(total, u, v, weight):
    total[0] += weight
    total[1] += weight * u
    total[2] += weight * v
    total[3] += weight * u * u
    total[4] += weight * u * v
    total[5] += weight * v * v


@njit(nogil=True, cache=True)
def central(upto, since):
    """Second moments about the mean of the boundary between two places: uu, uv, vv."""
    length = upto[0] - since[0]
    if length == 0:
        return 0.0, 0.0, 0.0
    u, v = upto[1] - since[1], upto[2] - since[2]
    uu, uv, vv = upto[3] - since[3], upto[4] - since[4], upto[5] - since[5]
    return max(uu - u * u / length, 0.0), uv - u * v / length, max(vv - v * v / length, 0.0)


@njit(nogil=True, cache=True)
def _partition(sums, u, v, places, tolerance, kinds, kept):
    """The cheapest walls of one arc; writes the kind at the place where each starts, and which places are kept."""
    n = len(places)
    unit = tolerance**3
    cost = np.full((n, 3), np.inf)  # of the walls up to a place, by the kind of the last one
    start = np.full((n, 3), -1)  # where that one starts
    cheapest = np.full((n, 3), -1)  # kind of the best wall before one of each kind
    cost[0] = 0.0
    cheapest[0] = 0
    open_places = np.zeros(n, np.int64)  # where the wall that ends at j may start
    n_open = 1
    distances = np.empty((n, 3))
    for j in range(1, n):
        for k in range(n_open):
            i = open_places[k]
            uu, uv, vv = central(sums[j], sums[i])
            du, dv = abs(u[places[j]] - u[places[i]]), abs(v[places[j]] - v[places[i]])
            distances[k] = vv, uu, (uu + vv) / 2 - np.sqrt(((uu - vv) / 2) ** 2 + uv * uv)
            for kind in range(3):
                length = (du, dv, np.hypot(du, dv))[kind]
                price = (_OBLIQUE_WALL if kind == OBLIQUE else _WALL) + (_SHORT_WALL if length < tolerance else 0.0)
                distances[k, kind] += cost[i, cheapest[i, kind]]
                if distances[k, kind] + price * unit < cost[j, kind]:
                    cost[j, kind] = distances[k, kind] + price * unit
                    start[j, kind] = i
        for kind in range(3):
            best = -1
            for before in range(3):
                if (before != kind or kind == OBLIQUE) and (best < 0 or cost[j, before] < cost[j, best]):
                    best = before
            cheapest[j, kind] = best
        still_open = 0
        for k in range(n_open):  # from the others no wall will be worth it that a cut at j does not make cheaper
            for kind in range(3):
                if distances[k, kind] < cost[j, cheapest[j, kind]] + _SHORT_WALL * unit:
                    open_places[still_open] = open_places[k]
                    still_open += 1
                    break
        open_places[still_open] = j
        n_open = still_open + 1
    kept[:] = False
    j = n - 1
    kind = int(np.argmin(cost[j]))
    kept[places[j]] = True
    while j > 0:
        i = start[j, kind]
        kinds[places[i]] = kind
        kept[places[i]] = True
        j, kind = i, cheapest[i, kind]


@njit(nogil=True, cache=True)
def cut_into_walls(xy, vertices, offsets, closed, marked, angles, tolerance):
    """Cut arcs into walls.

    Parameters
    ----------
    xy : (vertex, 2) m
    vertices : (place,); an arc that is closed is turned in place, so that it starts at a corner
    offsets : (arc + 1,)
    closed : (arc,) bool, True for arcs without a node
    marked : (place,) bool, where walls may start and end; turned with the arc
    angles : (arc,) main direction; NaN for arcs that stay as they are
    tolerance : m

    Returns
    -------
    kept : (place,) bool, the corners
    kinds : (place,) int8, at a corner that of the wall that starts there
    sums : (place, moment), at a corner those of the boundary along that wall
    """
    kept = np.ones(len(vertices), np.bool_)
    kinds = np.full(len(vertices), OBLIQUE, np.int8)
    sums = np.zeros((len(vertices), _MOMENTS))
    for arc in range(len(offsets) - 1):
        if np.isnan(angles[arc]):
            continue
        first, last = offsets[arc], offsets[arc + 1]
        for attempt in range(2):
            here = vertices[first:last]
            u, v = turn(xy[here, 0], xy[here, 1], angles[arc])
            places = np.flatnonzero(marked[first:last])
            up_to = _moments(u - u[0], v - v[0], places, 0.0 if closed[arc] else _NODE * tolerance)
            _partition(up_to, u, v, places, tolerance, kinds[first:last], kept[first:last])
            if not closed[arc] or attempt == 1:
                break
            corner = 0  # between the first found walls, surely a corner where the arc's start may be none
            for k in range(1, last - first - 1):
                if kept[first + k]:
                    corner = k
                    break
            if corner == 0:
                break
            here[:-1] = np.roll(here[:-1], -corner)
            here[-1] = here[0]
            marks = marked[first:last]
            marks[:-1] = np.roll(marks[:-1], -corner)
            marks[-1] = marks[0]
        start = 0
        for k in range(1, len(places)):
            if kept[first + places[k]]:
                sums[first + places[start]] = up_to[k] - up_to[start]
                start = k
    return kept, kinds, sums
