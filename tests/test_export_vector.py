"""Polygon layers: what is read back is what was written, in every format, however the batches are cut."""

from __future__ import annotations

import gc
import itertools
import json
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from test_files import tiny_disk  # noqa: F401

from geoseg.classes import ClassInfo
from geoseg.classmap import class_map
from geoseg.errors import OptionError, OutputError
from geoseg.export import FORMATS, vector, write_polygons
from geoseg.polygons import vectorize

CLASSES = (
    ClassInfo(1, "building", "#c0392b"),
    ClassInfo(2, "zone boisée <&>", "#2e7d32"),
    ClassInfo(7, "水", "#1f6fb4"),
)
COLUMNS = [
    *("object_id", "class", "class_name", "pixels"),
    *("area_m2", "area_ha", "perimeter_m", "confidence"),
]
GRID = GeoBox.from_bbox((400_000, 5_000_000, 400_300, 5_000_200), "EPSG:32633", resolution=5)
AREAS = pd.DataFrame(
    {"class": [1, 2, 7, 255], "class_name": ["building", "zone boisée <&>", "水", "no data"], "pixels": [1, 2, 3, 4]}
).assign(area_m2=[25.5, 0.1 + 0.2, 75.0, 100.0], share=[0.25, 0.25, 0.5, np.nan])


def parcels(seed: int = 0, connectivity: int = 4) -> gpd.GeoDataFrame:
    """Polygons of a random map with nodata, and a confidence that some of them lack."""
    rng = np.random.default_rng(seed)
    values = rng.choice(np.array([1, 2, 7, 255], np.uint8), GRID.shape, p=[0.4, 0.35, 0.2, 0.05])
    frame = vectorize(class_map(values, GRID, CLASSES), connectivity=connectivity)
    frame["confidence"] = np.where(frame.index % 5 == 0, np.nan, rng.integers(0, 101, len(frame)) / 3)
    return frame


FRAME = parcels()


def cut(frame: gpd.GeoDataFrame, at: list[int]) -> Iterator[gpd.GeoDataFrame]:
    for start, stop in itertools.pairwise([0, *sorted(at), len(frame)]):
        yield frame.iloc[start:stop]


def read(path: Path) -> gpd.GeoDataFrame:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    frame = gpd.read_file(path, **({"layer": "polygons"} if path.suffix == ".gpkg" else {}))
    return frame.rename(columns={"perim_m": "perimeter_m"})


def everything(folder: Path) -> dict[str, bytes]:
    return {str(item.relative_to(folder)): item.read_bytes() for item in folder.rglob("*") if item.is_file()}


@pytest.fixture(params=list(FORMATS))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"polygons{request.param}"


def test_what_is_read_is_what_was_written(file: Path) -> None:
    assert write_polygons(cut(FRAME, [3, 3, 500]), file, classes=CLASSES) == file
    found = read(file)
    if file.suffix == ".fgb":  # ordered by place, as its index wants it
        found = found.sort_values("object_id", ignore_index=True)
    assert list(found.columns) == [*COLUMNS, "geometry"]
    exact = file.suffix not in (".shp", ".geojson")
    for name in COLUMNS[:4]:
        assert found[name].tolist() == FRAME[name].tolist()
    for name in COLUMNS[4:]:
        np.testing.assert_allclose(found[name], FRAME[name], rtol=0 if exact else 1e-12)
    if file.suffix == ".geojson":
        assert found.crs == "EPSG:4326"
        expected = FRAME.to_crs("EPSG:4326").geometry
        assert shapely.hausdorff_distance(found.geometry.values, expected.values).max() < 1e-9
    else:
        assert found.crs == FRAME.crs
        assert shapely.equals_exact(
            shapely.normalize(found.geometry.values), shapely.normalize(FRAME.geometry.values)
        ).all()


@pytest.mark.parametrize("suffix", FORMATS)
@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, len(FRAME)), max_size=5))
def test_bytes_do_not_depend_on_the_batches(
    suffix: str, tmp_path_factory: pytest.TempPathFactory, at: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector, "_ROWS", 100)  # many groups
        patch.setattr(vector, "GROUP_ROWS", 100)
        for name, batches in (("a", [FRAME]), ("b", cut(FRAME, at))):
            (folder / name).mkdir()
            write_polygons(batches, folder / name / f"p{suffix}", classes=CLASSES, areas=AREAS)
    assert everything(folder / "a") == everything(folder / "b")


@pytest.mark.parametrize("crs", [None, "EPSG:3035", pyproj.CRS.from_epsg(4326)])
def test_no_batch_and_an_empty_one_make_a_valid_empty_layer(file: Path, crs: object) -> None:
    for batches in ([], [FRAME.iloc[:0]], [FRAME.iloc[:0]] * 3):
        write_polygons(batches, file, classes=CLASSES, areas=AREAS.iloc[:0], crs=crs)
        found = read(file)
        assert len(found) == 0
        if file.suffix == ".geojson":  # has no place for columns without a feature
            assert found.crs == "EPSG:4326"
            continue
        assert list(found.columns) == [*COLUMNS, "geometry"]
        if crs or batches:
            assert found.crs == (crs or FRAME.crs)
        if file.suffix != ".parquet":
            info = pyogrio.read_info(file, layer="polygons")
            assert info["geometry_type"] == "Polygon"


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035"])
def test_reprojected_polygons_stay_an_edge_matched_coverage(tmp_path: Path, crs: str) -> None:
    file = write_polygons(cut(FRAME, [200]), tmp_path / "p.gpkg", classes=CLASSES, crs=crs)
    found = read(file)
    assert found.crs == crs
    assert shapely.coverage_is_valid(found.geometry.values)
    assert found["area_m2"].tolist() == FRAME["area_m2"].tolist()
    oracle = pyproj.Transformer.from_crs(FRAME.crs, crs, always_xy=True)
    x, y = oracle.transform(*shapely.get_coordinates(FRAME.geometry.values).T)
    np.testing.assert_allclose(shapely.get_coordinates(found.geometry.values), np.column_stack([x, y]), rtol=1e-15)


def test_geojson_follows_rfc_7946(tmp_path: Path) -> None:
    file = write_polygons([FRAME], tmp_path / "p.geojson", classes=CLASSES, crs="EPSG:3857")
    document = json.loads(file.read_text(encoding="utf-8"))
    assert "crs" not in document
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in document["features"]]
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    holes = [hole for shape in shapes for hole in shape.interiors]
    assert holes
    assert not shapely.is_ccw(holes).any()
    geod = pyproj.Geod(ellps="WGS84")
    total = sum(geod.geometry_area_perimeter(shape)[0] for shape in shapes)
    assert total == pytest.approx(FRAME["area_m2"].sum(), rel=1e-6)


def test_a_layer_has_one_geometry_type(tmp_path: Path, file: Path) -> None:
    frame = parcels(connectivity=8)
    assert set(frame.geom_type) == {"Polygon", "MultiPolygon"}
    with pytest.raises(OptionError, match=r"Polygon, but it got a MultiPolygon\. Pass multi=True"):
        write_polygons([frame], file, classes=CLASSES)
    assert everything(tmp_path) == {}
    write_polygons(cut(frame, [10]), file, classes=CLASSES, multi=True)
    found = read(file)
    if file.suffix in (".gpkg", ".fgb", ".parquet"):
        assert set(found.geom_type) == {"MultiPolygon"}
    if file.suffix in (".gpkg", ".fgb"):
        assert pyogrio.read_info(file, layer="polygons")["geometry_type"] == "MultiPolygon"
    if file.suffix == ".gpkg":
        assert shapely.equals(found.geometry.values, frame.geometry.values).all()


def test_a_geopackage_has_the_areas_the_style_and_no_date(tmp_path: Path) -> None:
    file = write_polygons([FRAME], tmp_path / "p.gpkg", classes=CLASSES, areas=AREAS)
    layers = dict(pyogrio.list_layers(file).tolist())
    assert layers == {"polygons": "Polygon", "class_areas": None, "layer_styles": None}
    table = pyogrio.read_dataframe(file, layer="class_areas")
    pd.testing.assert_frame_equal(table, AREAS)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        contents = database.execute("SELECT table_name, data_type, last_change FROM gpkg_contents").fetchall()
        assert {row[:2] for row in contents} == {
            ("polygons", "features"),
            ("class_areas", "attributes"),
            ("layer_styles", "attributes"),
        }
        assert {row[2] for row in contents} == {"1970-01-01T00:00:00.000Z"}
        row = database.execute("SELECT * FROM layer_styles")
        style = dict(zip([column[0] for column in row.description], row.fetchone(), strict=True))
        assert (style["f_table_name"], style["f_geometry_column"], style["useAsDefault"]) == ("polygons", "geom", 1)
        assert database.execute("SELECT count(*) FROM rtree_polygons_geom").fetchone() == (len(FRAME),)


def test_a_geopackage_without_areas_has_no_such_table(tmp_path: Path) -> None:
    file = write_polygons([FRAME], tmp_path / "p.gpkg", classes=CLASSES, layer="parcels")
    assert set(pyogrio.list_layers(file)[:, 0]) == {"parcels", "layer_styles"}


def test_geoparquet_says_where_its_rows_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    monkeypatch.setattr(vector, "_ROWS", 100)
    monkeypatch.setattr(vector, "GROUP_ROWS", 100)
    file = write_polygons([FRAME], tmp_path / "p.parquet", classes=CLASSES)
    meta = parquet.read_metadata(file)
    assert meta.num_row_groups == -(-len(FRAME) // 100)
    geo = json.loads(meta.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert pyproj.CRS.from_json_dict(column["crs"]) == FRAME.crs
    assert column["bbox"] == FRAME.total_bounds.tolist()
    box = (400_000.0, 5_000_000.0, 400_040.0, 5_000_040.0)
    found = gpd.read_parquet(file, bbox=box)  # through the covering
    assert found["object_id"].tolist() == FRAME[FRAME.intersects(shapely.box(*box))]["object_id"].tolist()
    assert 0 < len(found) < len(FRAME)


def test_further_columns_are_written_and_types_are_kept(tmp_path: Path) -> None:
    frame = FRAME.assign(
        score=np.float32(0.5), zone=pd.Categorical(["a", "b"] * (len(FRAME) // 2) + ["a"] * (len(FRAME) % 2))
    )
    frame["class"] = frame["class"].astype("uint8")
    frame["class_name"] = frame["class_name"].astype("category")
    found = read(write_polygons([frame], tmp_path / "p.gpkg", classes=CLASSES))
    assert found["zone"].tolist() == frame["zone"].tolist()
    assert found["class_name"].tolist() == FRAME["class_name"].tolist()
    assert set(found["score"]) == {0.5}
    same = write_polygons([FRAME], tmp_path / "same.gpkg", classes=CLASSES).read_bytes()
    narrow = write_polygons([frame[FRAME.columns]], tmp_path / "narrow.gpkg", classes=CLASSES).read_bytes()
    assert same == narrow


def test_a_crs_without_a_code_is_kept(file: Path) -> None:
    local = pyproj.CRS.from_proj4("+proj=aea +lat_0=23 +lon_0=-96 +lat_1=29.5 +lat_2=45.5 +datum=NAD83 +units=m")
    frame = FRAME.set_crs(local, allow_override=True)
    found = read(write_polygons([frame], file, classes=CLASSES))
    if file.suffix == ".geojson":
        expected = frame.to_crs(4326).geometry
        assert shapely.hausdorff_distance(found.geometry.values, expected.values).max() < 1e-9
    else:
        there = pyproj.Transformer.from_crs(found.crs, local, always_xy=True)
        np.testing.assert_allclose(there.transform(1e5, 2e5), (1e5, 2e5), atol=1e-6)


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken("network"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    file: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector, "_ROWS", 50)
    monkeypatch.setattr(vector, "GROUP_ROWS", 50)
    write_polygons([FRAME.iloc[:5]], file, classes=CLASSES)
    before = everything(file.parent)

    def batches() -> Iterator[gpd.GeoDataFrame]:
        yield from cut(FRAME.iloc[:400], [100, 200])
        raise error

    with pytest.raises(type(error)) as caught:
        write_polygons(batches(), file, classes=CLASSES)
    assert caught.value is error
    assert everything(file.parent) == before


def test_a_full_disk_says_so(tiny_disk: Path, file: Path) -> None:  # noqa: F811
    noise = np.random.default_rng(0).random
    names = ["area_m2", "area_ha", "perimeter_m", "confidence"]
    batches = (FRAME.assign(**{name: noise(len(FRAME)) for name in names}) for _ in range(100))
    with pytest.raises(OutputError, match=rf"Cannot write .*{file.name}: .*Free some space, or"):
        write_polygons(batches, tiny_disk / file.name, classes=CLASSES)
    assert everything(tiny_disk) == {}


def test_batches_are_let_go(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "_ROWS", 50)
    monkeypatch.setattr(vector, "GROUP_ROWS", 50)
    alive: list[weakref.ref] = []
    most = 0

    def batches() -> Iterator[gpd.GeoDataFrame]:
        nonlocal most
        for start in range(0, 600, 20):
            if start % 200 == 0:  # slow
                gc.collect()
            most = max(most, sum(item() is not None for item in alive))
            frame = FRAME.iloc[start : start + 20].copy()
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    write_polygons(batches(), file, classes=CLASSES)
    assert len(alive) == 30
    assert most <= 12


def test_a_shapefile_stops_before_two_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_polygons([FRAME], tmp_path / "p.shp", classes=CLASSES)
    sizes = {suffix: file.with_suffix(suffix).stat().st_size for suffix in (".shp", ".dbf")}
    monkeypatch.setattr(vector, "_SHP_MAX_BYTES", max(sizes.values()) * 1.25)  # the count is no underestimate ...
    write_polygons([FRAME], file, classes=CLASSES)
    before = everything(tmp_path)
    monkeypatch.setattr(vector, "_SHP_MAX_BYTES", max(sizes.values()) - 1)  # ... and not far above
    with pytest.raises(OutputError, match=r"at most 2 GB, but its \.(shp|dbf) .*gpkg, parquet or fgb"):
        write_polygons([FRAME], file, classes=CLASSES)
    assert everything(tmp_path) == before


def test_wrong_input_is_named(tmp_path: Path) -> None:
    point = gpd.GeoDataFrame({"class": [1]}, geometry=[shapely.Point(0, 0)], crs=FRAME.crs)
    nowhere = gpd.GeoDataFrame({"class": [1]}, geometry=[shapely.box(1e9, 1e9, 2e9, 2e9)], crs="EPSG:3035")
    other = FRAME.to_crs("EPSG:3857")
    cases = {
        "must be one of .gpkg, .parquet, .fgb, .geojson, .shp, but the file is 'p.kml'": ([FRAME], "p.kml", None),
        "need a CRS, but a batch has none": ([FRAME.set_crs(None, allow_override=True)], "p.gpkg", None),
        "need one CRS, but WGS 84 / Pseudo-Mercator follows WGS 84 / UTM zone 33N": ([FRAME, other], "p.gpkg", None),
        "need the same columns": ([FRAME, FRAME.drop(columns="pixels")], "p.gpkg", None),
        "it got a Point": ([point], "p.gpkg", None),
        "at most 10 characters, but 'a_long_column'": ([FRAME.assign(a_long_column=1)], "p.shp", None),
    }
    for message, (batches, name, crs) in cases.items():
        with pytest.raises(OptionError) as caught:
            write_polygons(batches, tmp_path / name, classes=CLASSES, crs=crs)
        assert message in str(caught.value)
    with pytest.raises(OutputError, match=r"have no place in WGS 84\. Choose another CRS"):
        write_polygons([nowhere], tmp_path / "p.gpkg", classes=CLASSES, crs="EPSG:4326")
    with pytest.raises(OutputError, match=r"No such file or directory\. Create the folder"):
        write_polygons([FRAME], tmp_path / "none" / "p.gpkg", classes=CLASSES)
    with pytest.raises(OptionError, match="EPSG:25832 or as WKT, but --crs is 'EPSG:nonsense'"):
        write_polygons([FRAME], tmp_path / "p.gpkg", classes=CLASSES, crs="EPSG:nonsense")
    assert everything(tmp_path) == {}
