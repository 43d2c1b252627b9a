"""The starter model `buildings-aerial` on tiles of a real town that it never saw."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import rasterio

import geoseg

KEPT = "OAM-386695-"


@pytest.mark.data
def test_the_buildings_of_banepa_that_nothing_was_learned_from(data_dir: Path, tmp_path: Path) -> None:
    footprints = gpd.read_file(data_dir / "banepa" / "buildings.gpkg")
    found, drawn = [], []
    for path in sorted((data_dir / "banepa" / "tiles").glob(f"{KEPT}*.tif")):
        geoseg.map_objects(path, "buildings-aerial", tmp_path / path.stem)
        found.append(gpd.read_file(tmp_path / path.stem / "polygons.gpkg", layer="polygons"))
        with rasterio.open(path) as file:
            drawn.append(footprints.clip(file.bounds))
    assert len(found) == 6
    reference = pd.concat(drawn).to_crs(footprints.estimate_utm_crs())
    scores = geoseg.assess_objects(pd.concat(found), reference[reference.area >= 1]).overall
    assert scores["f1"] >= 0.60
    assert scores["pq"] >= 0.40
