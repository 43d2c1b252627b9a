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
from test_export_vector import CLASSES

from geoseg.export import polygon_qml

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


def test_styles_do_not_depend_on_the_order_of_classes() -> None:
    assert polygon_qml(CLASSES) == polygon_qml(reversed(CLASSES))
