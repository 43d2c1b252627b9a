"""Rows of pixels → the corners of regions, linked in the order in which their boundaries are walked.

The map is read once, row by row, and nothing is kept per pixel: no labels, no marks. A row is reduced to the
columns where its value changes. A *lattice row* lies between two pixel rows; merging the changes of the row above and
the row below gives every lattice vertex at which a boundary may turn or branch. There, each region that meets the
vertex gets one *corner*, and corners are linked to their successors on the boundary with the region on the left hand
(seen with row numbers growing downwards): down its west sides, east along its south sides, up its east sides, west
along its north sides. So each boundary edge has two travellers, one on each side:

    edge to the north of a vertex:  the region west of it leaves upwards,     the region east of it arrives
    edge to the south of a vertex:  the region west of it arrives from below, the region east of it leaves
    edge to the west of a vertex:   the region above it arrives,              the region below it leaves
    edge to the east of a vertex:   the region above it leaves,               the region below it arrives

All that must be remembered between two lattice rows are the two ends of each vertical edge that is still open
(`Front.tail` and `Front.head`). A strip of rows needs no more of the rows above it than the last one: each edge that
comes down from there has two *stand-ins*, corners without a vertex, one for each traveller. So strips are read
independently, and the boundaries that they leave open are linked later, where stand-ins meet (`geoseg.polygons.link`).

A corner is made wherever a boundary turns and also where a straight side passes the end of another boundary (three
regions meet): neighbours then share every vertex, which makes the polygons an edge-matched coverage.

Sums over a region's pixels come from its boundary, too (Green's theorem in integers). Let S(x, row) be the sum over
columns 0..x of a row. A vertical edge at x adds S(x, row) to the region on its west and takes it from the region on
its east, for each row that it spans. `Front.area[x]` keeps the running total of S down a column, so only the two ends
of an edge need it: minus the total at its top, plus the total at its bottom. Totals start at zero in each strip, and at
its lower end they are added for the edges that go on. They are integers, so the cuts between strips cannot be seen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from geoseg.areas import column_area_units
from geoseg.polygons.compiled import entry, inner

__all__ = [
    "COLUMN",
    "CORNER",
    "DROPPED",
    "END",
    "FOLLOWED",
    "ROUNDED",
    "SADDLE",
    "STRAIGHT",
    "VOID",
    "Front",
    "find_changes",
    "grown",
    "scan",
]

CORNER = np.dtype(
    [
        ("at", np.int64),  # lattice vertex: row << 32 | column << COLUMN | flags
        ("next", np.int32),  # the corner that follows with the region on the left, 0 = not yet known
        ("region", np.int32),  # the value of the region's pixels; its row in the table of regions once followed
    ],
    align=True,
)

VOID = 0
"""The corner that stands for every corner of nodata: links to it lead nowhere, so no case needs a test for nodata."""
COLUMN = 5
"""Bits of `CORNER.at` below the column, for flags. A vertex always has the same ones, so they sort by row, column."""
SADDLE = 1
"""Flag of `CORNER.at`: here the region meets pixels of its own value across the vertex, checkerboard-like."""
DROPPED = 2
"""Flag: the vertex is left out of a simplified border."""
ROUNDED = 4
"""Two bits: how far a smoothed border leaves the vertex aside; see `simplify`."""
STRAIGHT = 16
"""Flag: a vertical side passes here, on a row where simplified borders have a vertex."""
END = np.int32(2**31 - 1)
"""Terminates a list of change columns."""
FOLLOWED = np.int32(-1)
"""`CORNER.next` of a corner that is done with."""

_LANES = 64


class Front(NamedTuple):
    """What is remembered of the strip's rows above the one that comes next: a few numbers per column."""

    above: Any
    """(width + 2,) values of the last row, with a nodata pixel before and after."""
    changes: Any
    """int32: the columns x with above[x] != above[x + 1], that is lattice columns, then `END`."""
    tail: Any
    """(width + 1,) int32: last corner of the open boundary that runs down the east side of lattice column x, or 0."""
    head: Any
    """(width + 1,) int32: first corner of the open boundary that will come up the west side of column x, or 0."""
    area: Any
    """(width + 1,) int64: total of S down the column so far, for area (see the module's text)."""
    confidence: Any
    """(width + 1,) int64: the same for confidence."""
    n_above: Any
    """Changes of the row above the strip: corners 1..2 * n_above are stand-ins."""


@inner
def grown(array, used, need):
    """The array with room for `need` items in its first axis; the first `used` are kept."""
    if need <= array.shape[0]:
        return array
    larger = np.empty(max(need, array.shape[0] * 3 // 2), array.dtype)
    for k in range(used):
        larger[k] = array[k]
    return larger


@inner
def find_changes(row, width, changes):
    """Write the lattice columns where a padded row changes value, and `END`; return their number.

    Runs of equal pixels are skipped 64 at a time, and the columns of the others are written without a branch: each is
    written, but only a change moves the place of writing.
    """
    n = 0
    x = 0
    while x + _LANES <= width + 1:
        different = row[x] ^ row[x + 1]
        for k in range(1, _LANES):
            different |= row[x + k] ^ row[x + k + 1]
        if different != 0:
            for k in range(_LANES):
                changes[n] = x + k
                n += int(row[x + k] != row[x + k + 1])
        x += _LANES
    while x <= width:
        changes[n] = x
        n += int(row[x] != row[x + 1])
        x += 1
    changes[n] = END
    return n


@inner
def _add_area(changes, totals, knots, coefs, unit):
    """Add a row's cumulative area, in integer units, at each change."""
    i = 0
    while changes[i] != END:
        totals[changes[i]] += column_area_units(changes[i], knots, coefs, unit)
        i += 1


@inner
def _add_confidence(changes, totals, row, confidence, nodata):
    """Add a row's cumulative confidence at each change; False where a pixel with a value has none (above 100)."""
    complete = True
    cumulative = np.int64(0)
    i = 0
    left = 0
    while changes[i] != END:
        x = changes[i]
        if row[x] != nodata:  # the run that ends at x; runs of nodata cancel, so they need not be summed
            total = np.int64(0)
            largest = np.uint8(0)
            for k in range(left, x):
                total += confidence[k]
                largest = max(largest, confidence[k])
            cumulative += total
            complete = complete and bool(largest <= 100)
        totals[x] += cumulative
        left = x
        i += 1
    return complete


@inner
def _open_front(above, nodata, corners):
    """The front below a row, with stand-ins for the edges that come down from it; those of nodata count as followed."""
    width = above.shape[0]
    padded = np.empty(width + 2, above.dtype)
    padded[0] = nodata
    padded[width + 1] = nodata
    for x in range(width):
        padded[x + 1] = above[x]
    changes = np.empty(width + 1 + _LANES, np.int32)
    n_changes = find_changes(padded, width, changes)
    tail = np.zeros(width + 1, np.int32)
    head = np.zeros(width + 1, np.int32)
    n = 1 + 2 * n_changes
    for k in range(n_changes):
        x = changes[k]
        for c, value, ends in ((1 + 2 * k, padded[x + 1], tail), (2 + 2 * k, padded[x], head)):
            corners[c].at = 0
            corners[c].next = 0
            corners[c].region = np.int32(value)
            if value == nodata:
                corners[c].next = FOLLOWED
                corners[c].region = -1
            else:
                ends[x] = c
    front = Front(padded, changes, tail, head, np.zeros(width + 1, np.int64), np.zeros(width + 1, np.int64), n_changes)
    return front, n


@inner(inline="always")
def _corner(corners, sums, n, at, value, nodata):
    """Make a corner, unless the region is nodata; return its number and the number that comes next."""
    corners[n].at = at
    sums[n, 0] = 0
    sums[n, 1] = 0
    corners[n].next = 0
    corners[n].region = np.int32(value)
    if value == nodata:
        return np.int32(VOID), n
    return np.int32(n), n + 1


@entry
def scan(rows, above_row, row0, nodata, knots, coefs, unit, confidence, flags, band_rows, corners, sums, eight):
    """Read a strip of rows and make the corners on the lattice rows above each of them.

    Parameters
    ----------
    rows : (row, col) uint8 or int32
        Values, full width.
    above_row : (col,) of the dtype of rows
        The row above them.
    row0 : int
        Number of the first of these rows in the map.
    nodata : of the dtype of rows
        Pixels with this value belong to no region.
    knots, coefs, unit : (k + 1,) int64, (row, k, c) float64, float
        Cumulative area of each row (`PixelAreas.table`).
    confidence : (row, col) uint8
        Percent, or (0, 0) when there is none.
    flags : (k,) int64
        Sorted: `CORNER.at` of vertices on the lattice rows above these rows that get flags.
    band_rows : int
        On lattice rows that are a multiple of it, straight vertical sides have a vertex, too; 0 = nowhere.
    corners, sums : (capacity,) CORNER, (capacity, 2) int64
        Arrays to write into, with room for the stand-ins: capacity > 2 * (width + 1).
    eight : bool
        Whether to list touches.

    Returns
    -------
    corners, sums, n
        The strip's corners, and each one's part of its region's area and sum of confidence; perhaps in larger arrays.
        Corner 0 is the void, and then come the stand-ins: for change k of the row above, corner 1 + 2 k is the region
        on the east, which arrives from above, and corner 2 + 2 k that on the west, which leaves upwards.
    front : Front
        At the strip's lower end.
    joins, touches : (m, 2) int64
        Pairs of corners that belong to the same region, though maybe on different rings (a hole and what surrounds
        it); pairs of corners whose pixels have the same value and touch diagonally.
    complete : bool
        False if a pixel with a value has no confidence.
    """
    width = rows.shape[1]
    front, n = _open_front(above_row, nodata, corners)
    above, above_changes = front.above, front.changes
    below = np.empty(width + 2, rows.dtype)
    below[0] = nodata
    below[width + 1] = nodata
    below_changes = np.empty(above_changes.shape[0], np.int32)
    tail, head = front.tail, front.head
    with_confidence = confidence.shape[0] > 0
    complete = True
    joins = np.empty((1024, 2), np.int64)
    touches = np.empty((1024, 2), np.int64)
    n_joins = np.int64(0)
    n_touches = np.int64(0)
    n_above = 0
    next_flag = 0
    while above_changes[n_above] != END:
        n_above += 1

    for r in range(rows.shape[0]):
        for x in range(width):
            below[x + 1] = rows[r, x]
        n_below = find_changes(below, width, below_changes)
        corners = grown(corners, n, n + 4 * (n_above + n_below) + 8)
        sums = _grown_pairs(sums, n, n + 4 * (n_above + n_below) + 8)
        joins = _grown_pairs(joins, n_joins, n_joins + n_below + 1)
        touches = _grown_pairs(touches, n_touches, n_touches + 2 * n_below + 2)
        row_bits = np.int64(row0 + r) << 32
        between_bands = band_rows > 0 and (row0 + r) % band_rows == 0
        top = np.int32(VOID)  # the corner that the region above the open horizontal edge comes from
        bottom = np.int32(VOID)  # the corner that the region below it goes to
        run_tail = np.int32(VOID)  # tail of the edge at the west end of the present run of the row above
        i = 0
        j = 0
        x_above = above_changes[0]
        x_below = below_changes[0]
        while True:
            x = min(x_above, x_below)
            if x == END:
                break
            north = x == x_above
            south = x == x_below
            if north:
                i += 1
                x_above = above_changes[i]
                run_tail = tail[x]
            if south:
                j += 1
                x_below = below_changes[j]
            nw, ne, sw, se = above[x], above[x + 1], below[x], below[x + 1]
            west = nw != sw
            east = ne != se
            straight = north and south and not west and not east
            if straight and not between_bands:
                continue

            # One corner for each region around the vertex, clockwise from the north-west pixel.
            at = row_bits | np.int64(x) << COLUMN
            if straight:
                at |= STRAIGHT
            elif next_flag < flags.shape[0] and flags[next_flag] >> COLUMN == at >> COLUMN:
                at = flags[next_flag]
                next_flag += 1
            c_nw, n = _corner(corners, sums, n, at, nw, nodata)
            c_ne, c_se, c_sw = c_nw, c_nw, c_nw
            if north:
                c_ne, n = _corner(corners, sums, n, at, ne, nodata)
            if west:
                c_se = c_ne
                if east:
                    c_se, n = _corner(corners, sums, n, at, se, nodata)
                c_sw = c_se
                if south:
                    c_sw, n = _corner(corners, sums, n, at, sw, nodata)
            elif not east:
                c_se = c_ne
            elif south:
                c_se, n = _corner(corners, sums, n, at, se, nodata)
                if not north and c_nw != VOID:
                    # The region has all but the south-east pixel: perhaps the first corner of a hole, whose ring then
                    # is joined with the ring at the west end of the run above.
                    joins[n_joins, 0] = c_nw
                    joins[n_joins, 1] = run_tail
                    n_joins += 1

            if north and south and west and east:
                if nw == se and c_nw != VOID:
                    corners[c_nw].at |= SADDLE
                    corners[c_se].at |= SADDLE
                    touches[n_touches, 0] = c_nw
                    touches[n_touches, 1] = c_se
                    n_touches += int(eight)
                if ne == sw and c_ne != VOID:
                    corners[c_ne].at |= SADDLE
                    corners[c_sw].at |= SADDLE
                    touches[n_touches, 0] = c_ne
                    touches[n_touches, 1] = c_sw
                    n_touches += int(eight)

            if north:
                corners[c_nw].next = head[x]
                corners[tail[x]].next = c_ne
                sums[c_nw, 0] += front.area[x]
                sums[c_ne, 0] -= front.area[x]
                sums[c_nw, 1] += front.confidence[x]
                sums[c_ne, 1] -= front.confidence[x]
            if west:
                corners[top].next = c_nw
                corners[c_sw].next = bottom
            if east:
                top = c_ne
                bottom = c_se
            if south:
                head[x] = c_sw
                tail[x] = c_se
                sums[c_sw, 0] -= front.area[x]
                sums[c_se, 0] += front.area[x]
                sums[c_sw, 1] -= front.confidence[x]
                sums[c_se, 1] += front.confidence[x]
            else:
                head[x] = VOID
                tail[x] = VOID

        _add_area(below_changes, front.area, knots, coefs[r], unit)
        if with_confidence:
            complete &= _add_confidence(below_changes, front.confidence, below, confidence[r], nodata)
        above, below = below, above
        above_changes, below_changes = below_changes, above_changes
        n_above = n_below

    front = Front(above, above_changes, tail, head, front.area, front.confidence, front.n_above)
    return corners, sums, n, front, joins[:n_joins], touches[:n_touches], complete


@inner
def _grown_pairs(array, used, need):
    if need <= array.shape[0]:
        return array
    larger = np.empty((max(need, array.shape[0] * 3 // 2), 2), array.dtype)
    for k in range(used):
        larger[k, 0] = array[k, 0]
        larger[k, 1] = array[k, 1]
    return larger
