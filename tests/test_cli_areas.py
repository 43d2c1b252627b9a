"""``geoseg areas``: a folder or a table, with zones and without; and QGIS opens the zones styled."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from test_export_qgis import PYTHON, rendered, why_not

from geoseg import ClassInfo, class_map, zone_areas
from geoseg.classmap import open_class_map, open_value_map, write_class_map
from geoseg.cli import main
from geoseg.cli_areas import ZONE_FILES
from geoseg.errors import SceneError

LEGEND = [ClassInfo(1, "forest", "#1b6e35"), ClassInfo(2, "open water", "#1f6fb4"), ClassInfo(7, "town", "#c0392b")]
TRANSFORM = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A map of 60 × 40 pixels, its confidence, and four districts in degrees: one has no data, one lies outside."""
    from odc.geo.geobox import GeoBox

    grid = GeoBox((40, 60), TRANSFORM, "EPSG:32633")
    values = np.repeat(np.repeat(np.array([[1, 1, 2], [7, 2, 255]], np.uint8), 20, axis=0), 20, axis=1)
    write_class_map(class_map(values, grid, LEGEND), tmp_path / "classes.tif")
    write_raster(tmp_path / "confidence.tif", np.full((40, 60), 80, np.uint8), nodata=255)
    shapes = [(0, 200, 300, 400), (0, 50, 250, 200), (450, 20, 590, 150), (2000, 0, 2100, 100)]
    moved = [shapely.box(500_000 + a, 4_999_600 + b, 500_000 + c, 4_999_600 + d) for a, b, c, d in shapes]
    zones = gpd.GeoDataFrame({"name": ["Au", "Bad Au", "Nix", "Fern"], "pop": [1, 2, 3, 4]}, geometry=moved, crs=32633)
    zones.to_crs(4326).to_file(tmp_path / "districts.gpkg", layer="districts")
    return tmp_path


def write_raster(path: Path, values: np.ndarray, **profile: Any) -> Path:
    height, width = values.shape
    size = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": values.dtype}
    with rasterio.open(path, "w", **{**size, "crs": "EPSG:32633", "transform": TRANSFORM, **profile}) as out:
        out.write(values, 1)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def fails(capsys: Any, *arguments: object, code: int = 1) -> str:
    capsys.readouterr()
    assert run(*arguments) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_zones_give_two_tables_a_layer_and_a_record(folder: Path, capsys: Any) -> None:
    out = folder / "out"
    options = ("--zones", folder / "districts.gpkg", "--zone-field", "name", "--confidence", folder / "confidence.tif")
    assert run("areas", folder / "classes.tif", *options, "--out", out) == 0
    said = capsys.readouterr().out
    assert "Bad Au" in said
    assert "1 of 4 zones lie wholly outside" in said
    assert sorted(path.name for path in out.iterdir()) == sorted(ZONE_FILES)

    found = zone_areas(
        open_class_map(folder / "classes.tif"), gpd.read_file(folder / "districts.gpkg"), zone_field="name"
    )
    long = pd.read_csv(out / "zone_areas.csv", float_precision="round_trip")
    assert long["zone"].tolist() == [name for name in ("Au", "Bad Au", "Nix", "Fern") for _ in range(4)]
    assert long["class"].tolist() == [1, 2, 7, 255] * 4
    classes = long[long["class"] != 255].reset_index(drop=True)
    assert classes.area_m2.tolist() == found.table.area_m2.tolist()
    assert long[long["class"] == 255].area_m2.tolist() == found.zones.no_data_m2.tolist()
    wide = pd.read_csv(out / "zones.csv", float_precision="round_trip")
    assert wide.open_water_ha.tolist() == found.table[found.table["class"] == 2].area_ha.tolist()
    assert wide.confidence_mean.tolist()[:3] == [80] * 3
    assert np.isnan(wide.confidence_mean[3])
    layer = gpd.read_file(out / "zones.gpkg", layer="zones")
    assert layer.crs.to_epsg() == 4326
    assert layer.class_name.tolist() == ["forest", "town", "(no data)", "(outside)"]
    assert layer["pop"].tolist() == [1, 2, 3, 4]
    assert layer.forest_m2.tolist() == wide.forest_m2.tolist()
    record = json.loads((out / "zone_areas.json").read_text())
    assert record["settings"]["zone_field"] == "name"
    assert record["zones"] == {"count": 4, "places": {"inside": 3, "outside": 1}}
    assert record["versions"]["geoseg"]


def test_an_out_with_a_suffix_is_one_table_and_nothing_is_overwritten(folder: Path, capsys: Any) -> None:
    verb = ("areas", folder / "classes.tif", "--zones", folder / "districts.gpkg", "-q")
    assert run(*verb, "--out", folder / "zones.csv") == 0
    assert capsys.readouterr() == ("", "")
    assert pd.read_csv(folder / "zones.csv").zone.unique().tolist() == [1, 2, 3, 4]
    assert "--overwrite" in fails(capsys, *verb, "--out", folder / "zones.csv")
    assert run(*verb, "--out", folder / "new" / "out") == 0
    assert "has zone_areas.csv, zones.csv" in fails(capsys, *verb, "--out", folder / "new" / "out")
    assert run(*verb, "--out", folder / "new" / "out", "--overwrite") == 0


def test_without_zones_a_folder_has_the_table_and_a_record(folder: Path, capsys: Any) -> None:
    assert run("areas", folder / "classes.tif", "--out", folder / "out") == 0
    assert "open water" in capsys.readouterr().out
    table = pd.read_csv(folder / "out" / "areas.csv")
    assert table.pixels.tolist() == [800, 800, 400, 400]
    assert json.loads((folder / "out" / "areas.json").read_text())["areas"][3]["class_name"] == "(no data)"
    assert "areas.csv" in fails(capsys, "areas", folder / "classes.tif", "--out", folder / "out")


def test_names_that_stand_twice_are_said(folder: Path, capsys: Any) -> None:
    zones = gpd.read_file(folder / "districts.gpkg")
    zones["when"] = pd.to_datetime(["2020-02-01", None, None, None])
    zones["object_id"] = ["A-1", "A-2", "A-3", "A-4"]  # a number in layers that geoseg writes
    zones["Class"] = ["x", None, "y", "z"]  # the name of one of ours, but for a letter
    zones.assign(name=["Au", "Au", "Nix", "Nix"]).to_file(folder / "twice.gpkg", layer="z")
    verb = ("areas", folder / "classes.tif", "--zones", folder / "twice.gpkg", "--zone-field", "name")
    assert run(*verb, "--out", folder / "out") == 0
    assert "2 names stand more than once, 'Au' among them" in capsys.readouterr().out
    assert json.loads((folder / "out" / "zone_areas.json").read_text())["names_twice"] == ["Au", "Nix"]
    assert len(pd.read_csv(folder / "out" / "zones.csv")) == 4
    layer = gpd.read_file(folder / "out" / "zones.gpkg", layer="zones")
    assert layer["Class_given"].fillna("-").tolist() == ["x", "-", "y", "z"]
    assert layer["object_id_given"].tolist() == ["A-1", "A-2", "A-3", "A-4"]
    assert layer["class"].tolist() == [1, 7, 255, 255]
    assert layer["when"].dt.year.tolist()[0] == 2020


def test_what_is_wrong_is_said(folder: Path, capsys: Any) -> None:
    classes, zones = folder / "classes.tif", ("--zones", folder / "districts.gpkg")
    out = ("--out", folder / "out")
    assert "name, pop" in fails(capsys, "areas", classes, *zones, "--zone-field", "x", *out, code=2)
    assert "'x' is not among them" in fails(capsys, "areas", classes, *zones, "--zones-layer", "x", *out, code=2)
    assert "not there" in fails(capsys, "areas", classes, "--zones", folder / "no.gpkg", *out, code=2)
    assert "Give --zones" in fails(capsys, "areas", classes, "--zone-field", "name", code=2)
    both = ("--confidence", folder / "confidence.tif", "--mean", folder / "confidence.tif")
    assert "Run it twice" in fails(capsys, "areas", classes, *zones, *both, code=2)
    other = write_raster(folder / "other.tif", np.zeros((40, 61), np.uint8))
    assert "40 × 61" in fails(capsys, "areas", classes, *zones, "--confidence", other, *out)
    measured = write_raster(folder / "measured.tif", np.full((40, 60), 0.5, np.float32))
    assert "whole numbers" in fails(capsys, "areas", measured, *zones, *out)
    far = gpd.read_file(folder / "districts.gpkg").translate(30).to_frame("geometry")
    far.to_file(folder / "far.gpkg", layer="far")
    assert "none does" in fails(capsys, "areas", classes, "--zones", folder / "far.gpkg", *out, code=2)
    points = gpd.GeoDataFrame(geometry=[shapely.Point(15, 45)], crs=4326)
    points.to_file(folder / "points.gpkg", layer="points")
    assert "is a Point" in fails(capsys, "areas", classes, "--zones", folder / "points.gpkg", *out, code=2)
    assert not (folder / "out").exists()


def test_numbers_are_read_with_their_scale_and_without_what_is_invalid(tmp_path: Path) -> None:
    values = np.array([[1, 2, -9], [4, 5, 6]], np.int16)
    path = write_raster(tmp_path / "a.tif", values, nodata=-9)
    plain = open_value_map(path)
    assert plain.dtype == np.float32
    np.testing.assert_array_equal(plain.values, [[1, 2, np.nan], [4, 5, 6]])
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5,), (10,)
    np.testing.assert_array_equal(open_value_map(path).values, [[10.5, 11, np.nan], [12, 12.5, 13]])
    exact = write_raster(tmp_path / "b.tif", np.array([[1e9 + 1]], np.float64), nodata=None)
    assert open_value_map(exact).values.tolist() == [[1e9 + 1]]
    with pytest.raises(SceneError, match="real numbers"):
        open_value_map(write_raster(tmp_path / "c.tif", np.zeros((1, 1), np.complex64)))
    with pytest.raises(SceneError, match="that GDAL can open"):
        open_value_map(tmp_path / "no.tif")


SCRIPT = """
import json, sys
from qgis.core import (QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsRenderContext, QgsVectorLayer)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

app = QgsApplication([], False)
app.initQgis()
path, picture = sys.argv[1:3]
# Styled by what is in the file: nothing is called here.
layer = QgsVectorLayer(path + "|layername=zones", "zones", "ogr")
report = {"valid": layer.isValid(), "features": layer.featureCount(), "renderer": layer.renderer().type()}
report["column"] = layer.renderer().classAttribute()
report["entries"] = [[c.label(), c.symbol().color().name()] for c in layer.renderer().categories()]
report["labels"] = layer.labeling().settings().fieldName if layer.labelsEnabled() else None
report["fields"] = [field.name() for field in layer.fields()]
context = QgsRenderContext()
renderer = layer.renderer().clone()
renderer.startRender(context, layer.fields())
report["colors"] = {f["zone"]: renderer.symbolForFeature(f, context).color().name() for f in layer.getFeatures()}
renderer.stopRender(context)
settings = QgsMapSettings()
settings.setLayers([layer])
settings.setDestinationCrs(layer.crs())
extent = layer.extent()
extent.scale(1.1)
settings.setExtent(extent)
settings.setOutputSize(QSize(900, 600))
settings.setBackgroundColor(QColor("#ffffff"))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(picture)
print("REPORT" + json.dumps(report))
"""


@pytest.mark.qgis
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of the picture
def test_qgis_opens_the_zones_styled(folder: Path) -> None:
    if why_not():
        pytest.skip(why_not())
    verb = ("areas", folder / "classes.tif", "--zones", folder / "districts.gpkg", "--zone-field", "name", "-q")
    assert run(*verb, "--out", folder / "out") == 0
    picture = folder / "zones.png"
    env = {"PATH": os.environ.get("PATH", ""), "QT_QPA_PLATFORM": "offscreen", "HOME": str(folder)}
    command = [PYTHON, "-c", SCRIPT, str(folder / "out" / "zones.gpkg"), str(picture)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT")]
    assert lines, done.stderr
    report = json.loads(lines[0].removeprefix("REPORT"))
    assert report["valid"]
    assert report["features"] == 4
    assert (report["renderer"], report["column"], report["labels"]) == ("categorizedSymbol", "class", "zone")
    assert report["entries"] == [*([info.name, info.color] for info in LEGEND), ["no class", "#bebebe"]]
    assert report["colors"] == {"Au": "#1b6e35", "Bad Au": "#c0392b", "Nix": "#bebebe", "Fern": "#bebebe"}
    assert {"forest_ha", "open_water_share", "no_data_share", "pop"} <= set(report["fields"])
    colors = {tuple(color) for color in rendered(picture).reshape(-1, 3).tolist()}
    assert {LEGEND[0].rgb, LEGEND[2].rgb, (190, 190, 190)} <= colors
