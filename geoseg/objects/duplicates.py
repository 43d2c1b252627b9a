"""Duplicates within a tile: what a model found twice on nearly the same pixels is one object, the surest."""

from __future__ import annotations

import numpy as np

from geoseg.objects.compiled import entry
from geoseg.objects.instances import Instances

__all__ = ["without_duplicates"]


def without_duplicates(found: Instances) -> np.ndarray:
    """Which instances stay when each, the surest first, removes those that share more than half of their union with it.

    Whichever of two such instances were painted over the other, it would leave less than half of it, and that is no
    object (see `geoseg.objects.paint`). They are told apart here already, since both would look for the same partner in
    the next tile, and one would stay behind without.

    Parameters
    ----------
    found
        The instances of a tile, of any class.

    Returns
    -------
    ndarray
        bool (object,). Of equal scores the earlier one stays.

    Examples
    --------
    >>> masks = np.zeros((3, 4, 4), bool)
    >>> masks[0, :2] = masks[1, :2, :3] = masks[2, 1:] = True
    >>> without_duplicates(Instances.from_masks(masks, channel=[0, 1, 0], score=[.5, .6, .4])).tolist()
    [False, True, True]
    >>> without_duplicates(Instances.from_masks(masks[:0], channel=[], score=[])).tolist()
    []
    """
    order = np.argsort(-found.score, kind="stable")
    height = int(found.rows.max(initial=-1)) + 1
    return _greedy(order, found.first, found.rows, found.starts, found.stops, found.pixels, height)


@entry
def _greedy(
    order: np.ndarray,
    first: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    pixels: np.ndarray,
    height: int,
) -> np.ndarray:
    stays = np.ones(len(order), np.bool_)
    newest = np.full(height, -1, np.int64)  # the last run kept in each row of the tile,
    older = np.full(len(rows), -1, np.int64)  # for each kept run the one before it in its row,
    owner = np.empty(len(rows), np.int64)  # and whose it is
    shared = np.zeros(len(order), np.int64)
    met = np.empty(len(order), np.int64)
    for one in order:
        count = 0
        for run in range(first[one], first[one + 1]):
            other = newest[rows[run]]
            while other >= 0:
                both = min(stops[run], stops[other]) - max(starts[run], starts[other])
                if both > 0:
                    if shared[owner[other]] == 0:
                        met[count] = owner[other]
                        count += 1
                    shared[owner[other]] += both
                other = older[other]
        for other in met[:count]:
            if 3 * shared[other] > pixels[one] + pixels[other]:  # shared / (a + b - shared) > 1 / 2
                stays[one] = False
            shared[other] = 0
        if stays[one]:
            for run in range(first[one], first[one + 1]):
                owner[run] = one
                older[run] = newest[rows[run]]
                newest[rows[run]] = run
    return stays
