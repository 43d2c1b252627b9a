"""QGIS opens the layer and the raster of change styled, with the names of what became what."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maps import grid
from test_export_qgis import PYTHON, rendered, why_not

from geoseg.change_pipeline import map_change
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map

SCRIPT = """
import json, sys
from qgis.core import (QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer, QgsVectorLayer)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

app = QgsApplication([], False)
app.initQgis()
folder = sys.argv[1]
layer = QgsVectorLayer(folder + "/change.gpkg|layername=change", "change", "ogr")
raster = QgsRasterLayer(folder + "/change.tif", "raster")
report = {
    "valid": layer.isValid() and raster.isValid(),
    "fields": [field.name() for field in layer.fields()],
    "rows": [[f["from_name"], f["to_name"], f["pixels"], f["area_ha"], f["confidence"]] for f in layer.getFeatures()],
    "layer": [[int(c.value()), c.label(), c.symbol().color().name()] for c in layer.renderer().categories()],
    "raster": [[int(c.value), c.label, c.color.name()] for c in raster.renderer().classes()],
}
for name, layers in (("raster", [raster]), ("both", [layer, raster])):
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(raster.extent())
    settings.setOutputSize(QSize(400, 300))
    settings.setBackgroundColor(QColor("#ffffff"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(sys.argv[2] + "/" + name + ".png")
print("REPORT" + json.dumps(report))
"""

LEGEND = (
    ClassInfo(1, "forest", "#1b6e35"),
    ClassInfo(2, "field", "#dcc268"),
    ClassInfo(3, "Häuser & <Höfe>", "#c0483a"),
)


def ask(folder: Path, pictures: Path) -> dict[str, Any]:
    if why_not():
        pytest.skip(why_not())
    env = {"PATH": os.environ.get("PATH", ""), "QT_QPA_PLATFORM": "offscreen", "HOME": str(pictures)}
    command = [PYTHON, "-c", SCRIPT, str(folder), str(pictures)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT")]
    assert lines, done.stderr
    return json.loads(lines[0].removeprefix("REPORT"))


def test_change_opens_styled_with_the_names_of_transitions(tmp_path: Path) -> None:
    early = np.ones((30, 40), np.uint8)
    early[20:] = 2
    late = early.copy()
    late[3:9, 5:15] = 2
    late[22:28, 20:30] = 3
    maps = [class_map(part, grid((30, 40)), LEGEND) for part in (early, late)]
    percent = [part.copy(data=np.full((30, 40), value, np.uint8)) for part, value in zip(maps, (80, 50), strict=True)]
    map_change(maps, tmp_path / "out", confidence=percent)
    report = ask(tmp_path / "out", tmp_path)
    assert report["valid"]
    rows = sorted(report["rows"])
    assert [row[:3] for row in rows] == [["field", "Häuser & <Höfe>", 60], ["forest", "field", 60]]
    assert [row[4] for row in rows] == [40, 40]
    assert rows[0][3] == pytest.approx(0.6, rel=2e-3)
    layer = {label: color for _, label, color in report["layer"]}
    raster = {label: color for _, label, color in report["raster"]}
    assert set(layer) == {"forest → field", "field → Häuser & <Höfe>"}
    assert set(raster) == {*layer, "forest (unchanged)", "field (unchanged)"}
    assert all(raster[label] == color for label, color in layer.items())
    picture, both = rendered(tmp_path / "raster.png"), rendered(tmp_path / "both.png")
    for label, place in (("forest → field", (60, 100)), ("field → Häuser & <Höfe>", (250, 250))):
        color = [int(layer[label][k : k + 2], 16) for k in (1, 3, 5)]
        assert picture[place].tolist() == color
        assert both[place].tolist() == color
