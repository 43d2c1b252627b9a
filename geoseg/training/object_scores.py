"""How many objects are found: those that are nearly as drawn, those too much, and those missed; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["MATCH_IOU", "SURE", "Found", "count_matches", "f1_of", "match_objects"]

MATCH_IOU = 0.5
"""A found object is right if it shares so much with a drawn one: intersection over union."""
SURE = 0.5
"""An object is taken for found if the network gives it at least this score."""


@dataclass(frozen=True, eq=False)
class Found:
    """Objects in one window."""

    masks: np.ndarray
    """(object, row, col) bool."""
    channels: np.ndarray
    """(object,) int: the class, from 1."""
    scores: np.ndarray
    """(object,) how sure the network is, 0..1; 1 for drawn ones."""


def match_objects(found: Found, drawn: Found) -> np.ndarray:
    """For each found object the drawn one that it is, -1 for none.

    The surest choose first. Each takes, of the drawn ones of its class that nobody has, the one it agrees with best, if
    that is by `MATCH_IOU` at least.

    >>> square = np.zeros((3, 1, 6), bool)
    >>> square[0, 0, :4] = square[1, 0, 1:4] = square[2, 0, :2] = True
    >>> drawn = Found(square[:1], np.array([1]), np.ones(1))
    >>> match_objects(Found(square[1:], np.array([1, 1]), np.array([0.8, 0.9])), drawn)
    array([-1, 0])
    """
    sizes = [len(one.masks) for one in (found, drawn)]
    if not all(sizes):
        return np.full(sizes[0], -1)
    flat = [one.masks.reshape(size, -1).astype(np.float32) for one, size in zip((found, drawn), sizes, strict=True)]
    both = flat[0] @ flat[1].T
    union = flat[0].sum(1)[:, None] + flat[1].sum(1)[None] - both
    iou = np.where(found.channels[:, None] == drawn.channels[None], both / np.maximum(union, 1), 0.0)
    match = np.full(sizes[0], -1)
    for i in np.argsort(-found.scores, kind="stable"):
        best = int(iou[i].argmax())
        if iou[i, best] >= MATCH_IOU:
            match[i], iou[:, best] = best, -1.0
    return match


def count_matches(found: Found, drawn: Found, channels: int) -> np.ndarray:
    """(class, 3): objects that are right, found too much, and missed; classes 1 to `channels`."""
    match = match_objects(found, drawn)
    right = np.bincount(found.channels[match >= 0], minlength=channels + 1)
    every, wanted = (np.bincount(one.channels, minlength=channels + 1) for one in (found, drawn))
    return np.stack([right, every - right, wanted - right], axis=1)[1:]


def f1_of(counts: np.ndarray) -> np.ndarray:
    """The F1 score (...) of counts (..., 3): twice the right ones, over all found and all drawn; NaN without any.

    >>> f1_of(np.array([[3, 1, 1], [0, 0, 0]]))
    array([0.75, nan])
    """
    right, much, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    total = 2 * right + much + missed
    return np.where(total > 0, 2 * right / np.maximum(total, 1), np.nan)
