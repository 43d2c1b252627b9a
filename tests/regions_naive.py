"""What `geoseg.objects.regions` does, written for a whole image and without a thought for time."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.ndimage import distance_transform_edt, label

WAYS = ((-1, 0), (0, -1), (0, 1), (1, 0))


def near(shape: tuple[int, int], row: int, col: int) -> list[tuple[int, int]]:
    """The four neighbours, up, left, right, down, that lie in the image."""
    places = [(row + r, col + c) for r, c in WAYS]
    return [(r, c) for r, c in places if 0 <= r < shape[0] and 0 <= c < shape[1]]


def in_order(labels: np.ndarray) -> np.ndarray:
    """Numbered by first pixels."""
    values, first, which = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.zeros(len(values), np.int64)
    order = [i for i in np.argsort(first) if values[i]]
    rank[order] = np.arange(1, len(order) + 1)
    return rank[which].reshape(labels.shape)


def naive_grow(labels: np.ndarray, ground: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        before = labels.copy()
        for row, col in zip(*np.nonzero(ground & (before == 0)), strict=True):
            found = [before[place] for place in near(labels.shape, row, col) if before[place]]
            if found:
                labels[row, col] = found[0]
    return labels


def naive_split(inside: np.ndarray, split_px: float) -> np.ndarray:
    if inside.all():
        return inside.astype(np.int64)
    distance = distance_transform_edt(inside)
    labels = label(distance > split_px)[0].astype(np.int64)
    labels[~np.isin(labels, labels[distance > 1.5 * split_px])] = 0
    labels = in_order(labels)
    labels = naive_grow(labels, inside, int(np.ceil(2 * split_px)))
    pieces, count = label(inside & (labels == 0))
    taken = labels.copy()
    for piece in range(1, count + 1):
        sides = Counter(
            labels[place]
            for row, col in zip(*np.nonzero(pieces == piece), strict=True)
            for place in near(labels.shape, row, col)
            if labels[place]
        )
        most = min(sides, key=lambda seed: (-sides[seed], seed)) if sides else taken.max() + 1
        taken[pieces == piece] = most
    return taken


def steps_from(labels: np.ndarray, ground: np.ndarray, which: int) -> np.ndarray:
    """Steps through ground from one label, a large number where there is no way."""
    distance = np.where(labels == which, 0, 10**6)
    front = list(zip(*np.nonzero(labels == which), strict=True))
    for place in front:
        for to in near(labels.shape, *place):
            if ground[to] and distance[to] == 10**6:
                distance[to] = distance[place] + 1
                front.append(to)
    return distance


def naive_regions(
    classes: np.ndarray, *, grow_px: int, borders: str = "shared", split_px: float | None = None
) -> np.ndarray:
    inside, boundary = classes == 1, classes == 2
    labels = in_order(label(inside)[0] if split_px is None else naive_split(inside, split_px))
    if borders == "shared":
        return naive_grow(labels, boundary, grow_px)
    distances = np.array([steps_from(labels, boundary, which) for which in range(1, labels.max() + 1)])
    distances = distances.reshape(-1, *classes.shape)
    for row, col in zip(*np.nonzero(boundary), strict=True):
        here = distances[:, row, col]
        order = np.argsort(here, kind="stable")
        if len(here) and here[order[0]] <= grow_px and (len(here) < 2 or here[order[1]] > grow_px + 1):
            labels[row, col] = order[0] + 1
    return labels
