"""Change between two class maps, against numpy, GDAL and scenes whose change is known."""

from __future__ import annotations

import datetime
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio.warp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from maps import ROTATED, grid
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio import Affine

import geoseg
from geoseg.change import align, change_map, change_table, class_series, trajectory_table, transition_matrix
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map, open_class_map, write_class_map
from geoseg.errors import OptionError, SceneError
from geoseg.synthetic import CLASSES, SyntheticScene, render

FOREST, FIELD, TOWN = LEGEND = (ClassInfo(1, "forest"), ClassInfo(2, "field"), ClassInfo(3, "built-up"))
BEFORE = np.array([[1, 1, 2], [1, 1, 2], [2, 3, 255]], np.uint8)
AFTER = np.array([[1, 2, 2], [3, 1, 1], [2, 255, 3]], np.uint8)
# In pixels of 10 m; the areas are true, so nominal hectares hold to about 0.1 %.
EXPECTED = {
    ("forest", "forest"): 2,
    ("forest", "field"): 1,
    ("forest", "built-up"): 1,
    ("field", "forest"): 1,
    ("field", "field"): 2,
    ("built-up", "built-up"): 0,
}


def cover(values: np.ndarray, legend=LEGEND, on: GeoBox | None = None):
    return class_map(values, grid(values.shape) if on is None else on, legend)


def pixels_of(matrix: pd.DataFrame) -> dict[tuple[str, str], int]:
    return dict(zip(zip(matrix["from_name"], matrix["to_name"], strict=True), matrix["pixels"], strict=True))


# ---- by hand ---------------------------------------------------------------------------------------------


def test_nine_pixels_by_hand() -> None:
    matrix = transition_matrix(cover(BEFORE), cover(AFTER))
    assert pixels_of(matrix) == EXPECTED
    assert matrix["area_ha"].to_numpy() == pytest.approx(matrix["pixels"] * 0.01, rel=2e-3)
    table = change_table(matrix).set_index("class_name")
    hundredths = (table.drop(columns="class") * 100).round(1)
    assert hundredths.loc["forest"].tolist() == [4, 3, 1, 2, 2, -1, 2, 3]
    assert hundredths.loc["field"].tolist() == [3, 3, 1, 1, 2, 0, 2, 2]
    assert hundredths.loc["built-up"].tolist() == [0, 1, 1, 0, 0, 1, 0, 1]
    assert "annual_rate" not in table


def test_codes_by_hand() -> None:
    change = change_map(cover(BEFORE), cover(AFTER))
    assert change.values.tolist() == [[0, 1, 4], [2, 0, 3], [4, 255, 255]]
    assert change.attrs["flag_names"][:4] == [
        "forest (unchanged)", "forest → field", "forest → built-up", "field → forest",
    ]  # fmt: skip
    assert len(set(change.attrs["flag_colors"])) == 9
    only = {
        "loss": change_map(cover(BEFORE), cover(AFTER), loss="forest"),
        "gain": change_map(cover(BEFORE), cover(AFTER), gain=["field", 1]),
        "both": change_map(cover(BEFORE), cover(AFTER), loss="forest", gain="built-up"),
        "changes": change_map(cover(BEFORE), cover(AFTER), unchanged=False),
    }
    found = {name: sorted(set(part.values.ravel().tolist()) - {255}) for name, part in only.items()}
    assert found == {"loss": [1, 2], "gain": [1, 3], "both": [2], "changes": [1, 2, 3]}
    assert only["both"].attrs["flag_names"] == ["forest → built-up"]


# ---- properties ------------------------------------------------------------------------------------------

VALUES = arrays(np.uint8, (7, 9), elements=st.sampled_from([1, 2, 3, 255]))


@settings(max_examples=40, deadline=None)
@given(VALUES, VALUES, st.integers(1, 9), st.sampled_from(["uint8", "int16", "uint32"]))
def test_matrix_table_and_map_agree_with_numpy(early, late, chunk, kind) -> None:
    before, after = cover(early), cover(late)
    attrs = before.attrs | {"_FillValue": 255}
    before = before.astype(kind).assign_attrs(attrs).chunk(chunk)
    matrix = transition_matrix(before, after)
    valid = (early != 255) & (late != 255)
    names = {info.value: info.name for info in LEGEND}
    for a in names:
        for b in names:
            count = int((valid & (early == a) & (late == b)).sum())
            assert pixels_of(matrix).get((names[a], names[b]), 0) == count
    parts = align(before, after)
    for side, part in zip(("from", "to"), parts, strict=True):
        areas = geoseg.class_areas(part).set_index("class")
        sums = matrix.groupby(side)[["pixels", "area_m2"]].sum()
        assert sums["pixels"].to_dict() == areas["pixels"].to_dict()
        assert sums["area_m2"].to_numpy() == pytest.approx(areas["area_m2"].to_numpy(), rel=1e-14)
    table = change_table(matrix)
    assert table["total_change_ha"].to_numpy() == pytest.approx(table["swap_ha"] + abs(table["net_ha"]))
    assert table["after_ha"].to_numpy() == pytest.approx(table["before_ha"] + table["net_ha"])
    codes = change_map(before, after).values
    expected = np.where(valid, (early - 1) * 3 + late - 1, 255)
    assert (codes == expected).all()


@pytest.mark.parametrize(
    ("transform", "crs", "shape"),
    [
        (Affine(10, 0, 500_130, 0, -10, 4_999_870), "EPSG:32632", (90, 80)),  # whole pixels
        (Affine(7.3, 0, 500_103.3, 0, -6.1, 4_999_901.7), "EPSG:32632", (90, 80)),
        (Affine(25, 0, 499_800, 0, -25, 5_000_400), "EPSG:32632", (80, 90)),  # larger on all sides
        (Affine(10, 0, 500_125, 0, -10, 4_999_875), "EPSG:32632", (90, 80)),  # half a pixel: ties
        (Affine(10, 0, 500_130, 0, 10, 4_998_970), "EPSG:32632", (90, 80)),  # south-up
        (ROTATED, "EPSG:32632", (70, 60)),
        (Affine(1e-4, 0, 9.0005, 0, -1e-4, 45.151), "EPSG:4326", (120, 150)),
        (Affine(12, 0, 26_200, 0, -12, 5_012_000), "EPSG:32633", (90, 80)),
    ],
)
def test_any_two_grids_as_gdal_warps_them(transform, crs, shape) -> None:
    rng = np.random.default_rng(3)
    source = grid((150, 140))
    early = rng.choice(np.array([1, 2, 3, 255], np.uint8), size=source.shape)
    target = GeoBox(shape, transform, crs)
    if crs == "EPSG:32633":  # where the source's middle lies in the next zone
        x, y = rasterio.warp.transform("EPSG:32632", crs, [500_700], [4_999_250])
        target = GeoBox(shape, Affine(12, 0, x[0] - 500, 0, -12, y[0] + 500), crs)
    late = np.full(target.shape, 2, np.uint8)
    expected = np.full(target.shape, 255, np.uint8)
    rasterio.warp.reproject(
        early,
        expected,
        src_transform=source.transform,
        src_crs="EPSG:32632",
        src_nodata=255,
        dst_transform=target.transform,
        dst_crs=crs,
        dst_nodata=255,
        resampling=rasterio.warp.Resampling.nearest,
        tolerance=0,
    )
    before, after = align(cover(early).chunk(37), cover(late, on=target))
    assert before.odc.geobox == after.odc.geobox
    offset = ~target.transform * before.odc.geobox.transform
    row, col = round(offset.f), round(offset.c)
    common = expected[row : row + before.shape[0], col : col + before.shape[1]]
    assert (before.values == common).all()
    assert (before.values != 255).sum() == (expected != 255).sum() > 1000  # nothing lies outside the common part
    assert ((after.values == 255) == (before.values == 255)).all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (Affine(40_000, 0, -2e6, 0, -40_000, 2.1e6), "EPSG:3995"),  # over the pole
        (Affine(10_000, 0, 2e5, 0, -10_000, 5e6), "EPSG:32660"),  # over the date line
    ],
)
@pytest.mark.parametrize("world_first", [True, False])
def test_over_the_pole_and_the_date_line_against_pyproj(transform, crs, world_first) -> None:
    world = GeoBox.from_bbox((-180, -90, 180, 90), "EPSG:4326", resolution=1)
    part = GeoBox((100, 100), transform, crs)
    source, target = (world, part) if world_first else (part, world)
    early = np.random.default_rng(8).choice(np.array([1, 2, 3], np.uint8), size=source.shape)
    expected = np.full(target.shape, 255, np.uint8)
    move = pyproj.Transformer.from_crs(target.crs.to_wkt(), source.crs.to_wkt(), always_xy=True)
    for row, col in np.ndindex(*target.shape):
        x, y = ~source.transform * move.transform(*(target.transform * (col + 0.5, row + 0.5)))
        if 0 <= x < source.shape[1] and 0 <= y < source.shape[0]:
            near = [abs(place - round(place)) < 1e-5 for place in (x, y)]
            expected[row, col] = 0 if any(near) else early[int(y), int(x)]
    before, _ = align(cover(early, on=source), cover(np.ones(target.shape, np.uint8), on=target))
    offset = ~target.transform * before.odc.geobox.transform
    row, col = round(offset.f), round(offset.c)
    common = expected[row : row + before.shape[0], col : col + before.shape[1]]
    assert ((before.values == common) | (common == 0)).all()
    assert (before.values != 255).sum() == (expected != 255).sum() > 100


def test_chunks_change_nothing_and_nothing_is_read_early(monkeypatch) -> None:
    rng = np.random.default_rng(5)
    early = cover(rng.choice(np.array([1, 2, 3, 255], np.uint8), size=(200, 170)))
    late = cover(rng.choice(np.array([1, 2, 3, 255], np.uint8), size=(150, 160)), on=grid((150, 160), ROTATED))
    results = []
    for rows, cols, most in ((512, 2048, 1 << 26), (70, 90, 170 * 50)):
        monkeypatch.setattr("geoseg.change.pairing._MAX_READ_PX", most)
        monkeypatch.setattr("geoseg.change.pairing._CHUNK_ROWS", rows)
        monkeypatch.setattr("geoseg.change.pairing._CHUNK_COLS", cols)
        results.append((transition_matrix(early.chunk(rows), late), change_map(early, late.chunk(cols)).values))
    pd.testing.assert_frame_equal(results[0][0], results[1][0])
    assert (results[0][1] == results[1][1]).all()
    assert align(early, late)[0].chunks is not None


def test_memory_is_that_of_strips(monkeypatch) -> None:
    """A window asks for its own rows of the map before, not for all of it."""
    asked = []

    class Rows:
        shape, dtype, ndim = (100_000, 64), np.dtype(np.uint8), 2

        def __getitem__(self, window):
            rows = window[0].indices(self.shape[0])
            asked.append(rows[1] - rows[0])
            return np.ones((rows[1] - rows[0], 64), np.uint8)[:, window[1]]

    import dask.array

    data = dask.array.from_array(Rows(), chunks=(512, -1), name=False, asarray=False, meta=np.empty((0, 0), np.uint8))
    before = class_map(data, grid(Rows.shape), LEGEND)
    after = before.odc.geobox[50_000:52_000, :]
    matrix = transition_matrix(before, class_map(np.ones((2000, 64), np.uint8), after, LEGEND))
    assert pixels_of(matrix)["forest", "forest"] == 2000 * 64
    assert max(asked) <= 512
    assert sum(asked) == 2000
    asked.clear()  # a map that is 100 times as fine is not read whole for 512 rows of the coarse one
    coarse = GeoBox((1000, 1), grid(Rows.shape).transform * Affine.scale(64, 100), "EPSG:32632")
    monkeypatch.setattr("geoseg.change.pairing._MAX_READ_PX", 64 * 1000)
    matrix = transition_matrix(before, class_map(np.ones((1000, 1), np.uint8), coarse, LEGEND))
    assert pixels_of(matrix)["forest", "forest"] == 1000
    assert max(asked) <= 1000


# ---- scenes whose change is known -------------------------------------------------------------------------


def test_the_clearing_and_the_buildings_of_drawn_scenes_to_the_pixel(tmp_path: Path) -> None:
    truths = [
        render(SyntheticScene(seed=1, resolution_m=2.0, date=date), slice(0, 500), slice(0, 500))[1] for date in (0, 1)
    ]
    on = GeoBox((500, 500), Affine(2, 0, 500_000, 0, -2, 5_400_000), "EPSG:32633")
    paths = [write_class_map(cover(t, CLASSES, on), tmp_path / f"{i}.tif") for i, t in enumerate(truths)]
    before, after = (open_class_map(path) for path in paths)
    clearing, built = (truths[0] == 2) & (truths[1] == 4), (truths[0] != 0) & (truths[1] == 0)
    assert min(clearing.sum(), built.sum()) > 100
    found = pixels_of(transition_matrix(before, after))
    assert found["vegetation", "bare land"] == clearing.sum()
    assert found.get(("bare land", "building"), 0) + found.get(("vegetation", "building"), 0) == built.sum()
    cleared = change_map(before, after, loss="vegetation", gain="bare land")
    assert ((cleared.values != 255) == clearing).all()
    gained = change_map(before, after, gain="building")
    assert ((gained.values != 255) == built).all()
    # The map of change is a class map like any other.
    assert open_class_map(write_class_map(gained, tmp_path / "gain.tif")).attrs["flag_names"][-1].endswith("→ building")
    assert geoseg.class_areas(gained)["pixels"].sum() == built.sum()
    polygons = geoseg.vectorize(cleared)
    assert set(polygons["class_name"]) == {"vegetation → bare land"}
    assert polygons.geometry.area.sum() == pytest.approx(clearing.sum() * 4)


# ---- classes that differ ----------------------------------------------------------------------------------


def test_the_same_names_with_other_values_are_the_same_classes() -> None:
    swapped = (ClassInfo(2, "forest"), ClassInfo(1, "field"), ClassInfo(9, "built-up"))
    moved = np.array([0, 2, 1, 9], np.uint8)[np.minimum(BEFORE, 3)]
    moved[BEFORE == 255] = 255
    matrix = transition_matrix(cover(moved, swapped), cover(AFTER))
    assert pixels_of(matrix) == EXPECTED
    assert sorted(set(matrix["from"])) == [1, 2, 3]


FINE = (ClassInfo(1, "conifers"), ClassInfo(2, "field"), ClassInfo(3, "built-up"), ClassInfo(4, "broadleaves"))


@pytest.mark.parametrize(
    "crosswalk",
    [
        {"conifers": "forest", "broadleaves": "forest"},
        {"before": {1: "forest", 4: 1}},
        pd.DataFrame({"from": ["conifers", "4"], "to": ["forest", "1"]}),
        pd.DataFrame({"date": ["before", "before"], "from": [1, 4], "to": [1, 1]}),
    ],
)
def test_a_crosswalk_makes_classes_one(crosswalk) -> None:
    fine = BEFORE.copy()
    fine[0, :2] = 4
    assert pixels_of(transition_matrix(cover(fine, FINE), cover(AFTER), crosswalk=crosswalk)) == EXPECTED
    codes = change_map(cover(fine, FINE), cover(AFTER), crosswalk=crosswalk).values
    assert (codes == change_map(cover(BEFORE), cover(AFTER)).values).all()


def test_a_new_class_is_named_in_the_crosswalk() -> None:
    later = (*LEGEND, ClassInfo(7, "solar park"))
    values = AFTER.copy()
    values[0, 0] = 7
    with pytest.raises(OptionError, match=r"only after: solar park.*crosswalk"):
        transition_matrix(cover(BEFORE), cover(values, later))
    matrix = transition_matrix(cover(BEFORE), cover(values, later), crosswalk={"solar park": "solar park"})
    assert pixels_of(matrix)["forest", "solar park"] == 1


def test_values_without_a_name_are_called_by_their_number() -> None:
    found = pixels_of(transition_matrix(cover(BEFORE, []), cover(AFTER, [])))
    assert found["class 1", "class 3"] == 1
    assert sum(found.values()) == 7
    with pytest.raises(OptionError, match="legends have 0"):
        change_map(cover(BEFORE, []), cover(AFTER, []))
    with pytest.raises(SceneError, match="value 3 occurs"):
        change_map(cover(BEFORE, LEGEND[:2]), cover(AFTER, LEGEND[:2])).compute()


@pytest.mark.parametrize(
    ("crosswalk", "says"),
    [
        (None, "only before: broadleaves, conifers; only after: forest.*crosswalk"),
        ({"conifers": "forest"}, "only before: broadleaves"),
        ({"conifer": "forest"}, "'conifer' is none; they are .*conifers"),
        ({1: "forest", 4: "forest"}, "1 is conifers and forest"),
        ({"before": {1: "forest"}, 4: 1}, "mixes both kinds"),
        ({"early": {1: "forest"}}, "'early' stands there"),
        ({"conifers": None}, "Fill the gap"),
        (pd.DataFrame({"old": [1], "new": [1]}), "columns from and to"),
        (pd.DataFrame({"from": [1, 1], "to": [1, 2], "date": "before"}), "stands twice"),
    ],
)
def test_crosswalks_that_do_not_fit(crosswalk, says) -> None:
    with pytest.raises(OptionError, match=says):
        transition_matrix(cover(BEFORE, FINE), cover(AFTER), crosswalk=crosswalk)


# ---- three dates and more ---------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=2, max_size=4), st.integers(1, 9))
def test_trajectories_and_series_agree_with_numpy(values, chunk) -> None:
    maps = [cover(part).chunk(chunk) for part in values]
    stacked = np.stack(values)
    stacked = stacked[:, (stacked != 255).all(axis=0)]
    names = {info.value: info.name for info in LEGEND}
    table = trajectory_table(maps, most=None)
    ways, counts = np.unique(stacked, axis=1, return_counts=True)
    expected = {" → ".join(names[int(v)] for v in way): int(count) for way, count in zip(ways.T, counts, strict=True)}
    assert dict(zip(table["trajectory"], table["pixels"], strict=True)) == expected
    assert table["area_m2"].is_monotonic_decreasing
    assert (
        table["changes"] == [sum(a != b for a, b in pairwise(way.split(" → "))) for way in table["trajectory"]]
    ).all()
    series = class_series(maps).set_index(["map", "class"])
    for number, part in enumerate(stacked, 1):
        for value in names:
            assert series["pixels"][number, value] == (part == value).sum()
    if stacked.size:
        assert table["share"].sum() == pytest.approx(1)
        total = table["area_m2"].sum()
        assert series.groupby("map")["area_m2"].sum().to_numpy() == pytest.approx(np.full(len(maps), total))


def test_many_dates_are_counted_without_a_bin_for_each_trajectory(monkeypatch) -> None:
    rng = np.random.default_rng(4)
    maps = [
        cover(rng.choice(np.array([1, 2, 3, 255], np.uint8), p=[0.5, 0.3, 0.19, 0.01], size=(60, 50))) for _ in "12345"
    ]
    whole = trajectory_table(maps)
    monkeypatch.setattr("geoseg.change.counting._MOST_BINS", 20)
    pd.testing.assert_frame_equal(trajectory_table(maps), whole)
    short = trajectory_table(maps, most=3)
    assert short["trajectory"].tolist() == [*whole["trajectory"][:3], "(all others)"]
    assert short["pixels"].sum() == whole["pixels"].sum()
    monkeypatch.setattr("geoseg.change.counting._MOST_ROWS", 20)
    with pytest.raises(SceneError, match=r"At most 20 different trajectories.*crosswalk"):
        trajectory_table(maps)
    with pytest.raises(OptionError, match="most=0"):
        trajectory_table(maps[:2], most=0)
    with pytest.raises(OptionError, match="two or more class maps, but 1"):
        trajectory_table(maps[:1])


def test_three_maps_on_three_grids_are_compared_where_all_lie() -> None:
    wide = cover(np.array([[1, 2, 3, 1]], np.uint8))
    moved = cover(
        np.array([[2, 3, 1, 2]], np.uint8),
        on=GeoBox((1, 4), grid((1, 4)).transform * Affine.translation(1, 0), "EPSG:32632"),
    )
    fine = cover(np.ones((2, 6), np.uint8), on=GeoBox((2, 6), grid((1, 4)).transform * Affine.scale(0.5), "EPSG:32632"))
    table = trajectory_table([wide, moved, fine])
    assert dict(zip(table["trajectory"], table["pixels"], strict=True)) == {
        "field → field → forest": 4,
        "built-up → built-up → forest": 4,
    }
    far = cover(
        np.ones((1, 2), np.uint8), on=GeoBox((1, 2), grid((1, 4)).transform * Affine.translation(6, 0), "EPSG:32632")
    )
    with pytest.raises(SceneError, match="all maps overlap"):
        trajectory_table([wide, far, moved])  # each overlaps the last one, but not each other


def test_a_crosswalk_for_one_of_three_maps() -> None:
    fine = BEFORE.copy()
    fine[0, :2] = 4
    maps = [cover(BEFORE), cover(fine, FINE), cover(AFTER)]
    with pytest.raises(OptionError, match=r"map 1: forest; map 2: broadleaves, conifers; map 3: forest"):
        trajectory_table(maps)
    rules = pd.DataFrame({"date": ["2", "2"], "from": ["conifers", "broadleaves"], "to": ["forest", "forest"]})
    expected = trajectory_table([cover(BEFORE), cover(BEFORE), cover(AFTER)])
    pd.testing.assert_frame_equal(trajectory_table(maps, crosswalk=rules), expected)
    with pytest.raises(OptionError, match=r"1 to 3, but '4' stands there"):
        trajectory_table(maps, crosswalk=rules.assign(date="4"))


# ---- many classes -----------------------------------------------------------------------------------------

MANY = tuple(ClassInfo(value, f"c{value}") for value in range(40))


def test_more_than_fifteen_classes_are_numbered_as_they_occur() -> None:
    early = np.array([[7, 7, 20, 255, 3]], np.uint8)
    late = np.array([[7, 9, 3, 3, 39]], np.uint8)
    change = change_map(cover(early, MANY), cover(late, MANY))
    names = dict(zip(change.attrs["flag_values"], change.attrs["flag_names"], strict=True))
    assert len(names) == 40 + 3
    assert [names.get(int(code)) for code in change.values[0]] == [
        "c7 (unchanged)", "c7 → c9", "c20 → c3", None, "c3 → c39",
    ]  # fmt: skip
    lost = change_map(cover(early, MANY), cover(late, MANY), loss="c7")
    assert lost.attrs["flag_names"] == ["c7 → c9"]


def test_the_smallest_of_too_many_changes_are_put_together() -> None:
    rng = np.random.default_rng(1)
    early, late = (rng.integers(0, 40, size=(70, 60), dtype=np.uint8) for _ in "12")
    early[:3], late[:3] = 5, 6
    maps = cover(early, MANY), cover(late, MANY)
    change = change_map(*maps)
    names = dict(zip(change.attrs["flag_values"], change.attrs["flag_names"], strict=True))
    assert names[253] == "other change"
    assert len(names) == 254
    matrix = transition_matrix(*maps)
    matrix["called"] = [
        f"{a} (unchanged)" if a == b else f"{a} → {b}"
        for a, b in zip(matrix["from_name"], matrix["to_name"], strict=True)
    ]
    areas = geoseg.class_areas(change).set_index("class_name")
    own = matrix.set_index("called")["pixels"]
    kept = [name for name in areas.index if name != "other change"]
    assert "c5 → c6" in kept
    assert (areas["pixels"][kept] == own.reindex(kept, fill_value=0)).all()
    pooled = own.drop(kept, errors="ignore")
    assert areas["pixels"]["other change"] == pooled.sum() > 0
    assert pooled.max() <= min(own[name] for name in kept if "→" in name)


# ---- dates and other refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "years"),
    [
        ((2010, 2020), 10),
        (("2010", "2012"), 2),
        ((2018.5, 2020), 1.5),
        (("2018-01-01", "2022-01-01"), 4),
        ((datetime.date(2018, 1, 1), 2022), 4),
        (("2018-01-01T00:00:00Z", pd.Timestamp("2018-01-02")), 1 / 365.25),
    ],
)
def test_the_annual_rate_is_puyravauds(dates, years) -> None:
    table = change_table(transition_matrix(cover(BEFORE), cover(AFTER)), dates).set_index("class_name")
    assert table.attrs["years"] == pytest.approx(years)
    assert table["annual_rate"]["forest"] == pytest.approx(np.log(3 / 4) / years, rel=1e-4)
    assert np.isnan(table["annual_rate"]["built-up"])


@pytest.mark.parametrize(
    ("dates", "says"),
    [
        ((2010,), "two dates"),
        (2010, "two dates"),
        ("2010-2012", "two dates"),
        ((2020, 2010), "later"),
        ((2020, 2020), "later"),
        (("2020-13-01", "2021-01-01"), "2020-13-01"),
        (("2020-01-01", None), "None"),
        ((12, 2020), "four digits"),
        ((float("nan"), 2020), "four digits"),
        ((2018.5, "2020-01-01"), "whole number"),
    ],
)
def test_dates_that_are_none(dates, says) -> None:
    with pytest.raises(OptionError, match=says):
        change_table(transition_matrix(cover(BEFORE), cover(AFTER)), dates)


def test_clear_refusals() -> None:
    far = GeoBox((3, 3), Affine(10, 0, 7e5, 0, -10, 5e6), "EPSG:32632")
    for other in (far, GeoBox((3, 3), Affine(0.1, 0, 100, 0, -0.1, 45), "EPSG:4326")):
        for verb in (align, transition_matrix, change_map):
            with pytest.raises(SceneError, match="overlap"):
                verb(cover(BEFORE), cover(AFTER, on=other))
    with pytest.raises(SceneError, match="whole numbers"):
        align(wrap_xr(BEFORE.astype(float), grid((3, 3))), cover(AFTER))
    with pytest.raises(OptionError, match=r"--loss.*'wood' is none; they are forest"):
        change_map(cover(BEFORE), cover(AFTER), loss="wood")
    many = [ClassInfo(value, f"c{value}") for value in range(121)]
    with pytest.raises(OptionError, match=r"have 121\. Merge"):
        change_map(cover(BEFORE, many), cover(AFTER, many))
    with pytest.raises(OptionError, match=r"lacks .*from"):
        change_table(pd.DataFrame({"area_ha": [1.0]}))


def test_maps_without_a_class_in_common_give_zeros() -> None:
    matrix = transition_matrix(cover(np.full((3, 3), 255, np.uint8)), cover(AFTER))
    assert matrix["pixels"].tolist() == [0, 0, 0]
    assert change_table(matrix, (2000, 2001))["annual_rate"].isna().all()


def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "docs/change.md").read_text(encoding="utf-8")
    place: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(block, place)
    assert (place["matrix"]["area_m2"] > 0).any()
    assert len(place["patches"]) > 0
    assert (tmp_path / "change.tif").exists()


def test_a_value_may_be_another_class_at_each_date_where_the_crosswalk_says_the_date() -> None:
    on = GeoBox.from_bbox((500_000, 0, 500_020, 10), "EPSG:32632", resolution=10)
    before = class_map(np.array([[1, 2]], np.uint8), on, [ClassInfo(1, "conifers"), ClassInfo(2, "lake")])
    after = class_map(np.array([[2, 1]], np.uint8), on, [ClassInfo(2, "woods"), ClassInfo(1, "pond")])
    rules = {"before": {1: "forest", 2: "water"}, "after": {2: "forest", 1: "water"}}
    for crosswalk in (rules, pd.DataFrame([(d, k, v) for d, part in rules.items() for k, v in part.items()],
                                          columns=["date", "from", "to"])):  # fmt: skip
        matrix = transition_matrix(before, after, crosswalk=crosswalk)
        assert matrix[matrix["pixels"] > 0][["from_name", "to_name"]].values.tolist() == [
            ["water", "water"],
            ["forest", "forest"],
        ]
    with pytest.raises(OptionError, match="is conifers and pond"):
        transition_matrix(before, after, crosswalk={1: "forest"})
