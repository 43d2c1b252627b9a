"""The area of polygons by class, pixel by pixel: the loops behind `geoseg.zone_areas`.

The method is that of anti-aliased font rasterisers (Raph Levien's font-rs; FreeType's "smooth" renderer): edges are
split where they cross lines of the pixel lattice; each piece adds what lies to its right in its own pixel, and to all
pixels right of it the heights it spans. There a pixel has a coverage, here an integral of C(s, x), the true area of a
row left of x (`geoseg.zonal.profile`):

    piece in pixel c from s0 to s1:  ∫ C(s, c+1) ds - ∫ C(s, x(s)) ds
    pixels beyond:                   M_k += ∫ p_k ds,  and each has  Σ_k M_k (C_k(x+1) - C_k(x))

Gauss's quadrature is exact on the polynomials of a piece. Where the edges left of a pixel span the whole row, M is
(1, 0, 0, 0), and stretches of one class are added at once, as the integers that `class_areas` adds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.areas.rows import column_area_units

__all__ = ["add_zones", "mark_present", "to_grid"]

_WHOLE = 1e-12  # of a pixel or a row: rounding of coverages
_GAUSS_4 = np.stack(np.polynomial.legendre.leggauss(4))


@njit(nogil=True, cache=True)
def mark_present(bins, present):  # type: ignore[no-untyped-def]
    """Set ``present[bin]`` for each bin that occurs."""
    for row in bins:
        for value in row:
            present[value] = True


@njit(nogil=True, cache=True)
def to_grid(at, rings, affine, snap_px, found):  # type: ignore[no-untyped-def]
    """Rings in pixel coordinates, without a copy more than needed.

    Parameters
    ----------
    at
        float64 (vertex, 2): of all rings, one after the other.
    rings
        int64 (ring + 1,): the first vertex of each, and the end of the last.
    affine
        float64 (6,): from the CRS to pixels.
    snap_px
        What is nearer than this to a line of the lattice is put on it.
    found
        (cols, rows, turns, sides), to be filled: float64 (vertex,), (vertex,), (ring,) and (ring, 4). The area of a
        ring is positive where what lies right of edges that go down is inside; sides are its bounds, as shapely's.
    """
    cols, rows, turns, sides = found
    a, b, c, d, e, f = affine
    for ring in range(len(rings) - 1):
        start = rings[ring]
        turns[ring] = 0.0
        sides[ring] = np.array([np.inf, np.inf, -np.inf, -np.inf])
        for k in range(start, rings[ring + 1]):
            cols[k] = _snapped(a * at[k, 0] + b * at[k, 1] + c, snap_px)
            rows[k] = _snapped(d * at[k, 0] + e * at[k, 1] + f, snap_px)
            sides[ring, 0], sides[ring, 1] = min(sides[ring, 0], cols[k]), min(sides[ring, 1], rows[k])
            sides[ring, 2], sides[ring, 3] = max(sides[ring, 2], cols[k]), max(sides[ring, 3], rows[k])
            if k > start:  # from the ring's own corner: nothing cancels
                turns[ring] -= ((cols[k - 1] + cols[k]) / 2 - cols[start]) * (rows[k] - rows[k - 1])


@njit(nogil=True, cache=True, inline="always")
def _snapped(place, snap_px):  # type: ignore[no-untyped-def]
    whole = np.rint(place)
    return whole if abs(place - whole) < snap_px else place


@njit(nogil=True, cache=True)
def add_zones(zones, shapes, strip, grid, sums):  # type: ignore[no-untyped-def]
    """Add what zones have in a strip of rows to their sums.

    Parameters
    ----------
    zones
        int64 (n,): which ones.
    shapes
        (cols, rows, rings, signs, first_ring) of `geoseg.zonal.placing.Placed`.
    strip
        (row0, bins, columns, values): the strip's first row; bins (row, col); the column of `sums` for each bin; float
        values of the same shape, NaN = none, or of shape (0, 0) where there are none at all.
    grid
        (knots, coefs, unit_m2) of the strip's rows.
    sums
        (units, pixels, moments, extremes, origins): int64 and float64 (zone, column); weight, sum and sum of
        squares of values (zone, column, 3) and their minimum and maximum (zone, column, 2), values counted from
        the origin (zone,), which is the zone's first value.
    """
    _, rows, rings, _, first_ring = shapes
    row0, bins = strip[0], strip[1]
    row1 = row0 + bins.shape[0]
    for zone in zones:
        room = 0
        for ring in range(first_ring[zone], first_ring[zone + 1]):
            for k in range(rings[ring], rings[ring + 1] - 1):
                if min(rows[k], rows[k + 1]) < row1 and max(rows[k], rows[k + 1]) > row0:
                    room += _most_pieces(shapes[0], rows, k, row0, row1, bins.shape[1])
        if room:
            orders = grid[1].shape[1]
            keys, pieces = np.empty(room, np.int64), np.empty((room, 2 + orders))
            n = 0
            for ring in range(first_ring[zone], first_ring[zone + 1]):
                n = _add_ring(ring, shapes, row0, row1, bins.shape[1], grid, keys, pieces, n)
            _scan(zone, keys[:n], pieces, strip, grid, sums)


@njit(nogil=True, cache=True)
def _most_pieces(cols, rows, k, row0, row1, width):  # type: ignore[no-untyped-def]
    """At most so many pieces an edge has in the strip: one, and one more for each line that it crosses."""
    top, bottom = max(min(rows[k], rows[k + 1]), row0), min(max(rows[k], rows[k + 1]), row1)
    low, high = min(cols[k], cols[k + 1]), max(cols[k], cols[k + 1])
    left, right = min(max(low, 0.0), width), min(max(high, 0.0), width)
    lines = np.floor(bottom) - np.floor(top) + np.floor(right) - np.floor(left)
    return np.int64(lines) + (2 if low < 0 else 1)  # the map's left edge is a line, too


@njit(nogil=True, cache=True, error_model="numpy")
def _add_ring(ring, shapes, row0, row1, width, grid, keys, pieces, n):  # type: ignore[no-untyped-def]
    """Cut the edges of a ring into pieces; returns how many there are now."""
    cols, rows, rings, signs, _ = shapes
    for k in range(rings[ring], rings[ring + 1] - 1):
        sign, x0, y0, x1, y1 = signs[ring], cols[k], rows[k], cols[k + 1], rows[k + 1]
        if y1 < y0:  # always downwards, so that neighbours cut a common edge alike
            sign, x0, y0, x1, y1 = -sign, x1, y1, x0, y0
        if y0 == y1 or y0 >= row1 or y1 <= row0:
            continue
        slope = (x1 - x0) / (y1 - y0)
        lowest, highest = min(x0, x1), max(x0, x1)
        row = max(np.int64(np.floor(y0)), row0)
        top = y0
        at_top = x0
        if row > y0:
            top = float(row)
            at_top = min(max(x0 + (top - y0) * slope, lowest), highest)
        while top < y1 and row < row1:
            bottom, at_bottom = y1, x1
            if row + 1 < y1:
                bottom = float(row + 1)
                at_bottom = min(max(x0 + (bottom - y0) * slope, lowest), highest)
            n = _add_row(at_top, top, at_bottom, bottom, row, row - row0, sign, width, grid, keys, pieces, n)
            top, at_top = bottom, at_bottom
            row += 1
    return n


@njit(nogil=True, cache=True, error_model="numpy")
def _add_row(xa, ya, xb, yb, row, line, sign, width, grid, keys, pieces, n):  # type: ignore[no-untyped-def]
    """Cut the part of an edge within a row where it crosses columns; what is left of the map is at its edge."""
    x, y = xa, ya
    step = 1 if xb > xa else -1
    while True:
        if x < 0.0 or (x == 0.0 and step < 0):
            limit = 0.0 if step > 0 else -np.inf
        elif x > width or (x == width and step > 0):
            limit = float(width) if step < 0 else np.inf
        elif step > 0:
            limit = np.floor(x) + 1.0
        else:
            limit = np.ceil(x) - 1.0
        ends = xb == xa or (xb <= limit if step > 0 else xb >= limit)
        u = xb if ends else limit
        v = yb if ends else min(max(ya + (limit - xa) / (xb - xa) * (yb - ya), y), yb)
        middle = (x + u) / 2
        if v > y and middle < width:
            left, right = max(x, 0.0), max(u, 0.0)
            col = max(np.int64(np.floor(middle)), 0)
            keys[n] = line * width + col
            _fill(pieces[n], left, y, right, v, row, line, col, sign, grid)
            n += 1
        if ends:
            return n
        x, y = u, v


@njit(nogil=True, cache=True, error_model="numpy")
def _fill(piece, xa, ya, xb, yb, row, line, col, sign, grid):  # type: ignore[no-untyped-def]
    """A piece: minus ∫ C ds of its own, pixels right of it within its own, and ∫ p_k ds; of the row's height."""
    knots, coefs, _ = grid
    j = _piece_of(col, knots)
    s0, s1 = 2 * (ya - row) - 1, 2 * (yb - row) - 1
    own = 0.0
    for p in range(4):
        place = (_GAUSS_4[0, p] + 1) / 2
        own += _GAUSS_4[1, p] * _area_left(xa + place * (xb - xa) - knots[j], s0 + place * (s1 - s0), coefs[line], j)
    piece[0] = -sign * own * (s1 - s0) / 4
    piece[1] = sign * (yb - ya) * (col + 1 - (xa + xb) / 2)
    for order in range(coefs.shape[1]):
        piece[2 + order] = sign * (_height(order, s1) - _height(order, s0)) / 2


@njit(nogil=True, cache=True, inline="always")
def _height(order, s):  # type: ignore[no-untyped-def]
    """∫ p_k ds, but for a constant."""
    if order == 0:
        return s
    if order == 1:
        return (s * s - 1) / 2
    if order == 2:
        return (s * s - 1) * s / 2
    return (s * s - 1) * (5 * s * s - 1) / 8


@njit(nogil=True, cache=True, inline="always")
def _area_left(t, s, coefs, j):  # type: ignore[no-untyped-def]
    """C(s, x) with t = x - knots[j]."""
    total = 0.0
    legendre = 1.0
    for order in range(coefs.shape[0]):
        if order == 1:
            legendre = s
        elif order == 2:
            legendre = (3 * s * s - 1) / 2
        elif order == 3:
            legendre = (5 * s * s - 3) * s / 2
        c = coefs[order, j]
        total += legendre * (c[0] + t * (c[1] + t * (c[2] + t * c[3])))
    return total


@njit(nogil=True, cache=True, inline="always")
def _piece_of(col, knots):  # type: ignore[no-untyped-def]
    """The last piece that begins at or before a pixel."""
    if len(knots) == 2:
        return 0
    return min(max(np.searchsorted(knots, col, side="right") - 1, 0), len(knots) - 2)


@njit(nogil=True, cache=True)
def _left_of(x, heights, coefs, knots, j):  # type: ignore[no-untyped-def]
    """Σ_k heights_k C_k(x)."""
    t = float(x - knots[j])
    total = 0.0
    for order in range(coefs.shape[0]):
        c = coefs[order, j]
        total += heights[order] * (c[0] + t * (c[1] + t * (c[2] + t * c[3])))
    return total


@njit(nogil=True, cache=True)
def _scan(zone, keys, pieces, strip, grid, sums):  # type: ignore[no-untyped-def]
    """Go through the rows from left to right: pixels with pieces in them, and what lies between them."""
    width = strip[1].shape[1]
    knots, coefs, unit_m2 = grid
    order = np.argsort(keys, kind="mergesort")  # stable: pieces of a pixel stay in order, and so do roundings
    before, here = np.zeros(coefs.shape[1]), np.zeros(coefs.shape[1])
    i = 0
    while i < len(keys):
        line, col = keys[order[i]] // width, keys[order[i]] % width
        key = keys[order[i]]
        own = covered = 0.0
        here[:] = 0.0
        while i < len(keys) and keys[order[i]] == key:
            piece = pieces[order[i]]
            own += piece[0]
            covered += piece[1]
            here += piece[2:]
            i += 1
        covered += before[0]
        row, j = coefs[line], _piece_of(col, knots)
        if covered > 1 - _WHOLE:
            _add_whole(zone, line, col, col + 1, strip, grid, sums)
        elif covered > _WHOLE:
            area = _left_of(col + 1, before, row, knots, j) - _left_of(col, before, row, knots, j)
            area += _left_of(col + 1, here, row, knots, j) + own
            most = column_area_units(col + 1, knots, row[0], unit_m2) - column_area_units(col, knots, row[0], unit_m2)
            units = min(max(np.int64(np.rint(area / unit_m2)), 0), most)
            _add(zone, line, col, units, covered, strip, sums)
        before += here
        same = i < len(keys) and keys[order[i]] // width == line
        stop = keys[order[i]] % width if same else width
        if before[0] > 1 - _WHOLE:
            before[:] = 0.0
            before[0] = 1.0
            _add_whole(zone, line, col + 1, stop, strip, grid, sums)
        elif before[0] > _WHOLE:
            for x in range(col + 1, stop):
                j = _piece_of(x, knots)
                area = _left_of(x + 1, before, row, knots, j) - _left_of(x, before, row, knots, j)
                _add(zone, line, x, np.int64(np.rint(area / unit_m2)), before[0], strip, sums)
        else:
            before[:] = 0.0
        if not same:
            before[:] = 0.0


@njit(nogil=True, cache=True)
def _add_whole(zone, line, start, stop, strip, grid, sums):  # type: ignore[no-untyped-def]
    """Whole pixels: stretches of one bin at once, but one by one where there are values."""
    _, bins, columns, values = strip
    knots, coefs, unit_m2 = grid
    if start >= stop:
        return
    left = column_area_units(start, knots, coefs[line, 0], unit_m2)
    while start < stop:
        end = start + 1
        if not values.size:
            bin = bins[line, start]
            while end < stop and bins[line, end] == bin:
                end += 1
        right = column_area_units(end, knots, coefs[line, 0], unit_m2)
        if values.size:
            _add(zone, line, start, right - left, 1.0, strip, sums)
        else:
            column = columns[bins[line, start]]
            sums[0][zone, column] += right - left
            sums[1][zone, column] += end - start
        start, left = end, right


@njit(nogil=True, cache=True)
def _add(zone, line, col, units, covered, strip, sums):  # type: ignore[no-untyped-def]
    """One pixel, or a part of it."""
    _, bins, columns, values = strip
    areas, pixels, moments, extremes, origins = sums
    column = columns[bins[line, col]]
    areas[zone, column] += units
    pixels[zone, column] += covered
    if values.size:
        value = float(values[line, col])
        if value == value:
            if origins[zone] != origins[zone]:
                origins[zone] = value
            off = value - origins[zone]
            moments[zone, column, 0] += units
            moments[zone, column, 1] += units * off
            moments[zone, column, 2] += units * off * off
            extremes[zone, column, 0] = min(extremes[zone, column, 0], value)
            extremes[zone, column, 1] = max(extremes[zone, column, 1], value)
