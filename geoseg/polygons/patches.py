"""Patches: regions that are small as far as is known, with all that is needed to fill them.

A region is a *patch* until its size reaches the minimum; then it is *settled*: it never changes any more, so nothing is
kept of it but its value. A patch knows its size, its runs of pixels and its borders, which are linked lists in two
pools, so that two patches become one in constant time (union-find with path halving, Tarjan and van Leeuwen 1984; the
older row is the root, so rows stay in the order of the patches' first pixels).
"""

from __future__ import annotations

import numpy as np

from geoseg.polygons.compiled import entry, inner

__all__ = [
    "BORDER",
    "NONE",
    "PATCH",
    "RUN",
    "SETTLED",
    "add_border",
    "add_run",
    "compact",
    "find",
    "first_pending_row",
    "new_patch",
    "paint",
    "roots",
    "settle",
    "unite",
]

NONE = -2
"""Ends a linked list; stands for nodata where a patch is expected."""
SETTLED = -1
"""Stands for any region that is not small where a patch is expected."""

PATCH = np.dtype(
    [
        ("size", np.int64),  # pixels or units of area
        ("first", np.int64),  # first pixel: row << 32 | column
        ("parent", np.int32),
        ("value", np.int32),
        ("bottom", np.int32),  # last row
        ("first_run", np.int32),
        ("last_run", np.int32),
        ("first_border", np.int32),
        ("last_border", np.int32),
        ("borders", np.int32),  # how many there are
        ("waiting", np.int32),  # the first of the patches that wait for this one to change
        ("next_waiting", np.int32),
        ("waits", np.bool_),
        ("filled", np.bool_),  # some of its pixels have another value in the map
        ("settled", np.bool_),
    ],
    align=True,
)
RUN = np.dtype(
    [
        ("row", np.int32),  # once the patch is settled: the value that the pixels get
        ("start", np.int32),
        ("stop", np.int32),
        ("next", np.int32),
    ]
)
BORDER = np.dtype(
    [
        ("first", np.int64),  # the first edge: (row, column, side) of the patch's own pixel
        ("patch", np.int32),  # on the other side; SETTLED: a region with this value
        ("value", np.int32),
        ("length", np.int32),  # pixel edges
        ("next", np.int32),
    ],
    align=True,
)


@inner
def new_patch(patches, h, value, row, column):
    """Make row h of the table a patch without anything."""
    patch = patches[h]
    patch.size = 0
    patch.first = np.int64(row) << 32 | np.int64(column)
    patch.parent = h
    patch.value = value
    patch.bottom = row
    patch.first_run = NONE
    patch.last_run = NONE
    patch.first_border = NONE
    patch.last_border = NONE
    patch.borders = 0
    patch.waiting = NONE
    patch.next_waiting = NONE
    patch.waits = False
    patch.filled = False
    patch.settled = False


@inner
def find(patches, h):
    """The root of row h."""
    while patches[h].parent != h:
        patches[h].parent = patches[patches[h].parent].parent
        h = patches[h].parent
    return h


@entry
def roots(patches, regions):
    """The roots of several rows, in a new array; what is not a row stays."""
    found = regions.copy()
    for k in range(found.shape[0]):
        if found[k] >= 0:
            found[k] = find(patches, found[k])
    return found


@inner
def unite(patches, runs, borders, a, b):
    """Make two roots one, and give it; what waits for either must be woken by the caller."""
    if b < a:
        a, b = b, a
    one = patches[a]
    other = patches[b]
    other.parent = a
    one.size += other.size
    one.borders += other.borders
    one.bottom = max(one.bottom, other.bottom)
    one.filled |= other.filled
    one.settled |= other.settled
    if one.first_run == NONE:
        one.first_run = other.first_run
        one.last_run = other.last_run
    elif other.first_run != NONE:
        runs[one.last_run].next = other.first_run
        one.last_run = other.last_run
    if one.first_border == NONE:
        one.first_border = other.first_border
        one.last_border = other.last_border
    elif other.first_border != NONE:
        borders[one.last_border].next = other.first_border
        one.last_border = other.last_border
    return a


@inner
def add_run(patches, runs, n_runs, h, row, start, stop):
    """Give a patch a run of pixels."""
    run = runs[n_runs]
    run.row = row
    run.start = start
    run.stop = stop
    run.next = NONE
    patch = patches[h]
    if patch.first_run == NONE:
        patch.first_run = n_runs
    else:
        runs[patch.last_run].next = n_runs
    patch.last_run = n_runs
    return n_runs + 1


@inner
def add_border(patches, borders, n_borders, h, other, value, length, first):
    """Give a patch a piece of border with ``other``, which has the value ``value``."""
    patch = patches[h]
    last = patch.last_border
    if last != NONE and borders[last].patch == other and borders[last].value == value:
        borders[last].length += length
        borders[last].first = min(borders[last].first, first)
        return n_borders
    border = borders[n_borders]
    border.first = first
    border.patch = other
    border.value = value
    border.length = length
    border.next = NONE
    if last == NONE:
        patch.first_border = n_borders
    else:
        borders[last].next = n_borders
    patch.last_border = n_borders
    patch.borders += 1
    return n_borders + 1


@inner
def settle(patches, runs, row_runs, row0, h):
    """A patch has reached its end: if it was filled, hand its runs, with its value, to their rows to be painted."""
    patch = patches[h]
    patch.settled = True
    run = patch.first_run if patch.filled else NONE
    while run != NONE:
        following = runs[run].next
        row = runs[run].row - row0
        runs[run].row = patch.value
        runs[run].next = row_runs[row]
        row_runs[row] = run
        run = following
    patch.first_run = NONE
    patch.last_run = NONE
    patch.first_border = NONE
    patch.last_border = NONE
    patch.borders = 0


@entry
def paint(values, row_runs, runs):
    """Give the pixels of some rows the values of the runs in their lists."""
    for r in range(values.shape[0]):
        run = row_runs[r]
        while run != NONE:
            for x in range(runs[run].start, runs[run].stop):
                values[r, x] = runs[run].row
            run = runs[run].next


@entry
def first_pending_row(patches, n, h, end):
    """The first patch from row h of the table on that is not settled, and the first row that it touches, or ``end``."""
    while h < n:
        if patches[h].parent == h and not patches[h].settled:
            return h, patches[h].first >> 32
        h += 1
    return h, np.int64(end)


@entry
def compact(patches, n, runs, borders, row_runs, front):
    """Copies of the tables with what is still needed; every patch must be looked at again, for none waits any more.

    ``row_runs`` (lists of runs to be painted) and ``front`` (patches of the last row) are renumbered in place.
    """
    number = np.empty(n, np.int32)
    n_patches = 0
    for h in range(n):
        number[h] = n_patches if patches[h].parent == h and not patches[h].settled else SETTLED
        n_patches += int(number[h] != SETTLED)
    kept_patches = np.empty(n_patches, PATCH)
    kept_runs = np.empty(runs.shape[0], RUN)
    kept_borders = np.empty(borders.shape[0], BORDER)
    n_runs = 0
    n_borders = 0
    for k in range(front.shape[0]):
        if front[k] >= 0:
            front[k] = number[find(patches, front[k])]
    for k in range(row_runs.shape[0]):
        run = row_runs[k]
        row_runs[k] = NONE
        while run != NONE:
            kept_runs[n_runs] = runs[run]
            kept_runs[n_runs].next = row_runs[k]
            row_runs[k] = n_runs
            n_runs += 1
            run = runs[run].next
    for h in range(n):
        g = number[h]
        if g == SETTLED:
            continue
        kept_patches[g] = patches[h]
        patch = kept_patches[g]
        patch.parent = g
        patch.waiting = NONE
        patch.waits = False
        patch.first_run = NONE
        patch.first_border = NONE
        patch.last_border = NONE
        patch.borders = 0
        run = patches[h].first_run
        while run != NONE:
            n_runs = add_run(kept_patches, kept_runs, n_runs, g, runs[run].row, runs[run].start, runs[run].stop)
            run = runs[run].next
        at = patches[h].first_border
        while at != NONE:
            border = borders[at]
            other = border.patch
            value = border.value
            if other >= 0:
                root = find(patches, other)
                value = patches[root].value
                other = number[root]
            if other != g:
                n_borders = add_border(
                    kept_patches, kept_borders, n_borders, g, other, value, border.length, border.first
                )
            at = border.next
    return kept_patches, kept_runs, n_runs, kept_borders, n_borders
