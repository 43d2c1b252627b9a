"""Areas by zone: against polygon intersection on the ellipsoid, shapely, exactextract, and worked out by hand."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio import Affine

import geoseg
from geoseg import ClassInfo, GeosegError, class_areas, class_map, zone_areas
from geoseg.errors import MismatchError, OptionError, SceneError
from geoseg.polygons import polygon_areas
from geoseg.polygons.overlay import polygonal
from geoseg.zonal.counting import sum_by_zone
from geoseg.zonal.placing import place_zones

LEGEND = [ClassInfo(1, "forest"), ClassInfo(2, "open water"), ClassInfo(7, "town")]
UTM = GeoBox((12, 16), Affine(10_000, 0, 350_000, 0, -10_000, 5_600_000), "EPSG:32632")
GRIDS = {
    "degrees": GeoBox((9, 14), Affine(0.25, 0, 5.0, 0, -0.25, 61.0), "EPSG:4326"),
    "degrees, south-up": GeoBox((9, 14), Affine(0.25, 0, -71.0, 0, 0.25, -40.0), "EPSG:4326"),
    "utm": UTM,
    "mercator": GeoBox((12, 16), Affine(20_000, 0, 1_000_000, 0, -20_000, 7_900_000), "EPSG:3857"),
    "rotated utm": GeoBox((12, 16), Affine(7_700, 4_600, 400_000, 4_600, -7_700, 5_500_000), "EPSG:32632"),
    "lambert": GeoBox((12, 16), Affine(25_000, 0, 3_900_000, 0, -25_000, 3_300_000), "EPSG:3035"),
}


def cover(grid: GeoBox, seed: int = 0) -> xr.DataArray:
    values = np.random.default_rng(seed).choice(np.array([1, 2, 7, 255], np.uint8), grid.shape)
    return class_map(values, grid, LEGEND)


def in_pixels(shape: shapely.Geometry, grid: GeoBox) -> shapely.Geometry:
    """A shape drawn in pixel coordinates, in the CRS of a grid."""
    return shapely.transform(shape, lambda at: np.stack(grid.transform * at.T, axis=-1))


def star(x: float, y: float, radius: float, seed: int = 0) -> shapely.Polygon:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 11))
    reach = radius * rng.uniform(0.4, 1, 11)
    return shapely.Polygon(np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=-1))


def zones_on(grid: GeoBox) -> gpd.GeoDataFrame:
    """A star; one with a hole, in two parts; over the edge; a sliver; one that overlaps; whole pixels."""
    with_hole = shapely.MultiPolygon(
        [shapely.box(1.2, 1.1, 6.7, 5.3).difference(star(4, 3, 1.5)), shapely.box(8.1, 2.3, 8.2, 7.9)]
    )
    shapes = [star(6, 5, 3.9), with_hole, shapely.box(-2.4, 3.3, 2.2, 6.6), shapely.box(1.3, 4.41, 9.9, 4.43)]
    shapes += [star(6.5, 4.5, 2.5, 3), shapely.box(2, 3, 5, 7)]
    names = ["star", "parts", "edge", "sliver", "over", "whole"]
    return gpd.GeoDataFrame({"name": names}, geometry=[in_pixels(s, grid) for s in shapes], crs=grid.crs.proj)


def geodesic_area(shape: shapely.Geometry, crs: pyproj.CRS, *, step: float) -> float:
    """The area on the ellipsoid of a polygon whose edges are straight in a CRS."""
    to_ground = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    moved = shapely.transform(shapely.segmentize(shape, step), lambda at: np.stack(to_ground.transform(*at.T), axis=-1))
    return abs(crs.get_geod().geometry_area_perimeter(shapely.orient_polygons(moved))[0])


def pixel(grid: GeoBox, row: int, col: int) -> shapely.Polygon:
    return in_pixels(shapely.box(col, row, col + 1, row + 1), grid)


def oracle(da: xr.DataArray, zone: shapely.Geometry, grid: GeoBox) -> dict[int, float]:
    """The area of each value in a zone: one intersection for each value, measured by geodesics."""
    found = {}
    for value in np.unique(da.values):
        shapes = [pixel(grid, *at) for at in np.argwhere(da.values == value)]
        parts = shapely.get_parts(shapely.intersection(shapely.union_all(shapes), zone))
        step = abs(grid.transform.determinant) ** 0.5 / 100
        areas = [geodesic_area(part, grid.crs.proj, step=step) for part in parts if part.geom_type == "Polygon"]
        found[int(value)] = sum(areas)
    return found


@pytest.mark.parametrize("name", GRIDS)
def test_areas_by_zone_are_those_of_intersections_on_the_ellipsoid(name: str) -> None:
    grid = GRIDS[name]
    da, zones = cover(grid), zones_on(grid)
    found = zone_areas(da, zones, zone_field="name")
    for number, zone in enumerate(zones.geometry):
        table = found.table[found.table.zone_id == number + 1].set_index("class").area_m2.to_dict()
        row = found.zones.iloc[number]
        expected = oracle(da, zone, grid)
        step = abs(grid.transform.determinant) ** 0.5 / 100
        assert row.area_m2 == pytest.approx(geodesic_area(zone, grid.crs.proj, step=step), rel=3e-8)
        for value, area in {**table, 255: row.no_data_m2}.items():
            assert area == pytest.approx(expected.get(value, 0.0), rel=1e-6, abs=1e-7 * row.area_m2)
        assert row.mapped_m2 + row.no_data_m2 == pytest.approx(sum(expected.values()), rel=3e-8)


def test_zones_in_another_crs_keep_their_edges_straight_in_their_own() -> None:
    da = cover(UTM)
    lonlat = pyproj.CRS("EPSG:4326")
    shapes = [shapely.box(7.2, 49.8, 9.1, 50.4), star(8, 50, 0.6), shapely.box(6.0, 49.9, 7.5, 50.3)]
    zones = gpd.GeoDataFrame({"name": ["a", "b", "c"]}, geometry=shapes, crs=lonlat)
    found = zone_areas(da, zones, zone_field="name")
    to_map = pyproj.Transformer.from_crs(lonlat, UTM.crs.proj, always_xy=True)
    assert found.zones.place.tolist() == ["inside", "inside", "partly outside"]
    for number, zone in enumerate(shapes):
        fine = shapely.segmentize(zone, 0.0005)
        moved = shapely.transform(fine, lambda at: np.stack(to_map.transform(*at.T), axis=-1))
        expected = oracle(da, moved, UTM)
        table = found.table[found.table.zone_id == number + 1].set_index("class").area_m2.to_dict()
        for value, area in table.items():
            assert area == pytest.approx(expected[value], rel=1e-6)
        assert found.zones.area_m2[number] == pytest.approx(geodesic_area(zone, lonlat, step=0.002), rel=1e-6)


def plain_grid(rows: int, cols: int) -> GeoBox:
    return GeoBox((rows, cols), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")


spans = st.floats(-3, 15), st.floats(-3, 12)


def drawn_zone(points: list[tuple[float, float]], grid: GeoBox) -> tuple[shapely.Geometry, gpd.GeoDataFrame]:
    """What of a drawn ring is valid, in pixel coordinates and as a zone."""
    shape = shapely.make_valid(shapely.Polygon(points), method="structure", keep_collapsed=False)
    zones = gpd.GeoDataFrame(geometry=[in_pixels(shape, grid)], crs=grid.crs.proj)
    on_map = polygonal(np.array([shapely.intersection(shape, shapely.box(0, 0, 12, 9))], dtype=object))[0]
    assume(on_map.area > 1e-3 and zones.is_valid.all())  # rounding may let a thin part cross itself
    return on_map, zones


def parts_of_pixels(zones: gpd.GeoDataFrame, grid: GeoBox, seed: int) -> tuple[np.ndarray, float]:
    """Each pixel's part in the zone, from a map in which each pixel is a class of its own; and the whole area."""
    da = wrap_xr(np.random.default_rng(seed).permutation(108).reshape(9, 12).astype(np.uint8), grid)
    found = zone_areas(da, zones).table.set_index("class").reindex(range(108), fill_value=0)
    return found.pixels[da.values.ravel()].to_numpy(), found.area_m2.sum()


# Rounded corners make vertices and edges on the lattice common.
rounded = st.integers(0, 2).flatmap(
    lambda places: st.lists(
        st.tuples(*(span.map(lambda x: round(x, places)) for span in spans)), min_size=3, max_size=9
    )
)


@settings(max_examples=60, deadline=None)
@given(rounded, st.integers(0, 9))
def test_parts_of_pixels_are_those_of_shapely(points: list[tuple[float, float]], seed: int) -> None:
    grid = plain_grid(9, 12)
    on_map, zones = drawn_zone(points, grid)
    ours, area_m2 = parts_of_pixels(zones, grid, seed)
    pixels = [shapely.box(col, row, col + 1, row + 1) for row in range(9) for col in range(12)]
    np.testing.assert_allclose(ours, shapely.area(shapely.intersection(on_map, pixels)), atol=3e-6)
    assert area_m2 == pytest.approx(polygon_areas([in_pixels(on_map, grid)], grid)[0], rel=1e-9, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(rounded)
def test_parts_of_pixels_are_those_of_exactextract(points: list[tuple[float, float]]) -> None:
    import exactextract

    grid = plain_grid(9, 12)
    _, zones = drawn_zone(points, grid)
    bounds = {"xmin": 500_000, "ymin": 4_999_910, "xmax": 500_120, "ymax": 5_000_000}
    raster = exactextract.raster.NumPyRasterSource(np.zeros((9, 12)), **bounds, srs_wkt=grid.crs.proj.to_wkt())
    found = exactextract.exact_extract(raster, zones, ["cell_id", "coverage"])[0]["properties"]
    theirs = np.zeros(108)
    theirs[np.asarray(found["cell_id"], int)] = found["coverage"]
    np.testing.assert_allclose(parts_of_pixels(zones, grid, 0)[0], theirs, atol=3e-6)


def test_parts_of_huge_pixels_are_exact() -> None:
    """Within a pixel of 10° the area of a degree changes a lot: 10.3° to 11.9° is not 16 % of 10° to 20°."""
    grid = GeoBox.from_bbox((-180, -90, 180, 90), "EPSG:4326", resolution=10)
    da = class_map(np.ones(grid.shape, np.uint8), grid, LEGEND)
    boxes = [(-13.0, 40.2, 21.5, 41.9), (3.0, 61.0, 4.0, 78.8), (-180, 12.3, 180, 87.7), (1.0, 52.0, 2.0, 52.001)]
    exact = GeoBox.from_bbox((-180, 0, 180, 90), "EPSG:4326", resolution=10)
    zones = gpd.GeoDataFrame(geometry=[shapely.box(*box) for box in boxes], crs="EPSG:4326")
    found = zone_areas(da, zones)
    np.testing.assert_allclose(found.zones.mapped_m2, polygon_areas(zones.geometry.values, exact), rtol=5e-7)


def test_the_parts_add_up_and_zones_of_whole_pixels_have_the_areas_of_the_class_table() -> None:
    for grid in GRIDS.values():
        da = cover(grid, 4)
        height, width = grid.shape
        by_class = class_areas(da)
        whole = gpd.GeoDataFrame(geometry=[in_pixels(shapely.box(0, 0, width, height), grid)], crs=grid.crs.proj)
        found = zone_areas(da, whole)
        assert found.table.area_m2.tolist() == by_class.area_m2.tolist()
        assert found.table.pixels.tolist() == by_class.pixels.tolist()
        assert found.table.share.tolist() == pytest.approx(by_class.share.tolist(), rel=1e-14)
        assert found.zones.no_data_m2.tolist() == [by_class.attrs["invalid_area_m2"]]
        cells = shapely.get_parts(
            shapely.voronoi_polygons(shapely.MultiPoint(np.random.default_rng(1).random((30, 2))))
        )
        cells = shapely.intersection(cells, shapely.box(0, 0, 1, 1))
        cells = shapely.transform(cells, lambda at, size=(width, height): at * size)
        parts = gpd.GeoDataFrame(geometry=[in_pixels(cell, grid) for cell in cells], crs=grid.crs.proj)
        found = zone_areas(da, parts)
        np.testing.assert_allclose(found.table.groupby("class").area_m2.sum(), by_class.area_m2, rtol=1e-12)
        zones = found.zones
        total = zones.mapped_m2 + zones.no_data_m2 + zones.outside_m2
        np.testing.assert_allclose(total, zones.area_m2, rtol=1e-14)
        np.testing.assert_allclose(zones.area_m2, polygon_areas(parts.geometry.values, grid), rtol=1e-9)
        np.testing.assert_allclose(found.table.groupby("zone_id").area_m2.sum().to_numpy(), zones.mapped_m2, rtol=1e-12)


def test_the_result_does_not_depend_on_strips_threads_or_chunks() -> None:
    grid = GeoBox((300, 211), Affine(0.01, 0.002, 5.0, 0.001, -0.01, 61.0), "EPSG:4326")
    da = cover(grid, 2)
    values = wrap_xr(np.random.default_rng(3).random(grid.shape, np.float32), grid)
    rng = np.random.default_rng(5)
    shapes = [in_pixels(star(*rng.uniform(-20, 320, 2), 80, seed), grid) for seed in range(40)]
    zones = gpd.GeoDataFrame(geometry=shapes, crs="EPSG:4326")
    placed = place_zones(zones, [str(number) for number in range(40)], grid)
    plain = sum_by_zone(da, placed, values=values, rows=300)
    for rows, threads in ((1, 1), (7, 2), (64, 5)):
        other = sum_by_zone(
            da.chunk({"latitude": 37} if "latitude" in da.dims else 37),
            placed,
            values=values,
            rows=rows,
            threads=threads,
        )
        for name in ("area_m2", "pixels", "moments", "extremes", "origins"):
            np.testing.assert_array_equal(getattr(other, name), getattr(plain, name), err_msg=name)


def test_a_zone_larger_than_the_map_and_far_beyond_its_projection() -> None:
    """Countries of a world map under a small map in UTM: what is far is measured, but never moved."""
    da = cover(UTM)
    world = [shapely.box(-180, -90, 180, 90), shapely.box(-60, -40, -50, -30), shapely.box(0, 40, 20, 60)]
    found = zone_areas(
        da, gpd.GeoDataFrame({"n": ["all", "far", "near"]}, geometry=world, crs="EPSG:4326"), zone_field="n"
    )
    assert found.zones.place.tolist() == ["partly outside", "outside", "partly outside"]
    by_class = class_areas(da).area_m2.to_numpy()
    for name in ("all", "near"):
        np.testing.assert_allclose(found.table[found.table.zone == name].area_m2, by_class, rtol=1e-12)
    assert found.zones.area_m2[0] == pytest.approx(510_065_621.7e6, rel=1e-9)
    far = found.zones.iloc[1]
    assert (far.mapped_m2, far.outside_share, far["class"], far.class_name) == (0, 1, 255, "(outside)")
    assert found.table[found.table.zone == "far"].share.isna().all()
    assert far.area_m2 == pytest.approx(geodesic_area(world[1], pyproj.CRS("EPSG:4326"), step=0.05), rel=1e-7)


def test_zones_on_both_sides_of_the_date_line() -> None:
    grid = GeoBox((20, 20), Affine(20_000, 0, 500_000, 0, -20_000, 2_200_000), "EPSG:32660")  # 177°E to 179°W
    da = class_map(np.ones(grid.shape, np.uint8), grid, LEGEND)
    parts = [shapely.box(178, 17, 180, 19), shapely.box(-180, 17, -179.5, 19)]
    zones = gpd.GeoDataFrame(geometry=[shapely.MultiPolygon(parts), *parts], crs="EPSG:4326")
    found = zone_areas(da, zones).zones
    assert found.place.tolist() == ["inside"] * 3
    assert found.mapped_m2[0] == pytest.approx(found.mapped_m2[1:].sum(), rel=1e-9)
    assert found.mapped_m2[2] == pytest.approx(geodesic_area(parts[1], pyproj.CRS("EPSG:4326"), step=0.01), rel=1e-6)


def test_zones_around_a_pole() -> None:
    ring, cap = shapely.box(-180, 80, 180, 85), shapely.box(-180, 85, 180, 90)
    caps = gpd.GeoDataFrame(geometry=[ring, cap], crs="EPSG:4326")
    grid = GeoBox((100, 100), Affine(40_000, 0, -2_000_000, 0, -40_000, 2_000_000), "EPSG:3413")
    exact = polygon_areas([ring, cap], GeoBox.from_bbox((-180, 80, 180, 90), "EPSG:4326", resolution=1))
    np.testing.assert_allclose(zone_areas(cover(grid), caps).zones.area_m2, exact, rtol=1e-6)
    # The other way round: in degrees a circle around the pole has no inside. That is said, never summed wrongly.
    circle = gpd.GeoDataFrame(geometry=[shapely.Point(0, 0).buffer(500_000)], crs="EPSG:3413")
    world = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    with pytest.raises(OptionError, match=r"torn apart in WGS 84.*Cut it there"):
        zone_areas(cover(world), circle)
    fiji = gpd.GeoDataFrame(geometry=[shapely.box(700_000, 8_000_000, 900_000, 8_100_000)], crs="EPSG:32760")
    with pytest.raises(OptionError, match="torn apart"):
        zone_areas(cover(world), fiji)


def row_map(values: list[int]) -> xr.DataArray:
    grid = GeoBox((1, len(values)), Affine(10, 0, 500_000, 0, -10, 10), "EPSG:32632")
    return class_map(np.array([values], np.uint8), grid, LEGEND)


def boxes(*spans: tuple[float, float], **columns: list) -> gpd.GeoDataFrame:
    """Zones along `row_map`, from one column to another."""
    shapes = [shapely.box(500_000 + 10 * a, 0, 500_000 + 10 * b, 10) for a, b in spans]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32632")


def test_tables_worked_out_by_hand() -> None:
    zones = boxes((0, 2.5), (2.5, 5), (0.9, 3), (4.5, 9), name=["Au", "Bad Au", "Au", "Ost"], pop=[5, 6, 7, 8])
    found = zone_areas(row_map([1, 1, 2, 255, 7]), zones, zone_field="name")
    assert found.table["zone"].tolist() == ["Au"] * 3 + ["Bad Au"] * 3 + ["Au"] * 3 + ["Ost"] * 3  # never merged
    assert found.table["pixels"].round(9).tolist() == [2, 0.5, 0, 0, 0.5, 1, 1.1, 1, 0, 0, 0, 0.5]
    assert found.table["share"].round(5).tolist() == [0.8, 0.2, 0, 0, 0.33333, 0.66667, 0.52381, 0.47619, 0, 0, 0, 1]
    zoned = found.zones.set_index("zone_id")
    assert zoned.place.tolist() == ["inside", "inside", "inside", "partly outside"]
    assert zoned.mapped_share.round(5).tolist() == [1, 0.6, 1, 0.11111]
    assert zoned.no_data_share.round(5).tolist() == [0, 0.4, 0, 0]
    assert zoned.outside_share.round(5).tolist() == [0, 0, 0, 0.88889]
    assert zoned.class_name.tolist() == ["forest", "town", "forest", "town"]
    assert found.table.area_ha.tolist() == (found.table.area_m2 / 1e4).tolist()
    assert found.table.share_of_zone[11] == pytest.approx(0.5 / 4.5, rel=1e-5)
    wide = found.wide()
    assert wide.columns[-9:].tolist() == [
        f"{name}_{ending}" for name in ("forest", "open_water", "town") for ending in ("m2", "ha", "share")
    ]
    assert wide.open_water_m2.tolist() == found.table[found.table["class"] == 2].area_m2.tolist()
    layer = found.layer()
    assert layer["pop"].tolist() == [5, 6, 7, 8]
    assert layer.geometry.geom_equals(zones.geometry).all()


def test_columns_that_zones_had_are_kept_beside_ours() -> None:
    zones = boxes(
        (0, 2), (2, 3), Zone=["x", "y"], area_m2=[1, 2], when=pd.to_datetime(["2020-01-01", None]), any=[{}, 3]
    )
    legend = [ClassInfo(1, "Zone"), ClassInfo(2, "water"), ClassInfo(3, "Water"), ClassInfo(4, "mapped")]
    da = row_map([1, 2, 3])
    da = class_map(da.values, da.odc.geobox, legend)
    layer = zone_areas(da, zones).layer()
    lower = [name.casefold() for name in layer.columns]
    assert len(set(lower)) == len(lower)  # SQLite takes "zone" and "Zone" for one
    assert layer["Zone_given"].tolist() == ["x", "y"]
    assert layer["area_m2_given"].tolist() == [1, 2]
    assert layer["any"].tolist() == ["{}", "3"]
    assert {"Zone_ha", "water_ha", "Water_3_ha", "mapped_4_share"} <= set(layer.columns)


def test_statistics_of_values_are_weighted_by_true_area() -> None:
    grid = GRIDS["degrees"]
    da, zones = cover(grid), zones_on(grid)
    numbers = np.random.default_rng(8).normal(3000, 5, grid.shape)
    numbers[2, 3] = np.nan
    values = wrap_xr(numbers, grid)
    found = zone_areas(da, zones, zone_field="name", values=values, values_name="height")
    alone = wrap_xr(np.where(np.isnan(numbers), -1, np.arange(numbers.size).reshape(grid.shape)).astype(np.int32), grid)
    weights = zone_areas(alone.assign_attrs(_FillValue=-1), zones).table  # each pixel a class of its own
    for zone_id, row in found.zones.set_index("zone_id").iterrows():
        mine = weights[(weights.zone_id == zone_id) & (weights.area_m2 > 0)]
        inside, weight = numbers.ravel()[mine["class"]], mine.area_m2.to_numpy()
        mean = np.average(inside, weights=weight)
        assert row.height_mean == pytest.approx(mean, rel=1e-12)
        assert row.height_std == pytest.approx(np.average((inside - mean) ** 2, weights=weight) ** 0.5, rel=1e-9)
        assert (row.height_min, row.height_max) == (inside.min(), inside.max())
        assert row.height_area_m2 == pytest.approx(weight.sum(), rel=1e-12)
        classes = found.table[(found.table.zone_id == zone_id) & (found.table.area_m2 > 0)]
        for value, of_class in classes.set_index("class").iterrows():
            chosen = da.values.ravel()[mine["class"]] == value
            assert of_class.height_mean == pytest.approx(np.average(inside[chosen], weights=weight[chosen]), rel=1e-12)
    bytes_ = wrap_xr(np.full(grid.shape, 80, np.uint8), grid).assign_attrs(_FillValue=255)
    bytes_[0, 0] = 255
    sure = zone_areas(da, zones, values=bytes_, values_name="confidence").zones
    assert sure[["confidence_mean", "confidence_min", "confidence_max"]].to_numpy().tolist() == [[80] * 3] * 6
    assert sure.confidence_std.tolist() == [0] * 6


def test_any_whole_numbers_are_classes() -> None:
    grid = plain_grid(2, 3)
    zones = gpd.GeoDataFrame(geometry=[in_pixels(shapely.box(0, 0, 3, 1.5), grid)], crs=grid.crs.proj)
    wide = wrap_xr(np.array([[-4, 70_000, 5], [5, 5, -9999]], np.int32), grid).assign_attrs(_FillValue=-9999)
    found = zone_areas(wide, zones)
    assert found.table[["class", "class_name"]].values.tolist() == [
        [-4, "class -4"],
        [5, "class 5"],
        [70_000, "class 70000"],
    ]
    assert found.table.pixels.tolist() == [1, 2, 1]
    assert found.zones.no_data_share.round(6).tolist() == [round(0.5 / 4.5, 6)]
    floats = wrap_xr(np.array([[1, np.nan, 2], [2, 2, 2]]), grid)
    assert zone_areas(floats, zones).table.pixels.tolist() == [1, 2.5]
    heights = wrap_xr(np.arange(700, dtype=np.int16).reshape(7, 100), plain_grid(7, 100))
    with pytest.raises(SceneError, match=r"at most 600 classes.*--mean"):
        zone_areas(heights, zones)
    with pytest.raises(SceneError, match="fractions"):
        zone_areas(wrap_xr(np.full((2, 3), 0.5), grid), zones)


def test_features_without_a_polygon_have_a_row_and_no_area() -> None:
    zones = boxes((0, 2), (2, 3), name=["a", "b"])
    zones.loc[1, "geometry"] = None
    found = zone_areas(row_map([1, 2, 7]), zones, zone_field="name")
    assert found.zones.area_m2[1] == 0
    assert np.isnan(found.zones.mapped_share[1])
    assert found.zones.place.tolist() == ["inside", "no polygon"]
    assert found.layer().zone.tolist() == ["a"]


def test_three_dimensions_and_numbers_as_names() -> None:
    zones = boxes((0, 2), (2, 3), no=[1.0, 2.0])
    flat = zone_areas(row_map([1, 2, 7]), zones, zone_field="no")
    assert flat.zones.zone.tolist() == ["1", "2"]
    high = zones.set_geometry(shapely.force_3d(zones.geometry.values, 5))
    assert zone_areas(row_map([1, 2, 7]), high).table.area_m2.tolist() == flat.table.area_m2.tolist()
    assert zone_areas(row_map([1, 2, 7]), high).layer().has_z.tolist() == [False, False]


MARS = 'GEOGCS["Mars",DATUM["Mars",SPHEROID["Mars",3396190,169.89]],PRIMEM["x",0],UNIT["degree",0.0174532925199433]]'
BOW_TIE = shapely.Polygon([(500_000, 0), (500_010, 10), (500_010, 0), (500_000, 10)])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"zone_field": "nmae"}, "'nmae' is none of theirs: name, pop"),
        ({"name": ["a", None]}, {"zone_field": "name"}, "needs a name, but 1 of 2 have none .* feature 2"),
        ({"name": ["a", " "]}, {"zone_field": "name"}, "feature 2"),
        ({"geometry": [BOW_TIE, BOW_TIE]}, {"zone_field": "name"}, "'Au' of the zones is not: Self-inter.*Fix geom"),
        ({"geometry": [shapely.Point(0, 0)] * 2}, {"zone_field": "name"}, "'Au' of the zones is a Point"),
        ({"geometry": [shapely.LineString([(0, 0), (1, 1)])] * 2}, {}, "'1' of the zones is a LineString"),
        ({"geometry": [None, None]}, {}, "the zones hold none"),
        ({"geometry": [shapely.box(0, 0, 1, 1)] * 2}, {}, "none does: they are at 0, 0, 1, 1 in WGS 84 / UTM"),
        ({}, {"threads": 0}, "threads=0"),
    ],
)
def test_zones_that_cannot_be_used(change: dict, options: dict, message: str) -> None:
    zones = boxes((0, 2), (2, 3), name=["Au", "Ost"], pop=[1, 2])
    for name, column in change.items():
        zones[name] = gpd.GeoSeries(column, crs=zones.crs) if name == "geometry" else column
    with pytest.raises(OptionError, match=message):
        zone_areas(row_map([1, 2, 7]), zones, **options)


def test_what_else_cannot_be_used() -> None:
    da, zones = row_map([1, 2, 7]), boxes((0, 2))
    with pytest.raises(OptionError, match="CRS on both sides"):
        zone_areas(da, zones.set_crs(None, allow_override=True))
    for crs in ('ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["m",1]]', MARS):
        with pytest.raises(OptionError, match="there is no way from their CRS"):
            zone_areas(da, zones.set_crs(crs, allow_override=True))
    with pytest.raises(OptionError, match="layer is empty"):
        zone_areas(da, zones.iloc[:0])
    with pytest.raises(OptionError, match="none does"):
        zone_areas(da, zones.to_crs("EPSG:4326").translate(40).to_frame("geometry"))
    with pytest.raises(MismatchError, match=r"1 × 3 pixels.*1 × 2.*gdalwarp"):
        zone_areas(da, zones, values=row_map([1, 2]))
    shifted = wrap_xr(np.zeros((1, 3)), GeoBox((1, 3), Affine(10, 0, 500_004, 0, -10, 10), "EPSG:32632"))
    with pytest.raises(MismatchError, match=r"0\.4 pixels apart"):
        zone_areas(da, zones, values=shifted)
    assert issubclass(MismatchError, GeosegError)


def test_touching_the_map_is_not_being_on_it() -> None:
    with pytest.raises(OptionError, match="none does"):
        zone_areas(row_map([1, 2, 7]), boxes((3, 5)))
    corner = shapely.Polygon([(500_020, 20), (500_040, 20), (500_040, 0)])  # its box overlaps the map, it does not
    with pytest.raises(OptionError, match="none does"):
        zone_areas(row_map([1, 2, 7]), gpd.GeoDataFrame(geometry=[corner], crs="EPSG:32632"))


@pytest.mark.data
def test_districts_that_fill_a_real_map_add_up_to_it(data_dir) -> None:
    """NLCD of Zion in NAD83 / UTM, districts in degrees."""
    da = geoseg.open_class_map(data_dir / "classmaps" / "nlcd_zion.tif")
    left, bottom, right, top = da.odc.geobox.boundingbox
    corners = np.random.default_rng(0).random((40, 2)) * [right - left, top - bottom] + [left, bottom]
    cells = shapely.get_parts(
        shapely.voronoi_polygons(
            shapely.MultiPoint(corners), extend_to=shapely.box(*da.odc.geobox.boundingbox).buffer(9_000)
        )
    )
    districts = gpd.GeoDataFrame(geometry=shapely.segmentize(cells, 2_000), crs=da.odc.geobox.crs.proj).to_crs(
        "EPSG:4326"
    )
    found = zone_areas(da, districts, values=da, values_name="code")
    whole = class_areas(da)
    np.testing.assert_allclose(found.table.groupby("class").area_m2.sum(), whole.area_m2, rtol=1e-6)
    assert found.zones.mapped_m2.sum() == pytest.approx(whole.area_m2.sum(), rel=1e-12)
    mean = np.average(found.zones.code_mean, weights=found.zones.code_area_m2)
    assert mean == pytest.approx(np.average(whole["class"], weights=whole.area_m2), rel=1e-6)


def test_it_is_public() -> None:
    assert geoseg.zone_areas is zone_areas
