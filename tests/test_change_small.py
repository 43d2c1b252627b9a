"""Small patches of change: left out, and nothing else touched; against scipy's labels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from maps import grid

from geoseg.areas import PixelAreas
from geoseg.change.legends import legends_of
from geoseg.change.pairing import stack_of
from geoseg.change.small import LargeChanges
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map
from geoseg.errors import OptionError
from geoseg.polygons.drop import drop_strips

LEGEND = (ClassInfo(1, "forest"), ClassInfo(2, "field"), ClassInfo(3, "built-up"))
EDGES, CORNERS = None, np.ones((3, 3))
VALUES = arrays(np.uint8, (11, 13), elements=st.sampled_from([1, 1, 1, 2, 3, 255]))


def dropped(values: np.ndarray, nodata: int, minimum: int, connectivity: int, rows: int) -> np.ndarray:
    strips = ((row, values[row : row + rows].copy(), None) for row in range(0, len(values), rows))
    parts = drop_strips(
        strips,
        values.shape[1],
        dtype=values.dtype,
        nodata=nodata,
        connectivity=connectivity,
        minimum=minimum,
    )
    return np.concatenate([part for _, part, _ in parts])


def by_scipy(values: np.ndarray, nodata: int, minimum: float, connectivity: int, size=None) -> np.ndarray:
    result = values.copy()
    size = np.ones(values.shape) if size is None else size
    for value in set(np.unique(values).tolist()) - {nodata}:
        regions, count = ndi.label(values == value, structure=EDGES if connectivity == 4 else CORNERS)
        for number in range(1, count + 1):
            if size[regions == number].sum() < minimum:
                result[regions == number] = nodata
    return result


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int32, st.tuples(st.integers(1, 17), st.integers(1, 19)), elements=st.sampled_from([5, 70_000, -1])),
    st.integers(1, 9),
    st.sampled_from([4, 8]),
    st.integers(1, 6),
)
def test_regions_below_the_minimum_become_nodata(values, minimum, connectivity, rows) -> None:
    found = dropped(values, -1, minimum, connectivity, rows)
    assert (found == by_scipy(values, -1, minimum, connectivity)).all()


@settings(max_examples=40, deadline=None)
@given(VALUES, VALUES, st.sampled_from([("3px", 3), ("0.045ha", 450)]), st.sampled_from([4, 8]), st.integers(1, 11))
def test_small_changes_are_what_was_there_before(early, late, size, connectivity, chunk) -> None:
    on = grid(early.shape)
    maps = [class_map(values, on, LEGEND).chunk(chunk) for values in (early, late)]
    legends, stack = legends_of(maps, None), stack_of(maps)
    large = LargeChanges(stack, legends, min_area=size[0], connectivity=connectivity)
    numbers = np.concatenate([strip for _, strip in large.strips()])
    valid = (early != 255) & (late != 255)
    pairs = np.where(valid, (early.astype(int) - 1) * 3 + late - 1, 9)
    stays = np.where(valid, (early.astype(int) - 1) * 4, 9)
    pixel_m2 = PixelAreas(on).of(slice(0, 11), slice(0, 13))
    measure = np.ones(early.shape) if size[0].endswith("px") else pixel_m2
    changes = by_scipy(np.where(pairs != stays, pairs, -1), -1, size[1], connectivity, measure)
    expected = np.where(changes >= 0, changes, stays)
    assert (numbers == expected).all()
    names = list(legends.values)
    for pair, count in large.pixels.items():
        there = expected == names.index(pair[0]) * 3 + names.index(pair[1])
        assert count == there.sum()
        assert large.units[pair] * PixelAreas(on).unit_m2 == pytest.approx(pixel_m2[there].sum(), rel=1e-12)
    assert sum(large.pixels.values()) == valid.sum()


def test_an_island_of_forest_in_a_clearing_stays_and_so_does_the_clearing() -> None:
    early = np.ones((9, 9), np.uint8)
    late = early.copy()
    late[1:6, 1:6] = 2
    late[3, 3] = 1  # an island: much smaller than the minimum, but no change
    late[2, 2] = 3  # a house in the clearing: a change of its own, and too small
    late[8, 8] = 2  # a single pixel
    maps = [class_map(values, grid(early.shape), LEGEND) for values in (early, late)]
    large = LargeChanges(stack_of(maps), legends_of(maps, None), min_area="5px")
    (numbers,) = (strip for _, strip in large.strips())
    expected = np.zeros((9, 9), int)
    expected[1:6, 1:6] = 1
    expected[3, 3] = expected[2, 2] = 0
    assert (numbers == expected).all()
    assert large.pixels == {("forest", "forest"): 81 - 23, ("forest", "field"): 23}


@pytest.mark.parametrize(
    ("options", "says"),
    [({"min_area": "5 acres"}, "--min-area"), ({"min_area": "5px", "connectivity": 6}, "connectivity=6")],
)
def test_options_that_cannot_be(options, says) -> None:
    maps = [class_map(np.ones((3, 3), np.uint8), grid((3, 3)), LEGEND)] * 2
    with pytest.raises(OptionError, match=says):
        LargeChanges(stack_of(maps), legends_of(maps, None), **options)
