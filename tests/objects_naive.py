"""How other tools join what tiles saw, to compare with."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from geoseg.objects.instances import Instances
from geoseg.objects.parts import core_of
from geoseg.tiling import Tile, Tiling

Pieces = list[tuple[Tile, Instances]]


def _boxes(tile: Tile, found: Instances) -> np.ndarray:
    """(object, 4): top, left, bottom, right, in the scene."""
    first = found.first[:-1]
    edges = [
        np.minimum.reduceat(found.rows, first) + tile.top_px,
        np.minimum.reduceat(found.starts, first) + tile.left_px,
        np.maximum.reduceat(found.rows, first) + 1 + tile.top_px,
        np.maximum.reduceat(found.stops, first) + tile.left_px,
    ]
    return np.stack(edges, 1) if len(found) else np.zeros((0, 4), int)


def _draw(out: np.ndarray, tile: Tile, found: Instances, which: int, value: int) -> None:
    runs = slice(found.first[which], found.first[which + 1])
    for row, start, stop in zip(found.rows[runs], found.starts[runs], found.stops[runs], strict=True):
        if 0 <= row + tile.top_px < out.shape[0]:
            out[row + tile.top_px, max(start + tile.left_px, 0) : stop + tile.left_px] = value


def box_suppression(tiling: Tiling, pieces: Pieces, overlap: float = 0.5) -> np.ndarray:
    """All boxes of all tiles; of two that overlap (by intersection over union) the one with the higher score stays."""
    boxes = np.concatenate([_boxes(tile, found) for tile, found in pieces])
    scores = np.concatenate([found.score for _, found in pieces])
    owner = [(tile, found, which) for tile, found in pieces for which in range(len(found))]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.ones(len(boxes), bool)
    out, value = np.zeros(tiling.shape, np.int64), 0
    for one in np.argsort(-scores, kind="stable"):
        if not left[one]:
            continue
        high = np.minimum(boxes[:, 2], boxes[one, 2]) - np.maximum(boxes[:, 0], boxes[one, 0])
        wide = np.minimum(boxes[:, 3], boxes[one, 3]) - np.maximum(boxes[:, 1], boxes[one, 1])
        shared = np.maximum(high, 0) * np.maximum(wide, 0)
        left &= shared <= overlap * (area + area[one] - shared)
        value += 1
        _draw(out, *owner[one], value)
    return out


def centre_owner(tiling: Tiling, pieces: Pieces) -> np.ndarray:
    """Each tile keeps the objects whose box's centre lies in its core."""
    out, value = np.zeros(tiling.shape, np.int64), 0
    for tile, found in pieces:
        (top, bottom), (left, right) = core_of(tiling, tile.row, tile.col)
        for which, edges in enumerate(_boxes(tile, found)):
            row, col = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
            if top <= row < bottom and left <= col < right:
                value += 1
                _draw(out, tile, found, which, value)
    return out


def union_of_touching(tiling: Tiling, pieces: Pieces) -> np.ndarray:
    """Whatever touches is one."""
    covered = np.zeros(tiling.shape, np.int64)
    for tile, found in pieces:
        for which in range(len(found)):
            _draw(covered, tile, found, which, 1)
    return ndimage.label(covered)[0]
