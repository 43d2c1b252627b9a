"""COCO's average precision of scored objects, on the overlaps of polygons instead of masks.

Lin et al. 2014, "Microsoft COCO: Common Objects in Context", as the tool pycocotools computes it: for each of ten
thresholds of IoU, 0.50, 0.55, ..., 0.95, the objects choose in order of their score, and the precision is read off at
101 places of recall. Unlike there, the scene is one image and the number of objects has no limit.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geoseg.accuracy.matching import Pairs

__all__ = ["THRESHOLDS", "average_precision"]

THRESHOLDS = np.round(np.arange(0.5, 1.0, 0.05), 2)
"""(threshold,) COCO's thresholds of IoU."""

_RECALLS = np.linspace(0.0, 1.0, 101)


def average_precision(
    pairs: Pairs, score: np.ndarray, *, other_objects: np.ndarray, other_reference: np.ndarray
) -> np.ndarray:
    """The average precision at each threshold.

    Parameters
    ----------
    pairs
        All pairs of objects and references of one class, sorted by object, then by reference.
    score
        (object,) How sure each is; only the order matters.
    other_objects, other_reference
        (object,) and (reference,) bool: True = of another size or class, or not inside. Such a reference is not
        missed, and what matches it is neither right nor false; such an object is not false.

    Returns
    -------
    ndarray
        float64 (threshold,), 0..1; NaN without a reference.

    Examples
    --------
    >>> pairs = Pairs(np.array([0, 1]), np.array([0, 1]), np.ones(2), np.array([0.92, 0.6]))
    >>> others = np.zeros(2, bool)
    >>> average_precision(pairs, np.array([0.5, 0.9]), other_objects=others, other_reference=others).round(3).tolist()
    [1.0, 1.0, 1.0, 0.252, 0.252, 0.252, 0.252, 0.252, 0.252, 0.0]
    """
    wanted = int((~other_reference).sum())
    if not wanted:
        return np.full(len(THRESHOLDS), np.nan)
    order = np.argsort(-score, kind="stable")
    first = np.searchsorted(pairs.object, np.arange(len(score) + 1))
    outcome = _outcomes(order, first, pairs.reference, pairs.iou, other_reference, other_objects, THRESHOLDS)
    return np.array([_area_under(of_one[of_one >= 0], wanted) for of_one in outcome])


def _area_under(right: np.ndarray, wanted: int) -> float:
    """The mean precision at 101 recalls; `right` are 1 or 0 in order of score."""
    found, seen = np.cumsum(right), np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate((found / seen)[::-1])[::-1]  # the best at this recall or a larger one
    places = np.searchsorted(found / wanted, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


@njit(nogil=True, cache=True)
def _outcomes(order, first, reference, iou, other_reference, other_objects, thresholds):
    """(threshold, place in order) int8: 1 = right, 0 = false, -1 = does not matter."""
    outcome = np.zeros((len(thresholds), len(order)), np.int8)
    for t in range(len(thresholds)):
        taken = np.zeros(len(other_reference), np.bool_)
        for place in range(len(order)):
            object_ = order[place]
            best, where = thresholds[t], -1
            for of_another in (False, True):  # a reference of another kind only where there is no other
                for k in range(first[object_], first[object_ + 1]):
                    r = reference[k]
                    if other_reference[r] == of_another and not taken[r] and iou[k] >= best:
                        best, where = iou[k], r
                if where >= 0:
                    break
            if where >= 0:
                taken[where] = True
                outcome[t, place] = -1 if other_reference[where] else 1
            elif other_objects[object_]:
                outcome[t, place] = -1
    return outcome
