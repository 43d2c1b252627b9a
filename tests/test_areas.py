"""True areas, against geodesics, closed forms and counting by hand."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geoseg.areas import PixelAreas, class_areas, column_area_units, row_area_units, with_no_data_row
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map, open_class_map, write_class_map
from geoseg.errors import SceneError

WGS84_M2 = 510065621724088.4
WEB_EDGE = 20037508.342789244

# Each with a window (rows, cols) whose outline the geodesic oracle can follow.
GRIDS = {
    "geographic": (GeoBox((3600, 7200), Affine(0.05, 0, -180, 0, -0.05, 90), "EPSG:4326"), 400),
    "geographic, south-up": (GeoBox((300, 400), Affine(0.01, 0, 7, 0, 0.01, -60), "EPSG:4326"), 300),
    "geographic, rotated": (GeoBox((500, 700), Affine(0.01, 0.003, 10, 0.002, -0.01, 60), "EPSG:4326"), 500),
    "geographic, grads": (GeoBox((500, 700), Affine(0.01, 0, 3, 0, -0.01, 52), "EPSG:4807"), 500),
    "web mercator, world": (
        GeoBox((40000, 40000), Affine(WEB_EDGE / 20000, 0, -WEB_EDGE, 0, -WEB_EDGE / 20000, WEB_EDGE), "EPSG:3857"),
        2000,
    ),
    "web mercator, 30 cm": (GeoBox((20000, 20000), Affine(0.3, 0, 1e6, 0, -0.3, 8e6), "EPSG:3857"), 20000),
    "UTM, 500 km": (GeoBox((50000, 50000), Affine(10, 0, 250000, 0, -10, 5.5e6), "EPSG:32632"), 5000),
    "UTM, 10 cm": (GeoBox((20000, 20000), Affine(0.1, 0, 700000, 0, -0.1, 5.5e6), "EPSG:32632"), 20000),
    "UTM, rotated and sheared": (GeoBox((3000, 2000), Affine(30, 8, 3e5, 11, -29, 6e6), "EPSG:32632"), 1000),
    "polar, over the pole": (GeoBox((300, 300), Affine(30000, 0, -4.5e6, 0, -30000, 4.5e6), "EPSG:3031"), 300),
    "polar, rotated": (GeoBox((2000, 2000), Affine(900, 300, -1.2e6, 300, -900, 6e5), "EPSG:3413"), 1000),
    "equal area": (GeoBox((5000, 5000), Affine(1000, 0, 2e6, 0, -1000, 5.5e6), "EPSG:3035"), 3000),
    "US feet": (GeoBox((5000, 7000), Affine(30, 0, 9e5, 0, -30, 2.5e5), "EPSG:2263"), 5000),
    "conic": (GeoBox((5000, 6000), Affine(100, 0, 3e5, 0, -100, 7e6), "EPSG:2154"), 4000),
    "sinusoidal, sphere": (
        GeoBox((2400, 2400), Affine(463.3, 0, 1111950.5, 0, -463.3, 6671703.1), "+proj=sinu +R=6371007.181 +type=crs"),
        2400,
    ),
    "compound": (GeoBox((500, 500), Affine(100, 0, 4e5, 0, -100, 6e6), pyproj.CRS("EPSG:32632+5773").to_wkt()), 500),
    "Mars": (GeoBox((500, 500), Affine(100, 0, 4e5, 0, -100, 6e5), "IAU_2015:49910"), 500),
}


def geodesic_area(geobox: GeoBox, rows: tuple[int, int], cols: tuple[int, int], points: int = 4000) -> float:
    """The area of a window from its outline, which is followed in many short geodesics."""
    crs = pyproj.CRS.from_user_input(geobox.crs.to_wkt())
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    inverse = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    t = np.arange(points) / points
    (r0, r1), (c0, c1) = rows, cols
    u = np.concatenate([c0 + t * (c1 - c0), np.full(points, c1), c1 - t * (c1 - c0), np.full(points, c0)])
    v = np.concatenate([np.full(points, r0), r0 + t * (r1 - r0), np.full(points, r1), r1 - t * (r1 - r0)])
    a = geobox.transform
    lon, lat = inverse.transform(a.a * u + a.b * v + a.c, a.d * u + a.e * v + a.f)
    degree = np.rad2deg(crs.geodetic_crs.axis_info[0].unit_conversion_factor)
    return abs(crs.get_geod().polygon_area_perimeter(lon * degree, lat * degree)[0])


@pytest.mark.parametrize("name", GRIDS)
def test_areas_agree_with_geodesics(name: str) -> None:
    geobox, side = GRIDS[name]
    areas = PixelAreas(geobox)
    rng = np.random.default_rng(0)
    for _ in range(3):
        row, col = (int(rng.integers(0, size - side + 1)) for size in geobox.shape)
        knots, coefs = areas.table(row, row + side)
        ends = np.array([col, col + side])
        units = sum(int(np.diff(row_area_units(ends, knots, line, areas.unit_m2))[0]) for line in coefs)
        expected = geodesic_area(geobox, (row, row + side), (col, col + side))
        assert units * areas.unit_m2 == pytest.approx(expected, rel=2e-7)


@pytest.mark.parametrize("name", ["web mercator, world", "polar, over the pole", "geographic", "equal area"])
def test_single_pixels_agree_with_geodesics(name: str) -> None:
    geobox, _ = GRIDS[name]
    areas = PixelAreas(geobox)
    rng = np.random.default_rng(1)
    for _ in range(20):
        row, col = (int(rng.integers(0, size)) for size in geobox.shape)
        one = areas.of(slice(row, row + 1), slice(col, col + 1))
        assert one.shape == (1, 1)
        expected = geodesic_area(geobox, (row, row + 1), (col, col + 1), points=200)
        assert one[0, 0] == pytest.approx(expected, rel=3e-7)


WITH_AREAL_SCALE = [  # PROJ gives none for the others
    name for name in GRIDS if name.split(",")[0] not in ("geographic", "sinusoidal", "Mars") and "pole" not in name
]


@pytest.mark.parametrize("name", WITH_AREAL_SCALE)
def test_pixels_agree_with_the_area_element(name: str) -> None:
    """However small a pixel is (a geodesic polygon of 10 cm has no digits left)."""
    geobox, _ = GRIDS[name]
    areas = PixelAreas(geobox)
    crs = pyproj.CRS.from_user_input(geobox.crs.to_wkt())
    crs = crs.sub_crs_list[0] if crs.is_compound else crs
    height, width = geobox.shape
    for row, col in [(0, 0), (height // 3, width // 2), (height - 1, width - 1)]:
        a, unit = geobox.transform, crs.axis_info[0].unit_conversion_factor
        x, y = a * (col + 0.5, row + 0.5)
        inverse = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
        lon, lat = inverse.transform(x, y)
        scale = pyproj.Proj(crs).get_factors(lon, lat).areal_scale
        if crs.to_epsg() == 3857:  # PROJ gives the factors of the sphere; the ellipsoid's area element is M N cos φ
            e2, phi = crs.ellipsoid.inverse_flattening, np.deg2rad(lat)
            e2 = (2 - 1 / e2) / e2
            scale = (1 - e2 * np.sin(phi) ** 2) ** 2 / (1 - e2) / np.cos(phi) ** 2
        expected = abs(a.determinant) * unit**2 / scale
        got = areas.of(slice(row, row + 1), slice(col, col + 1))[0, 0]
        assert got == pytest.approx(expected, rel=2e-7)


def test_the_world_has_the_area_of_the_ellipsoid() -> None:
    for shape in [(1, 1), (180, 360), (1799, 3601), (21600, 2)]:
        world = GeoBox(shape, Affine(360 / shape[1], 0, -180, 0, -180 / shape[0], 90), "EPSG:4326")
        table = class_areas(class_map(da.zeros(shape, dtype=np.uint8, chunks=(500, -1)), world, [ClassInfo(0, "all")]))
        assert table["area_m2"].sum() == pytest.approx(WGS84_M2, rel=1e-12)


def test_a_grid_with_pixel_centres_at_the_poles_covers_the_world_once() -> None:
    world = GeoBox((721, 1440), Affine(0.25, 0, -180.125, 0, -0.25, 90.125), "EPSG:4326")
    assert PixelAreas(world).of(slice(None), slice(None)).sum() == pytest.approx(WGS84_M2, rel=1e-12)


def test_web_mercator_has_the_area_between_its_parallels() -> None:
    geobox, _ = GRIDS["web mercator, world"]
    areas = PixelAreas(geobox)
    knots, coefs = areas.table(0, geobox.shape[0])
    total = sum(int(column_area_units(geobox.shape[1], knots, line, areas.unit_m2)) for line in coefs)
    lat = np.rad2deg(np.arctan(np.sinh(np.pi)))
    band = GeoBox((1, 1), Affine(360, 0, -180, 0, -2 * lat, lat), "EPSG:4326")
    assert total * areas.unit_m2 == pytest.approx(PixelAreas(band).of(slice(None), slice(None)).sum(), rel=1e-10)


def test_a_geographic_row_by_hand() -> None:
    """On the unit sphere a row is a zone: 2 π (sin north − sin south)."""
    sphere = GeoBox((2, 4), Affine(90, 0, -180, 0, -30, 60), "+proj=longlat +R=1 +type=crs")
    expected = np.pi / 2 * (np.sin(np.deg2rad([60, 30])) - np.sin(np.deg2rad([30, 0])))
    np.testing.assert_allclose(
        PixelAreas(sphere).of(slice(None), slice(None)), expected[:, None] * np.ones(4), rtol=1e-12
    )


@pytest.mark.parametrize("degrees", [1e-6, 1e-3, 0.1])
def test_small_geographic_pixels_lose_no_digits(degrees: float) -> None:
    grid = GeoBox((3, 3), Affine(degrees, 0, 8, 0, -degrees, 47), "EPSG:4326")
    e2, phi = 0.0066943799901413165, np.deg2rad(47 - 1.5 * degrees)
    step = np.deg2rad(degrees)
    element = 6378137**2 * (1 - e2) * np.cos(phi) / (1 - e2 * np.sin(phi) ** 2) ** 2 * step**2
    assert PixelAreas(grid).of(slice(1, 2), slice(1, 2))[0, 0] == pytest.approx(element, rel=1e-11 + step**2)


def test_an_equal_area_grid_is_even_up_to_the_edge_of_its_projection() -> None:
    for crs, grid in {
        "EPSG:6933": Affine(25025.26, 0, -17367530.44, 0, -25025.26, 7314540.83),
        "EPSG:6931": Affine(25000, 0, -9e6, 0, -25000, 9e6),
    }.items():
        pixels = PixelAreas(GeoBox((584, 720), grid, crs)).of(slice(None), slice(None))
        np.testing.assert_allclose(pixels, abs(grid.determinant), rtol=1e-8)


def test_a_global_map_with_corners_off_the_earth() -> None:
    """World Mollweide, as of the Global Human Settlement Layer: pixels on the Earth add up to the Earth."""
    grid = GeoBox((902, 1804), Affine(20000, 0, -18040000, 0, -20000, 9020000), "ESRI:54009")
    inverse = pyproj.Transformer.from_crs("ESRI:54009", "EPSG:4326", always_xy=True)
    cols, rows = np.meshgrid(np.arange(1804) + 0.5, np.arange(902) + 0.5)
    lon, _ = inverse.transform(-18040000 + 20000 * cols, 9020000 - 20000 * rows)
    on_earth = np.isfinite(lon)
    assert PixelAreas(grid).of(slice(None), slice(None))[on_earth].sum() == pytest.approx(WGS84_M2, rel=1e-4)
    assert 0.7 < on_earth.mean() < 0.8


def test_feet_and_metres_give_the_same_areas() -> None:
    foot = 1200 / 3937
    feet = GeoBox((50, 60), Affine(100, 0, 9e5, 0, -100, 2.5e5), "EPSG:2263")
    wkt = pyproj.CRS("EPSG:2263").to_proj4().replace("+units=us-ft", "+units=m") + " +type=crs"
    metres = GeoBox((50, 60), Affine(100 * foot, 0, 9e5 * foot, 0, -100 * foot, 2.5e5 * foot), wkt)
    every = slice(None)
    np.testing.assert_allclose(PixelAreas(feet).of(every, every), PixelAreas(metres).of(every, every), rtol=1e-9)


@pytest.mark.parametrize("name", ["UTM, 500 km", "polar, rotated", "web mercator, world", "geographic"])
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_row_has_the_same_bits_whichever_rows_it_is_asked_with(name: str, data: st.DataObject) -> None:
    areas = PixelAreas(GRIDS[name][0])
    height = areas.geobox.shape[0]
    start = data.draw(st.integers(0, height - 1))
    stop = data.draw(st.integers(start + 1, min(height, start + 200)))
    row = data.draw(st.integers(start, stop - 1))
    np.testing.assert_array_equal(areas.table(start, stop)[1][row - start], areas.table(row, row + 1)[1][0])


def test_the_cumulative_area_is_continuous_and_one_definition_serves_all() -> None:
    areas = PixelAreas(GRIDS["polar, rotated"][0])
    knots, coefs = areas.table(700, 701)
    assert len(knots) > 2
    t = np.diff(knots)
    c = coefs[0, :, :].T
    np.testing.assert_allclose((c[0] + t * (c[1] + t * (c[2] + t * c[3])))[:-1], c[0, 1:], rtol=1e-13)
    columns = np.arange(areas.geobox.shape[1] + 1)
    units = row_area_units(columns, knots, coefs[0], areas.unit_m2)
    assert units[0] == 0
    assert [column_area_units(x, knots, coefs[0], areas.unit_m2) for x in columns[::97]] == units[::97].tolist()
    np.testing.assert_array_equal(np.diff(units) * areas.unit_m2, areas.of(slice(700, 701), slice(None))[0])


def test_tables_stay_small() -> None:
    """A table must cost far less than reading the pixels it is for."""
    for name in ("UTM, 500 km", "web mercator, world", "UTM, 10 cm", "equal area", "conic"):
        knots, coefs = PixelAreas(GRIDS[name][0]).table(0, 128)
        assert coefs.shape == (128, len(knots) - 1, 4)
        assert coefs.nbytes < 0.05 * 128 * GRIDS[name][0].shape[1]


@pytest.mark.parametrize("name", [name for name in GRIDS if name != "compound"])
def test_steps_agree_with_geodesics(name: str) -> None:
    geobox, _ = GRIDS[name]
    crs = pyproj.CRS.from_user_input(geobox.crs.to_wkt())
    inverse = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    degree = np.rad2deg(crs.geodetic_crs.axis_info[0].unit_conversion_factor)
    rng = np.random.default_rng(2)
    rows, cols = (rng.uniform(0.01, 0.99, 40) * size for size in geobox.shape)
    east, south = PixelAreas(geobox).edge_lengths(cols, rows)

    def place(cols: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
        a = geobox.transform
        lon, lat = inverse.transform(a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f)
        return [lon * degree, lat * degree]

    # A step of about 100 m, so that the oracle has digits and the ground is still flat.
    for got, du, dv in ((east, 1, 0), (south, 0, 1)):
        n = 100 / got
        ends = place(cols - du * n / 2, rows - dv * n / 2) + place(cols + du * n / 2, rows + dv * n / 2)
        np.testing.assert_allclose(got, crs.get_geod().inv(*ends)[2] / n, rtol=1e-5)


LEGEND = [ClassInfo(0, "bare land"), ClassInfo(1, "water"), ClassInfo(9, "never")]


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_class_areas_are_sums_of_pixels_and_the_chunks_do_not_matter(data: st.DataObject) -> None:
    shape = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 50))
    geobox = GeoBox(shape, *data.draw(st.sampled_from([
        (Affine(0.2, 0.05, 10, 0.04, -0.2, 60), "EPSG:4326"),
        (Affine(0.2, 0, 10, 0, -0.2, 60), "EPSG:4326"),
        (Affine(30000, 0, -4e5, 0, -30000, 4e5), "EPSG:3031"),
        (Affine(9000, 0, 4e5, 0, -9000, 8e6), "EPSG:3857"),
    ])))  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.choice(np.array([0, 1, 2, 255], np.uint8), size=shape)
    table = class_areas(class_map(values, geobox, LEGEND))
    pixels = PixelAreas(geobox).of(slice(None), slice(None))
    assert table["class"].tolist() == sorted({0, 1, 9} | set(values[values < 255].tolist()))
    for row in table.itertuples():
        assert row.pixels == (values == row[1]).sum()
        assert row.area_m2 == pytest.approx(pixels[values == row[1]].sum(), rel=1e-12)
        assert row.area_ha == row.area_m2 / 1e4
    assert table.attrs["invalid_pixels"] == (values == 255).sum()
    assert table.attrs["invalid_area_m2"] == pytest.approx(pixels[values == 255].sum(), rel=1e-12)
    assert table["share"].sum() == pytest.approx(1 if (values < 255).any() else 0)
    chunks = data.draw(st.integers(1, shape[0])), data.draw(st.integers(1, shape[1]))
    again = class_areas(class_map(da.from_array(values, chunks=chunks), geobox, LEGEND))
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert again.attrs == table.attrs


def test_class_areas_by_hand() -> None:
    """Three by three pixels of a square metre at the centre of an equal-area projection."""
    grid = GeoBox((3, 3), Affine(1, 0, -1.5, 0, -1, 1.5), "+proj=laea +lat_0=10 +lon_0=5 +type=crs")
    values = np.array([[0, 0, 1], [0, 5, 1], [255, 255, 1]], np.uint8)
    table = class_areas(class_map(values, grid, LEGEND))
    assert table["class"].tolist() == [0, 1, 5, 9]
    assert table["class_name"].tolist() == ["bare land", "water", "class 5", "never"]
    assert table["pixels"].tolist() == [3, 3, 1, 0]
    np.testing.assert_allclose(table["area_m2"], [3, 3, 1, 0], rtol=1e-8)
    np.testing.assert_allclose(table["share"], [3 / 7, 3 / 7, 1 / 7, 0], rtol=1e-8)
    assert table.attrs["invalid_pixels"] == 2
    last = with_no_data_row(table).iloc[-1]
    assert (last["class"], last["class_name"], last["pixels"]) == (255, "(no data)", 2)
    assert last["area_m2"] == pytest.approx(2, rel=1e-8)
    assert np.isnan(last["share"])
    assert len(table) == 4  # the table itself is as it was


@pytest.mark.parametrize("name", ["geographic, rotated", "web mercator, world", "polar, over the pole", "UTM, 500 km"])
def test_polygons_table_csv_and_raster_agree(name: str, tmp_path: Path) -> None:
    from geoseg.export import write_areas_csv
    from geoseg.polygons import vectorize

    rng = np.random.default_rng(0)
    values = np.kron(rng.choice(np.array([0, 1, 9, 255], np.uint8), size=(30, 40)), np.ones((5, 5), np.uint8))
    cover = class_map(values, GRIDS[name][0][100:250, 50:250], LEGEND)
    table = class_areas(cover)
    polygons = vectorize(cover).groupby("class")
    assert polygons["pixels"].sum().tolist() == table["pixels"].tolist()
    np.testing.assert_allclose(polygons["area_m2"].sum(), table["area_m2"], rtol=1e-14)
    csv = pd.read_csv(write_areas_csv(table, tmp_path / "areas.csv"), float_precision="round_trip")
    assert csv["area_m2"].tolist() == table["area_m2"].tolist()
    path = write_class_map(cover, tmp_path / "classes.tif", areas=table)
    rows = ElementTree.parse(f"{path}.aux.xml").findall("PAMRasterBand/GDALRasterAttributeTable/Row")
    assert [float(row.findall("F")[6].text or "") for row in rows] == table["area_m2"].tolist()
    pd.testing.assert_frame_equal(class_areas(open_class_map(path)), table, check_exact=True)


@pytest.mark.parametrize(("dtype", "nodata"), [(np.int16, -1), (np.uint16, 0), (np.int32, 70000), (np.int64, 7)])
def test_maps_of_other_people_with_wider_types(dtype: type, nodata: int) -> None:
    grid = GeoBox((2, 3), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632")
    values = np.array([[nodata, 300, 2000], [300, nodata, 300]], dtype)
    table = class_areas(wrap_xr(values, grid, nodata=nodata))
    assert table[["class", "class_name", "pixels"]].values.tolist() == [[300, "class 300", 3], [2000, "class 2000", 1]]
    assert table.attrs["invalid_pixels"] == 2


def test_float_maps_with_whole_values_and_nan() -> None:
    grid = GeoBox((1, 4), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632")
    table = class_areas(wrap_xr(np.array([[1, np.nan, -9999, 3]], np.float32), grid, nodata=-9999))
    assert table["class"].tolist() == [1, 3]
    assert table.attrs["invalid_pixels"] == 2
    without = class_areas(wrap_xr(np.array([[1, np.nan, 3, 3]], np.float32), grid))
    assert without["pixels"].tolist() == [1, 2]
    assert without.attrs["invalid_pixels"] == 1


def test_all_nodata_and_one_pixel() -> None:
    grid = GeoBox((1, 1), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632")
    table = class_areas(class_map(np.array([[255]], np.uint8), grid, LEGEND))
    assert table["pixels"].sum() == 0
    assert table["share"].tolist() == [0, 0, 0]
    assert table.attrs["invalid_area_m2"] == pytest.approx(100, rel=1e-3)
    empty = class_areas(class_map(np.array([[255]], np.uint8), grid, []))
    assert list(empty.columns) == ["class", "class_name", "pixels", "area_m2", "area_ha", "share"]
    assert len(empty) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0.5, 1.0]]), "fractions"),
        (np.array([[0, 1 << 22]], np.int32), "from 0 to 4194304"),
    ],
)
def test_what_is_no_class_map_is_refused(values: np.ndarray, message: str) -> None:
    grid = GeoBox((1, 2), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632")
    with pytest.raises(SceneError, match=message):
        class_areas(wrap_xr(values, grid))


def test_grids_without_areas_are_refused() -> None:
    values = np.zeros((2, 2), np.uint8)
    with pytest.raises(SceneError, match="--crs"):
        class_areas(xr.DataArray(values, dims=("y", "x"), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]}))
    with pytest.raises(SceneError, match="--crs"):
        PixelAreas(GeoBox((2, 2), Affine(1, 0, 0, 0, -1, 0), None))
    local = 'LOCAL_CS["a desk",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    with pytest.raises(SceneError, match="ellipsoid"):
        PixelAreas(GeoBox((2, 2), Affine(1, 0, 0, 0, -1, 0), local))
    with pytest.raises(SceneError, match="lie on the Earth"):
        PixelAreas(GeoBox((2, 2), Affine(1, 0, 5e7, 0, -1, 5e7), "ESRI:54009"))


@pytest.mark.data
def test_a_real_map_in_web_mercator_is_far_smaller_than_it_says(data_dir: Path) -> None:
    cover = open_class_map(data_dir / "classmaps" / "paletted_7168x8704.tif")
    table = class_areas(cover)
    total = table["area_m2"].sum() + table.attrs["invalid_area_m2"]
    height, width = cover.shape
    assert table["pixels"].sum() + table.attrs["invalid_pixels"] == height * width
    assert total == pytest.approx(geodesic_area(cover.odc.geobox, (0, height), (0, width)), rel=1e-7)
    nominal = abs(cover.odc.geobox.transform.determinant) * height * width
    assert total < 0.9 * nominal
