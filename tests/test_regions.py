"""Objects out of a map of classes: as a naive program has them, whatever the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regions_naive import naive_regions
from scipy.ndimage import gaussian_filter, label

from geoseg.errors import OptionError
from geoseg.objects.regions import Rules, label_regions


def random_classes(seed: int, shape: tuple[int, int], smooth: float) -> np.ndarray:
    """Blobs of 0, 1 and 2, as large as `smooth`."""
    rng = np.random.default_rng(seed)
    values = rng.random((3, *shape))
    return gaussian_filter(values, (0, smooth, smooth)).argmax(axis=0).astype(np.uint8)


def lines(*text: str) -> np.ndarray:
    """A map of classes from text, a digit a pixel."""
    return np.array([[int(sign) for sign in line] for line in text], np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    smooth=st.sampled_from([0, 0.6, 1.2, 2.5]),
    grow_px=st.integers(0, 5),
    borders=st.sampled_from(["shared", "gap"]),
    split_px=st.sampled_from([None, None, 1, 1.5, 2.3]),
    block_px=st.sampled_from([None, 1, 2, 3, 7, 16]),
)
def test_as_the_naive_program_whatever_the_blocks(
    seed: int, shape: tuple[int, int], smooth: float, block_px: int | None, **rules: Any
) -> None:
    classes = random_classes(seed, shape, smooth)
    assert np.array_equal(label_regions(classes, block_px=block_px, **rules), naive_regions(classes, **rules))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), smooth=st.sampled_from([0, 1, 4]), block_px=st.sampled_from([None, 5, 40]))
def test_without_growth_as_scipy(seed: int, smooth: float, block_px: int | None) -> None:
    classes = random_classes(seed, (60, 90), smooth)
    found = label_regions(classes, grow_px=0, boundary=None, block_px=block_px)
    assert np.array_equal(found, label(classes == 1)[0])  # scipy numbers by first pixels, too


def test_boundary_goes_to_the_nearest_object_and_of_two_to_the_one_above_or_before() -> None:
    classes = lines(
        "22222",
        "21212",
        "22222",
        "02220",
    )
    assert label_regions(classes, grow_px=1).tolist() == [
        [0, 1, 0, 2, 0],
        [1, 1, 1, 2, 2],
        [0, 1, 0, 2, 0],
        [0, 0, 0, 0, 0],
    ]
    assert label_regions(classes, grow_px=9).tolist() == [
        [1, 1, 1, 2, 2],
        [1, 1, 1, 2, 2],
        [1, 1, 1, 2, 2],
        [0, 1, 1, 2, 0],
    ]


def test_a_gap_is_all_of_the_boundary_between_and_none_of_what_is_around() -> None:
    classes = lines(
        "0222222220",
        "2211221122",
        "2211221122",
        "0222222220",
    )
    assert label_regions(classes, grow_px=2, borders="gap").tolist() == [
        [0, 1, 1, 1, 0, 0, 2, 2, 2, 0],
        [1, 1, 1, 1, 0, 0, 2, 2, 2, 2],
        [1, 1, 1, 1, 0, 0, 2, 2, 2, 2],
        [0, 1, 1, 1, 0, 0, 2, 2, 2, 0],
    ]
    shared = label_regions(classes, grow_px=2)
    assert shared[1].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]


def test_growth_stays_within_boundary_and_its_steps() -> None:
    assert label_regions(lines("12222"), grow_px=3).tolist() == [[1, 1, 1, 1, 0]]
    assert label_regions(lines("12022"), grow_px=3).tolist() == [[1, 1, 0, 0, 0]]
    assert label_regions(lines("12", "20"), grow_px=0).tolist() == [[1, 0], [0, 0]]


def test_what_touches_at_a_corner_is_two_objects() -> None:
    assert label_regions(lines("100", "010", "001")).tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 3]]
    assert label_regions(lines("101", "111", "101"), block_px=1).max() == 1


@pytest.mark.parametrize("value", [0, 1, 2, 255])
@pytest.mark.parametrize("block_px", [None, 4])
@pytest.mark.parametrize("split_px", [None, 2])
def test_a_map_of_one_class(value: int, block_px: int | None, split_px: float | None) -> None:
    found = label_regions(np.full((9, 11), value, np.uint8), block_px=block_px, split_px=split_px)
    assert (found == (value == 1)).all()


def test_as_many_objects_as_pixels() -> None:
    classes = np.zeros((40, 40), np.uint8)
    classes[::2, ::2] = 1
    found = label_regions(classes, block_px=7)
    assert found[::2, ::2].ravel().tolist() == list(range(1, 401))


def snake(side: int) -> np.ndarray:
    """One line, to and fro over the whole map."""
    classes = np.zeros((side, side), np.uint8)
    classes[::2] = 1
    classes[1::4, -1] = classes[3::4, 0] = 1
    return classes


def spiral(side: int) -> np.ndarray:
    """One line, from the border round and round to the middle."""
    classes = np.ones((side, side), np.uint8)
    row, col, way = 1, 0, 0
    length = side - 1
    while length > 0:  # dig the ditch beside the line
        for _ in range(2 if length < side - 1 else 1):
            for _ in range(length):
                classes[row, col] = 0
                row, col = row + (0, 1, 0, -1)[way], col + (1, 0, -1, 0)[way]
            row, col = row - (0, 1, 0, -1)[way], col - (1, 0, -1, 0)[way]
            way = (way + 1) % 4
            row, col = row + (0, 1, 0, -1)[way], col + (1, 0, -1, 0)[way]
        length -= 2
    return classes


@pytest.mark.parametrize("block_px", [None, 1, 5, 16])
def test_lines_that_wind_through_all_blocks_are_one(block_px: int | None) -> None:
    assert label_regions(snake(33), block_px=block_px).max() == 1
    winding = spiral(31)
    assert winding.sum() < 700
    assert np.array_equal(label_regions(winding, block_px=block_px), label(winding)[0])


def discs(*places: tuple[int, int, int], shape: tuple[int, int]) -> np.ndarray:
    row, col = np.ogrid[: shape[0], : shape[1]]
    return np.any([(row - r) ** 2 + (col - c) ** 2 <= radius**2 for r, c, radius in places], axis=0).astype(np.uint8)


@pytest.mark.parametrize("block_px", [None, 8, 17])
def test_two_discs_with_a_neck_are_split_in_the_middle_of_it(block_px: int | None) -> None:
    classes = discs((12, 12, 9), (12, 40, 9), shape=(25, 53))
    classes[10:15, 20:33] = 1  # five pixels wide
    whole = label_regions(classes, block_px=block_px)
    assert whole.max() == 1
    split = label_regions(classes, split_px=3, block_px=block_px)
    assert split.max() == 2
    assert np.array_equal(split > 0, classes == 1)
    assert (split[12, :26] <= 1).all()
    assert (split[12, 27:] != 1).all()
    assert label_regions(classes, split_px=2, block_px=block_px).max() == 1  # the neck is wider than that


def test_a_thin_road_is_not_split_and_a_path_goes_with_the_house_that_it_touches_more() -> None:
    road = np.zeros((20, 60), np.uint8)
    road[9:12] = 1
    road[:, 30:33] = 1
    assert label_regions(road, split_px=3, block_px=16).max() == 1
    houses = np.zeros((20, 80), np.uint8)
    houses[3:16, 2:15] = houses[3:16, 60:73] = 1
    houses[8:10, 15:60] = 1  # a path from one to the other
    found = label_regions(houses, split_px=4, block_px=16)
    assert found.max() == 2
    assert found[9, 36] == 1  # it touches both on two pixels
    houses[8:10, 40:60] = 0
    houses[4:15, 38:40] = houses[4:6, 40:60] = houses[13:15, 40:60] = 1  # now the second one on four
    found = label_regions(houses, split_px=4, block_px=16)
    assert found.max() == 2
    assert found[9, 36] == 2


def test_a_bulge_in_a_neck_is_no_object_of_its_own() -> None:
    classes = discs((12, 12, 9), (12, 30, 4), (12, 48, 9), shape=(25, 61))
    classes[11:14, 12:48] = 1
    for block_px in (None, 9):
        assert label_regions(classes, split_px=3, block_px=block_px).max() == 2
        assert label_regions(classes, split_px=2, block_px=block_px).max() == 3  # it is wide enough now


def test_seeds_do_not_shrink_at_the_edge_of_the_map() -> None:
    classes = np.ones((6, 40), np.uint8)  # a strip that goes on beyond the map, perhaps
    classes[:, 20] = [0, 0, 1, 1, 0, 0]
    assert label_regions(classes, split_px=3).max() == 2


@pytest.mark.parametrize(
    "rules", [{"grow_px": -1}, {"grow_px": 1.5}, {"grow_px": 101}, {"borders": "open"}, {"split_px": 0.5}]
)
def test_rules_that_cannot_be(rules: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(rules))}.*Change that"):
        Rules(**rules)
