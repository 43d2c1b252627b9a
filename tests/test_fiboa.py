"""Fields as fiboa: by its rules, and by its validator where that is installed (``make fiboa``)."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyproj
import pytest
import shapely
from objects_truth import draw_truth
from odc.geo.geobox import GeoBox
from pyarrow import parquet
from test_detect import Perfect
from typer.testing import CliRunner

import geoseg
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map, write_class_map
from geoseg.cli import app
from geoseg.errors import OptionError
from geoseg.export import fiboa, read_areas, read_objects, write_fiboa
from geoseg.outfolder import check_formats
from geoseg.polygons import iter_tables, polygon_areas
from geoseg.tiling import Tiling

VECOREL = "https://vecorel.org/specification/v0.1.0/schema.yaml"
FIBOA = "https://fiboa.org/specification/v0.3.0/schema.yaml"
SDL = "https://vecorel.org/sdl/v0.2.0/schema.json"
GRID = GeoBox.from_bbox((500_000, 5_000_000, 500_400, 5_000_200), "EPSG:32633", resolution=10)

# What the specifications ask of a file, in words of our own; the validator would fetch theirs.
_TEXT = {"type": "string", "minLength": 1}
_SIDE = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}}
SCHEMAS: dict[str, Any] = {
    VECOREL: {
        "$schema": SDL,
        "required": ["schemas", "id", "collection", "geometry"],
        "collection": {"schemas": True, "id": False, "geometry": False, "bbox": False},
        "properties": {
            "schemas": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
            "id": _TEXT,
            "collection": _TEXT,
            "geometry": {"type": "geometry"},
            "bbox": {"type": "bounding-box"},
        },
    },
    FIBOA: {
        "$schema": SDL,
        "collection": {"metrics:area": False, "metrics:perimeter": False},
        "properties": {
            "metrics:area": {"type": "float", "exclusiveMinimum": 0, "maximum": 1e9},
            "metrics:perimeter": {"type": "float", "exclusiveMinimum": 0, "maximum": 1.25e9},
            "determination:datetime": {"type": "date-time"},
            "determination:method": {"type": "string", "enum": ["auto-imagery", "manual", "unknown"]},
            "determination:details": {"type": "string"},
        },
    },
    "https://geoparquet.org/releases/v1.1.0/schema.json": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["version", "primary_column", "columns"],
        "properties": {
            "version": {"const": "1.1.0"},
            "primary_column": {"const": "geometry"},
            "columns": {
                "type": "object",
                "required": ["geometry"],
                "additionalProperties": {
                    "type": "object",
                    "required": ["encoding", "geometry_types"],
                    "properties": {
                        "encoding": {"const": "WKB"},
                        "geometry_types": {"type": "array", "items": {"enum": ["Polygon", "MultiPolygon"]}},
                        "crs": {"$ref": "https://proj.org/schemas/v0.7/projjson.schema.json"},
                        "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
                        "covering": {
                            "type": "object",
                            "properties": {
                                "bbox": {
                                    "required": ["xmin", "ymin", "xmax", "ymax"],
                                    "additionalProperties": _SIDE,
                                }
                            },
                        },
                    },
                },
            },
        },
    },
}


def fields() -> gpd.GeoDataFrame:
    """Three fields, one in two parts, with columns of many types."""
    shapes = [
        shapely.box(500_000.1, 5_000_000, 500_100, 5_000_100),
        shapely.multipolygons([shapely.box(500_100, 5_000_000, 500_300, 5_000_100)]),
        shapely.multipolygons([shapely.box(500_300 + n, 5_000_000 + n, 500_350 + n, 5_000_050 + n) for n in (0, 50)]),
    ]
    return gpd.GeoDataFrame(
        {
            "object_id": np.array([1, 2, 3], np.uint32),
            "class": np.array([1, 1, 1], np.uint8),
            "class_name": ["field", "Feld ß", "畑"],
            "pixels": [100, 200, 50],
            "area_m2": [9_990.0, 20_000.0, 5_000.0],
            "area_ha": [0.999, 2.0, 0.5],
            "perimeter_m": [399.8, 600.0, 400.0],
            "score": [0.9, np.nan, 0.8],
            "edge": [True, False, False],
            "seen": pd.to_datetime(["2024-05-31T10:00:00Z"] * 3),
        },
        geometry=shapes,
        crs="EPSG:32633",
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fields.fiboa.parquet"


def collection_of(path: Path) -> dict[str, Any]:
    return json.loads(parquet.read_metadata(path).metadata[b"collection"])


def test_the_columns_are_those_of_the_specification(file: Path) -> None:
    assert write_fiboa([fields()], file, collection="mine", observed="2024-05-31", details="by hand") == file
    schema = parquet.read_schema(file)
    assert {field.name: (str(field.type), field.nullable) for field in schema if field.name != "bbox"} == {
        "id": ("string", False),
        "metrics:area": ("float", True),
        "metrics:perimeter": ("float", True),
        "class": ("int64", True),
        "class_name": ("string", True),
        "pixels": ("int64", True),
        "score": ("double", True),
        "edge": ("bool", True),
        "seen": ("timestamp[ms, tz=UTC]", True),
        "geometry": ("binary", False),
    }
    assert [str(side.type) for side in schema.field("bbox").type] == ["float"] * 4
    further = {"class": "int64", "class_name": "string", "pixels": "int64", "score": "double", "edge": "boolean"}
    assert collection_of(file) == {
        "schemas": {"mine": [VECOREL, FIBOA]},
        "collection": "mine",
        "determination:method": "auto-imagery",
        "determination:datetime": "2024-05-31T00:00:00Z",
        "determination:details": "by hand",
        "schemas:custom": {
            "$schema": SDL,
            "required": [],
            "collection": {},
            "properties": {name: {"type": kind} for name, kind in (further | {"seen": "date-time"}).items()},
        },
    }


@pytest.mark.parametrize("crs", [None, "EPSG:4326", "EPSG:3035"])
def test_what_is_read_is_what_was_written(file: Path, crs: str | None) -> None:
    frame = fields()
    write_fiboa([frame], file, collection="mine", crs=crs)
    found = gpd.read_parquet(file)
    assert found.crs == (crs or frame.crs)
    assert found["id"].tolist() == ["1", "2", "3"]
    np.testing.assert_allclose(found["metrics:area"], frame["area_m2"])  # m² on the ground, whatever the CRS
    np.testing.assert_allclose(found["metrics:perimeter"], frame["perimeter_m"])
    assert found["score"].isna().tolist() == [False, True, False]
    assert found.geom_type.tolist() == ["Polygon", "Polygon", "MultiPolygon"]  # one part is a Polygon
    moved = frame.to_crs(found.crs)
    assert shapely.equals(found.geometry.values, moved.geometry.values).all()
    geo = json.loads(parquet.read_schema(file).metadata[b"geo"])
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon", "Polygon"]
    np.testing.assert_array_equal(geo["columns"]["geometry"]["bbox"], moved.total_bounds)
    boxes = np.array(
        [list(box.values()) for box in parquet.read_table(file)["bbox"].to_pylist()]
    )  # in single precision, but never too small
    exact = moved.bounds.to_numpy()
    assert (boxes[:, :2] <= exact[:, :2]).all()
    assert (boxes[:, 2:] >= exact[:, 2:]).all()
    np.testing.assert_allclose(boxes, exact, rtol=3e-7)


def test_bytes_do_not_depend_on_the_batches(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = fields()
    monkeypatch.setattr(fiboa, "GROUP_ROWS", 2)
    other = tmp_path / "other.fiboa.parquet"
    write_fiboa([frame], file, collection="mine")
    write_fiboa([frame[:1], frame[1:1], frame[1:]], other, collection="mine")
    assert file.read_bytes() == other.read_bytes()
    assert parquet.read_metadata(file).num_row_groups == 2


def test_ids_of_the_user_and_tables_of_the_vectoriser(file: Path) -> None:
    named = fields()[["class", "geometry"]].assign(id=["a", "b", "c"])
    assert gpd.read_parquet(write_fiboa([named], file, collection="x"))["id"].tolist() == ["a", "b", "c"]
    cover = class_map(np.array([[1, 1, 2], [1, 255, 2]], np.uint8), GRID[:2, :3], [ClassInfo(1, "wheat", "#aa8800")])
    found = gpd.read_parquet(write_fiboa(iter_tables(cover), file, collection="x"))
    assert found[["id", "class_name"]].values.tolist() == [["1", "wheat"], ["2", "class 2"]]


def test_an_area_that_no_field_has_is_left_empty(file: Path) -> None:
    frame = fields().assign(area_m2=[1.1e9, 1e9, 0.0])
    found = gpd.read_parquet(write_fiboa([frame], file, collection="x"))["metrics:area"]
    assert found.isna().tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.set_crs(None, allow_override=True), "need a CRS"),
        (lambda frame: frame.drop(columns="object_id"), "need an id"),
        (lambda frame: frame.assign(object_id=[1, 2, 1]), "'1' names 2 polygons"),
        (lambda frame: frame.assign(id=["a", None, "b"]), "some have none"),
        (lambda frame: frame.assign(id=["a", "", "b"]), "some have none"),
        (lambda frame: frame.assign(collection="mine"), "keeps the name 'collection'"),
        (lambda frame: frame.assign(**{"determination:method": "manual"}), "keeps the name 'determination:method'"),
        (lambda frame: frame.assign(seen=pd.to_datetime(["2024-05-31"] * 3)), "'seen' is of type timestamp"),
        (lambda frame: frame.assign(parts=[[1], [2], [3]]), "'parts' is of type list"),
        (lambda frame: frame.set_geometry(frame.centroid), "got a Point"),
    ],
)
def test_what_the_format_has_no_place_for_is_refused(
    file: Path, change: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame], says: str
) -> None:
    file.write_text("older")
    with pytest.raises(OptionError, match=says):
        write_fiboa([change(fields())], file, collection="mine")
    assert file.read_text() == "older"
    assert list(file.parent.iterdir()) == [file]


def test_bad_names_and_dates_are_refused(file: Path) -> None:
    with pytest.raises(OptionError, match=r"written as \*\.fiboa\.parquet, but the file is 'fields\.gpkg'"):
        write_fiboa([fields()], file.with_name("fields.gpkg"), collection="mine")
    with pytest.raises(OptionError, match="needs a name"):
        write_fiboa([fields()], file, collection="")
    with pytest.raises(OptionError, match="written as 2024-05-31"):
        write_fiboa([fields()], file, collection="mine", observed="31 May")
    for when in (date(2024, 5, 31), datetime(2024, 5, 31, tzinfo=UTC)):
        write_fiboa([fields()], file, collection="mine", observed=when)
        assert collection_of(file)["determination:datetime"] == "2024-05-31T00:00:00Z"
    with pytest.raises(OptionError, match=r"one of classes.*--objects field.*vectorize classes.tif --classes field"):
        check_formats(["gpkg", "fiboa"])
    assert check_formats(["fiboa", "gpkg"], objects=True) == ("fiboa", "gpkg")


# By the validator


@pytest.fixture(scope="module")
def validate() -> Callable[[Path], dict[str, Any]]:
    """What the validator says of a file. It wants an older pyarrow, so it may live in an environment of its own."""
    python = os.environ.get("GEOSEG_FIBOA_PYTHON") or (sys.executable if importlib.util.find_spec("fiboa_cli") else "")
    if not python:
        pytest.skip("needs fiboa-cli: run `make fiboa`, or name its Python in GEOSEG_FIBOA_PYTHON")
    projjson = json.loads((Path(pyproj.datadir.get_data_dir()) / "projjson.schema.json").read_text(encoding="utf-8"))
    schemas = json.dumps(SCHEMAS | {"https://proj.org/schemas/v0.7/projjson.schema.json": projjson})

    def run(path: Path) -> dict[str, Any]:
        script = Path(__file__).with_name("fiboa_validator.py")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [python, script, path], input=schemas, capture_output=True, text=True, env=environ, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_validator_finds_the_files_valid(validate: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    frame = fields()
    cases: list[tuple[list[gpd.GeoDataFrame], dict[str, Any]]] = [
        ([frame], {"observed": "2024-05-31", "details": "by hand"}),
        ([frame], {"crs": "EPSG:4326"}),
        ([frame[["object_id", "geometry"]]], {}),
        ([frame.assign(area_m2=[1.1e9, 1e9, 0.0])], {}),
        ([frame[:0]], {}),
        ([], {"crs": "EPSG:3035"}),
    ]
    for number, (batches, options) in enumerate(cases):
        said = validate(write_fiboa(batches, tmp_path / f"{number}.fiboa.parquet", collection="mine", **options))
        assert said["valid"], said
        assert said["errors"] == said["warnings"] == []


def test_the_validator_sees_what_is_wrong(validate: Callable[[Path], dict[str, Any]], file: Path) -> None:
    table = parquet.read_table(write_fiboa([fields()], file, collection="mine"))
    nullable = pa.schema([pa.field(f.name, f.type) for f in table.schema], table.schema.metadata)
    parquet.write_table(pa.table(table.columns, schema=nullable), file)
    assert any("id: Nullability differs" in error for error in validate(file)["errors"])
    row = table.schema.get_field_index("metrics:area")
    parquet.write_table(table.set_column(row, table.schema.field(row), pa.array([-1.0, 1, 1], pa.float32())), file)
    assert any("metrics:area: Value -1.0" in error for error in validate(file)["errors"])


# The ways to it


def map_of_objects(folder: Path, **options: Any) -> gpd.GeoDataFrame:
    import rasterio
    from rasterio.transform import from_origin

    truth = draw_truth(300, want=30).astype(np.uint16)
    profile = {"driver": "GTiff", "height": 300, "width": 300, "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(folder / "truth.tif", "w", **profile, transform=from_origin(500_000, 5_000_000, 1, 1)) as scene:
        scene.write(truth, 1)
        scene.set_band_description(1, "number")
    model = Perfect(Tiling((300, 300), tile_px=256, overlap_px=64, margin_px=8))
    geoseg.map_objects(
        folder / "truth.tif", model, folder / "out", bands="number=1", formats=("gpkg", "fiboa"), **options
    )
    return gpd.read_file(folder / "out/polygons.gpkg", layer="polygons")


def test_a_map_of_objects_is_written_with_the_areas_of_its_shapes(tmp_path: Path) -> None:
    layer = map_of_objects(tmp_path, simplify="2px")
    path = tmp_path / "out/polygons.fiboa.parquet"
    found = gpd.read_parquet(path)
    assert found["id"].tolist() == layer["object_id"].astype(str).tolist()
    assert {"class", "score", "tiles", "compactness"} <= set(found.columns)
    exact = polygon_areas(found.geometry, geoseg.open_scene(tmp_path / "truth.tif").geobox)
    np.testing.assert_allclose(found["metrics:area"], exact, rtol=1e-6)
    assert (np.abs(layer["area_m2"] - exact) > 1e-3).any()  # the layer's are those of the pixels
    said = collection_of(path)
    assert said["collection"] == "truth"
    assert said["determination:details"].startswith("Found by the model perfect with geoseg ")


def test_such_a_map_is_valid(tmp_path: Path, validate: Callable[[Path], dict[str, Any]]) -> None:
    map_of_objects(tmp_path)
    said = validate(tmp_path / "out/polygons.fiboa.parquet")
    assert said["valid"], said
    assert said["errors"] == said["warnings"] == []


def test_one_class_of_any_map_is_written(tmp_path: Path) -> None:
    values = np.zeros(GRID.shape, np.uint8)
    values[2:8, 3:9], values[2:8, 12:30], values[12:18, 5:20] = 1, 1, 2
    legend = [ClassInfo(0, "other", "#888888"), ClassInfo(1, "field", "#aa8800"), ClassInfo(2, "road", "#333333")]
    cover = class_map(values, GRID, legend)
    write_class_map(cover, tmp_path / "classes.tif")
    arguments = ["vectorize", str(tmp_path / "classes.tif"), "--classes", "field", "--simplify", "1px"]
    out = tmp_path / "fields.fiboa.parquet"
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "2 polygons are in" in result.output
    found = gpd.read_parquet(out)
    np.testing.assert_allclose(found["metrics:area"], polygon_areas(found.geometry, GRID), rtol=1e-6)
    assert collection_of(out)["collection"] == "fields"


def test_fields_are_read_to_cut_by_and_to_compare_with(file: Path) -> None:
    write_fiboa([fields()], file, collection="mine")
    assert read_objects(file)["id"].tolist() == read_areas(file)["id"].tolist() == ["1", "2", "3"]
    assert geoseg.assess_objects(read_objects(file), fields()).overall["found"] == 3
    with pytest.raises(OptionError, match="has no layers"):
        read_objects(file, layer="polygons")
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(OptionError, match="cannot be read as one"):
        read_objects(file)
    file.write_text("no parquet")
    with pytest.raises(OptionError, match="cannot be read as one"):
        read_areas(file)


def test_pieces_of_a_field_that_was_cut_are_refused(tmp_path: Path) -> None:
    comb = np.zeros(GRID.shape, np.uint8)
    comb[2:4, 2:38] = comb[4:10, 2:38:4] = 1
    cover = class_map(comb, GRID, [])
    with pytest.raises(OptionError, match=r"'\d' names \d polygons.*number them anew"):
        geoseg.vectorize(cover, to=tmp_path / "b.fiboa.parquet", max_vertices=16)
