"""Areas and lengths of any polygon, against pixels, geodesics and closed forms."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from test_areas import GRIDS

from geoseg.areas import PixelAreas
from geoseg.errors import MismatchError
from geoseg.polygons import vectorize
from geoseg.polygons.measure import polygon_areas, polygon_perimeters


def window(geobox: GeoBox, rows: tuple[float, float], cols: tuple[float, float]) -> shapely.Polygon:
    corners = [(cols[0], rows[0]), (cols[1], rows[0]), (cols[1], rows[1]), (cols[0], rows[1])]
    return shapely.Polygon([geobox.transform * corner for corner in corners])


def star(geobox: GeoBox, *, side: float, seed: int, corners: int = 9) -> shapely.Polygon:
    """A star-shaped polygon with a hole, somewhere in the grid."""
    rng = np.random.default_rng(seed)
    height, width = geobox.shape
    middle = rng.uniform(side, width - side), rng.uniform(side, height - side)
    rings = []
    for scale in (1.0, 0.3):
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        angle = np.concatenate([angle, [0.0, 2.0, 4.0]])
        angle.sort()
        radius = side * scale * rng.uniform(0.6, 1.0, len(angle))
        rings.append(
            [
                geobox.transform * (middle[0] + r * np.cos(a), middle[1] + r * np.sin(a))
                for r, a in zip(radius, angle, strict=True)
            ]
        )
    exterior, hole = shapely.Polygon(rings[0]), shapely.Polygon(rings[1])
    return exterior if not exterior.contains(hole) else shapely.Polygon(rings[0], [rings[1]])


def geodesic(polygon: shapely.Polygon, geobox: GeoBox, points: int = 4000) -> tuple[float, float]:
    """Area and perimeter by geodesics between many points along each ring."""
    crs = pyproj.CRS.from_user_input(geobox.crs.to_wkt())
    crs = crs.sub_crs_list[0] if crs.is_compound else crs
    inverse = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    degree = np.rad2deg(crs.geodetic_crs.axis_info[0].unit_conversion_factor)
    area = length = 0.0
    for sign, ring in [(1, polygon.exterior), *((-1, hole) for hole in polygon.interiors)]:
        at = shapely.get_coordinates(shapely.segmentize(ring, ring.length / points))
        lon, lat = inverse.transform(at[:-1, 0], at[:-1, 1])
        one, other = crs.get_geod().polygon_area_perimeter(lon * degree, lat * degree)
        area += sign * abs(one)
        length += other
    return area, length


@pytest.mark.parametrize("name", GRIDS)
def test_whole_pixels_have_the_area_of_their_pixels(name: str) -> None:
    geobox, _ = GRIDS[name]
    areas = PixelAreas(geobox)
    rng = np.random.default_rng(2)
    height, width = geobox.shape
    for side in (1, 1, 7, 100):
        # The rows of a world map that touch its edge are known to fewer digits, in units of the whole map.
        row, col = int(rng.integers(height // 4, 3 * height // 4 - side)), int(rng.integers(0, width - side))
        expected = areas.of(slice(row, row + side), slice(col, col + side)).sum()
        got = polygon_areas([window(geobox, (row, row + side), (col, col + side))], areas)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=side * areas.unit_m2)


@pytest.mark.parametrize("name", GRIDS)
def test_areas_and_lengths_agree_with_geodesics(name: str) -> None:
    geobox, side = GRIDS[name]
    for seed in range(3):
        polygon = star(geobox, side=min(side, *geobox.shape) / 5, seed=seed)
        area, length = geodesic(polygon, geobox)
        # Geodesic polygons of less than a few square kilometres have few digits themselves.
        np.testing.assert_allclose(polygon_areas([polygon], geobox), area, rtol=3e-7, atol=1.0)
        np.testing.assert_allclose(polygon_perimeters([polygon], geobox), length, rtol=2e-5)


def test_a_triangle_on_the_sphere_has_its_closed_form() -> None:
    radius = 6_371_000.0
    geobox = GeoBox((60, 90), Affine(1, 0, 0, 0, -1, 80), f"+proj=longlat +R={radius} +type=crs")
    # Between the equator-ward side at 20° and the line from (0°, 20°) to (90°, 80°): ∫ (sin φ(λ) - sin 20°) dλ.
    low, high = np.deg2rad([20.0, 80.0])
    slope = (high - low) / (np.pi / 2)
    expected = radius**2 * ((np.cos(low) - np.cos(high)) / slope - np.pi / 2 * np.sin(low))
    got = polygon_areas([shapely.Polygon([(0, 20), (90, 20), (90, 80)])], geobox)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_nothing_lies_beyond_the_pole() -> None:
    """Pixel centres at the poles: half of the first and last row is no place on the Earth."""
    geobox = GeoBox((181, 360), Affine(1, 0, -180, 0, -1, 90.5), "EPSG:4326")
    whole = polygon_areas([shapely.box(-180, -90.5, 180, 90.5)], geobox)
    np.testing.assert_allclose(whole, 510065621724088.4, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GRIDS)), st.integers(0, 2**32), st.floats(-1, 1), st.floats(0.5, 300))
def test_parts_add_up(name: str, seed: int, place: float, side: float) -> None:
    """Any straight cut through a polygon: the areas of both sides add up to the polygon's."""
    geobox, _ = GRIDS[name]
    polygon = star(geobox, side=min(side, min(geobox.shape) / 3), seed=seed)
    middle, reach = shapely.get_coordinates(polygon.centroid)[0], 3 * polygon.length
    turn = np.exp(1j * seed)
    ends = [complex(*middle) + turn * (place * polygon.length / 20 * 1j + along * reach) for along in (-1, 1)]
    cut = shapely.LineString([(end.real, end.imag) for end in ends])
    pieces = [part for part in shapely.get_parts(shapely.ops.split(polygon, cut)) if part.area > 0]
    whole = polygon_areas([polygon], geobox)[0]
    digits = whole / polygon.area * polygon.length * np.spacing(abs(shapely.get_coordinates(polygon)).max())
    np.testing.assert_allclose(polygon_areas(pieces, geobox).sum(), whole, rtol=1e-9, atol=10 * digits)
    np.testing.assert_allclose(
        polygon_areas([shapely.MultiPolygon(pieces)], geobox), whole, rtol=1e-9, atol=10 * digits
    )


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("name", ["geographic, rotated", "UTM, rotated and sheared", "polar, rotated", "US feet"])
def test_the_polygons_of_a_map_keep_their_areas_and_lengths(name: str, connectivity: int) -> None:
    geobox = GRIDS[name][0][:60, :80]
    values = np.random.default_rng(0).integers(1, 4, (60, 80)).astype(np.uint8)
    parcels = vectorize(wrap_xr(values, geobox), connectivity=connectivity)
    np.testing.assert_allclose(polygon_areas(parcels.geometry, geobox), parcels.area_m2, rtol=1e-9)
    np.testing.assert_allclose(polygon_perimeters(parcels.geometry, geobox), parcels.perimeter_m, rtol=2e-5)


def test_orientation_holes_and_parts_by_hand() -> None:
    """EPSG:6933 is equal-area: an area is what a ruler says, to the few digits that its own formulas have."""
    geobox = GeoBox((100, 100), Affine(10, 0, 0, 0, -10, 1000), "EPSG:6933")
    square = shapely.box(100, 100, 200, 200)
    holed = shapely.Polygon(square.exterior.coords, [shapely.box(110, 110, 120, 120).exterior.coords])
    two = shapely.MultiPolygon([holed, shapely.box(300, 300, 305.5, 310)])
    polygons = [square, shapely.reverse(square), holed, shapely.reverse(holed), two]
    np.testing.assert_allclose(polygon_areas(polygons, geobox), [1e4, 1e4, 9900, 9900, 9955], rtol=1e-7)
    repeated = shapely.Polygon([(100, 100), (100, 100), (200, 100), (200, 200), (100, 200), (100, 100)])
    np.testing.assert_allclose(polygon_areas([repeated], geobox), 1e4, rtol=1e-7)


def test_a_diagonal_in_a_sheared_grid_has_its_length() -> None:
    """Column and row steps are not at right angles here, so their lengths alone do not give a diagonal's."""
    straight = GeoBox((200, 200), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632")
    sheared = GeoBox((200, 200), Affine(10, 6, 5e5, 4, -12, 5e6), "EPSG:32632")
    triangle = shapely.Polygon([(500_700, 4_999_300), (500_900, 4_999_400), (500_800, 4_999_500)])
    np.testing.assert_allclose(
        polygon_perimeters([triangle], sheared), polygon_perimeters([triangle], straight), rtol=1e-6
    )


def test_polygons_of_another_crs_are_refused() -> None:
    geobox = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    with pytest.raises(MismatchError, match="in one CRS"):
        polygon_areas([shapely.box(9, 0, 9.1, 0.1)], geobox)
