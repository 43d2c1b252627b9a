"""The loops over pixels behind `geoseg.objects.regions`: label, thin out, grow. All run in time linear in the pixels.

Ground comes as *kinds*, uint8 (row, col): 0 = nothing, `BOUNDARY` = between objects, any other number = inside an
object of that kind.
"""

from __future__ import annotations

import numpy as np

from geoseg.objects.compiled import entry, inner

__all__ = ["BOUNDARY", "contacts", "grow", "grow_apart", "label", "measure", "seeds", "unroll"]

BOUNDARY = 255
_PENDING = np.uint32(0xFFFFFFFF)
_ROW_STEPS = np.array([-1, 0, 0, 1], np.int64)  # up, left, right, down: of equally near objects the first one wins
_COL_STEPS = np.array([0, -1, 1, 0], np.int64)


@inner
def _root(parent, node):
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@entry
def label(kinds):
    """Patches: pixels of one kind that hang together by their sides.

    Returns (row, col) uint32: 0 = none, then from 1 on in the order of their first pixels; and how many.
    """
    height, width = kinds.shape
    labels = np.zeros((height, width), np.uint32)
    parent = np.empty((height * width + 1) // 2 + 1, np.uint32)
    count = 0
    for row in range(height):
        for col in range(width):
            kind = kinds[row, col]
            if kind == 0 or kind == BOUNDARY:
                continue
            above = labels[row - 1, col] if row and kinds[row - 1, col] == kind else np.uint32(0)
            before = labels[row, col - 1] if col and kinds[row, col - 1] == kind else np.uint32(0)
            if above and before and above != before:
                a, b = _root(parent, above), _root(parent, before)
                labels[row, col] = min(a, b)
                parent[max(a, b)] = min(a, b)
            elif above or before:
                labels[row, col] = above or before
            else:
                count += 1
                parent[count] = count
                labels[row, col] = count
    # The root of a patch is the smallest of its numbers, and that was given to its first pixel.
    final = 0
    for number in range(1, count + 1):
        if parent[number] == number:
            final += 1
            parent[number] = final
        else:
            parent[number] = parent[parent[number]]  # which is final: roots are smaller
    for row in range(height):
        for col in range(width):
            if labels[row, col]:
                labels[row, col] = parent[labels[row, col]]
    return labels, final


@entry
def seeds(kinds, split_px):
    """What of each kind lies farther than `split_px` from all other ground: kinds, with 0 elsewhere.

    Distances are Euclidean, from centre to centre. What lies outside the array is not other ground.
    """
    height, width = kinds.shape
    reach = int(np.floor(split_px))
    enough = np.empty(reach + 1, np.uint8)  # for each distance in columns, the distance in rows that is far enough
    for step in range(reach + 1):
        rows = 0
        while step * step + rows * rows <= split_px * split_px:
            rows += 1
        enough[step] = rows
    distance = np.empty((height, width), np.uint8)  # in rows, to the nearest other ground, if that is near
    for row in range(height):
        for col in range(width):
            near = reach + 1
            if row:
                near = min(distance[row - 1, col] + 1, near) if kinds[row - 1, col] == kinds[row, col] else 1
            distance[row, col] = near
    for row in range(height - 2, -1, -1):
        for col in range(width):
            near = distance[row + 1, col] + 1 if kinds[row + 1, col] == kinds[row, col] else 1
            distance[row, col] = min(near, distance[row, col])
    out = np.zeros((height, width), np.uint8)
    for row in range(height):
        for col in range(width):
            kind = kinds[row, col]
            if kind == 0 or kind == BOUNDARY or distance[row, col] < enough[0]:
                continue
            far = True
            for other in range(max(col - reach, 0), min(col + reach + 1, width)):
                if kinds[row, other] != kind or distance[row, other] < enough[abs(other - col)]:
                    far = False
                    break
            if far:
                out[row, col] = kind
    return out


@inner
def _may_take(kinds, row, col, to_row, to_col, into_boundary):
    """Whether what has the first pixel may take the second."""
    if into_boundary:
        return kinds[to_row, to_col] == BOUNDARY
    return kinds[to_row, to_col] == kinds[row, col]


@inner
def _choose(labels, kinds, row, col, into_boundary):
    """The label that reaches a pixel, 0 for none: the first in the order of directions."""
    height, width = kinds.shape
    for way in range(4):
        r, c = row + _ROW_STEPS[way], col + _COL_STEPS[way]
        if 0 <= r < height and 0 <= c < width:
            found = labels[r, c]
            if found and found != _PENDING and _may_take(kinds, r, c, row, col, into_boundary):
                return found
    return np.uint32(0)


@entry
def grow(labels, kinds, steps, into_boundary):
    """Labels grow pixel by pixel, all at once, `steps` times at most; changes `labels`, uint32 (row, col).

    They grow into boundary, or else into unlabelled ground of their own kind. Which label a pixel gets depends on
    nothing that is farther from it than `steps`.
    """
    height, width = kinds.shape
    free = 0
    for row in range(height):
        for col in range(width):
            kind = kinds[row, col]
            free += kind and (labels[row, col] == 0) and (kind == BOUNDARY) == into_boundary
    if not free or not steps:
        return
    queue, given = np.empty(free, np.int64), np.empty(free, np.uint32)
    stop = 0
    for row in range(height):
        for col in range(width):
            kind = kinds[row, col]
            if kind and labels[row, col] == 0 and (kind == BOUNDARY) == into_boundary:
                found = _choose(labels, kinds, row, col, into_boundary)
                if found:
                    queue[stop], given[stop] = row * width + col, found
                    stop += 1
    start = 0
    for step in range(steps):
        for i in range(start, stop):
            labels[queue[i] // width, queue[i] % width] = given[i]
        if step == steps - 1 or start == stop:
            return
        end = stop
        for i in range(start, stop):
            row, col = queue[i] // width, queue[i] % width
            for way in range(4):
                r, c = row + _ROW_STEPS[way], col + _COL_STEPS[way]
                inside = 0 <= r < height and 0 <= c < width
                if inside and labels[r, c] == 0 and _may_take(kinds, row, col, r, c, into_boundary):
                    labels[r, c] = _PENDING
                    queue[end] = r * width + c
                    end += 1
        for i in range(stop, end):
            given[i] = _choose(labels, kinds, queue[i] // width, queue[i] % width, into_boundary)
        start = stop
        stop = end


@entry
def grow_apart(labels, kinds, steps):
    """The same into boundary, but what lies between two labels stays free; changes `labels`, uint32 (row, col).

    Between is what a second label reaches by `steps` + 1: where two would meet, they are that near. What a pixel gets
    depends on nothing that is farther from it.
    """
    height, width = kinds.shape
    free = 0
    for row in range(height):
        for col in range(width):
            free += kinds[row, col] == BOUNDARY
    if not free or not steps:
        return
    other = np.zeros((height, width), np.uint32)  # the second nearest label, if it is near enough
    distance = np.zeros((height, width), np.uint8)  # steps from the nearest label
    queue, given = np.empty(2 * free, np.int64), np.empty(2 * free, np.uint32)
    stop = 0
    for row in range(height):
        for col in range(width):
            if kinds[row, col] and kinds[row, col] != BOUNDARY and labels[row, col]:
                for way in range(4):
                    r, c = row + _ROW_STEPS[way], col + _COL_STEPS[way]
                    if 0 <= r < height and 0 <= c < width and kinds[r, c] == BOUNDARY:
                        stop = _reach(labels, other, distance, r, c, labels[row, col], 1, queue, given, stop)
    start = 0
    for step in range(2, steps + 2):
        end = stop
        for i in range(start, stop):
            row, col = queue[i] // width, queue[i] % width
            for way in range(4):
                r, c = row + _ROW_STEPS[way], col + _COL_STEPS[way]
                if 0 <= r < height and 0 <= c < width and kinds[r, c] == BOUNDARY:
                    end = _reach(labels, other, distance, r, c, given[i], step, queue, given, end)
        start = stop
        stop = end
    for i in range(stop):
        row, col = queue[i] // width, queue[i] % width
        if distance[row, col] > steps or other[row, col]:
            labels[row, col] = 0


@inner
def _reach(labels, other, distance, row, col, label, step, queue, given, end):
    """A label comes to a pixel; only the first two are kept, and go on from it."""
    if labels[row, col] == 0:
        labels[row, col], distance[row, col] = label, step
    elif labels[row, col] != label and other[row, col] == 0:
        other[row, col] = label
    else:
        return end
    queue[end], given[end] = row * labels.shape[1] + col, label
    return end + 1


@inner
def _touch(pieces, around, top, left, found):
    """Fills in what `contacts` gives, as far as there is room; and counts."""
    height, width = pieces.shape
    count = 0
    for row in range(height):
        for col in range(width):
            if pieces[row, col]:
                for way in range(4):
                    r, c = top + row + _ROW_STEPS[way], left + col + _COL_STEPS[way]
                    other = around[r, c] if 0 <= r < around.shape[0] and 0 <= c < around.shape[1] else np.uint32(0)
                    if other:
                        if count < len(found):
                            found[count, 0], found[count, 1] = pieces[row, col], other
                        count += 1
    return count


@entry
def contacts(pieces, around, top, left):
    """Where pieces touch something else: one (piece, other) for each side of a pixel, uint32 (side, 2).

    In `around`, which is uint32 as well, `pieces` begins at this row and column; 0 is nothing in both.
    """
    found = np.empty((_touch(pieces, around, top, left, np.empty((0, 2), np.uint32)), 2), np.uint32)
    _touch(pieces, around, top, left, found)
    return found


@entry
def measure(labels, kinds, percent, count):
    """Of each patch: its kind, its first pixel (a flat index), its pixels and the sum of their percent."""
    kind, first = np.zeros(count, np.uint8), np.zeros(count, np.int64)
    pixels, total = np.zeros(count, np.int64), np.zeros(count, np.int64)
    height, width = labels.shape
    for row in range(height):
        for col in range(width):
            if labels[row, col]:
                which = labels[row, col] - 1
                if pixels[which] == 0:
                    kind[which], first[which] = kinds[row, col], row * width + col
                pixels[which] += 1
                total[which] += percent[row, col]
    return kind, first, pixels, total


@entry
def unroll(starts, values, width, top, left, out):
    """Fill `out` with the window from row `top` and column `left` on, of an array that is given as `Runs`."""
    for row in range(out.shape[0]):
        flat = (top + row) * width + left
        run = np.searchsorted(starts, flat, "right") - 1
        stop = flat + out.shape[1]
        while flat < stop:
            end = min(starts[run + 1], stop) if run + 1 < len(starts) else stop
            for col in range(flat, end):
                out[row, col - (top + row) * width - left] = values[run]
            flat, run = end, run + 1
