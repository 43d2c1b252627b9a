"""Class maps against points, polygons and rasters: as worked out by hand, and as often right as they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from maps import GEOGRAPHIC, UTM, grid, write_raster
from odc.geo.geobox import GeoBox
from rasterio import features
from test_cli import fails, run

import geoseg
from geoseg.areas import PixelAreas
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map, geobox_of, write_class_map
from geoseg.cli_assess_map import FILES, write_map_assessment
from geoseg.errors import OptionError, SceneError
from geoseg.estimates import estimate_accuracy, estimate_from_clusters, stratified_ratio
from geoseg.sampling import assess_map, draw_sample, frame_of
from geoseg.sampling.lookup import NO_CLASS, class_parts, pixels_at, values_at
from geoseg.sampling.pick import pick_random

LEGEND = (ClassInfo(1, "forest"), ClassInfo(2, "field"), ClassInfo(3, "water"))
NAMES = {info.value: info.name for info in LEGEND}


def cover_of(values, transform=UTM, crs="EPSG:32632"):
    return class_map(values.astype(np.uint8), grid(values.shape, transform, crs), LEGEND)


def scene(shape=(120, 150), seed=0, *, tilt=False):
    """A map and the truth: some field is forest in truth (the more, the further south), the rest is confused."""
    rng = np.random.default_rng(seed)
    mapped = np.kron(
        rng.choice([1, 2, 3], (shape[0] // 10, shape[1] // 10), p=[0.2, 0.65, 0.15]), np.ones((10, 10), int)
    )
    part = np.linspace(0, 0.8, shape[0])[:, None] if tilt else 0.12
    true = np.where((mapped == 2) & (rng.random(shape) < part), 1, mapped)
    confused = rng.random(shape) < 0.04
    return mapped, np.where(confused, rng.choice([1, 2, 3], shape), true)


def interpreted(sample, true, cover) -> gpd.GeoDataFrame:
    """The sample as somebody fills it in who makes no mistake."""
    rows, cols = pixels_at(gpd.GeoSeries(shapely.centroid(sample.units.geometry), crs=sample.units.crs), cover)
    return sample.units.assign(reference=[NAMES[value] for value in true[rows, cols].tolist()])


def true_areas(true, cover) -> pd.Series:
    counted = geoseg.class_areas(cover.copy(data=true.astype(np.uint8)))
    return counted.set_index("class_name")["area_m2"]


# ---- points ----


@pytest.fixture(scope="module")
def made():
    mapped, true = scene()
    cover = cover_of(mapped)
    sample = draw_sample(cover, 240, at_least=60, seed=1)
    return cover, true, sample, interpreted(sample, true, cover)


def test_points_with_their_design_are_the_stratified_estimators(made) -> None:
    cover, true, sample, done = made
    found = assess_map(cover, done, design=sample.design)
    rows, cols = pixels_at(done.geometry, cover)
    units = pd.DataFrame(
        {
            "stratum": [NAMES[value] for value in cover.values[rows, cols].tolist()],
            "map": [NAMES[value] for value in cover.values[rows, cols].tolist()],
            "reference": [NAMES[value] for value in true[rows, cols].tolist()],
        }
    )
    sizes = geoseg.class_areas(cover).set_index("class_name")
    expected = estimate_accuracy(
        units, sizes["area_m2"], classes=list(NAMES.values()), populations=sizes["pixels"].to_dict()
    )
    pd.testing.assert_frame_equal(found.accuracy.table, expected.table)
    assert found.areas["mapped_ha"].tolist() == (sizes["area_m2"] / 1e4).tolist()
    np.testing.assert_allclose(found.areas["area_ha"], expected.areas["estimate"] / 1e4)
    assert found.areas["share"].sum() == pytest.approx(1)
    assert found.strata["units"].sum() == 240
    assert found.kind == "points"
    assert sum(found.left_out.values()) == 0
    # without the design the map's classes are the strata anyway; nobody knows that no pixel was drawn twice
    again = assess_map(cover, done.drop(columns="id"))
    np.testing.assert_allclose(again.accuracy.table["estimate"], expected.table["estimate"])
    assert again.accuracy.overall["se"] > expected.overall["se"]
    assert "drawn at random" in again.notes[0]


def test_a_reference_in_another_crs_is_moved(made) -> None:
    cover, _, sample, done = made
    found = assess_map(cover, done, design=sample.design)
    moved = assess_map(cover, done.to_crs("EPSG:4326"), design=sample.design)
    pd.testing.assert_frame_equal(found.accuracy.table, moved.accuracy.table)


def test_squares_are_read_like_points(made) -> None:
    cover, true, sample, _ = made
    squares = draw_sample(cover, 240, at_least=60, seed=1, units="squares")
    found = assess_map(cover, interpreted(squares, true, cover), design=squares.design)
    points = assess_map(cover, interpreted(sample, true, cover), design=sample.design)
    pd.testing.assert_frame_equal(found.accuracy.table, points.accuracy.table)
    assert found.kind == "points"


def test_a_new_map_is_judged_by_the_sample_of_an_old_one(made) -> None:
    """Strata that are not the map's classes (Stehman 2014)."""
    cover, true, sample, done = made
    perfect = cover_of(true)
    found = assess_map(perfect, done, design=sample.design)
    assert found.accuracy.overall["estimate"] == 1
    assert found.strata["stratum"].tolist() == ["forest", "field", "water"]
    assert "classes of the map that the sample was drawn from" in found.methods
    assert "Card" not in found.methods
    old = assess_map(cover, done, design=sample.design)
    assert "with the map's classes as strata (Card 1982" in old.methods
    pd.testing.assert_frame_equal(found.accuracy.areas, old.accuracy.areas)  # what is there does not depend on the map


def test_strata_by_hand_are_those_of_the_design(made) -> None:
    cover, true, _, _ = made
    old = cover_of(np.repeat([[1] * 70 + [2] * 80], 120, axis=0))
    sample = draw_sample(cover, 200, strata=old)
    done = interpreted(sample, true, cover)
    by_design = assess_map(cover, done, design=sample.design)
    by_hand = assess_map(cover, done, strata=old)
    np.testing.assert_allclose(by_hand.accuracy.table["estimate"], by_design.accuracy.table["estimate"])
    assert "Stehman" in by_hand.methods
    assert "Card" not in by_hand.methods
    with pytest.raises(OptionError, match="Leave one out"):
        assess_map(cover, done, design=sample.design, strata=old)


def test_polygons_as_strata_of_points(made) -> None:
    cover, true, _, _ = made
    left, bottom, right, top = geobox_of(cover).extent.boundingbox.bbox
    halves = [shapely.box(left, bottom, left + 704, top), shapely.box(left + 704, bottom, right - 200, top)]
    zones = gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs="EPSG:32632").to_crs("EPSG:4326")
    sample = draw_sample(cover, 200, strata=zones, strata_field="name")
    done = interpreted(sample, true, cover)
    by_design = assess_map(cover, done, design=sample.design)
    beyond = gpd.GeoDataFrame({"reference": ["water"]}, geometry=[shapely.Point(right - 55, top - 55)], crs=done.crs)
    by_hand = assess_map(cover, pd.concat([done, beyond]), strata=zones, strata_field="name")
    np.testing.assert_allclose(by_hand.accuracy.table["estimate"], by_design.accuracy.table["estimate"])
    assert by_hand.left_out["outside_map_or_strata"] + by_hand.left_out["without_data_in_map_or_strata"] == 1
    assert any("lie in no stratum" in note for note in by_hand.notes)
    assert "zones (polygons)" in by_hand.methods


def test_a_simple_sample_can_be_stratified_afterwards(made) -> None:
    cover, true, _, _ = made
    for design in ("simple", "systematic"):
        sample = draw_sample(cover, 300, design=design, seed=2)
        done = interpreted(sample, true, cover)
        plain = assess_map(cover, done, design=sample.design)
        post = assess_map(cover, done, design=sample.design, post_stratify=True)
        assert plain.strata["stratum"].tolist() == ["whole map"]
        assert post.strata["stratum"].tolist() == ["forest", "field", "water"]
        assert (post.areas["se_ha"] < plain.areas["se_ha"]).all()
        truth = true_areas(true, cover).reindex(post.areas["class_name"]) / 1e4
        off = np.abs(post.areas["area_ha"] - truth.to_numpy())
        assert (off[:2] < 3.5 * post.areas["se_ha"][:2]).all()  # in the sample, all water is right: a variance of 0
    assert "systematic" in plain.methods
    assert any("no exact standard error" in note for note in plain.notes)


def test_reference_values_are_names_or_numbers(made) -> None:
    cover, _, sample, done = made
    expected = assess_map(cover, done, design=sample.design).accuracy.table
    numbers = {name: value for value, name in NAMES.items()}
    for values in (
        done["reference"].map(numbers),
        done["reference"].map(numbers).astype(float),
        done["reference"].map(numbers).astype(str),
        done["reference"].str.upper() + " ",
    ):
        found = assess_map(cover, done.assign(reference=values), design=sample.design)
        pd.testing.assert_frame_equal(found.accuracy.table, expected)


def test_what_is_empty_or_outside_is_left_out_and_counted(made) -> None:
    cover, _, sample, done = made
    values = cover.values.copy()
    values[:20] = 255
    part = cover.copy(data=values)[:, :100]
    some = done.copy()
    some.loc[some.index[:7], "reference"] = None
    some.loc[some.index[7], "reference"] = "  "
    some.loc[some.index[8], "geometry"] = None
    found = assess_map(part, some)
    rows, cols = pixels_at(done.geometry.iloc[9:], cover)
    outside, nodata = (cols >= 100).sum(), ((cols < 100) & (rows < 20)).sum()
    assert found.left_out == {
        "without_a_reference": 8,
        "without_a_place": 1,
        "outside_the_map": outside,
        "without_data_in_the_map": nodata,
    }
    assert found.strata["units"].sum() == 240 - 9 - outside - nodata
    assert "8 had no reference class" in found.methods
    by_design = assess_map(part, some.iloc[1:], design=sample.design)
    assert by_design.left_out["missing_from_the_file"] == 1
    assert any("sample was drawn from" in note for note in by_design.notes)


def test_a_class_that_only_the_reference_has(made) -> None:
    cover, _, sample, done = made
    with_rock = done.copy()
    with_rock.loc[with_rock.index[:3], "reference"] = "rock"
    found = assess_map(cover, with_rock, design=sample.design)
    row = found.areas.set_index("class_name").loc["rock"]
    assert row["mapped_ha"] == 0 < row["area_ha"]
    assert found.accuracy.of("producers").loc["rock", "estimate"] == 0
    assert "Only the reference has rock" in " ".join(found.notes)


def test_a_slip_of_the_pen_is_said(made) -> None:
    cover, _, sample, done = made
    slip = done.copy()
    slip.loc[slip.index[3], "reference"] = "forrest"
    with pytest.raises(OptionError, match="'forrest' looks like a slip for 'forest'"):
        assess_map(cover, slip, design=sample.design)
    found = assess_map(cover, slip, design=sample.design, crosswalk={"forrest": "forest"})
    assert "forrest" not in found.areas["class_name"].tolist()
    kept = assess_map(cover, slip, design=sample.design, crosswalk={"forrest": "forrest"})
    unnamed = cover.copy(data=cover.values)
    unnamed.attrs = {"_FillValue": 255}
    numbered = done["reference"].map({"forest": "class 1", "field": "class 2", "water": "class 7"})
    assert assess_map(unnamed, done.assign(reference=numbered)).areas["class_name"].tolist() == [
        "class 1",
        "class 2",
        "class 3",
        "class 7",
    ]
    assert "forrest" in kept.areas["class_name"].tolist()
    with pytest.raises(OptionError, match=r"there is 1\.5"):
        assess_map(cover, done.assign(reference=1.5), design=sample.design)


def test_where_intervals_are_too_sure_it_is_said(made) -> None:
    cover, true, sample, _ = made
    few = true.copy()
    few[cover.values == 3] = 3  # all that is mapped as water is water
    found = assess_map(cover, interpreted(sample, few, cover), design=sample.design)
    assert any("All units are alike in water" in note for note in found.notes)
    differ = found.accuracy.counts.to_numpy() - np.diag(np.diagonal(found.accuracy.counts))
    number = differ.sum(axis=0) + differ.sum(axis=1)
    assert 0 < number[2] < 10 <= number[1]
    [said] = [note for note in found.notes if "rest on fewer than 10 units" in note]
    assert "water" in said
    assert "field" not in said
    assert not any("alike" in note or "fewer" in note for note in assess_map(cover, cover_of(true)).notes)


def test_a_crosswalk_joins_classes_of_the_map(made) -> None:
    cover, _, sample, done = made
    land = {"forest": "land", "field": "land"}
    found = assess_map(cover, done, design=sample.design, crosswalk=land)
    assert found.areas["class_name"].tolist() == ["land", "water"]
    assert found.strata["stratum"].tolist() == ["forest", "field", "water"]
    single = assess_map(cover, done, design=sample.design)
    assert found.areas["area_ha"].iloc[0] == pytest.approx(single.areas["area_ha"].iloc[:2].sum())
    table = pd.DataFrame({"from": list(land), "to": list(land.values())})
    again = assess_map(cover, done, design=sample.design, crosswalk=table)
    assert "common names: forest to land, field to land" in again.methods
    pd.testing.assert_frame_equal(again.accuracy.table, found.accuracy.table)


@pytest.mark.parametrize("left", [0, 1])
def test_a_stratum_with_too_few_units_is_named_and_can_be_merged(made, left) -> None:
    cover, _, sample, done = made
    water = np.flatnonzero(sample.design.units["stratum"] == "water")
    few = done.drop(index=done.index[water[left:]])
    with pytest.raises(OptionError, match=rf"'water' \([\d.,]+ ha\) has {left}.*--merge-strata 'water=forest'"):
        assess_map(cover, few, design=sample.design)
    found = assess_map(cover, few, design=sample.design, merge_strata={"water": "field"})
    assert found.strata["stratum"].tolist() == ["forest", "field"]
    assert found.strata["area_m2"].sum() == pytest.approx(geoseg.class_areas(cover)["area_m2"].sum())
    assert "merged, as if they were alike: water with field" in found.methods
    assert f"rest on {len(few)} of these units" in found.methods
    with pytest.raises(OptionError, match="'watr' is none"):
        assess_map(cover, few, design=sample.design, merge_strata={"watr": "field"})


def test_references_at_fault(made) -> None:
    cover, _, sample, done = made
    design = sample.design
    with pytest.raises(OptionError, match="id, reference, confidence, comment, but not 'class'"):
        assess_map(cover, done, reference_column="class")
    with pytest.raises(OptionError, match="all 240 rows are empty"):
        assess_map(cover, sample.units, design=design)
    with pytest.raises(OptionError, match="needs a CRS"):
        assess_map(cover, done.set_crs(None, allow_override=True))
    with pytest.raises(OptionError, match="none lies in a pixel with a class"):
        assess_map(cover, done.assign(geometry=done.translate(1e5)))
    with pytest.raises(OptionError, match="no geometry at all"):
        assess_map(cover, done.assign(geometry=None))
    with pytest.raises(OptionError, match="has LineString"):
        assess_map(cover, done.assign(geometry=[shapely.LineString([(0, 0), (1, 1)])] * 240))
    mixed = [shapely.Point(5e5, 5e6)] * 100 + [shapely.box(5e5, 5e6, 5e5 + 9, 5e6 + 9)] * 140
    with pytest.raises(OptionError, match="Point and Polygon"):
        assess_map(cover, done.assign(geometry=mixed))
    with pytest.raises(OptionError, match="the reference has only reference, confidence"):
        assess_map(cover, done.drop(columns="id"), design=design)
    with pytest.raises(OptionError, match="500 is not"):
        assess_map(cover, done.assign(id=[500, *range(2, 241)]), design=design)
    with pytest.raises(OptionError, match="2 is there twice"):
        assess_map(cover, done.assign(id=[2, *range(2, 241)]), design=design)
    with pytest.raises(OptionError, match="drawn in strata"):
        assess_map(cover, done, design=design, post_stratify=True)
    with pytest.raises(OptionError, match="none is given"):
        assess_map(cover, done, post_stratify=True)
    with pytest.raises(OptionError, match="between 0 and 1, but it is 95"):
        assess_map(cover, done, confidence=95)
    with pytest.raises(OptionError, match="columns from and to"):
        assess_map(cover, done, crosswalk=pd.DataFrame({"a": [1]}))
    with pytest.raises(OptionError, match="this one has none"):
        assess_map(cover.copy(data=np.full_like(cover.values, 255)), done)


# ---- how often the intervals are right ----

FAR = GeoBox.from_bbox((0, 0, 15, 72), "EPSG:4326", shape=(120, 150))


@pytest.mark.parametrize("where", ["UTM", "latitude and longitude"])
def test_intervals_hold_the_truth_where_counting_pixels_does_not(where) -> None:
    """Over 400 samples; tests/benchmarks/coverage_of_samples.py takes 1000, by the whole way."""
    mapped, true = scene(tilt=True)
    cover = cover_of(mapped) if where == "UTM" else class_map(mapped.astype(np.uint8), FAR, LEGEND)
    frame = frame_of(cover)
    sizes, held = frame.sizes.to_numpy(), frame.pixels.to_numpy()
    everything, forest, field = np.ones((3, 3)), *(np.tile(row, (3, 1)) for row in np.eye(3)[:2])

    def counts_of(units: np.ndarray, seed: int) -> np.ndarray:
        drawn = pick_random(frame, units, seed)
        counts, at = np.zeros((3, 3, 3), np.int64), (drawn["row"].to_numpy(), drawn["col"].to_numpy())
        np.add.at(counts, (drawn["stratum"].to_numpy(), mapped[at] - 1, true[at] - 1), 1)
        return counts

    counts = np.array([counts_of(np.array([60, 180, 60]), seed) for seed in range(400)])
    areas = true_areas(true, cover)
    right = PixelAreas(geobox_of(cover)).of(slice(0, 120), slice(0, 150))[mapped == true].sum()
    inside = []
    for above, truth in ((forest, areas["forest"]), (field, areas["field"]), (np.eye(3), right)):
        share, se = stratified_ratio(counts, sizes, above, everything, populations=held)
        inside.append((np.abs(share * sizes.sum() - truth) <= 1.959964 * se * sizes.sum()).mean())
        assert share.mean() * sizes.sum() == pytest.approx(truth, rel=0.01)
    assert 0.93 <= np.mean(inside) <= 0.97
    assert 0.92 <= min(inside) <= max(inside) <= 0.98

    counted, truth = sizes[0], areas["forest"]
    assert counted < 0.5 * truth
    share, se = stratified_ratio(counts, sizes, forest, everything, populations=held)
    assert (np.abs(share * sizes.sum() - counted) <= 1.959964 * se * sizes.sum()).mean() < 0.01
    if where != "UTM":  # why pixels are not drawn with one probability: where they are small, there is less forest
        assert truth / areas.sum() > 1.05 * (true == 1).mean()

    # the whole way gives the same
    sample = draw_sample(cover, 300, at_least=60, seed=0)
    whole = assess_map(cover, interpreted(sample, true, cover), design=sample.design)
    again = counts_of(sample.design.strata["units"].to_numpy(), 0)
    share, se = stratified_ratio(again, sizes, forest, everything, populations=held)
    row = whole.accuracy.areas.loc["forest"]
    assert [row["estimate"], row["se"]] == pytest.approx([share * sizes.sum(), se * sizes.sum()])


# ---- polygons ----


def blocks(cover, true, size=5) -> gpd.GeoDataFrame:
    """All squares of `size` pixels a side; the reference is the class of most of their pixels."""
    move = geobox_of(cover).transform
    height, width = cover.shape
    rows, cols = (part.ravel() for part in np.meshgrid(range(0, height, size), range(0, width, size), indexing="ij"))
    x, y = move.c + cols * move.a, move.f + rows * move.e
    shapes = shapely.box(x, y + size * move.e, x + size * move.a, y)
    return gpd.GeoDataFrame({"row": rows, "col": cols}, geometry=shapes, crs=geobox_of(cover).crs.to_wkt())


def clustered(seed=4):
    """Truth is constant in squares of 5 pixels, and errors of the map come by the square."""
    rng = np.random.default_rng(seed)
    true = rng.choice([1, 2, 3], (24, 30), p=[0.3, 0.5, 0.2])
    mapped = np.where(rng.random(true.shape) < 0.18, rng.choice([1, 2, 3], true.shape), true)
    grow = np.ones((5, 5), int)
    mapped, true = np.kron(mapped, grow), np.kron(true, grow)
    noise = rng.random(true.shape) < 0.05
    return np.where(noise, rng.choice([1, 2, 3], true.shape), mapped), true


def test_polygons_are_clusters_and_their_intervals_hold_the_truth() -> None:
    mapped, true = clustered()
    cover = cover_of(mapped)
    every = blocks(cover, true)
    every["reference"] = [NAMES[value] for value in true[every["row"], every["col"]].tolist()]
    right = (mapped == true).mean()
    areas = true_areas(true, cover) / 1e4
    parts = class_parts(cover, every)
    parts["map"] = parts["value"].map(NAMES)
    parts["reference"] = every["reference"].to_numpy()[parts["cluster"]]
    sizes = geoseg.class_areas(cover).set_index("class_name")["area_m2"]

    inside, naive, estimates = [], [], []
    for seed in range(150):
        drawn = every.reset_index().sample(90, replace=True, random_state=seed)
        chosen = pd.DataFrame({"cluster": drawn["index"].to_numpy(), "unit": range(90)}).merge(parts, on="cluster")
        found = estimate_from_clusters(chosen.assign(cluster=chosen["unit"]), sizes, classes=list(NAMES.values()))
        table = pd.concat([found.of("overall"), found.areas / 1e4])
        truth = [right, *areas]
        inside.append(
            [low <= value <= high for low, value, high in zip(table["lower"], truth, table["upper"], strict=True)]
        )
        alone = found.overall["se"] / np.sqrt(found.design_effect)
        naive.append(abs(found.overall["estimate"] - right) <= 1.96 * alone)
        estimates.append(found.overall["estimate"])
    assert 0.93 <= np.mean(inside) <= 0.97
    assert np.mean(naive) < 0.75  # as if each of the 25 pixels had been drawn by itself
    assert np.mean(estimates) == pytest.approx(right, abs=0.01)

    last, found = found, assess_map(cover, drawn)  # the whole way gives the same
    pd.testing.assert_frame_equal(found.accuracy.table, last.table)
    assert found.accuracy.design_effect > 4
    assert found.kind == "polygons"
    assert found.settings["units"] == 90
    assert "design effect" in " ".join(found.notes)
    assert "cluster" in found.methods


@pytest.mark.parametrize("placing", [(UTM, "EPSG:32632"), (GEOGRAPHIC, "EPSG:4326")])
def test_classes_in_polygons_are_those_of_pixel_centres(placing) -> None:
    mapped, _ = scene()
    cover = cover_of(mapped, *placing)
    cover.values[30:40] = 255
    left, bottom, right, top = geobox_of(cover).extent.boundingbox.bbox
    rng = np.random.default_rng(0)
    points = shapely.points(rng.uniform(left, right, 9), rng.uniform(bottom, top, 9))
    shapes = [point.buffer((right - left) * 0.15) for point in points]
    polygons = gpd.GeoDataFrame(geometry=[*shapes, None], crs=placing[1])  # they overlap, and reach beyond the map
    found = class_parts(cover.chunk({cover.dims[0]: 17}), polygons)
    areas = PixelAreas(geobox_of(cover)).of(slice(0, 120), slice(0, 150))
    for at, shape in enumerate(shapes):
        inside = features.geometry_mask([shape], cover.shape, placing[0], invert=True)
        own = found[found["cluster"] == at].set_index("value")
        for value in (1, 2, 3, 255):
            here = inside & (cover.values == value)
            row = own.reindex([value if value != 255 else NO_CLASS]).fillna(0).iloc[0]
            assert row["pixels"] == here.sum()
            assert row["area"] == pytest.approx(areas[here].sum(), rel=1e-9)


def test_polygons_at_fault() -> None:
    mapped, true = clustered()
    cover = cover_of(mapped)
    every = blocks(cover, true)
    every["reference"] = [NAMES[value] for value in true[every["row"], every["col"]].tolist()]
    few = every.iloc[:100]
    with pytest.raises(OptionError, match="strata: for a sample of points, but the reference is polygons"):
        assess_map(cover, few, strata=cover)
    with pytest.raises(OptionError, match="none of 100 polygons"):
        assess_map(cover, few.assign(geometry=few.translate(1e5)))
    only = few[few["reference"] == "water"].iloc[:1]
    with pytest.raises(OptionError, match="Each map class needs reference polygons"):
        assess_map(cover, only)
    bow = shapely.Polygon([(5e5, 5e6), (5e5 + 50, 5e6 - 50), (5e5 + 50, 5e6), (5e5, 5e6 - 50)])
    with pytest.raises(OptionError, match="needs valid polygons"):
        assess_map(cover, few.assign(geometry=[bow] * 100))
    small = gpd.GeoDataFrame({"reference": ["water"]}, geometry=[shapely.box(5e5, 5e6 - 3, 5e5 + 3, 5e6)], crs=few.crs)
    found = assess_map(cover, pd.concat([few, small]))
    assert found.left_out["without_a_pixel_of_the_map"] == 1


# ---- a raster ----


@pytest.mark.parametrize("placing", [(UTM, "EPSG:32632"), (GEOGRAPHIC, "EPSG:4326")])
def test_a_raster_is_a_census_of_what_it_covers(placing) -> None:
    mapped, true = scene()
    cover, right = cover_of(mapped, *placing), cover_of(true, *placing)
    right.values[:, 100:] = 255
    found = assess_map(cover, right)
    areas = PixelAreas(geobox_of(cover)).of(slice(0, 120), slice(0, 100))
    expected = [[areas[(mapped[:, :100] == i) & (true[:, :100] == j)].sum() for j in (1, 2, 3)] for i in (1, 2, 3)]
    np.testing.assert_allclose(found.accuracy.proportions, np.array(expected) / np.sum(expected), rtol=1e-9)
    assert found.accuracy.counts.to_numpy().sum() == 120 * 100
    assert found.accuracy.table["se"].fillna(0).eq(0).all()
    np.testing.assert_allclose(found.areas["mapped_ha"], np.sum(expected, axis=1) / 1e4)
    np.testing.assert_allclose(found.areas["area_ha"], np.sum(expected, axis=0) / 1e4)
    assert found.kind == "census"
    assert found.settings["same_grid"]
    assert "66.7% of the map's area" in found.notes[0]
    assert "no sampling error" in found.methods


def test_a_raster_without_names_and_one_with_others() -> None:
    mapped, true = scene()
    cover = cover_of(mapped)
    expected = assess_map(cover, cover_of(true)).accuracy.table
    bare = class_map(true.astype(np.uint8), geobox_of(cover), [])
    pd.testing.assert_frame_equal(assess_map(cover, bare).accuracy.table, expected)
    other = class_map(
        true.astype(np.uint8), geobox_of(cover), [ClassInfo(1, "Forest"), ClassInfo(2, "field"), ClassInfo(3, "lake")]
    )
    found = assess_map(cover, other)
    assert found.areas["class_name"].tolist() == ["forest", "field", "water", "lake"]
    joined = assess_map(cover, other, crosswalk={"lake": "water"})
    pd.testing.assert_frame_equal(joined.accuracy.table, expected)
    swapped = class_map(
        (4 - true).astype(np.uint8),
        geobox_of(cover),
        [ClassInfo(3, "forest"), ClassInfo(2, "field"), ClassInfo(1, "water")],
    )
    pd.testing.assert_frame_equal(assess_map(cover, swapped).accuracy.table, expected)  # by name, not by value
    with pytest.raises(OptionError, match="design: for a sample of points, but the reference is a raster"):
        assess_map(cover, other, design=draw_sample(cover, 30).design)
    with pytest.raises(SceneError, match="cannot be laid over the map"):
        assess_map(cover, cover_of(true, GEOGRAPHIC, "EPSG:4326"))
    with pytest.raises(OptionError, match="nowhere do both have a class"):
        assess_map(cover, cover_of(np.full(mapped.shape, 255)))


# ---- the command ----


@pytest.fixture
def files(tmp_path, made) -> tuple[Path, Path]:
    cover, true, _, _ = made
    write_class_map(cover, tmp_path / "classes.tif")
    write_class_map(cover_of(true), tmp_path / "truth.tif")
    assert (
        run("sample", tmp_path / "classes.tif", "--n", 200, "--at-least", 50, "--out", tmp_path / "s.gpkg", "-q") == 0
    )
    layer = gpd.read_file(tmp_path / "s.gpkg", layer="sample")
    rows, cols = pixels_at(layer.geometry, cover)
    layer["reference"] = [NAMES[value] for value in true[rows, cols].tolist()]
    layer.to_file(tmp_path / "done.gpkg", layer="sample")
    (tmp_path / "s_design.json").rename(tmp_path / "done_design.json")
    return tmp_path / "classes.tif", tmp_path / "done.gpkg"


def test_assess_writes_all_that_can_be_published(files, tmp_path, capsys) -> None:
    out = tmp_path / "accuracy"
    assert run("assess", *files, "--out", out) == 0
    printed = capsys.readouterr().out
    for word in (
        "forest",
        "mapped ha",
        "producer's",
        "Overall accuracy",
        "95% interval",
        "done_design.json",
        "report.html",
    ):
        assert word in printed
    assert sorted(item.name for item in out.iterdir()) == sorted(FILES)
    record = json.loads((out / "accuracy.json").read_text())
    table = pd.read_csv(out / "accuracy.csv", float_precision="round_trip")
    assert record["accuracy"][0]["estimate"] == table["estimate"].iloc[0]
    assert record["inputs"]["design"].endswith("done_design.json")  # it stands beside the reference
    assert record["settings"]["finite_population_correction"] is True
    assert record["strata"][0]["stratum"] == "forest"
    assert set(table["measure"]) >= {"overall", "users", "producers", "f1", "iou", "area", "quantity", "allocation"}
    matrix = pd.read_csv(out / "matrix.csv")
    assert matrix["count"].sum() == 200
    assert matrix["proportion"].sum() == pytest.approx(1)
    areas = pd.read_csv(out / "areas.csv")
    assert areas["area_ha"].sum() == pytest.approx(areas["mapped_ha"].sum())
    assert "stratified random sample of 200 pixels" in (out / "methods.txt").read_text(encoding="utf-8")
    with rasterio.open(out / "matrix.png") as picture:
        assert min(picture.shape) > 400
        assert len(np.unique(picture.read(1))) > 20

    assert "has accuracy.csv" in fails(capsys, "assess", *files, "--out", out)
    assert run("assess", *files, "--out", out, "--overwrite", "-q") == 0
    assert capsys.readouterr().out == ""


def test_assess_by_a_raster_and_by_options(files, tmp_path, capsys) -> None:
    raster, done = files
    assert run("assess", raster, tmp_path / "truth.tif", "--out", tmp_path / "census") == 0
    assert "without sampling error" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "names.csv").write_text("from,to\nforest,land\nfield,land\n")
    options = ("--crosswalk", tmp_path / "names.csv", "--confidence", "0.9", "--merge-strata", "water=field")
    assert run("assess", raster, done, *options, "--out", tmp_path / "joined", "-q") == 0
    record = json.loads((tmp_path / "joined" / "accuracy.json").read_text())
    assert record["classes"] == ["land", "water"]
    assert record["confidence"] == 0.9
    assert [row["stratum"] for row in record["strata"]] == ["forest", "field"]
    assert run("assess", raster, done, "--strata", tmp_path / "truth.tif", "--out", tmp_path / "other", "-q") == 0
    assert json.loads((tmp_path / "other" / "accuracy.json").read_text())["inputs"]["design"] is None


def test_assess_writes_all_files_of_a_map_or_none(files, tmp_path, capsys, monkeypatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(geoseg.export, "write_matrix_picture", broken)
    assert "No space left" in fails(capsys, "assess", *files, "--out", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_assess_says_what_is_wrong_with_a_map(files, tmp_path, capsys) -> None:
    raster, done = files
    for options, said in (
        (("--iou", "0.5"), "--iou: for polygons of objects, but"),
        (("--score-column", "score", "--within", "a.gpkg"), "--within, --score-column: for polygons of objects"),
        (("--reference-column", "label"), "but not 'label'"),
        (("--design", tmp_path / "none.json"), "cannot be read"),
        (("--merge-strata", "water"), "is written road=built"),
        (("--crosswalk", tmp_path / "none.csv"), "A crosswalk is a CSV file"),
        (("--confidence", "95"), "between 0 and 1"),
        (("--strata-field", "name"), "without polygons"),
    ):
        assert said in fails(capsys, "assess", raster, done, *options, code=2)
    assert "is not there" in fails(capsys, "assess", raster, tmp_path / "none.gpkg", code=2)
    census = (raster, tmp_path / "truth.tif")
    assert "for points and polygons" in fails(capsys, "assess", *census, "--reference-column", "class", code=2)
    assert "design: for a sample of points" in fails(
        capsys, "assess", *census, "--design", tmp_path / "done_design.json", code=2
    )
    bare = write_raster(tmp_path / "bare.tif", np.ones((9, 9), np.uint8), crs=None)
    assert "give it with --crs" in fails(capsys, "assess", bare, done)
    cover = geoseg.open_class_map(raster)
    bare = write_raster(tmp_path / "whole.tif", cover.values, crs=None)  # where it lies, it has from its corner
    assert run("assess", bare, done, "--crs", "EPSG:32632", "-q") == 0
    assert "raster that GDAL can open" in fails(capsys, "assess", tmp_path / "none.tif", done)
    values, valid = values_at(geoseg.open_class_map(raster), np.array([-1]), np.array([-1]))
    assert not valid.any()
    assert len(values) == 1


def test_the_example_of_the_page_runs(files, tmp_path, monkeypatch, capsys) -> None:
    page = (Path(__file__).parents[1] / "docs/sample.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    files[1].replace("sample.gpkg")
    Path("done_design.json").replace("sample_design.json")
    exec(compile(example, "docs/sample.md", "exec"), {})
    assert "stratified random sample of 200 pixels" in capsys.readouterr().out


# ---- real maps ----


@pytest.mark.data
def test_a_real_map_by_a_sample_and_by_a_census(data_dir, tmp_path) -> None:
    """The national land cover of 30 m, judged by one of 1 m that people drew: forest is overestimated by far."""
    patches = [np.load(path)["arr_0"].reshape(29, 256, 256) for path in sorted((data_dir / "chesapeake").glob("*.npz"))]
    coarse, fine = (np.block([[patches[4 * i + j][band] for j in range(4)] for i in range(4)]) for band in (9, 8))
    place = GeoBox((1024, 1024), rasterio.Affine(1, 0, 5e5, 0, -1, 4.1e6), "EPSG:32617")
    groups = {1: (41, 42, 43), 2: (71, 81, 82), 3: (21, 22)}
    mapped = sum(np.where(np.isin(coarse, values), value, 0) for value, values in groups.items()).astype(np.uint8)
    cover = class_map(mapped, place, [ClassInfo(1, "forest"), ClassInfo(2, "low vegetation"), ClassInfo(3, "built-up")])
    names = {2: "forest", 3: "low vegetation", 5: "impervious", 6: "road"}
    right = class_map(fine.astype(np.uint8), place, [ClassInfo(value, name) for value, name in names.items()])
    joined = {"impervious": "built-up", "road": "built-up"}
    census = assess_map(cover, right, crosswalk=joined)
    sample = draw_sample(cover, 500, at_least=100, seed=1)
    rows, cols = pixels_at(sample.units.geometry, cover)
    done = sample.units.assign(reference=[names[int(value)] for value in fine[rows, cols]])
    found = assess_map(cover, done, design=sample.design, crosswalk=joined)
    assert found.areas["class_name"].tolist() == census.areas["class_name"].tolist()
    for measure in ("overall", "users", "area"):
        ours, true = found.accuracy.of(measure), census.accuracy.of(measure)
        assert (np.abs(ours["estimate"] - true["estimate"]) < 3 * ours["se"] + 1e-9).all()
    built = census.areas.set_index("class_name").loc["built-up"]
    assert built["mapped_ha"] > 10 * built["area_ha"]  # the count of pixels is off by a factor
    within = found.areas.set_index("class_name").loc["built-up"]
    assert within["upper_ha"] < 0.5 * built["mapped_ha"]
    write_map_assessment(found, tmp_path, class_map=cover, inputs={})
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(FILES)
