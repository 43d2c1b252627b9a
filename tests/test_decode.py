"""Decoders: equal to torchvision's and torch's own functions, right by hand on small cases, flat in memory on large."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import nms

from geoseg.errors import ModelError
from geoseg.objects.decode import decode_maskrcnn, decode_yolo_seg
from geoseg.objects.suppress import keep_best

CLEAR = 1e-5
"""A soft mask nearer to its level than this may fall on either side, by the order of its sums."""


def random_boxes(rng: np.random.Generator, count: int, side: float) -> np.ndarray:
    """Boxes of all sizes, many of them nearly the same; (box, 4) float32, inside a tile."""
    centres = rng.uniform(0, side, (max(1, count // 4), 2))
    centre = centres[rng.integers(len(centres), size=count)] + rng.normal(0, 2, (count, 2))
    half = np.exp(rng.uniform(np.log(0.6), np.log(side / 2), (count, 2))) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1).clip(0, side).astype(np.float32)
    return boxes[(boxes[:, :2] < boxes[:, 2:]).all(axis=1)]


@given(st.integers(0, 2**32), st.sampled_from((0.0, 0.1, 0.5, 0.7, 1.0)), st.booleans())
@settings(deadline=None, max_examples=60)
def test_boxes_are_suppressed_as_by_torchvision(seed: int, max_overlap: float, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 120, 64)
    scores = rng.uniform(0, 1, len(boxes)).astype(np.float32)
    scores = scores.round(1) if ties else scores
    channel = rng.integers(0, 3, len(boxes))
    kept = keep_best(boxes, scores, channel, max_overlap=max_overlap)
    for one in range(3):
        (of_class,) = np.nonzero(channel == one)
        # nms sorts stably, so that of equal scores the earlier box goes first there, too
        wanted = nms(torch.from_numpy(boxes[of_class]), torch.from_numpy(scores[of_class]), max_overlap)
        assert kept[channel[kept] == one].tolist() == of_class[wanted.numpy()].tolist()
    assert (np.diff(scores[kept]) <= 0).all()


def agree(found: np.ndarray, soft: np.ndarray, level: float) -> None:
    """Masks (object, row, col) are `soft > level`, wherever that is clear."""
    clear = abs(soft - level) > CLEAR
    assert (found == (soft > level))[clear].all()
    assert clear.mean() > 0.99


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_masks_are_pasted_as_by_torchvision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (40, 56)
    boxes = random_boxes(rng, 12, 40)
    boxes[:3] += rng.uniform(-8, 24, (3, 1)).astype(np.float32)  # some lie in part outside; wholly is torchvision's end
    boxes = boxes[(boxes[:, 2:] > 1).all(axis=1) & (boxes[:, :2] < 39).all(axis=1)]
    masks = rng.uniform(0.2, 1, (len(boxes), 1, 28, 28)).astype(np.float32)
    soft = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), shape)[:, 0].numpy()
    labels, scores = rng.integers(1, 4, len(boxes)), rng.uniform(0, 1, len(boxes)).astype(np.float32)
    valid = rng.random(shape) > 0.1
    found = decode_maskrcnn(boxes, labels, scores, masks, np.ones(shape, bool))
    there = [i for i, mask in enumerate(soft) if (mask > 0.5 + CLEAR).any()]
    assert len(found) == len(there)
    agree(found.masks(shape), soft[there], 0.5)
    assert found.score.tolist() == scores[there].tolist()
    assert found.channel.tolist() == (labels[there] - 1).tolist()
    usable = decode_maskrcnn(boxes, labels, scores, masks, valid)
    kept = [mask & valid for mask in found.masks(shape) if (mask & valid).any()]
    assert (usable.masks(shape) == kept).all()


def candidates(
    rng: np.random.Generator, count: int, classes: int, side: int, prototypes: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and prototypes of random numbers."""
    boxes = random_boxes(rng, count, side)
    predictions = np.empty((4 + classes + prototypes, len(boxes)), np.float32)
    predictions[:2], predictions[2:4] = (boxes[:, :2] + boxes[:, 2:]).T / 2, (boxes[:, 2:] - boxes[:, :2]).T
    predictions[4 : 4 + classes] = rng.uniform(0, 1, (classes, len(boxes))) ** 2
    predictions[4 + classes :] = rng.normal(0, 1, (prototypes, len(boxes)))
    return predictions, rng.normal(0.1, 1, (prototypes, side // 4, side // 4)).astype(np.float32)


@given(st.integers(0, 2**32), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_prototypes_make_masks_as_torch_would(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    predictions, prototypes = candidates(rng, 40, classes, 48)
    found = decode_yolo_seg(predictions, prototypes, np.ones((48, 48), bool), classes=classes, min_score=0.3)

    # The plain way, with whole masks: scores, torchvision's suppression by class, all pixels enlarged, cut to boxes.
    x, y, w, h = predictions[:4]
    boxes = torch.from_numpy(np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1))
    scores, channel = (torch.from_numpy(predictions[4 : 4 + classes])).max(dim=0)
    kept = []
    for one in range(classes):
        of_class = torch.nonzero((channel == one) & (scores >= 0.3))[:, 0]
        kept += of_class[nms(boxes[of_class], scores[of_class], 0.7)].tolist()
    kept.sort(key=lambda i: -scores[i].item())
    coefficients = torch.from_numpy(predictions[4 + classes :].T[kept])
    sums = torch.einsum("ok,krc->orc", coefficients, torch.from_numpy(prototypes))[:, None]
    soft = torch.nn.functional.interpolate(sums, (48, 48), mode="bilinear", align_corners=False)[:, 0].numpy()
    centre = np.arange(48) + 0.5
    for i, (x0, y0, x1, y1) in zip(range(len(kept)), boxes[kept].numpy(), strict=True):
        inside = ((y0 <= centre) & (centre < y1))[:, None] & ((x0 <= centre) & (centre < x1))
        soft[i][~inside] = -1
    there = (soft > CLEAR).any(axis=(1, 2))
    agree(found.masks((48, 48)), soft[there], 0)
    assert found.score.tolist() == scores[kept].numpy()[there].tolist()
    assert found.channel.tolist() == channel[kept].numpy()[there].tolist()


def one_object(x: float, y: float, w: float, h: float, score: float = 0.9) -> np.ndarray:
    return np.array([[x], [y], [w], [h], [score], [1]], np.float32)


def test_objects_of_one_pixel_and_of_none() -> None:
    ones, valid = np.ones((1, 4, 4), np.float32), np.ones((16, 16), bool)
    found = decode_yolo_seg(one_object(3.5, 2.5, 1, 1), ones, valid, classes=1)
    assert (found.rows.tolist(), found.starts.tolist(), found.stops.tolist()) == ([2], [3], [4])
    # between the centres of pixels, of no size, inside out, beyond the tile, not sure enough, with an empty mask
    for none in (
        one_object(3.0, 2.5, 0.5, 1),
        one_object(3.5, 2.5, 0, 1),
        np.concatenate([one_object(0, 0, 1e-30, 1e-30)] * 2, axis=1),
        one_object(3.5, 2.5, -4, 1),
        one_object(90, 2.5, 9, 9),
        one_object(3.5, 2.5, 9, 9, score=0.2),
    ):
        assert len(decode_yolo_seg(none, ones, valid, classes=1)) == 0
    assert len(decode_yolo_seg(one_object(8, 8, 9, 9), -ones, valid, classes=1)) == 0
    assert len(decode_yolo_seg(one_object(8, 8, 9, 9), ones, ~valid, classes=1)) == 0
    assert len(decode_yolo_seg(one_object(8, 8, 9, 9)[:, :0], ones, valid, classes=1)) == 0


@pytest.mark.parametrize("size", [8, 40, 1e30])
def test_an_object_with_a_hole_and_a_box_beyond_the_tile(size: float) -> None:
    mask = np.ones((2, 8, 8), np.float32)
    mask[1] = 0
    mask[1, 3:5, 3:5] = -2  # with both weights 1: positive but in the middle
    valid = np.ones((8, 8), bool)
    valid[0, 2:4] = False
    predictions = np.array([[4], [4], [size], [size], [1], [1], [1]], np.float32)
    found = decode_yolo_seg(predictions, mask, valid, classes=1)
    expected = valid.copy()
    expected[3:5, 3:5] = False
    assert (found.masks((8, 8))[0] == expected).all()


def test_of_equal_scores_the_earlier_goes_first() -> None:
    both = np.concatenate([one_object(5, 5, 4, 4), one_object(5, 5.6, 4, 4)], axis=1)
    ones, valid = np.ones((1, 4, 4), np.float32), np.ones((16, 16), bool)
    assert decode_yolo_seg(both, ones, valid, classes=1).rows.tolist() == [3, 4, 5, 6]
    assert decode_yolo_seg(both[:, ::-1], ones, valid, classes=1).rows.tolist() == [4, 5, 6, 7]  # 3.6 to 7.6
    assert len(decode_yolo_seg(both, ones, valid, classes=1, max_overlap=0.9)) == 2


@pytest.mark.parametrize("where", ["score", "box", "coefficient", "prototype"])
@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_what_is_no_number_is_an_error(where: str, what: float) -> None:
    predictions, prototypes = one_object(5, 5, 4, 4), np.ones((1, 4, 4), np.float32)
    if where == "prototype":
        prototypes[0, 0, 0] = what
    else:
        predictions[{"score": 4, "box": 0, "coefficient": 5}[where]] = what
    with pytest.raises(ModelError, match=r"must be finite numbers.*weights are damaged"):
        decode_yolo_seg(predictions, prototypes, np.ones((16, 16), bool), classes=1)


def test_damaged_output_of_mask_rcnn_is_an_error() -> None:
    boxes, masks = np.array([[1, 1, 5, 5]], np.float32), np.ones((1, 1, 28, 28), np.float32)
    good = {"boxes": boxes, "labels": np.array([1]), "scores": np.ones(1, np.float32), "masks": masks}
    assert len(decode_maskrcnn(**good, valid=np.ones((8, 8), bool))) == 1
    for name in ("boxes", "scores", "masks"):
        with pytest.raises(ModelError, match=f"{name} must be finite"):
            decode_maskrcnn(**{**good, name: good[name] * np.nan}, valid=np.ones((8, 8), bool))
    for label in (0, 256):
        with pytest.raises(ModelError, match="must be from 1"):
            decode_maskrcnn(**{**good, "labels": np.array([label])}, valid=np.ones((8, 8), bool))


def test_outputs_of_another_kind_are_named() -> None:
    ones, valid = np.ones((1, 4, 4), np.float32), np.ones((16, 16), bool)
    with pytest.raises(ModelError, match=r"3 classes must give.*without non-maximum suppression"):
        decode_yolo_seg(one_object(5, 5, 4, 4), ones, valid, classes=3)
    with pytest.raises(ModelError, match=r"from 0 to 1, but are .* to 7"):
        decode_yolo_seg(one_object(5, 5, 4, 4, score=7), ones, valid, classes=1)


@pytest.mark.parametrize("alike", [False, True])
def test_100_000_candidates_are_fast_and_flat_in_memory(alike: bool) -> None:
    """All of them objects of one pixel; or all of them the same large object."""
    side, count, prototypes = 640, 100_000, 32
    predictions = np.ones((5 + prototypes, count), np.float32)
    if alike:
        predictions[:4] = np.array([[320], [320], [600], [600]])
    else:
        number = np.random.default_rng(0).permutation(side * side)[:count]
        predictions[0], predictions[1] = number % side + 0.5, number // side + 0.5
    layers = np.ones((prototypes, side // 4, side // 4), np.float32)
    valid = np.ones((side, side), bool)
    decode_yolo_seg(predictions[:, :1], layers, valid, classes=1)  # compile
    tracemalloc.start()
    begin = time.process_time()
    found = decode_yolo_seg(predictions, layers, valid, classes=1)
    taken, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == (1 if alike else count)
    assert found.pixels.tolist() == ([600 * 600] if alike else [1] * count)
    assert peak < 6 * predictions.nbytes  # whole masks would be 40 GB
    assert taken < 10
