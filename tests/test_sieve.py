"""`sieve` against a plain reference that says the contract word for word, and drawings on paper."""

from __future__ import annotations

import sys
import time
from math import ceil

import numpy as np
import pytest
import scipy.ndimage
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_polygons import make_map

from geoseg.areas import PixelAreas, class_areas
from geoseg.classmap import geobox_of, nodata_of, open_class_map
from geoseg.errors import OptionError, OutputError, SceneError
from geoseg.polygons import sieve, vectorize
from geoseg.polygons.sieve import Sieving, sieve_strips

SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
SOUTHWARDS = Affine(0.01, 0, 10, 0, -2.5, 80)  # geographic: each row's pixels are much larger than those above
sieving = sys.modules["geoseg.polygons.sieve"]


def regions(values: np.ndarray, connectivity: int, nodata: int = 255) -> np.ndarray:
    """A number for each region, 0 for nodata."""
    structure = np.ones((3, 3)) if connectivity == 8 else None
    numbers = np.zeros(values.shape, int)
    for value in np.unique(values[values != nodata]):
        found, _ = scipy.ndimage.label(values == value, structure)
        numbers[found > 0] = found[found > 0] + numbers.max()
    return numbers


def neighbours(values: np.ndarray, numbers: np.ndarray, number: int) -> list[tuple[int, int]]:
    """The values and numbers across the edges of a region, by pixel, row by row, then north, west, east, south."""
    found = []
    for row, col in np.argwhere(numbers == number):
        for down, right in SIDES:
            at = row + down, col + right
            if 0 <= at[0] < values.shape[0] and 0 <= at[1] < values.shape[1] and numbers[at] not in (0, number):
                found.append((int(values[at]), int(numbers[at])))
    return found


def reference(values: np.ndarray, sizes: np.ndarray, minimum: int, connectivity: int) -> np.ndarray:
    """The contract, word for word: after each fill everything is looked at anew."""
    values, numbers = values.copy(), regions(values, connectivity)
    while True:
        small = []
        for number in set(numbers[numbers > 0].tolist()):
            size = sum(sizes[numbers == number].tolist())
            if size < minimum and neighbours(values, numbers, number):
                small.append((size, int(np.argmax(numbers == number)), number))
        if not small:
            return values
        _, _, number = min(small)
        beside = neighbours(values, numbers, number)
        lengths: dict[int, int] = {}  # in order of the first edge
        for value, _ in beside:
            lengths[value] = lengths.get(value, 0) + 1
        best = max(lengths, key=lambda value: lengths[value])
        values[numbers == number] = best
        for value, other in beside:
            if value == best:
                numbers[numbers == other] = number


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
    "what was filled is not united across corners": (4, 8, "..111 13.55 15555", "..555 55.55 55555"),
    "larger than the map": (99, 4, "112 112 333", "111 111 111"),
    "one row": (3, 4, "1112111", "1111111"),
    "nothing at all": (3, 8, "... ...", "... ..."),
}


@pytest.mark.parametrize("case", CASES)
def test_drawings(case):
    minimum, connectivity, before, after = CASES[case]
    np.testing.assert_array_equal(cut(drawn(before), 1, minimum, connectivity), drawn(after))


def noise(shape, classes=5, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, classes + 1, shape).astype(np.uint8)


def test_strips_in_a_file_are_the_same(monkeypatch):
    values = noise((300, 40))
    values[:, 20] = 255
    percent = noise(values.shape, 100)
    whole = cut(values, 7, 10**6, 4)
    monkeypatch.setattr(sieving, "_PENDING_BYTES", 3000)
    spilled = []
    spill = sieving.Pending._spill
    monkeypatch.setattr(sieving.Pending, "_spill", lambda self: spilled.append(spill(self)))
    for array in (values, values.astype(np.int32)):
        strips = [(row, array[row : row + 7], percent[row : row + 7]) for row in range(0, 300, 7)]
        options = {"dtype": array.dtype, "nodata": 255, "connectivity": 4, "minimum": 10**6}
        rows, parts, percents = zip(*sieve_strips(strips, 40, **options), strict=True)
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        np.testing.assert_array_equal(np.concatenate(percents), percent)
        assert list(rows) == [row for row, _, _ in strips]
    assert len(spilled) > 10


def test_no_room_for_the_file(monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sieving, "_PENDING_BYTES", 100)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OutputError, match=r"need room in .*No space left.* TMPDIR .* --min-area"):
        cut(noise((50, 40)), 7, 10**6, 4)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_memory_follows_what_is_open(connectivity):
    """A tall map of noise, all of it small, with a region that never ends: no more is kept at the end than early on."""
    pattern = noise((64, 300))
    pattern[:, 140:150] = 9
    pattern[:10, :100] = 255
    state = Sieving(300, np.dtype(np.uint8), 255, connectivity == 8, 50, None)
    sizes, waiting = [], []
    for row in range(0, 200 * 64, 64):
        state.add((row, pattern, None))
        left = sum(len(values) for _, values, _ in state.finished())
        waiting.append((waiting[-1] if waiting else 0) + 64 - left)
        sizes.append(sum(table.nbytes for table in (state.patches, state.runs, state.borders, *state.lines)))
    assert max(sizes[100:]) <= max(sizes[:20]) < 10 << 20
    assert max(waiting) <= 192
    assert len(state.row_runs) == waiting[-1]


def test_a_row_leaves_when_nothing_in_it_can_change():
    values = np.full((30, 9), 1, np.uint8)
    values[3, 4] = 2
    values[11:14, 4] = 3  # a new strip begins in every fifth row
    values[22:26, 4] = 4
    strips = ((row, values[row : row + 5], None) for row in range(0, 30, 5))
    came = []
    sieved = sieve_strips(
        (came.append(strip[0]) or strip for strip in strips),
        9,
        dtype=values.dtype,
        nodata=255,
        connectivity=4,
        minimum=4,
    )
    left = [(came[-1], row) for row, _, _ in sieved]
    assert left == [(0, 0), (5, 5), (10, 10), (15, 15), (25, 20), (25, 25)]


def test_noise_takes_time_like_its_pixels():
    """One patchwork of small regions, and a minimum that only the whole map reaches."""
    seconds = []
    for side in (128, 512):
        values = noise((side, side))
        cut(values, 64, 10**9, 4)
        start = time.process_time()
        sieved = cut(values, 64, 10**9, 4)
        seconds.append(time.process_time() - start)
        assert len(np.unique(sieved)) == 1
    assert seconds[1] < 16 * 4 * max(seconds[0], 0.005)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32"])
def test_any_integers(dtype):
    values = drawn("11111 12243 13333").astype(dtype)
    before = make_map(values, long_name="kept")
    before.name = "cover"
    if dtype == "float32":
        with pytest.raises(OptionError, match="whole numbers"):
            sieve(before, min_area="2px")
        return
    after = sieve(before, min_area="2px")
    assert after.values.tolist() == drawn("11111 12233 13333").tolist()
    assert (after.dtype, after.name, after.attrs) == (before.dtype, "cover", before.attrs)
    assert geobox_of(after) == geobox_of(before)
    assert before.values[1, 3] == 4


def test_dask_chunks_cannot_be_seen():
    values = noise((90, 70), 3)
    values[40:50, :30] = 255
    whole = sieve(make_map(values), min_area="7px")
    lazy = sieve(make_map(values).chunk({"y": 13, "x": 20}), min_area="7px")
    np.testing.assert_array_equal(lazy.values, whole.values)
    np.testing.assert_array_equal(whole.values, cut(values, 90, 7, 4))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_thin_maps(shape):
    values = noise(shape, 3)
    sieved = sieve(make_map(values), min_area="4px").values
    np.testing.assert_array_equal(sieved, reference(values, np.ones(shape, int), 4, 4))


def test_a_bad_option_is_refused():
    with pytest.raises(OptionError, match="connectivity=6"):
        sieve(make_map(noise((2, 2))), min_area="4px", connectivity=6)
    with pytest.raises(OptionError, match=r"--min-area needs a unit .* Write 500m2 or 9px"):
        sieve(make_map(noise((2, 2)), SOUTHWARDS, "EPSG:4326"), min_area=500)
    with pytest.raises(OptionError, match="--min-area is an area above 0"):
        sieve(make_map(noise((2, 2))), min_area="-4px")
    with pytest.raises(SceneError, match="grid"):
        sieve(xr.DataArray(noise((2, 2))), min_area="4px")


def test_polygons_of_a_sieved_map_have_the_area():
    values = noise((60, 60), 3)
    parcels = vectorize(sieve(make_map(values), min_area="0.09ha"))
    assert parcels.area_ha.min() >= 0.09 * 0.999
    assert parcels.pixels.sum() == values.size


@pytest.mark.data
@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_real_map(data_dir, connectivity):
    cover = open_class_map(data_dir / "classmaps" / "nlcd_zion.tif")
    values = cover.values[:400, :500]
    cover = cover[:400, :500].copy(data=values)
    sieved = sieve(cover, min_area="1ha", connectivity=connectivity)
    np.testing.assert_array_equal(sieved == nodata_of(cover), cover == nodata_of(cover))
    parcels = vectorize(sieved, connectivity=connectivity)
    assert parcels.area_ha.min() >= 1
    assert len(parcels) < len(vectorize(cover, connectivity=connectivity)) / 2
    assert parcels.area_ha.sum() == pytest.approx(class_areas(cover).area_ha.sum(), rel=1e-12)
