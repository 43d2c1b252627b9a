"""Fields of a drawn map: found as they are, not cut where windows end, and better than components window by window."""

from __future__ import annotations

import numpy as np
import pytest
from field_truth import BOUNDARY, INTERIOR, LEAST_PX, MOST_PX, Errors, draw_classes, draw_parcels
from objects_truth import quality
from scipy import ndimage

from geoseg.objects.regions import label_regions

PARCELS = draw_parcels(700, seed=5)
ERRORS = Errors()


def of_a_size(objects: np.ndarray, least: int = 5) -> np.ndarray:
    """Objects with as many pixels; five are the 500 m² of ftw-tools."""
    kept = np.bincount(objects.ravel()) >= least
    kept[0] = False
    return (np.cumsum(kept) * kept)[objects]


def by_windows(classes: np.ndarray, side: int) -> np.ndarray:
    """Components of the interior, window by window, as ftw-tools finds them in windows of 2048 pixels."""
    found = np.zeros(classes.shape, np.int64)
    for row in range(0, classes.shape[0], side):
        for col in range(0, classes.shape[1], side):
            window = (slice(row, row + side), slice(col, col + side))
            labels, _ = ndimage.label(classes[window] == INTERIOR)
            found[window] = np.where(labels > 0, labels + found.max(), 0)
    return found


def test_parcels_are_of_a_size_that_fields_have_and_share_borders() -> None:
    sizes = np.bincount(PARCELS.ravel())
    assert len(sizes) > 800
    assert LEAST_PX <= sizes[1:].min() <= 200 <= np.median(sizes[1:]) * 2
    assert 1000 <= sizes[1:].max() <= MOST_PX
    assert 0.1 < sizes[0] / PARCELS.size < 0.5  # woods and roads
    beside = (PARCELS[:, 1:] != PARCELS[:, :-1]) & (PARCELS[:, 1:] > 0) & (PARCELS[:, :-1] > 0)
    assert beside.sum() > 10_000
    assert (draw_parcels(700, seed=5) == PARCELS).all()


def test_the_map_has_errors_where_they_are_asked_for() -> None:
    perfect, wrong = draw_classes(PARCELS), draw_classes(PARCELS, errors=ERRORS)
    assert (perfect[PARCELS == 0] != INTERIOR).all()
    line = np.zeros(PARCELS.shape, bool)
    line[:, :-1] = PARCELS[:, 1:] != PARCELS[:, :-1]
    assert (perfect[line] == BOUNDARY).all()  # no gap
    assert 0.05 < (perfect != wrong).mean() < 0.25
    assert (draw_classes(PARCELS, errors=ERRORS) == wrong).all()


@pytest.mark.parametrize(("errors", "least"), [(None, 0.9), (ERRORS, 0.6)])
def test_fields_are_found_and_not_cut(errors: Errors | None, least: float) -> None:
    classes = draw_classes(PARCELS, errors=errors)
    truth = PARCELS.astype(np.int32)
    found = label_regions(classes, block_px=256)
    assert (found == label_regions(classes)).all()
    ours, whole, cut = (
        quality(truth, of_a_size(objects)) for objects in (found, by_windows(classes, 700), by_windows(classes, 128))
    )
    assert ours[1] > least
    assert ours[1] > whole[1] + 0.08 > cut[1] + 0.08  # grown to the border; not cut at windows
    if errors is None:
        assert abs(ours[0]) < 0.05 * truth.max()  # a pointed corner beyond its own boundary is one more
        assert cut[0] > 0.1 * truth.max()
