"""Finished rings → coordinates, offsets and measures, in the one order that every way of cutting the map gives.

Polygons stand in order of the lowest lattice row of their boundary, then of their first vertex; parts of a
MultiPolygon, and holes, in order of their first vertex; a ring starts at its first vertex (the top left one, rows
counting downwards). The first key is what lets polygons leave early: it is known when a polygon is finished.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.polygons.connect import NONE
from geoseg.polygons.finish import is_exterior
from geoseg.polygons.rings import order_of
from geoseg.polygons.trace import COLUMN

__all__ = ["assemble"]


@njit(nogil=True, cache=True)
def assemble(done, n_parts, n_rings, n_vertices, pool, pieces, regions, transform, surfaces, cells):
    """Write finished groups out.

    Parameters
    ----------
    done : (feature,) int32
        Rows of the groups, in order.
    n_parts, n_rings, n_vertices : int
        Totals over them.
    transform : (6,) float64
        a, b, c, d, e, f of the grid's affine transform.
    surfaces : (row cell, col cell, 2, 4) float64
        Metres on the ground per column step and per row step, as s0 + s1 * col + row * (s2 + s3 * col) in each cell.
    cells : (2,) float64
        Cells per lattice row and per column.

    Returns
    -------
    coords : (n_vertices, 2) float64
    ring_offsets, part_offsets, feature_offsets : int64
        First vertex of each ring, first ring of each part, first part of each feature, and the ends.
    pixels : (feature,) int64
    perimeters : (feature,) float64
        Metres, holes included.
    """
    a, b, c, d, e, f = transform
    turn = a * e - b * d > 0.0  # rows going north: turn the rings, so that exteriors stay counter-clockwise
    coords = np.empty((n_vertices, 2), np.float64)
    ring_offsets = np.zeros(n_rings + 1, np.int64)
    part_offsets = np.zeros(n_parts + 1, np.int64)
    feature_offsets = np.zeros(done.shape[0] + 1, np.int64)
    pixels = np.empty(done.shape[0], np.int64)
    perimeters = np.empty(done.shape[0], np.float64)
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
        for k in range(m):
            if is_exterior(pool, pieces, rings[k]):
                part_offsets[p] = r
                p += 1
            ring_offsets[r] = n
            r += 1
            start = pieces[rings[k]].start
            size = pieces[rings[k]].size
            vertices = pool[start : start + size]
            for v in range(size):
                y, x = _place(vertices[v])
                to = n + (size - v if turn else v)
                coords[to, 0] = c + x * a + y * b
                coords[to, 1] = f + x * d + y * e
            close, first = (n, n + size) if turn else (n + size, n)
            coords[close, 0] = coords[first, 0]
            coords[close, 1] = coords[first, 1]
            n += size + 1
            inside, length = _measure(vertices, surfaces, cells)
            count += inside
            perimeter += length
        pixels[i] = count
        perimeters[i] = perimeter
        feature_offsets[i + 1] = p
    ring_offsets[r] = n
    part_offsets[p] = r
    return coords, ring_offsets, part_offsets, feature_offsets, pixels, perimeters


@njit(nogil=True, cache=True, inline="always")
def _place(vertex):
    """Lattice row and column of a vertex."""
    return vertex >> 32, (vertex & 0xFFFFFFFF) >> COLUMN


@njit(nogil=True, cache=True, error_model="numpy")
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


@njit(nogil=True, cache=True)
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
