"""QGIS opens what geoseg writes, styled, with the right names, colours, counts and areas."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from test_export_vector import AREAS, CLASSES, FRAME, GRID

from geoseg.classes import ClassInfo
from geoseg.export import polygon_qml, raster_qml, write_polygons

PYTHON = os.environ.get("GEOSEG_QGIS_PYTHON", "/usr/bin/python3")

SCRIPT = """
import json, sys
from qgis.core import (QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer,
    QgsRenderContext, QgsVectorLayer)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

app = QgsApplication([], False)
app.initQgis()
kind, path, picture = sys.argv[1:4]
report = {}
if kind == "vector":
    layer = QgsVectorLayer(path + "|layername=polygons", "p", "ogr")
    table = QgsVectorLayer(path + "|layername=class_areas", "t", "ogr")
    report["table"] = [[f["class"], f["class_name"], f["area_m2"]] for f in table.getFeatures()]
    sums = {}
    for feature in layer.getFeatures():
        sums[feature["class_name"]] = sums.get(feature["class_name"], 0) + feature["area_m2"]
    report["sums"] = sums
    report["features"] = layer.featureCount()
    # The layer came styled: QGIS loads the default style when it opens the source. Nothing is called here.
    report["renderer"] = layer.renderer().type()
    report["column"] = layer.renderer().classAttribute()
    report["entries"] = [
        [int(c.value()) if c.value() != "" else None, c.label(), c.symbol().color().name()]
        for c in layer.renderer().categories()
    ]
    context = QgsRenderContext()
    renderer = layer.renderer().clone()
    renderer.startRender(context, layer.fields())
    report["undrawn"] = sum(renderer.symbolForFeature(f, context) is None for f in layer.getFeatures())
    renderer.stopRender(context)
else:
    layer = QgsRasterLayer(path, "r")
    report["renderer"] = layer.renderer().type()
    report["entries"] = [[int(c.value), c.label, c.color.name()] for c in layer.renderer().classes()]
report["valid"] = layer.isValid()
report["crs"] = layer.crs().authid()
settings = QgsMapSettings()
settings.setLayers([layer])
settings.setDestinationCrs(layer.crs())
settings.setExtent(layer.extent())
settings.setOutputSize(QSize(600, 400))
settings.setBackgroundColor(QColor("#ffffff"))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(picture)
print("REPORT" + json.dumps(report))
"""


@cache
def why_not() -> str:
    """Why QGIS cannot be asked; empty when it can."""
    try:
        probe = subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True)
    except FileNotFoundError:
        return f"no QGIS: {PYTHON} is not there (set GEOSEG_QGIS_PYTHON)"
    return f"no QGIS: {PYTHON} cannot import qgis.core (set GEOSEG_QGIS_PYTHON)" if probe.returncode else ""


def ask_qgis(kind: str, file: Path, picture: Path) -> dict[str, Any]:
    if why_not():
        pytest.skip(why_not())
    # Debian's QGIS brings its own GDAL: paths of this environment must not lead it astray.
    env = {"PATH": os.environ.get("PATH", ""), "QT_QPA_PLATFORM": "offscreen", "HOME": str(picture.parent)}
    command = [PYTHON, "-c", SCRIPT, kind, str(file), str(picture)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT")]
    assert lines, done.stderr
    assert "partially supported" not in done.stderr  # a GeoPackage that is too new for an older GDAL
    return json.loads(lines[0].removeprefix("REPORT"))


def rendered(picture: Path) -> np.ndarray:
    """The picture as (row, col, RGB)."""
    with rasterio.open(picture) as source:
        return np.moveaxis(source.read((1, 2, 3)), 0, -1)


ENTRIES = [[info.value, info.name, info.color] for info in CLASSES]


@pytest.mark.qgis
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_geopackage_opens_styled(tmp_path: Path) -> None:
    file = write_polygons([FRAME], tmp_path / "polygons.gpkg", classes=CLASSES, areas=AREAS)
    report = ask_qgis("vector", file, tmp_path / "map.png")
    assert report["valid"]
    assert report["crs"] == "EPSG:32633"
    assert (report["renderer"], report["column"]) == ("categorizedSymbol", "class")
    assert report["entries"] == ENTRIES
    assert report["features"] == len(FRAME)
    assert report["undrawn"] == 0
    assert report["sums"] == pytest.approx(FRAME.groupby("class_name")["area_m2"].sum().to_dict())
    assert report["table"] == AREAS[["class", "class_name", "area_m2"]].values.tolist()
    # A pixel of the map is 10 × 10 of the picture: in the middle of each stands the colour of its class.
    picture = rendered(tmp_path / "map.png")[5::10, 5::10]
    expected = np.full((*GRID.shape, 3), 255)
    centers = FRAME.geometry.representative_point()
    colors = {info.value: info.rgb for info in CLASSES}
    rows = ((GRID.extent.boundingbox.top - centers.y) // 5).astype(int)
    cols = ((centers.x - GRID.extent.boundingbox.left) // 5).astype(int)
    expected[rows, cols] = [colors[value] for value in FRAME["class"]]
    assert np.array_equal(picture[rows, cols], expected[rows, cols])


@pytest.mark.qgis
@pytest.mark.parametrize(
    ("legend", "values", "expected"),
    [
        (CLASSES[:1], [1, 2, 7], [[1, "building"], [2, "zone boisée <&>"], [7, "水"]]),
        ([ClassInfo(4, "水")], [7], [[4, "水"], [7, "水 (7)"]]),
        (CLASSES[:1], [1, 2, 70_000], [[1, "building"], [None, "other"]]),
        ([], list(range(300)), [[None, "other"]]),
    ],
)
def test_no_polygon_is_without_a_colour(
    tmp_path: Path, legend: list[ClassInfo], values: list[int], expected: list[list[Any]]
) -> None:
    names = {info.value: info.name for info in CLASSES}
    frame = FRAME.iloc[: len(values)].assign(**{"class": values, "class_name": [names.get(v, "x") for v in values]})
    file = write_polygons([frame[:2], frame[2:]], tmp_path / "p.gpkg", classes=legend, areas=AREAS)
    report = ask_qgis("vector", file, tmp_path / "map.png")
    assert [entry[:2] for entry in report["entries"]] == expected
    assert report["undrawn"] == 0


@pytest.mark.qgis
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_with_our_style_opens_with_names(tmp_path: Path) -> None:
    file = tmp_path / "classes.tif"
    values = np.random.default_rng(0).choice(np.array([1, 2, 7, 255], np.uint8), GRID.shape)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255}
    rows, cols = GRID.shape
    with rasterio.open(
        file, "w", height=rows, width=cols, crs="EPSG:32633", transform=GRID.transform, **profile
    ) as target:
        target.write(values, 1)
    file.with_suffix(".qml").write_text(raster_qml(CLASSES), encoding="utf-8")
    report = ask_qgis("raster", file, tmp_path / "map.png")
    assert report["valid"]
    assert report["renderer"] == "paletted"
    assert report["entries"] == ENTRIES
    colors = np.full((256, 3), 255)
    for info in CLASSES:
        colors[info.value] = info.rgb
    assert np.array_equal(rendered(tmp_path / "map.png")[5::10, 5::10], colors[values])


def test_styles_do_not_depend_on_the_order_of_classes() -> None:
    assert polygon_qml(CLASSES) == polygon_qml(reversed(CLASSES))
    assert raster_qml(CLASSES) == raster_qml(reversed(CLASSES))
