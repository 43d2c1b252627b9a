"""`vectorize` against GDAL, scipy, pyproj and drawings on paper."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyproj
import pytest
import rasterio
import scipy.ndimage
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.features import shapes

from geoseg.areas import class_areas
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map
from geoseg.errors import MismatchError, OptionError, SceneError
from geoseg.polygons import iter_polygons, vectorize

NORTH_UP = Affine(10, 0, 400_000, 0, -10, 5_800_000)
ROTATED = Affine.translation(400_000, 5_800_000) * Affine.rotation(30) * Affine.scale(10, -10)
SHEARED = Affine(10, 3, 400_000, 1, -8, 5_800_000)
SOUTH_UP = Affine(10, 0, 400_000, 0, 10, 5_800_000)
COLUMNS = [
    "object_id",
    "class",
    "class_name",
    "pixels",
    "area_m2",
    "area_ha",
    "perimeter_m",
    "confidence",
    "geometry",
]


def make_map(values, transform=NORTH_UP, crs="EPSG:32633", **attrs) -> xr.DataArray:
    values = np.asarray(values)
    return wrap_xr(values, GeoBox(values.shape, transform, crs)).assign_attrs(attrs)


@st.composite
def rasters(draw):
    """Noise, blocks, stripes and drawings of up to 4 classes with holes of nodata; wider than the scan's 64 lanes."""
    kind = draw(st.sampled_from(["drawn", "noise", "blocks", "checkerboard"]))
    if kind == "drawn":
        shape = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
        return draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([1, 2, 255])))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(1, draw(st.integers(1, 4)) + 1, (height, width))
    if kind == "blocks":
        values = np.kron(values, np.ones((3, 4), int))[:height, :width]
    if kind == "checkerboard":
        values = 1 + np.indices((height, width)).sum(axis=0) % 2
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.02, 0.3]))] = 255
    return np.ascontiguousarray(values.astype(np.uint8))


def gdal_polygons(da: xr.DataArray, connectivity: int, nodata: int = 255) -> tuple[np.ndarray, np.ndarray]:
    values = da.values
    found = list(shapes(values, mask=values != nodata, connectivity=connectivity, transform=da.odc.geobox.transform))
    geometries = np.array([shapely.geometry.shape(polygon) for polygon, _ in found], dtype=object)
    return geometries, np.array([value for _, value in found], dtype=np.int64)


def without_straight_vertices(polygons: np.ndarray) -> np.ndarray:
    """Drop vertices at which an axis-parallel ring goes straight on: exact, unlike a simplification."""
    _, at, (rings, parts) = shapely.to_ragged_array(polygons)
    first, last = rings[:-1], rings[1:] - 1  # the last vertex of a ring repeats its first
    before, after = np.arange(len(at)) - 1, np.minimum(np.arange(len(at)) + 1, len(at) - 1)
    before[first] = last - 1
    kept = ~((at[before] == at) & (at == at[after])).any(axis=1)
    kept[last] = False
    ring = np.repeat(np.arange(len(first)), np.diff(rings))[kept]
    new = np.concatenate([[0], np.cumsum(np.bincount(ring, minlength=len(first)) + 1)])
    turning = np.empty((new[-1], 2))
    turning[np.arange(len(ring)) + ring] = at[kept]
    turning[new[1:] - 1] = turning[new[:-1]]
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, turning, (new, parts))


def as_set(geometries, classes) -> Counter:
    if len(geometries) == 0:
        return Counter()
    wkb = shapely.to_wkb(shapely.normalize(without_straight_vertices(np.asarray(geometries, dtype=object))))
    return Counter(zip(wkb.tolist(), np.asarray(classes).tolist(), strict=True))


def assert_same(left, right) -> None:
    """Equal to the byte: geometry with its order of vertices, and every number."""
    assert list(left.columns) == list(right.columns)
    assert left.geometry.to_wkb().tolist() == right.geometry.to_wkb().tolist()
    for name in left.columns.drop("geometry"):
        one, other = left[name].to_numpy(), right[name].to_numpy()
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes() or (one.dtype == object and one.tolist() == other.tolist()), name


@settings(max_examples=50, deadline=None)
@given(rasters())
def test_four_connected_equals_gdal(values):
    da = make_map(values)
    parcels = vectorize(da)
    expected, classes = gdal_polygons(da, 4)
    assert as_set(parcels.geometry, parcels["class"]) == as_set(expected, classes)
    assert (parcels.area == 100 * parcels.pixels).all()
    assert (parcels.geometry.geom_type == "Polygon").all()


@settings(max_examples=50, deadline=None)
@given(rasters())
def test_eight_connected_has_gdals_regions(values):
    da = make_map(values)
    parcels = vectorize(da, connectivity=8)
    expected, classes = gdal_polygons(da, 8)
    pixels = (shapely.area(expected) / 100).round().astype(int)
    assert Counter(zip(parcels["class"], parcels.pixels, strict=True)) == Counter(
        zip(classes.tolist(), pixels.tolist(), strict=True)
    )
    assert parcels.is_valid.all()
    assert (parcels.area == 100 * parcels.pixels).all()


@settings(max_examples=50, deadline=None)
@given(rasters(), st.sampled_from([4, 8]), st.sampled_from([NORTH_UP, SOUTH_UP, SHEARED]))
def test_polygons_are_a_valid_coverage(values, connectivity, transform):
    parcels = vectorize(make_map(values, transform), connectivity=connectivity)
    assert parcels.is_valid.all()
    assert shapely.coverage_is_valid(parcels.geometry.to_numpy()) or parcels.empty
    parts = parcels.geometry.explode()
    assert shapely.is_ccw(shapely.get_exterior_ring(parts.to_numpy())).all()


@settings(max_examples=50, deadline=None)
@given(rasters(), st.sampled_from([4, 8]), st.integers(0, 2**32))
def test_sums_equal_those_over_labelled_pixels(values, connectivity, seed):
    percent = np.random.default_rng(seed).integers(0, 101, values.shape).astype(np.uint8)
    percent[values == 255] = 255
    parcels = vectorize(make_map(values), confidence=make_map(percent), connectivity=connectivity)
    structure = scipy.ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    expected: Counter = Counter()
    for value in np.unique(values[values != 255]):
        regions, count = scipy.ndimage.label(values == value, structure)
        pixels = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        sums = np.bincount(regions.ravel(), weights=percent.ravel(), minlength=count + 1)[1:]
        expected.update(zip([int(value)] * count, pixels.tolist(), (sums / pixels).tolist(), strict=True))
    assert expected == Counter(zip(parcels["class"], parcels.pixels, parcels.confidence, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    rasters(),
    st.sampled_from(
        [
            (NORTH_UP, "EPSG:32633"),
            (ROTATED, "EPSG:32633"),
            (Affine(0.01, 0, 10, 0, -0.01, 60), "EPSG:4326"),
            (Affine(30, 0, 1e6, 0, -30, 7e6), "EPSG:3857"),
        ]
    ),
)
def test_areas_equal_those_of_the_class_table(values, grid):
    da = make_map(values, *grid)
    parcels = vectorize(da)
    table = class_areas(da)
    sums = parcels.groupby("class")[["pixels", "area_m2"]].sum().reindex(table["class"], fill_value=0)
    assert (sums.pixels.to_numpy() == table.pixels.to_numpy()).all()
    # The integers behind the areas are equal; the sums of their floats may differ in the last digits.
    np.testing.assert_allclose(sums.area_m2, table.area_m2, rtol=1e-13)


def rings(geometry) -> list[list[tuple[float, float]]]:
    return [[tuple(int(v) for v in at) for at in ring.coords] for ring in [geometry.exterior, *geometry.interiors]]


LATTICE = Affine.scale(1, -1)  # x = column, y = −row


def test_a_ring_with_a_hole_on_paper():
    parcels = vectorize(make_map(np.array([[1, 1, 1], [1, 2, 1], [1, 1, 1]], np.uint8), LATTICE))
    hole, frame = parcels.geometry
    assert rings(hole) == [[(1, -1), (1, -2), (2, -2), (2, -1), (1, -1)]]
    assert rings(frame) == [
        [(0, 0), (0, -3), (3, -3), (3, 0), (0, 0)],
        [(1, -1), (2, -1), (2, -2), (1, -2), (1, -1)],
    ]
    assert parcels["class"].tolist() == [2, 1]
    assert parcels.pixels.tolist() == [1, 8]
    assert parcels.object_id.tolist() == [1, 2]


def test_a_straight_side_has_a_vertex_where_its_neighbours_meet():
    parcels = vectorize(make_map(np.array([[1, 1, 1], [2, 3, 255]], np.uint8), LATTICE))
    top = parcels.geometry.iloc[0]
    assert rings(top) == [[(0, 0), (0, -1), (1, -1), (2, -1), (3, -1), (3, 0), (0, 0)]]


def test_a_ring_that_touches_itself_becomes_exterior_and_hole():
    values = np.array([[1, 1, 1], [1, 255, 1], [1, 1, 255]], np.uint8)
    [polygon] = vectorize(make_map(values, LATTICE)).geometry
    assert rings(polygon) == [
        [(0, 0), (0, -3), (2, -3), (2, -2), (3, -2), (3, 0), (0, 0)],
        [(1, -1), (2, -1), (2, -2), (1, -2), (1, -1)],
    ]
    assert polygon.is_valid


def test_corners_join_only_with_eight_connectivity():
    values = make_map(np.array([[1, 2, 2], [2, 1, 2], [2, 2, 1]], np.uint8), LATTICE)
    assert sorted(vectorize(values).pixels) == [1, 1, 1, 3, 3]
    eight = vectorize(values, connectivity=8)
    assert dict(zip(eight["class"], eight.geom_type, strict=True)) == {1: "MultiPolygon", 2: "MultiPolygon"}
    assert sorted(eight.pixels) == [3, 6]
    diagonal = eight.geometry[eight["class"] == 1].item()
    assert [rings(part)[0][0] for part in diagonal.geoms] == [(0, 0), (1, -1), (2, -2)]


@pytest.mark.parametrize("transform", [ROTATED, SHEARED, SOUTH_UP])
def test_other_grids_are_the_same_polygons_moved(transform):
    values = np.random.default_rng(3).integers(1, 4, (20, 30)).astype(np.uint8)
    lattice = vectorize(make_map(values, Affine.identity()))
    moved = vectorize(make_map(values, transform))
    expected = shapely.affinity.affine_transform
    a, b, c, d, e, f = tuple(transform)[:6]
    same = [
        expected(polygon, [a, b, d, e, c, f]).equals_exact(other, 1e-6, normalize=True)
        for polygon, other in zip(lattice.geometry, moved.geometry, strict=True)
    ]
    assert all(same)


@pytest.mark.parametrize(
    ("dtype", "nodata", "ids"),
    [
        (np.bool_, None, [0, 1]),
        (np.int8, -1, [0, 100]),
        (np.int16, -9999, [0, 30_000]),
        (np.uint16, 0, [1, 65_535]),
        (np.int32, 0, [-5, 2**31 - 1]),
        (np.uint32, 0, [1, 4_000_000_000]),
        (np.int64, 0, [1, 70_000]),
        (np.uint8, 0, [1, 255]),
        (np.uint16, None, [0, 65_535]),
        (np.uint8, -9999, [0, 255]),
    ],
)
def test_any_integer_type(dtype, nodata, ids):
    values = np.array([[ids[0], ids[1], ids[1]], [ids[0], ids[0], ids[1]]]).astype(dtype)
    attrs = {} if nodata is None else {"_FillValue": nodata}
    if nodata is not None and np.can_cast(np.min_scalar_type(nodata), dtype):
        values[1, 2] = nodata
    parcels = vectorize(make_map(values, **attrs))
    assert sorted(parcels["class"]) == sorted(ids)
    assert parcels["class"].dtype == np.int64
    assert parcels.pixels.sum() == (values.size if nodata is None else (values != nodata).sum())


def test_object_ids_are_kept_apart_where_they_touch():
    ids = np.arange(1, 10_001, dtype=np.uint32).reshape(100, 100)
    parcels = vectorize(make_map(ids, _FillValue=0))
    assert parcels["class"].tolist() == ids.ravel().tolist()
    assert (parcels.pixels == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1)])
def test_an_empty_map_gives_the_same_columns(shape):
    full = vectorize(make_map(np.ones(shape, np.uint8)))
    empty = vectorize(make_map(np.full(shape, 255, np.uint8)))
    assert list(full.columns) == list(empty.columns) == COLUMNS
    assert full.dtypes.tolist() == empty.dtypes.tolist()
    assert (len(full), len(empty)) == (1, 0)
    assert full.crs == empty.crs == "EPSG:32633"
    [batch] = iter_polygons(make_map(np.full(shape, 255, np.uint8)))
    assert_same(batch, empty)


def test_names_come_from_the_legend():
    grid = GeoBox((1, 3), NORTH_UP, "EPSG:32633")
    cover = class_map(np.array([[3, 0, 9]], np.uint8), grid, [ClassInfo(0, "bare land"), ClassInfo(3, "water")])
    assert vectorize(cover).class_name.tolist() == ["water", "bare land", "class 9"]


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (NORTH_UP, "EPSG:32633"),
        (ROTATED, "EPSG:32633"),
        (Affine(0.001, 0, 10, 0, -0.0007, 60), "EPSG:4326"),
        (Affine(30, 0, 1e6, 0, -30, 7e6), "EPSG:3857"),
        (Affine(100, 0, 100_000, 0, -100, 900_000), "EPSG:3413"),
    ],
)
def test_perimeters_are_lengths_on_the_ellipsoid(transform, crs):
    values = np.kron(np.random.default_rng(0).integers(1, 4, (12, 12)), np.ones((7, 5), int)).astype(np.uint8)
    parcels = vectorize(make_map(values, transform, crs))
    geographic = parcels.geometry.segmentize(2 * abs(transform.a)).to_crs("EPSG:4326")
    geod = pyproj.Geod(ellps="WGS84")
    expected = [
        sum(geod.line_length(*np.asarray(ring.coords).T) for ring in [polygon.exterior, *polygon.interiors])
        for polygon in geographic
    ]
    np.testing.assert_allclose(parcels.perimeter_m, expected, rtol=2e-5)


def test_wrong_use_is_told():
    da = make_map(np.ones((2, 2), np.uint8))
    with pytest.raises(OptionError, match="connectivity=6"):
        vectorize(da, connectivity=6)
    with pytest.raises(OptionError, match="float64"):
        vectorize(make_map(np.ones((2, 2))))
    with pytest.raises(OptionError, match="32 bits"):
        vectorize(make_map(np.array([[1, 2**40]])))
    with pytest.raises(OptionError, match="strip_rows"):
        vectorize(da, strip_rows=0)
    with pytest.raises(SceneError, match="grid"):
        vectorize(xr.DataArray(np.ones((2, 2), np.uint8)))
    with pytest.raises(OptionError, match="uint8 percent"):
        vectorize(da, confidence=make_map(np.ones((2, 2))))
    with pytest.raises(MismatchError, match="grid of the class map"):
        vectorize(da, confidence=make_map(np.ones((2, 3), np.uint8)))
    with pytest.raises(MismatchError, match=r"rows 0\.\.1"):
        vectorize(da, confidence=make_map(np.array([[1, 2], [3, 255]], np.uint8)))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "rows", "cols"),
    [
        ("classmaps/nlcd_zion.tif", slice(800, 1050), slice(550, 800)),
        ("classmaps/paletted_7168x8704.tif", slice(5400, 5900), slice(5600, 6100)),
        ("prodes/PRODES_LANDSAT_AMZ_2000-08-01_2020-07-31_class_v20220606.tif", slice(200, 450), slice(200, 600)),
    ],
)
def test_real_maps_equal_gdal(data_dir, name, rows, cols):
    with rasterio.open(data_dir / name) as source:
        values = source.read(1)[rows, cols]
        nodata = int(source.nodata) if source.nodata is not None else 255
        transform = source.transform * Affine.translation(cols.start, rows.start)
        da = make_map(np.ascontiguousarray(values), transform, source.crs, _FillValue=nodata)
    four, eight = vectorize(da), vectorize(da, connectivity=8)
    expected, classes = gdal_polygons(da, 4, nodata)
    assert len(four) > 10
    assert as_set(four.geometry, four["class"]) == as_set(expected, classes)
    assert shapely.coverage_is_valid(four.geometry.to_numpy())
    assert eight.is_valid.all()
    assert len(eight) == len(gdal_polygons(da, 8, nodata)[0])
    np.testing.assert_allclose(
        four.groupby("class").area_m2.sum(), class_areas(da).set_index("class").query("pixels > 0").area_m2
    )
