"""Matching: do two parts from overlapping tiles show the same thing? Only pixels that both tiles saw are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.objects.parts import Parts, Runs, Window, trusted_of
from geoseg.tiling import Tiling

__all__ = ["Links", "links_between", "overlaps"]

AGREE = 1 / 3
"""Intersection over union from which on two parts are the same object. It is below the usual half, because thin parts
lose much by one pixel; which of several candidates is joined is decided by the best agreement first (see `join`)."""
CONTAINED = 0.5
"""A part that is cut by its tile's border, and of which so much lies in the other, is the same object as well: an arm
of something that only the other tile sees whole. It is no more than half, because an arm three pixels wide loses two
thirds where its outline is two pixels off."""
_TINY_PX = 64
"""Parts up to this size are also compared by their boxes, a pixel wider on each side: they may be one pixel apart."""


@dataclass(frozen=True, eq=False)
class Links:
    """Pairs of parts that show the same thing."""

    a: np.ndarray
    """(link,) int64: number of a part of the first tile."""
    b: np.ndarray
    """(link,) int64: of the second."""
    agreement: np.ndarray
    """(link,) float64: intersection over union of the shared pixels, 0..1; the strongest join first."""


def overlaps(a: Runs, b: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which owners share pixels, and how many.

    Parameters
    ----------
    a, b
        Runs, in any order; those of one owner do not overlap each other.

    Returns
    -------
    tuple of ndarray
        (pair,) int64 owner in `a`, owner in `b`, shared pixels; sorted by owners.

    Examples
    --------
    >>> a = Runs(*(np.array(v) for v in ([0, 0], [0, 1], [0, 0], [4, 4])))
    >>> b = Runs(*(np.array(v) for v in ([7, 8], [1, 1], [3, 1], [9, 2])))
    >>> [found.tolist() for found in overlaps(a, b)]
    [[0, 0], [7, 8], [1, 1]]
    """
    none = np.zeros(0, np.int64)
    if not len(a) or not len(b):
        return none, none, none
    b = b[np.lexsort((b.starts, b.rows))]
    low_row, low_col = min(a.rows.min(), b.rows.min()), min(a.starts.min(), b.starts.min())
    width = int(max(a.stops.max(), b.stops.max()) - low_col) + 1

    def place(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return (rows - low_row) * width + (cols - low_col)

    # Runs of b that begin before a run ends, from the first on that may reach over its start.
    reach = np.maximum.accumulate(place(b.rows, b.stops))
    first = np.searchsorted(reach, place(a.rows, a.starts), "right")
    count = np.maximum(np.searchsorted(place(b.rows, b.starts), place(a.rows, a.stops), "left") - first, 0)
    one = np.repeat(np.arange(len(a)), count)
    other = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    shared = np.minimum(a.stops[one], b.stops[other]) - np.maximum(a.starts[one], b.starts[other])
    there = (shared > 0) & (a.rows[one] == b.rows[other])
    i, j, shared = a.owner[one[there]], b.owner[other[there]], shared[there]
    span = int(b.owner.max()) + 1
    pairs, back = np.unique(i * span + j, return_inverse=True)
    return pairs // span, pairs % span, np.bincount(back, shared, len(pairs)).astype(np.int64)


def links_between(tiling: Tiling, a: Parts, b: Parts) -> Links:
    """The links between the parts of two tiles of a lattice.

    Parameters
    ----------
    tiling
        The lattice.
    a, b
        The parts of one tile each.

    Returns
    -------
    Links
        By number in `a` and in `b`.
    """
    if not len(a) or not len(b):
        return Links(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    window = _shared(tiling, int(a.tile[0]), int(b.tile[0]))
    left, right = a.runs.clip(window), b.runs.clip(window)
    size_a, size_b = left.pixels(len(a)), right.pixels(len(b))
    i, j, shared = overlaps(left, right)
    agreement = shared / (size_a[i] + size_b[j] - shared)
    same = a.channel[i] == b.channel[j]
    arm = (a.cut[i] & (shared >= CONTAINED * size_a[i])) | (b.cut[j] & (shared >= CONTAINED * size_b[j]))
    good = (agreement >= AGREE) | (same & arm)
    tiny = _links_of_tiny(left, right, size_a, size_b)
    i, j = np.concatenate([i[good], tiny.a]), np.concatenate([j[good], tiny.b])
    agreement = np.concatenate([agreement[good], tiny.agreement])
    order = np.lexsort((-agreement, j, i))  # of a pair that came twice, the better one is first
    i, j, agreement = i[order], j[order], agreement[order]
    fresh = np.ones(len(i), bool)
    fresh[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    return Links(i[fresh], j[fresh], agreement[fresh])


def _shared(tiling: Tiling, one: int, other: int) -> Window:
    """What both tiles see and are trusted with."""
    width = tiling.lattice[1]
    (rows_a, cols_a), (rows_b, cols_b) = (trusted_of(tiling, *divmod(tile, width)) for tile in (one, other))
    rows = max(rows_a[0], rows_b[0]), min(rows_a[1], rows_b[1])
    return rows, (max(cols_a[0], cols_b[0]), min(cols_a[1], cols_b[1]))


def _links_of_tiny(a: Runs, b: Runs, size_a: np.ndarray, size_b: np.ndarray) -> Links:
    boxes = [_boxes(runs, size) for runs, size in ((a, size_a), (b, size_b))]
    (box_a, area_a), (box_b, area_b) = boxes
    i, j, shared = overlaps(box_a, box_b)
    agreement = shared / (area_a[i] + area_b[j] - shared)
    good = agreement >= AGREE
    return Links(i[good], j[good], agreement[good])


def _boxes(runs: Runs, size: np.ndarray) -> tuple[Runs, np.ndarray]:
    """The boxes of what is tiny, a pixel wider on each side, as runs; and their areas by owner."""
    runs = runs[(size > 0)[runs.owner] & (size <= _TINY_PX)[runs.owner]]
    area = np.zeros(len(size), np.int64)
    if not len(runs):
        return runs, area
    order = np.argsort(runs.owner, kind="stable")
    owner = runs.owner[order]
    begins = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    top = np.minimum.reduceat(runs.rows[order], begins) - 1
    bottom = np.maximum.reduceat(runs.rows[order], begins) + 2
    left = np.minimum.reduceat(runs.starts[order], begins) - 1
    right = np.maximum.reduceat(runs.stops[order], begins) + 1
    height = bottom - top
    area[owner[begins]] = height * (right - left)
    rows = np.arange(height.sum()) - np.repeat(np.cumsum(height) - height, height) + np.repeat(top, height)
    boxes = Runs(np.repeat(owner[begins], height), rows, np.repeat(left, height), np.repeat(right, height))
    return boxes, area
