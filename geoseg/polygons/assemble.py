"""Finished rings → coordinates, offsets and measures, in the one order that every way of cutting the map gives.

Polygons stand in order of the lowest lattice row of their boundary, then of their first vertex; parts of a
MultiPolygon, and holes, in order of their first vertex; a ring starts at its first vertex (the top left one, rows
counting downwards). The first key is what lets polygons leave early: it is known when a polygon is finished.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.connect import NONE, Open
from geoseg.polygons.finish import compact, is_exterior, keep_open, settle
from geoseg.polygons.outline import outline
from geoseg.polygons.rings import order_of
from geoseg.polygons.shapes import Rings
from geoseg.polygons.trace import COLUMN

__all__ = ["Finished", "finish"]


class Finished(NamedTuple):
    """What is known of finished polygons, in order."""

    values: Any
    """(feature,) int32: the value of the pixels."""
    pixels: Any
    """(feature,) int64."""
    areas: Any
    """(feature,) int64, in units of `Ground.unit_m2`."""
    perimeters: Any
    """(feature,) float64 m, holes included."""
    confidences: Any
    """(feature,) int64: sum of percent over the pixels (0 without confidence)."""
    drawn: Any
    """(feature,) float64: area of the shape in pixels; that of its pixels where borders are exact."""
    bottoms: Any
    """(feature,) int64: lowest lattice row of the boundary, the first key of their order."""
    firsts: Any
    """(feature,) int64: first vertex, the second key."""


@entry
def finish(traced, eight, most_points, transform, surfaces, cells, always):
    """Merge the rows that are one region or group, take the groups out that have no open boundary, and write them.

    Parameters
    ----------
    traced : Open
        Its arrays are used up.
    eight : bool
        Whether regions that touch diagonally are one group.
    most_points : int
        Points that a vertex may become: 0 where borders are exact, otherwise see `outline`.
    transform : (6,) float64
        a, b, c, d, e, f of the grid's affine transform.
    surfaces : (row cell, col cell, 2, 4) float64
        Metres on the ground per column step and per row step, as s0 + s1 * col + row * (s2 + s3 * col) in each cell.
    cells : (2,) float64
        Cells per lattice row and per column.
    always : bool
        Copy what stays open into arrays of its size in any case, not only when there is too much garbage.

    Returns
    -------
    Finished, Rings, Open
    """
    pool, pieces, regions, nodes = traced.pool, traced.pieces, traced.regions, traced.nodes
    n_pool, n_pieces = traced.n_pool, traced.n_pieces
    done, firsts, bottoms, n_parts, n_rings, n_vertices = settle(regions, traced.n_regions, nodes, pool, pieces, eight)
    _sort_features(done, firsts, bottoms)
    n = done.shape[0]
    values = np.empty(n, np.int32)
    areas = np.empty(n, np.int64)
    confidences = np.empty(n, np.int64)
    for i in range(n):
        values[i] = regions[done[i]].value
        areas[i] = regions[done[i]].area
        confidences[i] = regions[done[i]].confidence
    rings, pixels, perimeters, drawn = _write(
        done, n_parts, n_rings, n_vertices, pool, pieces, regions, most_points, transform, surfaces, cells
    )
    finished = Finished(values, pixels, areas, perimeters, confidences, drawn, bottoms, firsts)
    n_regions = keep_open(regions, traced.n_regions, nodes)
    live_pool, live_pieces = traced.live_pool, traced.live_pieces
    if always or n_pool > 2 * live_pool + (1 << 16) or n_pieces > 2 * live_pieces + (1 << 14):
        pool, n_pool, pieces, n_pieces = compact(pool, pieces, nodes, regions, n_regions)
        regions = regions[:n_regions].copy()
        live_pool, live_pieces = n_pool, n_pieces
    left = Open(
        pool, n_pool, pieces, n_pieces, regions, n_regions, nodes, traced.above, traced.below, live_pool, live_pieces
    )
    return finished, rings, left


@inner
def _sort_features(done, firsts, bottoms):
    """Sort features by their first vertices and, as there are few different ones, count them into their bottoms."""
    n = done.shape[0]
    if n == 0:
        return
    top = bottoms[0]
    lowest = bottoms[0]
    in_order = True
    for i in range(1, n):
        top = min(top, bottoms[i])
        lowest = max(lowest, bottoms[i])
        in_order = in_order and firsts[i - 1] <= firsts[i]  # what a strip closes comes in the order of firsts
    following = np.zeros(lowest - top + 2, np.int64)
    for i in range(n):
        following[bottoms[i] - top + 1] += 1
    for row in range(1, following.shape[0]):
        following[row] += following[row - 1]
    order = order_of(firsts[:0] if in_order else firsts)
    done_before, firsts_before, bottoms_before = done.copy(), firsts.copy(), bottoms.copy()
    for k in range(n):
        i = k if in_order else order[k]
        row = bottoms_before[i] - top
        to = following[row]
        following[row] += 1
        done[to] = done_before[i]
        firsts[to] = firsts_before[i]
        bottoms[to] = bottoms_before[i]


@inner
def _write(done, n_parts, n_rings, n_vertices, pool, pieces, regions, most_points, transform, surfaces, cells):
    """Coordinates, offsets and measures of the groups `done`, which have so many parts, rings, vertices."""
    a, b, c, d, e, f = transform
    turn = a * e - b * d > 0.0  # rows going north: turn the rings, so that exteriors stay counter-clockwise
    coords = np.empty((n_vertices * max(most_points, 1), 2), np.float64)
    points = np.empty((0, 2), np.float64)
    kept = np.empty(0, np.int64)
    ring_offsets = np.zeros(n_rings + 1, np.int64)
    part_offsets = np.zeros(n_parts + 1, np.int64)
    feature_offsets = np.zeros(done.shape[0] + 1, np.int64)
    pixels = np.empty(done.shape[0], np.int64)
    perimeters = np.empty(done.shape[0], np.float64)
    drawn = np.empty(done.shape[0], np.float64)
    rings = np.empty(16, np.int32)
    n = 0
    r = 0
    p = 0
    for i in range(done.shape[0]):
        ring = regions[done[i]].kept_first
        m = 0
        while ring != NONE:
            if m == rings.shape[0]:
                larger = np.empty(2 * m, np.int32)
                for k in range(m):
                    larger[k] = rings[k]
                rings = larger
            rings[m] = ring
            m += 1
            ring = pieces[ring].next
        if m > 2 or (m == 2 and is_exterior(pool, pieces, rings[1])):
            _sort_rings(rings, m, pool, pieces)
        count = np.int64(0)
        perimeter = 0.0
        area = 0.0
        for k in range(m):
            if is_exterior(pool, pieces, rings[k]):
                part_offsets[p] = r
                p += 1
            ring_offsets[r] = n
            r += 1
            start = pieces[rings[k]].start
            size = pieces[rings[k]].size
            vertices = pool[start : start + size]
            inside, length = _measure(vertices, surfaces, cells)
            count += inside
            if most_points == 0:
                area += inside
                for v in range(size):
                    y, x = _place(vertices[v])
                    to = n + (size - v if turn else v)
                    coords[to, 0] = c + x * a + y * b
                    coords[to, 1] = f + x * d + y * e
            else:
                if size > kept.shape[0]:
                    kept = np.empty(2 * size, np.int64)
                    points = np.empty((2 * size * most_points, 2), np.float64)
                size = outline(vertices, kept, points)
                for v in range(size):
                    to = n + (size - v if turn else v)
                    coords[to, 0] = c + points[v, 1] * a + points[v, 0] * b
                    coords[to, 1] = f + points[v, 1] * d + points[v, 0] * e
                part, length = _measure_drawn(points[:size], surfaces, cells)
                area += part
            close, first = (n, n + size) if turn else (n + size, n)
            coords[close, 0] = coords[first, 0]
            coords[close, 1] = coords[first, 1]
            n += size + 1
            perimeter += length
        pixels[i] = count
        perimeters[i] = perimeter
        drawn[i] = area
        feature_offsets[i + 1] = p
    ring_offsets[r] = n
    part_offsets[p] = r
    return Rings(coords[:n], ring_offsets, part_offsets, feature_offsets), pixels, perimeters, drawn


@inner(inline="always")
def _place(vertex):
    """Lattice row and column of a vertex."""
    return vertex >> 32, (vertex & 0xFFFFFFFF) >> COLUMN


@inner(error_model="numpy")
def _measure(vertices, surfaces, cells):
    """Pixels inside a ring (negative for a hole) and its length on the ground."""
    pixels = np.int64(0)
    length = 0.0
    y0, x0 = _place(vertices[-1])
    for v in range(vertices.shape[0]):
        y, x = _place(vertices[v])
        along_column = x == x0
        pixels -= x * (y - y0)
        u = 0.5 * (x + x0)
        w = 0.5 * (y + y0)
        i = min(np.int64(w * cells[0]), surfaces.shape[0] - 1)
        j = min(np.int64(u * cells[1]), surfaces.shape[1] - 1)
        s = surfaces[i, j, int(along_column)]
        length += (abs(x - x0) + abs(y - y0)) * (s[0] + s[1] * u + w * (s[2] + s[3] * u))
        x0 = x
        y0 = y
    return pixels, length


@inner(error_model="numpy")
def _measure_drawn(points, surfaces, cells):
    """Area inside a ring with sides of any direction, in pixels (negative for a hole), and its length on the ground."""
    area = 0.0
    length = 0.0
    y0 = points[points.shape[0] - 1, 0]
    x0 = points[points.shape[0] - 1, 1]
    for v in range(points.shape[0]):
        y = points[v, 0]
        x = points[v, 1]
        area -= (x + x0) * (y - y0)
        u = 0.5 * (x + x0)
        w = 0.5 * (y + y0)
        i = min(np.int64(w * cells[0]), surfaces.shape[0] - 1)
        j = min(np.int64(u * cells[1]), surfaces.shape[1] - 1)
        s = surfaces[i, j]
        east = (x - x0) * (s[0, 0] + s[0, 1] * u + w * (s[0, 2] + s[0, 3] * u))
        south = (y - y0) * (s[1, 0] + s[1, 1] * u + w * (s[1, 2] + s[1, 3] * u))
        length += np.sqrt(east * east + south * south)
        x0 = x
        y0 = y
    return 0.5 * area, length


@inner
def _sort_rings(rings, m, pool, pieces):
    """Put rings, each exterior before its holes, in order: parts by their first vertex, holes likewise."""
    firsts = np.empty(m, np.int64)
    starts = np.empty(m + 1, np.int64)
    part_of = np.empty(m, np.int64)
    n_parts = 0
    for k in range(m):
        firsts[k] = pool[pieces[rings[k]].start]
        if is_exterior(pool, pieces, rings[k]):
            starts[n_parts] = k
            n_parts += 1
        part_of[k] = n_parts - 1
    starts[n_parts] = m
    before = np.empty(m, np.int32)
    for k in range(m):
        before[k] = rings[k]
    exteriors = np.empty(n_parts, np.int64)
    for k in range(n_parts):
        exteriors[k] = firsts[starts[k]]
    following = np.empty(n_parts, np.int64)  # where each part's next hole goes
    place = 0
    for part in order_of(exteriors):
        rings[place] = before[starts[part]]
        following[part] = place + 1
        place += starts[part + 1] - starts[part]
    for k in order_of(firsts):
        part = part_of[k]
        if k != starts[part]:
            rings[following[part]] = before[k]
            following[part] += 1
