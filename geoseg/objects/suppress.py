"""Non-maximum suppression: of boxes that cover nearly the same, the surest."""

from __future__ import annotations

import numpy as np

from geoseg.objects.compiled import entry, inner

__all__ = ["keep_best"]

_CELLS = 64


def keep_best(boxes: np.ndarray, scores: np.ndarray, channel: np.ndarray, *, max_overlap: float) -> np.ndarray:
    """Which boxes stay when each, the surest first, removes the later ones of its class that overlap it too much.

    Parameters
    ----------
    boxes
        (box, 4) float32: x0, y0, x1, y1, finite, with a positive width and height.
    scores
        (box,) float32. Of equal scores the earlier box goes first.
    channel
        (box,) the class of each.
    max_overlap
        Boxes overlap too much where their intersection is more than this share of their union, 0..1.

    Returns
    -------
    numpy.ndarray
        (kept,) int64: indices into `boxes`, the surest first.

    Notes
    -----
    A box is compared with those kept boxes only whose centres lie so near that they could overlap too much, so many
    boxes take little time and memory, unless `max_overlap` is near zero.

    Examples
    --------
    >>> boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 5], [0, 0, 4, 4], [9, 9, 10, 10]], np.float32)
    >>> keep_best(boxes, np.array([.7, .9, .8, .1], np.float32), np.array([0, 0, 1, 0]), max_overlap=0.5).tolist()
    [1, 2, 3]
    >>> keep_best(boxes[:0], np.zeros(0, np.float32), np.zeros(0, int), max_overlap=0.5).tolist()
    []
    """
    order = np.argsort(-scores, kind="stable")
    if not len(order):
        return order
    centres = (boxes[:, :2].astype(np.float64) + boxes[:, 2:]) / 2
    low = centres.min(axis=0)
    cell = np.maximum((centres.max(axis=0) - low) / _CELLS, 1e-6)
    kept = _greedy(
        boxes[order].astype(np.float32),
        channel[order].astype(np.int64),
        (centres[order] - low) / cell,
        cell,
        np.float32(max_overlap),
    )
    return order[kept]


@entry
def _greedy(
    boxes: np.ndarray, channel: np.ndarray, places: np.ndarray, cell: np.ndarray, max_overlap: float
) -> np.ndarray:
    """True for boxes that stay; `places` are the centres (x, y) in cells."""
    kept = np.ones(len(boxes), np.bool_)
    newest = np.full((_CELLS, _CELLS), -1, np.int64)  # the last box kept in each cell of centres,
    older = np.full(len(boxes), -1, np.int64)  # and for each kept box the one before it in its cell
    # Boxes that overlap more than t are at most 1 / t times as wide, and their centres at most (1 / t - 1) widths
    # apart; the same for heights. A little more allows for rounding.
    reach = 1.001 * (1 / max_overlap - 1) + 1e-3 if max_overlap > 0 else np.inf
    for i in range(len(boxes)):
        x0, x1 = _cells(places[i, 0], reach * (boxes[i, 2] - boxes[i, 0]) / cell[0])
        y0, y1 = _cells(places[i, 1], reach * (boxes[i, 3] - boxes[i, 1]) / cell[1])
        for cell_number in range((y1 - y0 + 1) * (x1 - x0 + 1)):
            j = newest[y0 + cell_number // (x1 - x0 + 1), x0 + cell_number % (x1 - x0 + 1)]
            while j >= 0 and kept[i]:
                kept[i] = channel[j] != channel[i] or _overlap(boxes[j], boxes[i]) <= max_overlap
                j = older[j]
            if not kept[i]:
                break
        if kept[i]:
            x, y = _cells(places[i, 0], 0.0)[0], _cells(places[i, 1], 0.0)[0]
            older[i], newest[y, x] = newest[y, x], i
    return kept


@inner
def _cells(place: float, reach: float) -> tuple[int, int]:
    """The first and the last cell within reach of a place, both in cells."""
    last = _CELLS - 1
    return int(min(max(place - reach, 0.0), last)), int(min(max(place + reach, 0.0), last))


@inner
def _overlap(a: np.ndarray, b: np.ndarray) -> np.floating:
    """Intersection over union, in single precision."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), np.float32(0))
    height = max(min(a[3], b[3]) - max(a[1], b[1]), np.float32(0))
    shared = width * height
    together = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / together if together > 0 else np.float32(0)
