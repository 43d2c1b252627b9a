"""`regularize` on shapes whose walls are known, and on real footprints."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import scipy.ndimage
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.features import rasterize
from shapely import affinity

from geoseg.errors import OptionError
from geoseg.polygons import regularize, vectorize

ORIGIN = (500_000.0, 5_000_000.0)
PIXEL_M = 0.5


def object_map(shapes, pixel: float = PIXEL_M, crs: str = "EPSG:32632") -> gpd.GeoDataFrame:
    """Pixel-edge polygons of shapes that are burnt with their number: 1, 2, …"""
    west, south, east, north = shapely.total_bounds(shapes)
    height, width = int((north - south) / pixel) + 6, int((east - west) / pixel) + 6
    transform = Affine(pixel, 0, west - 3 * pixel, 0, -pixel, north + 3 * pixel)
    values = rasterize(list(zip(shapes, range(1, len(shapes) + 1), strict=True)), (height, width), transform=transform)
    grid = GeoBox((height, width), transform, crs)
    return vectorize(wrap_xr(values.astype(np.int32), grid).assign_attrs(_FillValue=0))


def blob(values, pixel: float = PIXEL_M) -> gpd.GeoDataFrame:
    values = np.pad(np.asarray(values, np.uint8), 2)
    grid = GeoBox(values.shape, Affine(pixel, 0, ORIGIN[0], 0, -pixel, ORIGIN[1]), "EPSG:32632")
    return vectorize(wrap_xr(values, grid).assign_attrs(_FillValue=0))


def corner_angles(polygon) -> np.ndarray:
    """Angles at the vertices of all rings, in degrees, as turns between -180 and 180."""
    found = []
    for ring in [polygon.exterior, *polygon.interiors]:
        at = np.array(ring.coords)[:-1]
        before, after = at - np.roll(at, 1, axis=0), np.roll(at, -1, axis=0) - at
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        found.append(np.degrees(np.arctan2(cross, (before * after).sum(axis=1))))
    return np.concatenate(found)


def turning(polygon) -> np.ndarray:
    """Those at which the boundary does not go straight on."""
    angles = corner_angles(polygon)
    return angles[np.abs(angles) > 1e-6]


def iou(one, other) -> float:
    return shapely.area(shapely.intersection(one, other)) / shapely.area(shapely.union(one, other))


def l_shape(width: float, height: float, notch_width: float, notch_height: float):
    x, y = ORIGIN
    corner = shapely.box(x + width - notch_width, y + height - notch_height, x + width, y + height)
    return shapely.box(x, y, x + width, y + height).difference(corner)


def row_of_houses(count: int, angle: float, *, setbacks=(0.0,), width: float = 6.0, depth: float = 10.0):
    x, y = ORIGIN
    houses = [
        shapely.box(x + width * k, y + setbacks[k % len(setbacks)], x + width * (k + 1), y + depth)
        for k in range(count)
    ]
    return [affinity.rotate(house, angle, origin=ORIGIN) for house in houses]


def neighbours(polygons) -> set[tuple[int, int]]:
    """Pairs of rows that share a wall."""
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    length = shapely.length(shapely.intersection(np.asarray(polygons)[one], np.asarray(polygons)[other]))
    return {(int(a), int(b)) for a, b, wall in zip(one, other, length, strict=True) if a < b and wall > 0}


def assert_sound(before: gpd.GeoDataFrame, after: gpd.GeoDataFrame, max_area_change: float = 0.05) -> None:
    """What must hold for every map."""
    assert list(after.columns) == [*before.columns, "shift_m", "area_change", "regularized"]
    assert after.drop(columns=["shift_m", "area_change", "regularized", "geometry"]).equals(
        before.drop(columns="geometry")
    )
    assert after.crs == before.crs
    assert after.is_valid.all()
    assert shapely.coverage_is_valid(after.geometry.to_numpy())
    assert (after.area_change.abs() <= max_area_change).all()
    np.testing.assert_allclose(after.area_change, after.area / before.area - 1, atol=1e-12)
    left = ~after.regularized
    assert (after.shift_m[left] == 0).all()
    assert after.geometry[left].to_wkb().tolist() == before.geometry[left].to_wkb().tolist()
    rings = [shapely.get_num_interior_rings(shapely.get_parts(f.geometry)).sum() for f in (before, after)]
    assert rings[0] == rings[1]


@settings(max_examples=40, deadline=None)
@given(st.floats(8, 25), st.floats(8, 25), st.floats(0, 180), st.floats(0, PIXEL_M))
def test_a_rectangle_at_any_angle_comes_back(width, height, angle, phase):
    x, y = ORIGIN
    truth = affinity.translate(affinity.rotate(shapely.box(x, y, x + width, y + height), angle), phase, phase / 3)
    before = object_map([truth])
    after = regularize(before)
    assert_sound(before, after)
    assert after.regularized.all()
    shape = after.geometry.iloc[0]
    np.testing.assert_allclose(corner_angles(shape), [90] * 4, atol=1e-6)
    assert iou(shape, truth) >= iou(before.geometry.iloc[0], truth) - 0.01
    assert after.shift_m.iloc[0] <= 2 * PIXEL_M


@settings(max_examples=40, deadline=None)
@given(st.floats(12, 25), st.floats(12, 25), st.floats(0.3, 0.6), st.floats(0.3, 0.6), st.floats(0, 180))
def test_an_l_shape_keeps_its_six_corners(width, height, part, other_part, angle):
    truth = affinity.rotate(l_shape(width, height, part * width, other_part * height), angle)
    before = object_map([truth])
    after = regularize(before)
    assert_sound(before, after)
    assert after.regularized.all()
    shape = after.geometry.iloc[0]
    np.testing.assert_allclose(sorted(corner_angles(shape)), [-90] + [90] * 5, atol=1e-6)
    assert iou(shape, truth) >= iou(before.geometry.iloc[0], truth) - 0.01


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.floats(0, 90), st.sampled_from([(0.0,), (0.0, 2.0), (0.0, 3.0, 1.5)]))
def test_rows_of_houses_stay_joined(count, angle, setbacks):
    truth = row_of_houses(count, angle, setbacks=setbacks)
    before = object_map(truth, 0.3)
    after = regularize(before)
    assert_sound(before, after)
    assert after.regularized.all()
    assert neighbours(after.geometry.to_numpy()) == neighbours(before.geometry.to_numpy())
    for shape in after.geometry:
        np.testing.assert_allclose(np.abs(turning(shape)), 90, atol=1e-6)
    for number, old, new in zip(after["class"], before.geometry, after.geometry, strict=True):
        assert iou(new, truth[number - 1]) >= iou(old, truth[number - 1]) - 0.01


def test_a_straight_front_of_a_row_is_one_line():
    after = regularize(object_map(row_of_houses(5, 23.0), 0.3))
    front = shapely.union_all(after.geometry.to_numpy())
    assert len(turning(front)) == 4
    assert shapely.get_num_coordinates(after.geometry.to_numpy()).max() == 5


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 90), st.floats(6, 12))
def test_a_courtyard_stays_a_hole(angle, yard):
    x, y = ORIGIN
    outside, inside = shapely.box(x, y, x + 24, y + 20), shapely.box(x + 6, y + 5, x + 6 + yard, y + 5 + yard)
    truth = affinity.rotate(outside.difference(inside), angle, origin=ORIGIN)
    before = object_map([truth])
    after = regularize(before)
    assert_sound(before, after)
    assert after.regularized.all()
    shape = after.geometry.iloc[0]
    assert len(shape.interiors) == 1
    np.testing.assert_allclose(np.abs(corner_angles(shape)), 90, atol=1e-6)
    assert iou(shape, truth) >= iou(before.geometry.iloc[0], truth) - 0.01


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 90), st.floats(-20, 20), st.floats(0.4, 1.5))
def test_buildings_with_a_narrow_gap_do_not_touch(angle, turned, gap):
    x, y = ORIGIN
    one = shapely.box(x, y, x + 12, y + 8)
    other = affinity.rotate(shapely.box(x + 12 + gap, y, x + 22 + gap, y + 8), turned, origin=(x + 12 + gap, y))
    other = affinity.translate(other, max(0.0, x + 12 + gap - other.bounds[0]))
    before = object_map([affinity.rotate(shape, angle, origin=ORIGIN) for shape in (one, other)])
    after = regularize(before)
    assert_sound(before, after)
    apart = not shapely.intersects(*before.geometry)
    assert not apart or not shapely.intersects(*after.geometry)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1.0, 2.0, 4.0]),
    st.integers(1, 4),
    st.sampled_from([4, 8]),
    st.sampled_from([(0.05, None), (0.2, 3.0), (1.0, 10.0)]),
)
def test_any_map_stays_a_coverage(seed, smooth, classes, connectivity, limits):
    rng = np.random.default_rng(seed)
    fields = scipy.ndimage.gaussian_filter(rng.normal(size=(classes + 1, 40, 50)), (0, smooth, smooth))
    values = fields.argmax(axis=0).astype(np.uint8)
    grid = GeoBox(values.shape, Affine(1, 0, *ORIGIN[:1], 0, -1, ORIGIN[1]), "EPSG:32632")
    before = vectorize(wrap_xr(values, grid).assign_attrs(_FillValue=0), connectivity=connectivity)
    after = regularize(before, max_area_change=limits[0], max_shift_m=limits[1])
    assert_sound(before, after, limits[0])
    assert (after.shift_m <= (limits[1] or 3.0)).all()
    touching = [
        shapely.STRtree(f.geometry.to_numpy()).query(f.geometry, predicate="intersects") for f in (before, after)
    ]
    pairs = [set(zip(*found.tolist(), strict=True)) for found in touching]
    assert pairs[1] <= pairs[0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_order_of_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    fields = scipy.ndimage.gaussian_filter(rng.normal(size=(4, 40, 50)), (0, 3, 3))
    before = blob(fields.argmax(axis=0))
    after = regularize(before)
    order = rng.permutation(len(before))
    shuffled = regularize(before.iloc[order])
    assert (shuffled.geometry.normalize().to_wkb() == after.geometry.iloc[order].normalize().to_wkb()).all()
    assert shuffled.shift_m.equals(after.shift_m.iloc[order])
    assert shuffled.regularized.equals(after.regularized.iloc[order])


def test_a_round_shape_keeps_within_its_bounds():
    row, col = np.indices((60, 60))
    before = blob(np.hypot(row - 30, col - 30) < 28)
    after = regularize(before)
    assert_sound(before, after)
    assert after.shift_m.iloc[0] <= 3 * PIXEL_M
    kept = regularize(before, max_shift_m=0.1)
    assert not kept.regularized.any()
    assert kept.geometry.geom_equals_exact(before.geometry, 0).all()


def test_a_dent_and_a_speck_are_smoothed_on_paper():
    values = np.zeros((14, 20), np.uint8)
    values[2:12, 3:18] = 1
    values[2, 10] = 0  # a dent of one pixel
    values[12, 10] = 1  # and a bump
    after = regularize(blob(values, 1.0))
    x, y = ORIGIN[0] + 2, ORIGIN[1] - 2
    # Each side lies where the area is kept: the dent lowers the north side by 1/15 pixel, the bump the south side.
    expected = shapely.box(x + 3, y - 12 - 1 / 15, x + 18, y - 2 - 1 / 15)
    assert shapely.equals_exact(after.geometry.iloc[0].normalize(), expected.normalize(), 1e-6)
    assert after.area_change.iloc[0] == pytest.approx(0, abs=1e-9)
    assert after.shift_m.iloc[0] == pytest.approx(14 / 15, rel=1e-3)  # UTM's scale is 0.9996 here


def test_an_oblique_wall_stays_oblique():
    x, y = ORIGIN
    truth = shapely.Polygon([(x, y), (x + 20, y), (x + 20, y + 8), (x + 12, y + 16), (x, y + 16)])
    truth = affinity.rotate(truth, 12, origin=ORIGIN)
    before = object_map([truth])
    after = regularize(before)
    assert_sound(before, after)
    np.testing.assert_allclose(sorted(corner_angles(after.geometry.iloc[0])), [45, 45, 90, 90, 90], atol=6)
    assert iou(after.geometry.iloc[0], truth) > iou(before.geometry.iloc[0], truth)


def test_shift_is_the_hausdorff_distance():
    before = object_map([affinity.rotate(shapely.box(*ORIGIN, ORIGIN[0] + 12, ORIGIN[1] + 9), 31)])
    after = regularize(before)
    was, now = (shapely.segmentize(f.geometry.iloc[0].boundary, 0.02) for f in (before, after))
    ground = 1 / 0.9996  # the scale of UTM on its central meridian
    assert after.shift_m.iloc[0] == pytest.approx(shapely.hausdorff_distance(was, now) * ground, abs=0.02)


@pytest.mark.parametrize(("latitude", "crs"), [(0.0, "EPSG:4326"), (62.0, "EPSG:4326"), (62.0, "EPSG:3857")])
def test_angles_are_right_on_the_ground(latitude, crs):
    utm = gpd.GeoSeries.from_xy([9.0], [latitude], crs="EPSG:4326").to_crs("EPSG:32632").iloc[0]
    truth = affinity.rotate(shapely.box(utm.x, utm.y, utm.x + 18, utm.y + 11), 33)
    there = gpd.GeoSeries([truth], crs="EPSG:32632").to_crs(crs)
    pixel = 0.5 / 111_320 if crs == "EPSG:4326" else 0.5 / np.cos(np.radians(latitude))
    before = object_map(there.to_list(), pixel, crs)
    after = regularize(before)
    assert after.regularized.all()
    back = after.to_crs("EPSG:32632").geometry.iloc[0]
    np.testing.assert_allclose(corner_angles(back), [90] * 4, atol=1e-2)  # UTM's own lines are not quite straight
    assert iou(back, truth) > iou(before.to_crs("EPSG:32632").geometry.iloc[0], truth)


def test_simplified_coverages_and_other_columns():
    before = object_map(row_of_houses(3, 20.0), 0.3)
    before = before.set_geometry(shapely.coverage_simplify(before.geometry.to_numpy(), 0.5)).assign(name=list("abc"))
    before.index = [7, 7, 3]
    after = regularize(before.set_crs("EPSG:32632"), tolerance_m=0.45)
    assert after.name.tolist() == list("abc")
    assert after.index.tolist() == [7, 7, 3]
    assert shapely.coverage_is_valid(after.geometry.to_numpy())
    assert after.regularized.all()


def test_no_polygons():
    after = regularize(blob(np.zeros((4, 4))))
    assert len(after) == 0
    assert {"shift_m", "area_change", "regularized"} <= set(after.columns)


def test_what_cannot_be_regularized():
    house = blob(np.ones((9, 12)))
    with pytest.raises(OptionError, match="no CRS"):
        regularize(house.set_crs(None, allow_override=True))
    with pytest.raises(OptionError, match="row 0 is Point"):
        regularize(house.set_geometry(house.centroid))
    with pytest.raises(OptionError, match="row 0 is missing"):
        regularize(house.set_geometry(gpd.GeoSeries([None], crs=house.crs)))
    with pytest.raises(OptionError, match="row 0 is empty"):
        regularize(house.set_geometry(gpd.GeoSeries([shapely.Polygon()], crs=house.crs)))
    with pytest.raises(OptionError, match="Give tolerance_m"):
        regularize(house.drop(columns="pixels"))
    for name in ("tolerance_m", "max_area_change", "max_shift_m"):
        for value in (-1.0, 0.0, np.nan):
            with pytest.raises(OptionError, match=f"{name}={value}"):
                regularize(house, **{name: value})
    twice = gpd.GeoDataFrame(house.loc[[0, 0]], crs=house.crs)
    with pytest.raises(OptionError, match="edge-matched"):
        regularize(twice)


@pytest.fixture(scope="module")
def footprints(data_dir) -> gpd.GeoDataFrame:
    parts = gpd.read_file(data_dir / "banepa/buildings.gpkg").to_crs("EPSG:32645").explode()
    return parts[parts.area > 8].reset_index(drop=True)


@pytest.mark.data
@pytest.mark.parametrize(("pixel", "noise_px"), [(0.3, 0.0), (0.3, 0.7), (0.5, 0.5)])
def test_real_footprints_are_met_better_than_before(footprints, pixel, noise_px):
    """Footprints burnt through a smooth random displacement: real shapes and neighbours, wrong by a known amount."""
    west, south, east, north = footprints.total_bounds
    height, width = int((north - south) / pixel) + 8, int((east - west) / pixel) + 8
    fine = 4
    burnt = rasterize(
        list(zip(footprints.geometry, range(1, len(footprints) + 1), strict=True)),
        (height * fine, width * fine),
        transform=Affine(pixel / fine, 0, west - 4 * pixel, 0, -pixel / fine, north + 4 * pixel),
        dtype=np.int32,
    )
    rng = np.random.default_rng(3)
    moved = [scipy.ndimage.gaussian_filter(rng.normal(size=(height, width)), 3) for _ in range(2)]
    at = [
        ((index + 0.5 + field / field.std() * noise_px) * fine).astype(int).clip(0, size * fine - 1)
        for index, field, size in zip(np.indices((height, width)), moved, (height, width), strict=True)
    ]
    grid = GeoBox((height, width), Affine(pixel, 0, west - 4 * pixel, 0, -pixel, north + 4 * pixel), "EPSG:32645")
    before = vectorize(wrap_xr(burnt[at[0], at[1]], grid).assign_attrs(_FillValue=0))
    before = before[before.pixels >= 20]
    after = regularize(before)
    assert_sound(before, after)
    assert after.regularized.mean() > 0.5
    everything = shapely.union_all(footprints.geometry.to_numpy())
    assert iou(shapely.union_all(after.geometry), everything) > iou(shapely.union_all(before.geometry), everything)
    truth = footprints.geometry.to_numpy()[before["class"] - 1]
    gain = [np.mean([iou(*pair) for pair in zip(f.geometry, truth, strict=True)]) for f in (before, after)]
    assert gain[1] > gain[0]
    single = np.isin(before["class"], np.setdiff1d(before["class"], _with_neighbours(before)))
    assert after.regularized[single].mean() > 0.8
    shuffled = regularize(before.iloc[::-1]).iloc[::-1]
    assert (shuffled.geometry.normalize().to_wkb() == after.geometry.normalize().to_wkb()).all()


def _with_neighbours(polygons: gpd.GeoDataFrame) -> np.ndarray:
    one, other = shapely.STRtree(polygons.geometry.to_numpy()).query(polygons.geometry, predicate="intersects")
    return polygons["class"].to_numpy()[one[one != other]]
