"""Decoders: from what an instance network gives for one tile to `Instances`. Pure functions of numpy arrays.

Masks are made inside their boxes only, one object at a time, so memory does not grow with objects times pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from geoseg.errors import ModelError
from geoseg.objects.instances import Instances

# The compiled functions are imported where they are called: numba takes a second to load, which only they need.

__all__ = ["decode_maskrcnn", "decode_yolo_seg"]

_MASK_PADDING = 1
_SCORE_TOLERANCE = 1e-3


def decode_maskrcnn(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, masks: np.ndarray, valid: np.ndarray
) -> Instances:
    """The objects of a tile, from what Mask R-CNN's heads give after non-maximum suppression.

    A mask belongs to its box. As the paper's authors do, it gets a border of one zero cell, the box is enlarged by as
    much and rounded to whole pixels, and the mask is enlarged to it bilinearly; the object is where that is above 0.5.

    Parameters
    ----------
    boxes
        (object, 4) float32: x0, y0, x1, y1 in pixels of the tile.
    labels
        (object,) integers: 1 + index into the model's classes.
    scores
        (object,) float32, 0..1.
    masks
        (object, 1, row, col) float32: probabilities, 28 × 28 usually.
    valid
        (row, col) bool, True = usable; its shape is the tile's. Objects get no other pixels.

    Returns
    -------
    Instances
        In the given order, without those that have no pixel.

    Raises
    ------
    ModelError
        A number is not finite, or a label is none of a class.

    Examples
    --------
    >>> box, mask = np.array([[1.2, 0.1, 3.9, 1.9]], "float32"), np.ones((1, 1, 28, 28), "float32")
    >>> found = decode_maskrcnn(box, np.array([1]), np.array([0.9], "float32"), mask, np.ones((3, 6), bool))
    >>> found.masks((3, 6))[0].astype(int).tolist()
    [[0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]
    >>> len(decode_maskrcnn(box[:0], np.zeros(0, int), np.zeros(0), mask[:0], np.ones((3, 6), bool)))
    0
    """
    from geoseg.objects.pasting import paste_masks

    _check_finite({"boxes": boxes, "scores": scores, "masks": masks})
    if len(labels) and not 1 <= labels.min() <= labels.max() <= 255:
        raise ModelError(
            f"Labels of Mask R-CNN must be from 1 (the first class) to 255, but are {labels.min()} to {labels.max()}. "
            "Check the classes of model.json."
        )
    small = np.pad(masks.reshape(-1, *masks.shape[-2:]).astype(np.float32), ((0, 0), *[(_MASK_PADDING,) * 2] * 2))
    corners = _enlarged(boxes.astype(np.float32), small.shape[-1] / masks.shape[-1])
    sides = np.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)  # the last pixel belongs to the box
    windows = np.concatenate([corners[:, 1::-1], sides[:, ::-1]], axis=1)
    runs, first = paste_masks(small, windows, np.float32(0.5), np.ascontiguousarray(valid, bool))
    return _instances(runs, first, labels - 1, scores)


def decode_yolo_seg(
    predictions: np.ndarray,
    prototypes: np.ndarray,
    valid: np.ndarray,
    *,
    classes: int,
    min_score: float = 0.25,
    max_overlap: float = 0.7,
) -> Instances:
    """The objects of a tile, from the two outputs of a YOLO segmentation network exported without its own selection.

    A candidate has the class of its highest score. Candidates below `min_score` are left out, then of each class
    those whose box overlaps that of a surer one too much. An object's mask is the sum of the prototypes with the
    candidate's coefficients, enlarged bilinearly to the tile; the object has those pixels whose centre is in the box
    and whose value is above 0 (a probability above 0.5).

    Parameters
    ----------
    predictions
        (4 + class + prototype, candidate) float32: the box's centre x and y, width and height in pixels of the tile,
        a score 0..1 for each class, a coefficient for each prototype.
    prototypes
        (prototype, row, col) float32, a fraction of the tile in size, a quarter usually.
    valid
        (row, col) bool, True = usable; its shape is the tile's. Objects get no other pixels.
    classes
        How many classes there are.
    min_score
        Lowest score of an object, 0..1.
    max_overlap
        Largest intersection over union of the boxes of two objects of a class, 0..1.

    Returns
    -------
    Instances
        The surest first; of equal scores, the earlier candidate. Without those that have no pixel.

    Raises
    ------
    ModelError
        The shapes do not fit together, a number is not finite, or scores are not from 0 to 1.

    Examples
    --------
    One class and one prototype, on a tile of 4 × 4 pixels; the second candidate is the first once more, less sure.

    >>> predictions = np.array([[2, 2], [1, 1], [2, 2], [2, 2], [.9, .8], [1, 1]], "float32")
    >>> found = decode_yolo_seg(predictions, np.ones((1, 2, 2), "float32"), np.ones((4, 4), bool), classes=1)
    >>> found.masks((4, 4))[0].astype(int).tolist(), len(found)
    ([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], 1)
    >>> len(decode_yolo_seg(predictions[:, :0], np.ones((1, 2, 2)), np.ones((4, 4), bool), classes=1))
    0
    """
    from geoseg.objects.pasting import paste_sums
    from geoseg.objects.suppress import keep_best

    if predictions.ndim != 2 or prototypes.ndim != 3 or len(predictions) != 4 + classes + len(prototypes):
        raise ModelError(
            f"YOLO-seg with {classes} classes must give predictions (4 + {classes} + prototypes, candidate) and "
            f"prototypes (prototype, row, col) for a tile, but gives {predictions.shape} and {prototypes.shape}. "
            "Correct the classes, or export the network without non-maximum suppression inside it."
        )
    of_class = predictions[4 : 4 + classes]
    channel = of_class.argmax(axis=0)
    score = np.take_along_axis(of_class, channel[None], axis=0)[0]
    _check_finite({"scores": score, "prototypes": prototypes})
    if of_class.size and not -_SCORE_TOLERANCE <= of_class.min() <= of_class.max() <= 1 + _SCORE_TOLERANCE:
        raise ModelError(
            f"Scores of YOLO-seg must be from 0 to 1, but are {of_class.min():.3g} to {of_class.max():.3g}. Check the "
            "number of classes, or export the network with its sigmoid."
        )
    chosen = np.flatnonzero(score >= min_score)
    _check_finite({"boxes and coefficients": predictions[:, chosen]})
    x, y, width, height = predictions[:4, chosen].astype(np.float32)
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    there = (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    chosen, boxes = chosen[there], boxes[there]
    kept = keep_best(boxes, score[chosen], channel[chosen], max_overlap=max_overlap)
    chosen, boxes = chosen[kept], boxes[kept]

    edges = np.ceil(boxes - np.float32(0.5))  # the first pixel whose centre is not before the edge
    rows, cols = edges[:, 1::2].clip(0, valid.shape[0]), edges[:, 0::2].clip(0, valid.shape[1])
    weights = np.ascontiguousarray(predictions[4 + classes :, chosen].T, np.float32)
    runs, first = paste_sums(
        weights,
        np.ascontiguousarray(prototypes, np.float32),
        np.concatenate([rows, cols], axis=1).astype(np.int64),
        np.float32(0),
        np.ascontiguousarray(valid, bool),
    )
    return _instances(runs, first, channel[chosen], score[chosen])


def _enlarged(boxes: np.ndarray, factor: float) -> np.ndarray:
    """Boxes enlarged about their centres, cut to whole pixels towards zero, int64."""
    half = (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5) * np.float32(factor)
    centre = (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.int64)


def _instances(runs: np.ndarray, first: np.ndarray, channel: np.ndarray, score: np.ndarray) -> Instances:
    """`Instances` of the objects that have runs."""
    there = np.diff(first) > 0
    first = np.concatenate([first[:1], first[1:][there]])
    rows, starts, stops = (np.ascontiguousarray(column) for column in runs.T)
    return Instances(
        rows, starts, stops, first, channel[there].astype(np.uint8), score[there].clip(0, 1).astype(np.float32)
    )


def _check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelError(
                f"A network's {name} must be finite numbers, but some are not. Its weights are damaged, or the "
                "scene's values are far outside what it was trained on: check --value-range."
            )
