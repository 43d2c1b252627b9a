"""Compactness and orientation of polygons, against closed forms and shapely."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from shapely import affinity, box

from geoseg.errors import SceneError
from geoseg.polygons import polygon_attributes, polygon_orientations


def bar(bearing: float, *, lon: float, lat: float, long: float = 40.0, short: float = 10.0) -> shapely.Polygon:
    """A rectangle on the ground whose long side points to a bearing: its corners by geodesics, in EPSG:4326."""
    geod = pyproj.Geod(ellps="WGS84")
    corners = []
    for along, across in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        angle = bearing + np.rad2deg(np.arctan2(across * short, along * long))
        corners.append(geod.fwd(lon, lat, angle, np.hypot(long, short) / 2)[:2])
    return shapely.Polygon(corners)


@pytest.mark.parametrize(
    "crs", ["EPSG:4326", "EPSG:3857", "EPSG:32631", "EPSG:3035", "EPSG:3413", "EPSG:2263", "EPSG:2053"]
)
def test_an_orientation_is_that_of_the_compass(crs) -> None:
    bearings = np.array([0.0, 10.0, 45.0, 89.0, 90.0, 91.0, 135.0, 179.0])
    place = {"EPSG:2263": (-74.0, 40.7), "EPSG:2053": (29.4, -29.0)}.get(crs, (9.0, 60.0))
    bars = [bar(bearing, lon=place[0], lat=place[1]) for bearing in bearings]
    move = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    moved = [shapely.transform(b, lambda at: np.stack(move.transform(at[:, 0], at[:, 1]), axis=-1)) for b in bars]
    got = polygon_orientations(moved, crs)
    assert (np.abs((got - bearings + 90) % 180 - 90) < 0.01).all()
    assert ((got >= 0) & (got < 180)).all()


def millimetres(most: int) -> st.SearchStrategy[float]:
    """Metres. Coordinates of 1e-183 m, which floats may be, are too small for the oracle."""
    return st.integers(0, most * 1000).map(lambda value: value / 1000)


@settings(max_examples=60, deadline=None)
@given(
    bearing=st.floats(0, 180),
    corners=st.lists(st.tuples(millimetres(30), millimetres(12)), min_size=3, max_size=9),
)
def test_the_rectangle_is_shapelys(bearing, corners) -> None:
    hull = shapely.convex_hull(shapely.multipoints(corners))
    if hull.area < 1:
        return
    turned = affinity.translate(affinity.rotate(hull, -bearing), 500_000, 5_000_000)
    angle = np.deg2rad(polygon_orientations([turned], "EPSG:32632")[0])
    along = np.array([np.sin(angle), np.cos(angle)])
    at = shapely.get_coordinates(turned)
    long, short = np.ptp(at @ along), np.ptp(at @ [along[1], -along[0]])
    assert long >= short * (1 - 1e-4)
    assert long * short == pytest.approx(hull.minimum_rotated_rectangle.area, abs=1e-5 * long**2)  # convergence


def test_a_square_points_between_north_and_east_and_a_line_where_it_goes() -> None:
    square = affinity.rotate(box(500_000, 0, 500_010, 10), -30)
    sliver = shapely.Polygon([(500_000, 0), (500_010, 10), (500_020, 20)])
    got = polygon_orientations(
        [square, sliver, shapely.MultiPolygon([box(500_000, 0, 500_001, 1), box(500_090, 0, 500_091, 1)])], "EPSG:32632"
    )
    assert got == pytest.approx([30, 45, 90], abs=0.01)


def test_compactness_by_hand() -> None:
    grid = GeoBox.from_bbox((500_000, 0, 500_100, 100), "EPSG:32632", resolution=1)
    circle, ring = (
        shapely.Point(500_050, 50).buffer(40, 90),
        box(500_000, 0, 500_040, 40).difference(box(500_010, 10, 500_030, 30)),
    )
    table = polygon_attributes([circle, ring], grid)
    assert table["compactness"][0] == pytest.approx(1, abs=1e-4)
    assert table["compactness"][1] == pytest.approx(4 * np.pi * 1200 / 240**2, rel=1e-5)
    assert table["area_m2"][1] == pytest.approx(1200 / 0.9996**2, rel=1e-5)


def test_compactness_does_not_depend_on_the_crs() -> None:
    bars = [bar(33, lon=9, lat=60), bar(120, lon=9.001, lat=60, long=80)]
    degrees = GeoBox.from_bbox((8.99, 59.99, 9.01, 60.01), "EPSG:4326", resolution=0.0001)
    expected = [4 * np.pi * 400 / 100**2, 4 * np.pi * 800 / 180**2]
    assert polygon_attributes(bars, degrees)["compactness"].to_numpy() == pytest.approx(expected, rel=1e-4)


def test_without_a_crs_there_is_no_north() -> None:
    with pytest.raises(SceneError, match="CRS"):
        polygon_attributes([box(0, 0, 1, 1)], GeoBox((9, 9), Affine(1, 0, 0, 0, -1, 9), None))
