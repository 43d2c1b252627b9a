"""Patches → their neighbours: each is filled as soon as nothing can change what it will be filled with.

A patch may be filled when all its neighbours are known and all that are patches come after it in the order of filling.
No other patch's turn can then change its borders: only its neighbours' turns could, and they come later. So it is
filled at once, whatever goes on elsewhere, and the result is that of filling all patches of the map in order. A
neighbour that is still growing is judged by its size so far, for it can only move back in the order.

A patch that must wait is linked to one neighbour that it waits for, and looked at again when that one changes. As a
patch is never larger than those that it unites with, each pixel is in few patches that are filled: about n log n steps
for n pixels.
"""

from __future__ import annotations

import numpy as np

from geoseg.polygons.compiled import entry, inner
from geoseg.polygons.patches import NONE, SETTLED, find, settle, unite

__all__ = ["fill"]

TOTAL = np.dtype(
    [
        ("turn", np.int64),  # in which a patch's borders are added up
        ("value", np.int64),
        ("length", np.int64),  # of the borders with this value
        ("first", np.int64),  # their first edge
    ]
)


@entry
def fill(patches, n_old, n, old_front, last_row, minimum, runs, borders, row_runs, pending_row):
    """Fill what can be filled after some rows were read.

    Parameters
    ----------
    patches, n, minimum, runs, borders, row_runs, pending_row
        As in `label`.
    n_old
        How many patches there were when this was called last.
    old_front
        Patches of the row above those that were read.
    last_row
        The last row that was read: patches in it are still growing.
    """
    queue = [np.int64(0) for _ in range(0)]
    for h in range(n_old, n):
        _push(patches, queue, h, last_row)
    for h in old_front:
        if h >= 0:
            _wake(patches, queue, h, last_row)
            _push(patches, queue, find(patches, h), last_row)
    table = _new_table(64)
    k = 0
    while k < len(queue):
        h = int(queue[k])
        k += 1
        patch = patches[h]
        if not _is_due(patches, h, last_row):
            continue
        if 2 * patch.borders > table.shape[0]:
            table = _new_table(4 * patch.borders)
        blocker, value, length = _choose(patches, borders, h, table, k)
        if blocker != NONE:
            patch.waits = True
            patch.next_waiting = patches[blocker].waiting
            patches[blocker].waiting = h
            continue
        if length > 0:
            h = _take(patches, runs, borders, queue, h, value, last_row)
        if length == 0 or patches[h].settled or patches[h].size >= minimum:
            settle(patches, runs, row_runs, pending_row, h)
        _push(patches, queue, h, last_row)


@inner
def _is_due(patches, h, last_row):
    """Whether a row of the table is a whole patch that is not settled and does not wait."""
    patch = patches[h]
    return patch.parent == h and not patch.settled and patch.bottom < last_row and not patch.waits


@inner
def _push(patches, queue, h, last_row):
    if _is_due(patches, h, last_row):
        queue.append(np.int64(h))


@inner
def _wake(patches, queue, h, last_row):
    """Patch h has changed: those that wait for it must be looked at again."""
    g = patches[h].waiting
    patches[h].waiting = NONE
    while g != NONE:
        patches[g].waits = False
        _push(patches, queue, g, last_row)
        g = patches[g].next_waiting


@inner
def _new_table(size):
    """A hash table by value: no entry is of a turn that counts."""
    table = np.empty(1 << int(np.ceil(np.log2(size))), TOTAL)
    for k in range(table.shape[0]):
        table[k].turn = 0
    return table


@inner
def _choose(patches, borders, h, table, turn):
    """A neighbour that patch h must wait for or `NONE`, the value that it takes, and the length of their border."""
    mask = table.shape[0] - 1
    best = np.int64(0)
    best_length = np.int64(0)
    best_first = np.int64(0)
    size, first = patches[h].size, patches[h].first
    at = patches[h].first_border
    while at != NONE:
        border = borders[at]
        at = border.next
        value = np.int64(border.value)
        if border.patch != SETTLED:
            g = find(patches, border.patch)
            if g == h:
                continue
            other = patches[g]
            if not other.settled and (other.size < size or (other.size == size and other.first < first)):
                return np.int64(g), value, best_length
            value = np.int64(other.value)
        slot = (value * 2654435761 >> 7) & mask
        while table[slot].turn == turn and table[slot].value != value:
            slot = (slot + 1) & mask
        total = table[slot]
        if total.turn != turn:
            total.turn = turn
            total.value = value
            total.length = 0
            total.first = border.first
        length = total.length + border.length
        edge = min(total.first, border.first)
        total.length = length
        total.first = edge
        if length > best_length or (length == best_length and edge < best_first):
            best = value
            best_length = length
            best_first = edge
    return np.int64(NONE), best, best_length


@inner
def _take(patches, runs, borders, queue, h, value, last_row):
    """Give patch h a value, unite it with all that it touches of that value, and give the root."""
    patches[h].value = value
    patches[h].filled = True
    _wake(patches, queue, h, last_row)
    at = patches[h].first_border
    last = patches[h].last_border
    while at != NONE:
        border = borders[at]
        if border.patch == SETTLED:
            if border.value == value:
                patches[h].settled = True
        else:
            g = find(patches, border.patch)
            if g != h and patches[g].value == value:
                _wake(patches, queue, g, last_row)
                h = unite(patches, runs, borders, g, h)
        if at == last:
            break
        at = border.next
    return h
