"""Simplified and smoothed borders: shared by neighbours, bounded, and the same however the map is cut."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import scipy.ndimage
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from test_polygons import assert_same, make_map, rasters

from geoseg.areas import class_areas
from geoseg.classmap import open_class_map
from geoseg.errors import OptionError
from geoseg.polygons import iter_polygons, simplify, source, vectorize

PIXEL = 10.0  # metres, of `make_map`


@st.composite
def landscapes(draw):
    """Patches with curved borders, and the odd rasters of the exact vectoriser."""
    if draw(st.booleans()):
        return draw(rasters())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 60)), draw(st.integers(1, 90))
    noise = scipy.ndimage.gaussian_filter(rng.standard_normal((3, *shape)), (0, 2, 2))
    values = (noise.argmax(axis=0) + 1).astype(np.uint8)
    values[rng.random(shape) < draw(st.sampled_from([0.0, 0.01]))] = 255
    return values


def set_band_rows(monkeypatch, rows):
    import sys

    for name in ("simplify", "source", "batches"):
        monkeypatch.setattr(sys.modules[f"geoseg.polygons.{name}"], "BAND_ROWS", rows)


def distance_px(left: gpd.GeoDataFrame, right: gpd.GeoDataFrame) -> float:
    """The largest distance between two layers' borders, in pixels, measured at vertices of both."""
    borders = [shapely.union_all(frame.geometry.boundary.to_numpy()) for frame in (left, right)]
    return (
        max(
            shapely.distance(shapely.points(shapely.get_coordinates(one)), other).max()
            for one, other in (borders, borders[::-1])
        )
        / PIXEL
    )


def check_shapes(values: np.ndarray, exact: gpd.GeoDataFrame, shaped: gpd.GeoDataFrame, bound_px: float) -> None:
    assert shaped["object_id"].tolist() == exact["object_id"].tolist()  # no polygon is lost
    for name in ("class", "pixels", "area_m2"):
        assert (shaped[name] == exact[name]).all()
    if len(values) == 0 or not len(exact):
        return
    assert shapely.is_valid(shaped.geometry.to_numpy()).all()
    assert shapely.coverage_is_valid(shaped.geometry.to_numpy())
    # No gap inside, no overlap: the parts add up to the whole.
    assert shapely.union_all(shaped.geometry.to_numpy()).area == pytest.approx(shaped.area.sum(), rel=1e-9)
    assert distance_px(exact, shaped) <= bound_px + 1e-9
    assert (shaped.area > 0).all()
    np.testing.assert_allclose(shaped["area_change"], shaped.area / (shaped["pixels"] * PIXEL**2) - 1, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(landscapes(), st.sampled_from([0.5, 0.75, 1, 1.5, 4]), st.booleans(), st.sampled_from([4, 256]))
def test_simplified_maps_are_valid_coverages_and_bounded(values, tolerance, smooth, rows):
    with pytest.MonkeyPatch.context() as patch:
        set_band_rows(patch, rows)
        shaped = vectorize(make_map(values), simplify=f"{tolerance}px", smooth=smooth)
    check_shapes(values, vectorize(make_map(values)), shaped, tolerance * (2 if smooth else 1))


@settings(max_examples=25, deadline=None)
@given(landscapes(), st.booleans(), st.sampled_from([4, 8]), st.sampled_from([None, "3px", "900m2"]))
def test_cutting_and_threads_cannot_be_seen(values, smooth, connectivity, min_area):
    options = {"connectivity": connectivity, "min_area": min_area, "simplify": "1px", "smooth": smooth}
    percent = make_map((values // 3).astype(np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        set_band_rows(patch, 16)
        whole = vectorize(make_map(values), confidence=percent, strip_rows=len(values), threads=1, **options)
        for rows, threads in ((1, 1), (7, 2), (64, 3), (len(values), 4)):
            cut = vectorize(make_map(values), confidence=percent, strip_rows=rows, threads=threads, **options)
            assert_same(cut, whole)
        lazy = make_map(values).chunk({"y": 5, "x": 20})
        assert_same(vectorize(lazy, confidence=percent, **options), whole)


@settings(max_examples=10, deadline=None)
@given(landscapes())
def test_shapes_of_corner_connected_maps(values):
    shaped = vectorize(make_map(values), simplify="1px", smooth=True, connectivity=8)
    if len(shaped):
        assert shapely.is_valid(shaped.geometry.to_numpy()).all()
        assert shapely.union_all(shaped.geometry.to_numpy()).area == pytest.approx(shaped.area.sum(), rel=1e-9)
    assert shaped["pixels"].sum() == (values != 255).sum()


def test_a_cluster_gives_the_same():
    from distributed import Client, LocalCluster

    rng = np.random.default_rng(3)
    values = (scipy.ndimage.gaussian_filter(rng.standard_normal((3, 600, 80)), (0, 2, 2)).argmax(axis=0) + 1).astype(
        np.uint8
    )
    options = {"min_area": "12px", "simplify": "1px", "smooth": True}
    whole = vectorize(make_map(values), threads=1, **options)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False),
    ):
        assert_same(vectorize(make_map(values), cluster=cluster.scheduler_address, **options), whole)


def test_by_hand():
    """A staircase of 45 degrees becomes one line; what lies on the map's frame and where regions meet stays."""
    values = np.triu(np.ones((6, 6), np.uint8)) + 1
    lower, upper = (vectorize(make_map(values), simplify="0.75px").set_index("class").geometry[k] for k in (1, 2))
    assert shapely.get_num_coordinates([lower, upper]).max() <= 6
    ends = {(400_000.0, 5_800_000.0 - 10), (400_000.0 + 50, 5_800_000.0 - 60)}  # where the border meets the frame
    for shape in (lower, upper):
        assert ends <= set(shape.exterior.coords)
    assert lower.boundary.intersection(upper.boundary).length == pytest.approx(np.hypot(50, 50))


@pytest.mark.parametrize("smooth", [False, True])
def test_single_pixels_stay_squares_and_slivers_stay_polygons(smooth):
    values = np.ones((9, 9), np.uint8)
    values[4, 4] = 2
    values[6, 1:8] = 3
    values[1, 1:3] = 255
    shaped = vectorize(make_map(values), simplify="5px", smooth=smooth)
    if not smooth:
        assert shaped.loc[shaped["class"] == 2, "area_change"].tolist() == [0]
    assert shapely.coverage_is_valid(shaped.geometry.to_numpy())
    assert sorted(shaped["class"]) == [1, 2, 3]


def test_long_straight_sides_get_no_vertices_between_bands():
    values = np.full((2100, 6), 1, np.uint8)
    values[:, 3:] = 2
    shaped = vectorize(make_map(values), simplify="1px")
    assert shapely.get_num_coordinates(shaped.geometry.to_numpy()).tolist() == [5, 5]


def test_the_tolerance_may_be_metres():
    rng = np.random.default_rng(5)
    values = (scipy.ndimage.gaussian_filter(rng.standard_normal((2, 80, 80)), (0, 3, 3)).argmax(axis=0) + 1).astype(
        np.uint8
    )
    metres = vectorize(make_map(values), simplify="15m")
    pixels = vectorize(make_map(values), simplify="1.5px")
    # A pixel of 10 m on the grid of UTM is within 0.04 % of 10 m on the ground.
    assert len(shapely.get_coordinates(metres.geometry)) == pytest.approx(
        len(shapely.get_coordinates(pixels.geometry)), rel=0.02
    )
    with pytest.raises(OptionError, match=r"--simplify needs a unit .* 1.5px"):
        vectorize(make_map(values, crs="EPSG:4326"), simplify=2)


def test_smoothing_turns_gently():
    rows, cols = np.indices((120, 120))
    values = (np.hypot(rows - 60, cols - 60) < 45).astype(np.uint8) + 1
    disc = vectorize(make_map(values), simplify="1px", smooth=True).set_index("class").geometry[2]
    points = shapely.get_coordinates(disc.exterior)
    sides = np.diff(points, axis=0)
    headings = np.unwrap(np.arctan2(sides[:, 1], sides[:, 0]))
    assert np.abs(np.diff(headings)).max() < np.radians(40)
    assert disc.area == pytest.approx(np.pi * 450**2, rel=0.02)  # chords and curves cut the corners of what is convex


def test_no_valid_pixel():
    shaped = vectorize(make_map(np.full((3, 4), 255, np.uint8)), simplify="1px", min_area="2px")
    assert len(shaped) == 0
    assert "area_change" in shaped


def test_batches_are_the_whole():
    values = np.random.default_rng(1).integers(1, 4, (300, 50)).astype(np.uint8)
    batches = list(iter_polygons(make_map(values), simplify="1px", min_area="4px"))
    whole = vectorize(make_map(values), simplify="1px", min_area="4px")
    assert sum(len(batch) for batch in batches) == len(whole)
    assert list(batches[0].columns) == list(whole.columns)


@pytest.mark.data
@pytest.mark.parametrize("smooth", [False, True])
def test_a_real_class_map(data_dir, smooth):
    cover = open_class_map(data_dir / "classmaps" / "nlcd_zion.tif")[:700, :700].compute()
    shaped = vectorize(cover, simplify="1px", smooth=smooth)
    exact = vectorize(cover)
    geometries = shaped.geometry.to_numpy()
    assert shapely.is_valid(geometries).all()
    assert shapely.coverage_is_valid(geometries)
    assert len(shapely.get_coordinates(shaped.geometry)) < (2 if smooth else 0.75) * len(
        shapely.get_coordinates(exact.geometry)
    )
    assert shaped.area.sum() == pytest.approx(exact.area.sum(), rel=2e-4)  # all that changes is the edge to nodata
    table = class_areas(cover).set_index("class")
    drawn = (shaped["area_m2"] * (1 + shaped["area_change"])).groupby(shaped["class"]).sum()
    large = table.index[table["share"] > 0.005]
    # Regions of a few pixels are all corners: this map has 39 pixels a region.
    assert (drawn[large] / table["area_m2"][large] - 1).abs().max() < (0.07 if smooth else 0.03)
    assert_same(vectorize(cover, simplify="1px", smooth=smooth, strip_rows=7, threads=2), shaped)


def test_bands_and_strips_are_cut_apart():
    """`_bands` cuts whatever comes at multiples of the band's height."""
    rows = [(0, np.zeros((300, 2), np.uint8), None), (300, np.ones((250, 2), np.uint8), None)]
    spans = [[(row0, len(values)) for row0, values, _ in band] for band in source._bands(iter(rows))]
    assert spans == [[(0, 256)], [(256, 44), (300, 212)], [(512, 38)]]
    assert simplify.BAND_ROWS == 256
