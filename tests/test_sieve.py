"""`sieve` against a plain reference that says the contract word for word, and drawings on paper."""

from __future__ import annotations

import sys
from math import ceil

import numpy as np
import pytest
import scipy.ndimage
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_polygons import make_map

from geoseg.areas import PixelAreas, class_areas
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map, geobox_of, open_class_map
from geoseg.errors import OptionError, SceneError
from geoseg.polygons import sieve, vectorize
from geoseg.polygons.sieve import _Sieve, sieve_strips

SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
SOUTHWARDS = Affine(0.01, 0, 10, 0, -2.5, 80)  # geographic: each row's pixels are much larger than those above
sieving = sys.modules["geoseg.polygons.sieve"]


def regions(values: np.ndarray, connectivity: int, nodata: int = 255) -> np.ndarray:
    """A number for each region, 0 for nodata."""
    structure = np.ones((3, 3)) if connectivity == 8 else None
    numbers = np.zeros(values.shape, int)
    for value in np.unique(values[values != nodata]):
        found, n = scipy.ndimage.label(values == value, structure)
        numbers[found > 0] = found[found > 0] + numbers.max()
    return numbers


def next_fill(values: np.ndarray, sizes: np.ndarray, minimum: int, connectivity: int):
    """The next region to be filled, as a mask, and its new value; None if there is none."""
    numbers = regions(values, connectivity).ravel()
    totals = [sum(sizes.ravel()[numbers == number].tolist()) for number in range(numbers.max() + 1)]
    firsts = [int(np.argmax(numbers == number)) for number in range(numbers.max() + 1)]
    height, width = values.shape
    for size, first in sorted(zip(totals[1:], firsts[1:], strict=True)):
        if size >= minimum:
            return None
        lengths: dict[int, int] = {}  # in order of the first edge
        inside = numbers == numbers[first]
        for pixel in np.flatnonzero(inside):
            for down, right in SIDES:
                row, col = pixel // width + down, pixel % width + right
                if 0 <= row < height and 0 <= col < width:
                    value = int(values[row, col])
                    if value != 255 and value != values.ravel()[first]:
                        lengths[value] = lengths.get(value, 0) + 1
        if lengths:
            return inside.reshape(values.shape), max(lengths, key=lambda value: lengths[value])
    return None


def reference(values: np.ndarray, sizes: np.ndarray, minimum: int, connectivity: int) -> np.ndarray:
    values = values.copy()
    while found := next_fill(values, sizes, minimum, connectivity):
        values[found[0]] = found[1]
    return values


def cut(values: np.ndarray, rows: int, minimum: int, connectivity: int, areas=None, confidence=None) -> np.ndarray:
    """The map sieved in strips of so many rows."""
    strips = [
        (row, values[row : row + rows], None if confidence is None else confidence[row : row + rows])
        for row in range(0, len(values), rows)
    ]
    sieved = list(
        sieve_strips(
            strips,
            values.shape[1],
            dtype=values.dtype,
            nodata=255,
            connectivity=connectivity,
            minimum=minimum,
            areas=areas,
        )
    )
    assert [(row, len(part)) for row, part, _ in sieved] == [(row, len(part)) for row, part, _ in strips]
    assert all(after is before for (_, _, after), (_, _, before) in zip(sieved, strips, strict=True))
    return np.concatenate([part for _, part, _ in sieved])


@st.composite
def maps(draw, most=12):
    """Noise, blocks, stripes and drawings with nodata."""
    kind = draw(st.sampled_from(["drawn", "noise", "noise", "blocks", "stripes", "islands"]))
    if kind == "drawn":
        shape = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)
        return draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([1, 2, 3, 255])))
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(1, draw(st.integers(1, 5)) + 1, (height, width))
    if kind == "blocks":
        values = np.kron(values, np.ones((2, 3), int))[:height, :width]
    if kind == "stripes":
        values = np.where(rng.random(values.shape) < 0.1, values, 1 + np.arange(width) // 2 % 3)
    share = 0.5 if kind == "islands" else draw(st.sampled_from([0.0, 0.05, 0.3]))
    values[rng.random(values.shape) < share] = 255
    return np.ascontiguousarray(values.astype(np.uint8))


@settings(max_examples=200, deadline=None)
@given(maps(), st.sampled_from([4, 8]), st.sampled_from([1, 2, 3, 4, 6, 9, 16, 40, 10_000]))
def test_pixels_equal_the_reference_for_any_cutting(values, connectivity, minimum):
    expected = reference(values, np.ones(values.shape, int), minimum, connectivity)
    for rows in (1, 2, 7, 64):
        np.testing.assert_array_equal(cut(values, rows, minimum, connectivity), expected)


@settings(max_examples=60, deadline=None)
@given(maps(), st.sampled_from([4, 8]), st.integers(1, 40), st.sampled_from([SOUTHWARDS, SOUTHWARDS * Affine.shear(3)]))
def test_areas_equal_the_reference_for_any_cutting(values, connectivity, pixels, transform):
    areas = PixelAreas(geobox_of(make_map(values, transform, "EPSG:4326")))
    sizes = np.rint(areas.of(slice(None), slice(None)) / areas.unit_m2).astype(np.int64)
    minimum = ceil(pixels * int(sizes.max()) / 2)
    expected = reference(values, sizes, minimum, connectivity)
    for rows in (1, 2, 7, 64):
        np.testing.assert_array_equal(cut(values, rows, minimum, connectivity, areas), expected)
    sieved = sieve(
        make_map(values, transform, "EPSG:4326"), min_area=f"{minimum * areas.unit_m2!r}m2", connectivity=connectivity
    )
    np.testing.assert_array_equal(sieved.values, expected)


@settings(max_examples=40, deadline=None)
@given(maps(most=200), st.sampled_from([4, 8]), st.sampled_from([2, 5, 20, 100, 1000]), st.integers(1, 50))
def test_what_is_left(values, connectivity, minimum, rows):
    """Nodata stays, whatever is small has no valid neighbour, and there is nothing left to do."""
    sieved = cut(values, rows, minimum, connectivity)
    np.testing.assert_array_equal(sieved, cut(values, 200, minimum, connectivity))
    np.testing.assert_array_equal(sieved == 255, values == 255)
    assert set(np.unique(sieved)) <= set(np.unique(values))
    numbers = regions(sieved, connectivity)
    small = (np.bincount(numbers.ravel()) < minimum)[numbers] & (numbers > 0)
    padded = np.pad(numbers, 1)
    for down, right in SIDES:
        beside = padded[1 + down :, 1 + right :][: len(values), : values.shape[1]]
        assert not (small & (beside > 0) & (beside != numbers)).any()
    np.testing.assert_array_equal(cut(sieved, rows, minimum, connectivity), sieved)


def drawn(text: str) -> np.ndarray:
    """A map from digits; a point is nodata."""
    rows = [[255 if character == "." else int(character) for character in row] for row in text.split()]
    return np.array(rows, np.uint8)


CASES = {
    "a hole takes what surrounds it": (2, 4, "111 121 111", "111 111 111"),
    "the longest border wins, not the largest neighbour": (2, 4, "11111 12243 13333", "11111 12233 13333"),
    "borders count by value": (2, 4, "11111 33433 22222", "11111 33333 22222"),
    "equal borders: north first": (2, 4, "2222 3341 3551", "2222 3321 3551"),
    "then west": (2, 4, "22.. 3341 3551", "22.. 3331 3551"),
    "then east": (2, 4, "22.. ..41 .551", "22.. ..11 .551"),
    "what was filled may be filled again": (4, 4, "1123333", "3333333"),
    "of equal ones the first": (2, 4, "1234", "2222"),
    "edges to nodata do not count": (2, 4, "... .2. 113", "... .1. 111"),
    "what stands alone stays": (9, 4, "1.2 ... 334", "1.2 ... 333"),
    "a corner is no neighbour": (2, 4, "1. .2", "1. .2"),
    "across corners a line holds together": (3, 8, "211 121 112", "211 121 112"),
    "across edges it does not": (3, 4, "211 121 112", "111 111 111"),
    "a filled region unites across corners": (4, 8, "22.. ..34 ..34 ..44", "22.. ..44 ..44 ..44"),
    "larger than the map": (99, 4, "112 112 333", "111 111 111"),
    "one row": (3, 4, "1112111", "1111111"),
    "nothing at all": (3, 8, "... ...", "... ..."),
}


@pytest.mark.parametrize("case", CASES)
def test_drawings(case):
    minimum, connectivity, before, after = CASES[case]
    np.testing.assert_array_equal(cut(drawn(before), 1, minimum, connectivity), drawn(after))
