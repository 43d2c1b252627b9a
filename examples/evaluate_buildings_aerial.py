"""Measure `buildings-aerial` on the tiles of Banepa that nothing was learned or decided from, as a user runs it.

    python examples/evaluate_buildings_aerial.py DATA [--whole] [--tta d4] [--out folder]

DATA holds `banepa/`. By default each tile of 67 m is mapped as a scene of its own; with `--whole` all 36 tiles as one,
and objects are cut at the edges of tiles, as the footprints are. Then they are compared as `geoseg assess` does it.
With `--out` objects and footprints are kept, to look at.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import geopandas as gpd
import pandas as pd
import rasterio
from shapely import box
from train_buildings_aerial import DEV, KEPT

import geoseg

SHOWN = ["reference", "objects", "found", "precision", "recall", "f1", "pq", "sq", "boundary_iou", "polis_m", "ap50"]
SLIVER_M2 = 1.0
"""What the edge of a tile leaves of a footprint or an object counts from this size on."""


def main() -> None:
    """Map, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds banepa/")
    parser.add_argument("--model", default="buildings-aerial", help="name or folder of a model package")
    parser.add_argument("--whole", action="store_true", help="map all tiles as one scene")
    parser.add_argument("--tta", help="average over turned and flipped tiles: d4")
    parser.add_argument("--resolution", type=float)
    parser.add_argument("--dev", action="store_true", help="the tiles that decisions are made on, instead")
    parser.add_argument("--out", type=Path, help="where to keep what was compared")
    args = parser.parse_args()
    every = sorted((args.data / "banepa" / "tiles").glob("*.tif"))
    tiles = [path for path in every if path.name.startswith(DEV if args.dev else KEPT)]
    footprints = gpd.read_file(args.data / "banepa" / "buildings.gpkg")

    def find(source: Path | list[Path]) -> gpd.GeoDataFrame:
        with tempfile.TemporaryDirectory() as folder:
            how = {"tta": args.tta, "resolution": args.resolution}
            geoseg.map_objects(source, args.model, Path(folder) / "out", **how)
            layer = gpd.read_file(Path(folder) / "out" / "polygons.gpkg", layer="polygons")
        return layer.to_crs(footprints.estimate_utm_crs())

    whole = find(every) if args.whole else None
    found, drawn = [], []
    for path in tiles:
        objects = find(path) if whole is None else whole
        with rasterio.open(path) as file:
            edge = gpd.GeoSeries([box(*file.bounds)], crs=file.crs).to_crs(objects.crs).iloc[0]
        found.append(objects.clip(edge))
        drawn.append(footprints.to_crs(objects.crs).clip(edge))
    objects, reference = (pd.concat(parts) for parts in (found, drawn))
    objects, reference = (frame[frame.area >= SLIVER_M2] for frame in (objects, reference))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        objects.to_file(args.out / "objects.gpkg")
        reference.to_file(args.out / "footprints.gpkg")
    scores = geoseg.assess_objects(objects, reference, score_column="score")
    print(scores.table[["by", "name", *SHOWN]].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
