"""Cutting layers of polygons, against shapely, pyproj and drawings on paper."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geoseg.classes import ClassInfo
from geoseg.errors import MismatchError, OptionError
from geoseg.export import read_areas, write_polygons
from geoseg.polygons import clip, limit_vertices, overlay, split_by_grid, split_by_zones, vectorize

TRANSFORMS = {
    "north-up": (Affine(10, 0, 400_000, 0, -10, 5_800_000), "EPSG:32633"),
    "fine": (Affine(0.1, 0, 400_000.3, 0, -0.1, 5_800_000.7), "EPSG:32633"),
    "rotated": (Affine.translation(400_000, 5_800_000) * Affine.rotation(30) * Affine.scale(10, -10), "EPSG:32633"),
    "sheared": (Affine(10, 3, 400_000, 1, -8, 5_800_000), "EPSG:32633"),
    "geographic": (Affine(1 / 3000, 0, 85.1234567, 0, -1 / 3000, 27.7), "EPSG:4326"),
}


def parcels_of(values: np.ndarray, transform: str = "north-up", connectivity: int = 4) -> gpd.GeoDataFrame:
    affine, crs = TRANSFORMS[transform]
    values = np.asarray(values, np.uint8)
    return vectorize(wrap_xr(values, GeoBox(values.shape, affine, crs)), connectivity=connectivity)


def grid_of(shape: tuple[int, int], transform: str = "north-up") -> GeoBox:
    return GeoBox(shape, *TRANSFORMS[transform])


def side_of(geobox: GeoBox) -> float:
    return abs(geobox.transform.determinant) ** 0.5


def patches(shape: tuple[int, int], seed: int, side: int = 3) -> np.ndarray:
    """Patches of three classes with holes of nodata."""
    rng = np.random.default_rng(seed)
    values = np.kron(rng.integers(1, 4, (shape[0] // side + 1, shape[1] // side + 1)), np.ones((side, side), int))
    values = values[: shape[0], : shape[1]].astype(np.uint8)
    values[rng.random(values.shape) < 0.05] = rng.integers(1, 4)
    values[rng.random(values.shape) < 0.05] = 255
    return values


def on_pixels(geobox: GeoBox, rings: list[np.ndarray]) -> shapely.Polygon:
    """A polygon whose rings are given in pixel coordinates (col, row)."""
    exterior, *holes = [[geobox.transform * tuple(at) for at in ring] for ring in rings]
    return shapely.Polygon(exterior, holes)


def area_on(geobox: GeoBox, kind: str, seed: int) -> gpd.GeoSeries:
    """An area with a hole: any corners, or corners on pixels, or half of them, or sides along rows and columns."""
    rng = np.random.default_rng(seed)
    height, width = geobox.shape
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9)) if kind != "box" else np.pi * np.array([0.25, 0.75, 1.25, 1.75])
    reach = np.array([width, height]) * (0.8 if kind == "beyond" else 0.48)
    radius = rng.uniform(0.5, 1.0, len(angle)) if kind != "box" else np.ones(4)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    rings = [np.array([width, height]) / 2 + unit * radius[:, None] * reach]
    rings.append(np.array([width, height]) / 2 + unit * radius[:, None] * reach * 0.4)
    if kind in ("pixels", "box"):
        rings = [np.rint(ring) for ring in rings]
    if kind == "halves":
        rings = [np.rint(2 * ring) / 2 for ring in rings]
    shape = shapely.make_valid(on_pixels(geobox, rings), method="structure", keep_collapsed=False)
    if shapely.minimum_clearance(shape) < 1e-4 * side_of(geobox):  # it touches itself, but for a rounding error
        return area_on(geobox, kind, seed + 1)
    return gpd.GeoSeries([shape], crs=geobox.crs.proj)


def one(results) -> gpd.GeoDataFrame:
    (frame,) = results
    return frame


def assert_same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal to the byte."""
    assert list(left.columns) == list(right.columns)
    assert left.geometry.to_wkb().tolist() == right.geometry.to_wkb().tolist()
    pd.testing.assert_frame_equal(pd.DataFrame(left.drop(columns="geometry")), right.drop(columns="geometry"))


def assert_coverage(pieces: gpd.GeoDataFrame, pixel: float) -> None:
    """Valid, without overlaps, and no vertex of one polygon lies on an edge of another, or nearly so.

    `shapely.coverage_is_valid` asks for the same, but GEOS 3.14 takes it for a fault where a hole touches its exterior
    at the end of another polygon's edge (which cuts make possible).
    """
    shapes = pieces.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    parts = shapely.get_parts(shapes)
    assert shapely.is_ccw(shapely.get_exterior_ring(parts)).all()
    assert abs(shapely.area(shapes).sum() - shapely.union_all(shapes).area) <= 1e-6 * pixel**2
    at, ring = shapely.get_coordinates(shapely.get_rings(parts), return_index=True)
    edges = np.stack([at[:-1], at[1:]], axis=1)[ring[:-1] == ring[1:]]
    edges, counts = np.unique(np.sort(edges.view("c16")[..., 0], axis=1), axis=0, return_counts=True)
    assert counts.max(initial=0) <= 2
    vertices = np.unique(edges)
    lines = shapely.linestrings(np.stack([edges.real, edges.imag], axis=-1))
    points = shapely.points(vertices.real, vertices.imag)
    edge, vertex = shapely.STRtree(points).query(lines, predicate="dwithin", distance=1e-7 * pixel)
    assert (edges[edge] == vertices[vertex, None]).any(axis=1).all()


grids = st.sampled_from(sorted(TRANSFORMS))
kinds = st.sampled_from(["any", "pixels", "halves", "box", "beyond"])


@settings(max_examples=60, deadline=None)
@given(grids, st.integers(0, 2**32), st.sampled_from([4, 8]), kinds)
def test_clipped_polygons_are_what_shapely_says_and_stay_a_coverage(name, seed, connectivity, kind):
    geobox = grid_of((24, 31), name)
    area = area_on(geobox, kind, seed)
    parcels = parcels_of(patches(geobox.shape, seed), name, connectivity)
    pieces = one(clip([parcels], area, geobox))
    assert_coverage(pieces, side_of(geobox))
    expected = shapely.intersection(parcels.geometry.to_numpy(), area.iloc[0])
    pixel = abs(geobox.transform.determinant)
    clipped = dict(zip(pieces.object_id, pieces.geometry, strict=True))
    for number, shape in zip(parcels.object_id, expected, strict=True):
        piece = clipped.get(number, shapely.Polygon())
        assert shapely.symmetric_difference(piece, shape).area < 1e-5 * pixel
    inside = parcels.object_id[shapely.covers(area.iloc[0].buffer(-1e-3 * pixel**0.5), parcels.geometry)]
    untouched = pieces[pieces.object_id.isin(inside)]
    original = parcels.set_index("object_id").loc[untouched.object_id]
    assert untouched.geometry.to_wkb().tolist() == original.geometry.to_wkb().tolist()
    assert (untouched.share == 1).all()
    assert (untouched.area_m2.to_numpy() == original.area_m2.to_numpy()).all()


@settings(max_examples=60, deadline=None)
@given(grids, st.integers(0, 2**32), st.sampled_from([4, 8]), kinds)
def test_inside_and_outside_add_up(name, seed, connectivity, kind):
    geobox = grid_of((24, 31), name)
    area = area_on(geobox, kind, seed)
    parcels = parcels_of(patches(geobox.shape, seed), name, connectivity)
    zones = gpd.GeoDataFrame({"name": ["in"]}, geometry=area.geometry)
    pieces = one(split_by_zones([parcels], zones, geobox, column="name"))
    assert_coverage(pieces, side_of(geobox))
    sums = pieces.groupby("object_id")[["area_m2", "share"]].sum()
    assert sums.index.tolist() == parcels.object_id.tolist()
    # A rounding error of coordinates is a larger part of the area where pixels are fine.
    limit = 1e-9 if name != "fine" else 1e-7
    np.testing.assert_allclose(sums.area_m2, parcels.area_m2, rtol=limit)
    np.testing.assert_allclose(sums.share, 1, rtol=limit)
    np.testing.assert_allclose(pieces.area_m2, pieces.share * pieces.groupby("object_id").area_m2.transform("sum"))
    inside = pieces[pieces.zone == "in"].drop(columns="zone").reset_index(drop=True)
    clipped = one(clip([parcels], area, geobox))
    assert inside.object_id.tolist() == clipped.object_id.tolist()
    np.testing.assert_allclose(inside.area_m2, clipped.area_m2, rtol=1e-9, atol=1e-6 * parcels.area_m2.max())


@settings(max_examples=15, deadline=None)
@given(grids, st.integers(0, 2**32), kinds)
def test_batches_do_not_matter(name, seed, kind):
    geobox = grid_of((20, 22), name)
    area = area_on(geobox, kind, seed)
    parcels = parcels_of(patches(geobox.shape, seed), name)
    batches = [parcels.iloc[start : start + 5] for start in range(0, len(parcels), 5)]
    zones = gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=[area.iloc[0], shapely.Polygon()], crs=area.crs)
    for cut in (
        lambda frames: clip(frames, area, geobox),
        lambda frames: split_by_zones(frames, zones, geobox, column="name"),
        lambda frames: split_by_grid(frames, geobox, side_px=7),
        lambda frames: limit_vertices(frames, geobox, max_vertices=16),
    ):
        assert_same(pd.concat(list(cut(batches)), ignore_index=True), one(cut([parcels])))


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(0, 2**32), st.sampled_from([4, 8]), st.integers(1, 30))
def test_tiles_are_made_of_whole_pixels(name, seed, connectivity, side):
    geobox = grid_of((17, 23), name)
    values = patches(geobox.shape, seed)
    parcels = parcels_of(values, name, connectivity)
    pieces = one(split_by_grid([parcels], geobox, side_px=side))
    assert_coverage(pieces, side_of(geobox))
    pixel = abs(geobox.transform.determinant)
    pixels = shapely.area(pieces.geometry.to_numpy()) / pixel
    np.testing.assert_allclose(pixels, np.rint(pixels), rtol=1e-6)
    rows, cols = np.indices(values.shape)
    valid = values != 255
    keys = [values[valid], rows[valid] // side, cols[valid] // side]
    expected = pd.Series(1, index=pd.MultiIndex.from_arrays(keys)).groupby(level=[0, 1, 2]).sum()
    pieces["count"] = np.rint(pixels).astype(int)
    found = pieces.groupby(["class", "tile_row", "tile_col"])["count"].sum()
    assert found.to_dict() == expected.to_dict()
    sums = pieces.groupby("object_id").area_m2.sum()
    np.testing.assert_allclose(sums, parcels.area_m2, rtol=1e-9 if name != "fine" else 1e-7)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_simplified_polygons_stay_a_coverage(name):
    geobox = grid_of((60, 60), name)
    parcels = parcels_of(patches(geobox.shape, 1, side=5), name)
    pixel = abs(geobox.transform.determinant) ** 0.5
    parcels = parcels.set_geometry(shapely.coverage_simplify(parcels.geometry.to_numpy(), 1.5 * pixel), crs=parcels.crs)
    pieces = one(split_by_grid([parcels], geobox, side_px=16))
    assert_coverage(pieces, side_of(geobox))
    assert len(pieces) > len(parcels) + 50
    star = on_pixels(geobox, [np.array([(3.3, 30.1), (30.7, 3.2), (57.1, 31.3), (29.9, 56.7)])])
    assert_coverage(one(clip([parcels], gpd.GeoSeries([star], crs=parcels.crs), geobox)), side_of(geobox))


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_area_equal_to_the_map_changes_nothing(name, connectivity):
    geobox = grid_of((40, 50), name)
    parcels = parcels_of(patches(geobox.shape, 3), name, connectivity)
    whole = on_pixels(geobox, [np.array([(0, 0), (50, 0), (50, 40), (0, 40)])])
    pieces = one(clip([parcels], gpd.GeoSeries([whole], crs=parcels.crs), geobox))
    assert_same(pieces.drop(columns="share"), parcels)
    assert (pieces.share == 1).all()


@pytest.mark.parametrize("kind", ["any", "pixels", "beyond"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_geos_finds_the_coverage_valid(name, kind):
    geobox = grid_of((60, 60), name)
    parcels = parcels_of(patches(geobox.shape, 11), name)
    area = area_on(geobox, kind, 5)
    zones = gpd.GeoDataFrame({"name": ["in"]}, geometry=area)
    for pieces in (
        one(clip([parcels], area, geobox)),
        one(split_by_zones([parcels], zones, geobox, column="name")),
        one(split_by_grid([parcels], geobox, side_px=13)),
    ):
        assert (pieces.share < 1).sum() > 20
        assert shapely.coverage_is_valid(pieces.geometry.to_numpy())


def test_an_area_made_of_the_polygons_gives_them_back():
    geobox = grid_of((40, 50), "rotated")
    parcels = parcels_of(patches(geobox.shape, 3), "rotated")
    forest = parcels[parcels["class"] == 2]
    area = gpd.GeoSeries([shapely.union_all(forest.geometry.to_numpy())], crs=parcels.crs)
    pieces = one(clip([parcels], area, geobox))
    assert_same(pieces.drop(columns="share"), forest.reset_index(drop=True))


def test_on_paper():
    """Two parcels side by side, and an area that cuts both and has a hole in the left one."""
    geobox = grid_of((2, 6))
    parcels = parcels_of([[1, 1, 1, 2, 2, 2]] * 2)
    hole = [(0.5, 1.25), (0.5, 1.5), (1, 1.5), (1, 1.25)]
    area = on_pixels(geobox, [np.array([(0, 1), (5, 1), (5, 2), (0, 2)]), np.array(hole)])
    pieces = one(clip([parcels], gpd.GeoSeries([area], crs=parcels.crs), geobox))
    at = [shapely.get_coordinates(piece) for piece in pieces.geometry]
    pixels = [[tuple(float(v) for v in ~geobox.transform * tuple(p)) for p in piece] for piece in at]
    assert pixels[0][:5] == [(0, 2), (3, 2), (3, 1), (0, 1), (0, 2)]
    assert pixels[1] == [(3, 2), (5, 2), (5, 1), (3, 1), (3, 2)]
    assert [len(piece.interiors) for piece in pieces.geometry] == [1, 0]
    np.testing.assert_allclose(pieces.share, [(3 - 0.125) / 6, 2 / 6], rtol=1e-5)
    assert pieces.pixels.tolist() == [6, 6]
    np.testing.assert_allclose(pieces.area_m2, parcels.area_m2 * pieces.share)
    np.testing.assert_allclose(pieces.area_ha, pieces.area_m2 / 1e4)
    np.testing.assert_allclose(pieces.perimeter_m, [8 * 10 + 15, 6 * 10], rtol=1e-3)


def test_a_concave_corner_that_touches_an_edge_becomes_a_vertex_on_both_sides():
    geobox = grid_of((4, 4))
    parcels = parcels_of([[1, 1, 1, 1]] * 2 + [[2, 2, 2, 2]] * 2)
    # All of the upper parcel lies inside; a notch comes up through the lower one to its edge.
    area = on_pixels(geobox, [np.array([(-1, -1), (5, -1), (5, 5), (3, 5), (2.2, 2), (1, 5), (-1, 5)])])
    pieces = one(clip([parcels], gpd.GeoSeries([area], crs=parcels.crs), geobox))
    assert_coverage(pieces, side_of(geobox))
    assert [shapely.get_num_coordinates(piece) for piece in pieces.geometry] == [6, 10]
    assert pieces.geometry[1].geom_type == "MultiPolygon"
    assert pieces.share[0] == 1


def test_what_only_touches_is_dropped():
    geobox = grid_of((2, 2))
    parcels = parcels_of([[1, 2], [3, 1]])
    touching = on_pixels(geobox, [np.array([(1, 0), (2, 0), (2, 1), (1, 1)])])
    pieces = one(clip([parcels], gpd.GeoSeries([touching], crs=parcels.crs), geobox))
    assert pieces["class"].tolist() == [2]
    beside = on_pixels(geobox, [np.array([(2, 0), (3, 0), (3, 1), (2, 1)])])
    assert len(one(clip([parcels], gpd.GeoSeries([beside], crs=parcels.crs), geobox))) == 0


def test_empty_batches_have_the_columns():
    geobox = grid_of((3, 3))
    empty = parcels_of(np.full((3, 3), 255))
    area = gpd.GeoDataFrame({"name": ["a"]}, geometry=[on_pixels(geobox, [np.array([(0, 0), (1, 0), (1, 1)])])])
    area = area.set_crs(empty.crs)
    columns = [*empty.columns.drop("geometry"), "share"]
    for results, more in (
        (clip([empty], area, geobox), []),
        (split_by_zones([empty], area, geobox, column="name"), ["zone"]),
        (split_by_grid([empty], geobox, side_px=2), ["tile_row", "tile_col"]),
        (limit_vertices([empty], geobox, max_vertices=16), []),
    ):
        pieces = one(results)
        assert len(pieces) == 0
        assert list(pieces.columns) == [*columns, *more, "geometry"]
        assert pieces.crs == empty.crs


def test_zones_that_share_a_border_share_its_vertices():
    geobox = grid_of((30, 30), "rotated")
    parcels = parcels_of(patches(geobox.shape, 5), "rotated")
    border = [(11.3, -1), (14.2, 8.8), (9.1, 17.7), (13.3, 31)]
    west = on_pixels(geobox, [np.array([(-1, -1), *border, (-1, 31)])])
    east = on_pixels(geobox, [np.array([*border, (31, 31), (31, -1)])])
    zones = gpd.GeoDataFrame({"no": [7, 8]}, geometry=[west, east], crs=parcels.crs)
    pieces = one(split_by_zones([parcels], zones, geobox, column="no"))
    assert_coverage(pieces, side_of(geobox))
    assert set(pieces.zone) == {"7", "8"}
    np.testing.assert_allclose(pieces.groupby("object_id").area_m2.sum(), parcels.area_m2, rtol=1e-9)


def test_straight_edges_in_another_crs_stay_straight_there():
    """A rectangle in degrees is bounded by a parallel, which is a curve in UTM: 0.01 px from it at most."""
    geobox = GeoBox((3000, 3000), Affine(10, 0, 600_000, 0, -10, 5_800_000), "EPSG:32632")
    corners = [geobox.transform * at for at in ((0, 0), (3000, 0), (3000, 3000), (0, 3000))]
    frame = vectorize(wrap_xr(np.ones((3000, 3000), np.uint8), geobox))
    field = shapely.box(10.6, 52.2, 10.8, 52.3)
    piece = one(clip([frame], gpd.GeoSeries([field], crs="EPSG:4326"), geobox))
    assert shapely.Polygon(corners).contains(piece.geometry[0])
    back = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    line = shapely.segmentize(piece.geometry[0].exterior, 5)
    lon, lat = back.transform(*shapely.get_coordinates(line).T)
    metres = shapely.distance(field.exterior, shapely.points(lon, lat)) * 111_000
    assert metres.max() < 0.1
    assert metres.max() > 0.001  # so it was densified as far as needed, not more
    geod = pyproj.Geod(ellps="WGS84")
    exact = abs(geod.geometry_area_perimeter(shapely.segmentize(field, 1e-4))[0])
    np.testing.assert_allclose(piece.area_m2, exact, rtol=1e-5)


def test_a_mixed_crs_clip_keeps_a_coverage():
    geobox = grid_of((60, 60))
    parcels = parcels_of(patches(geobox.shape, 9))
    west, south, east, north = parcels.to_crs("EPSG:4326").total_bounds
    middle = (west + east) / 2 + 1e-5
    zones = gpd.GeoDataFrame(
        {"name": ["w", "e"]},
        geometry=[shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)],
        crs="EPSG:4326",
    )
    pieces = one(split_by_zones([parcels], zones, geobox, column="name"))
    assert_coverage(pieces, side_of(geobox))
    assert {"w", "e"} <= set(pieces.zone.dropna())


def test_large_polygons_are_divided_before_many_tiles_cut_them(monkeypatch):
    geobox = grid_of((40, 40), "rotated")
    parcels = parcels_of(patches(geobox.shape, 2), "rotated", 8)
    whole = one(split_by_grid([parcels], geobox, side_px=3))
    monkeypatch.setattr(overlay, "_LARGE", 10)
    monkeypatch.setattr(overlay, "_FEW", 2)
    assert_same(one(split_by_grid([parcels], geobox, side_px=3)), whole)


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(0, 2**32), st.sampled_from([4, 8]), st.integers(16, 40))
def test_no_piece_has_too_many_vertices(name, seed, connectivity, most):
    geobox = grid_of((30, 30), name)
    parcels = parcels_of(patches(geobox.shape, seed, side=2), name, connectivity)
    pieces = one(limit_vertices([parcels], geobox, max_vertices=most))
    assert shapely.get_num_coordinates(pieces.geometry.to_numpy()).max() <= most
    assert shapely.is_valid(pieces.geometry.to_numpy()).all()
    small = parcels[shapely.get_num_coordinates(parcels.geometry.to_numpy()) <= most]
    kept = pieces[pieces.object_id.isin(small.object_id)]
    assert kept.geometry.to_wkb().tolist() == small.geometry.to_wkb().tolist()
    sums = pieces.groupby("object_id")[["area_m2", "share"]].sum()
    np.testing.assert_allclose(sums.area_m2, parcels.area_m2, rtol=1e-9 if name != "fine" else 1e-7)
    np.testing.assert_allclose(sums.share, 1, rtol=1e-7)
    unions = pieces.dissolve("object_id").geometry
    difference = shapely.symmetric_difference(unions.to_numpy(), parcels.geometry.to_numpy())
    assert shapely.area(difference).max() < 1e-6 * abs(geobox.transform.determinant)


def test_cuts_follow_the_pixels_of_a_north_up_grid():
    parcels = parcels_of(patches((50, 50), 0, side=1), "north-up", 8)
    pieces = one(limit_vertices([parcels], grid_of((50, 50)), max_vertices=20))
    places = (shapely.get_coordinates(pieces.geometry.to_numpy()) - [400_000, 5_800_000]) / 10
    assert (places == np.rint(places)).all()
    assert len(pieces) > len(parcels)


def test_cuts_follow_one_another_into_a_file(tmp_path: Path):
    geobox = grid_of((40, 40))
    parcels = parcels_of(patches(geobox.shape, 4), connectivity=8)
    area = on_pixels(geobox, [np.array([(3.3, 20.1), (20.7, 3.2), (37.1, 21.3), (19.9, 36.7)])])
    area = gpd.GeoDataFrame({"name": ["here"]}, geometry=[area], crs=parcels.crs)
    area.to_file(tmp_path / "aoi.gpkg")
    aoi = read_areas(tmp_path / "aoi.gpkg")
    clipped = one(clip([parcels], aoi, geobox))
    results = limit_vertices(
        split_by_grid(split_by_zones(clip([parcels], aoi, geobox), aoi, geobox, column="name"), geobox, side_px=9),
        geobox,
        max_vertices=20,
    )
    file = write_polygons(results, tmp_path / "pieces.gpkg", classes=[ClassInfo(1, "one")], multi=True)
    pieces = gpd.read_file(file, layer="polygons")
    assert set(pieces.zone) == {"here"}
    sums = pieces.groupby("object_id")[["share", "area_m2"]].sum()
    np.testing.assert_allclose(sums.share, clipped.share, rtol=1e-9)
    np.testing.assert_allclose(sums.area_m2, clipped.area_m2, rtol=1e-9)
    assert shapely.coverage_is_valid(clipped.geometry.to_numpy())


class TestErrors:
    geobox = grid_of((10, 10))
    square = on_pixels(geobox, [np.array([(1, 1), (5, 1), (5, 5), (1, 5)])])
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])

    def series(self, *shapes, crs="EPSG:32633"):
        return gpd.GeoSeries(list(shapes), crs=crs)

    def zones(self, *shapes, names=("Au", "Bad Au")):
        return gpd.GeoDataFrame({"name": list(names)[: len(shapes)]}, geometry=list(shapes), crs="EPSG:32633")

    def test_invalid_polygons_are_named(self):
        with pytest.raises(OptionError, match=r"feature 1 of the clip area .* Self-intersection.*Fix geometries"):
            clip([], self.series(self.square, self.bow), self.geobox)

    def test_lines_nothing_and_no_crs(self):
        with pytest.raises(OptionError, match=r"feature 0 .* is a LineString"):
            clip([], self.series(shapely.LineString([(0, 0), (1, 1)])), self.geobox)
        with pytest.raises(OptionError, match="hold none"):
            clip([], self.series(None, shapely.Polygon()), self.geobox)
        with pytest.raises(OptionError, match=r"have none\. Assign"):
            clip([], self.series(self.square, crs=None), self.geobox)

    def test_elsewhere(self):
        with pytest.raises(OptionError, match=r"lie elsewhere\. Check their CRS"):
            clip([], self.series(shapely.box(0, 0, 1, 1)), self.geobox)
        near = shapely.box(399_000, 5_799_000, 399_999, 5_800_000)
        with pytest.raises(OptionError, match="lie elsewhere"):
            clip([], self.series(near), self.geobox)
        with pytest.raises(OptionError, match="have a place"):
            clip([], self.series(shapely.box(-300, -100, 500, 200), crs="EPSG:4326"), self.geobox)

    def test_batches(self):
        parcels = parcels_of(np.ones((10, 10)))
        with pytest.raises(OptionError, match=r"\[frame\]"):
            clip(parcels, self.series(self.square), self.geobox)
        with pytest.raises(OptionError, match=r"'perimeter_m'.* are missing"):
            next(clip([parcels.drop(columns="perimeter_m")], self.series(self.square), self.geobox))
        with pytest.raises(MismatchError, match="need one CRS"):
            next(clip([parcels, parcels.to_crs("EPSG:4326")][1:], self.series(self.square), self.geobox))

    def test_zones(self):
        other = shapely.affinity.translate(self.square, 10, 0)
        with pytest.raises(OptionError, match="'Au' and 'Bad Au' do"):
            split_by_zones([], self.zones(self.square, other), self.geobox, column="name")
        with pytest.raises(OptionError, match="'nom' is none"):
            split_by_zones([], self.zones(self.square), self.geobox, column="nom")
        with pytest.raises(OptionError, match="1 have none in the column 'name'"):
            split_by_zones([], self.zones(self.square, names=[None]), self.geobox, column="name")
        neighbour = shapely.affinity.translate(self.square, 40, 0)
        assert list(split_by_zones([], self.zones(self.square, neighbour), self.geobox, column="name")) == []

    def test_numbers(self):
        with pytest.raises(OptionError, match="side_px=0"):
            split_by_grid([], self.geobox, side_px=0)
        with pytest.raises(OptionError, match="2000 × 2000"):
            split_by_grid([], grid_of((2000, 2000)), side_px=1)
        with pytest.raises(OptionError, match="not 15"):
            limit_vertices([], self.geobox, max_vertices=15)


class TestReading:
    square = shapely.box(400_010, 5_799_950, 400_050, 5_799_990)

    def write(self, path: Path, *shapes, crs="EPSG:32633", **options) -> Path:
        gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=list(shapes), crs=crs).to_file(path, **options)
        return path

    @pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb"])
    def test_formats(self, tmp_path: Path, name: str):
        read = read_areas(self.write(tmp_path / name, self.square, crs="EPSG:4326" if "json" in name else "EPSG:32633"))
        assert read.geometry[0].equals(self.square)

    def test_layers(self, tmp_path: Path):
        path = self.write(tmp_path / "a.gpkg", self.square, layer="one")
        self.write(path, self.square, self.square, layer="two", mode="a")
        assert len(read_areas(path, layer="two")) == 2
        with pytest.raises(OptionError, match=r"\['one', 'two'\] and none is chosen"):
            read_areas(path)
        with pytest.raises(OptionError, match="'three' is not among them"):
            read_areas(path, layer="three")

    def test_what_is_no_vector_file(self, tmp_path: Path):
        with pytest.raises(OptionError, match="is not there"):
            read_areas(tmp_path / "no.gpkg")
        (tmp_path / "text.gpkg").write_text("hello")
        with pytest.raises(OptionError, match="cannot be read as one"):
            read_areas(tmp_path / "text.gpkg")

    def test_what_cannot_be_used(self, tmp_path: Path):
        with pytest.raises(OptionError, match=r"feature 0 of .*bow.gpkg .* Self-intersection"):
            read_areas(self.write(tmp_path / "bow.gpkg", TestErrors.bow))
        with pytest.raises(OptionError, match="is a Point"):
            read_areas(self.write(tmp_path / "point.gpkg", shapely.Point(0, 0)))
        with pytest.raises(OptionError, match="hold none"):
            read_areas(self.write(tmp_path / "empty.gpkg"))
        with pytest.raises(OptionError, match="CRS"):
            read_areas(self.write(tmp_path / "nowhere.shp", self.square, crs=None))
