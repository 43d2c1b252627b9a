"""Fields of a map of interiors and boundaries, against ftw-tools: python tests/benchmarks/bench_fields.py --peer PYTHON

Known parcels are drawn, and the three-class map that a network would make of them, errors included. Both tools make
polygons of that map, each in a process of its own, one after the other; both are scored against the parcels with
`geoseg.assess_objects`. PYTHON is the interpreter of an environment with ftw-tools (``pip install ftw-tools``; for its
polygonize step alone: ``pip install fiona rasterio shapely pyproj tqdm click fiboa-cli==0.7.0 && pip install --no-deps
ftw-tools``); without it, geoseg runs alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WINDOW_PX = 2048  # of ftw-tools
PIXEL_M = 10.0
LEAST_M2 = 500.0  # the default of ftw-tools, for both

THEIRS = {
    "ftw-tools, its defaults": {"simplify": 15, "close_interiors": False},
    "ftw-tools, holes closed": {"simplify": 15, "close_interiors": True},
    "ftw-tools, not simplified": {"simplify": 0, "close_interiors": False},
    "ftw-tools, not simplified, holes closed": {"simplify": 0, "close_interiors": True},
}
OURS: dict[str, dict[str, Any]] = {
    "geoseg": {},
    "geoseg, split at 1 px": {"split_px": 1.0},
    "geoseg, split at 1.5 px": {"split_px": 1.5},
    "geoseg map, by blocks": {"map": True},
    "geoseg, without growing": {"grow_px": 0},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[2000, 6000])
    parser.add_argument("--peer", default=os.environ.get("GEOSEG_FTW_PYTHON"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="These rows alone.")
    parser.add_argument("--folder", type=Path, help="Keep what is made here.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        figures = "objects | F1 | PQ | SQ | over | under | found of all | found of those on a border"
        print(f"side | tool | {figures} | s | processor s | GB", flush=True)
        for side in args.sides:
            compare(side, folder, args)


def compare(side: int, folder: Path, args: argparse.Namespace) -> None:
    """The rows of one size."""
    classes, truth = draw(side, folder, args.seed)
    crossing = on_a_border(truth, side)
    print(f"{side} | truth | {len(truth)} | | | | | | | {crossing.sum()} | | |", flush=True)
    rows: dict[str, tuple[str, dict[str, Any]]] = {name: (sys.executable, options) for name, options in OURS.items()}
    if args.peer:
        rows = {name: (args.peer, options) for name, options in THEIRS.items()} | rows
    for name, (python, options) in rows.items():
        if args.only and name not in args.only:
            continue
        tool = "theirs" if name in THEIRS else "ours"  # theirs writes GeoParquet with a network only
        out = folder / f"{side} {name}.{'gpkg' if tool == 'theirs' else 'parquet'}"
        out.unlink(missing_ok=True)
        command = [python, __file__, "--run", tool, str(classes), str(out), json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr}")
        cost = json.loads(done.stdout.splitlines()[-1])
        seconds = f"{cost['wall']:.1f} | {cost['processor']:.1f}"
        print(f"{side} | {name} | {score(out, truth, crossing)} | {seconds} | {cost['gb']:.2f}", flush=True)


def draw(side: int, folder: Path, seed: int) -> tuple[Path, Any]:
    """The map as a file, and the parcels as polygons."""
    import numpy as np
    import rasterio
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    import geoseg

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from field_truth import Errors, draw_classes, draw_parcels

    grid = GeoBox.from_bbox(
        (500_000, 5_000_000, 500_000 + side * PIXEL_M, 5_000_000 + side * PIXEL_M), "EPSG:32632", shape=side
    )
    parcels = draw_parcels(side, seed=seed)
    path = folder / f"classes-{side}.tif"
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(path, "w", **profile, crs="EPSG:32632", transform=grid.affine, tiled=True) as file:
        file.write(draw_classes(parcels, seed=seed, errors=Errors()), 1)
    truth = geoseg.vectorize(wrap_xr(parcels.astype(np.uint32), grid, nodata=0))
    return path, truth


def on_a_border(frame: Any, side: int) -> Any:
    """bool: which polygons lie on both sides of a border of ftw-tools' windows."""
    import numpy as np

    west, south, east, north = frame.geometry.bounds.to_numpy().T
    crosses = np.zeros(len(frame), bool)
    for line in range(WINDOW_PX, side, WINDOW_PX):
        x, y = 500_000 + line * PIXEL_M, 5_000_000 + (side - line) * PIXEL_M
        crosses |= ((west < x) & (east > x)) | ((south < y) & (north > y))
    return crosses


def score(path: Path, truth: Any, crossing: Any) -> str:
    """What the assessment says, as part of a row."""
    import geopandas as gpd

    import geoseg

    found = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
    every = geoseg.assess_objects(found, truth)
    row = every.overall
    there = every.matches[every.matches["class_name"] == "found"]["reference_row"]
    rate = f"{crossing[there.astype(int).to_numpy()].sum() / crossing.sum():.3f}" if crossing.any() else ""
    figures = [f"{row[name]:.3f}" for name in ("f1", "pq", "sq", "over_segmentation", "under_segmentation", "recall")]
    return " | ".join([str(len(found)), *figures, rate])


Spent = tuple[tuple[float, float], tuple[float, float]]


def spent() -> tuple[float, float]:
    """Seconds so far, by the clock and of the processor."""
    return time.perf_counter(), time.process_time()


def peak_gb() -> float:
    """Peak resident memory of this process since it began; `resource` would count that of the process that made it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("Linux does not say how much memory was used.")


def run_theirs(classes: str, out: str, options: dict[str, Any]) -> Spent:
    """ftw-tools; in its own environment."""
    from ftw_cli.polygonize import polygonize

    began = spent()
    polygonize(classes, out, min_size=LEAST_M2, max_size=None, overwrite=True, **options)
    return began, spent()


def run_ours(classes: str, out: str, options: dict[str, Any]) -> Spent:
    """geoseg, with its functions compiled beforehand."""
    import numpy as np
    import rasterio
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    import geoseg
    from geoseg.objects.regions import label_regions

    if options.get("map"):
        return run_map(classes, out)

    def all_of_it(values: np.ndarray, grid: GeoBox) -> None:
        fields = geoseg.vectorize(wrap_xr(label_regions(values, **options), grid, nodata=0))
        fields = fields[fields["area_m2"] >= LEAST_M2]
        geoseg.export.write_polygons([fields], out, classes=[])

    with rasterio.open(classes) as file:
        grid = GeoBox((256, 256), file.transform, file.crs)
        all_of_it(file.read(1, window=((0, 256), (0, 256))), grid)
    began = spent()
    with rasterio.open(classes) as file:
        all_of_it(file.read(1), GeoBox(file.shape, file.transform, file.crs))
    return began, spent()


def run_map(classes: str, out: str) -> Spent:
    """All that `geoseg map` does, with a model that sees the classes as they are: tiles, blending, layer, preview."""
    import numpy as np
    import rasterio

    import geoseg
    from geoseg.classes import ClassInfo
    from geoseg.model import ModelSpec, NumpyModel

    names = (ClassInfo(0, "background"), ClassInfo(1, "field"), ClassInfo(2, "field boundary"))
    lattice: dict[str, Any] = {"tile_px": 512, "overlap_px": 64, "margin_px": 8, "resolution_range_m": (8, 12)}
    spec = ModelSpec("known", ("kind",), (0,), (1,), names, resolution_m=10, decoding="boundary", **lattice)
    values = np.arange(3).reshape(1, 3, 1, 1)
    model = NumpyModel(spec, lambda tiles: (tiles == values).astype(np.float32))
    folder = Path(out).with_suffix("")
    options: dict[str, Any] = {"bands": "kind=1", "min_area": "500m2", "formats": ("parquet",), "block_px": 2048}
    crop = Path(out).with_suffix(".tif")
    with rasterio.open(classes) as file:
        profile = {**file.profile, "width": 512, "height": 512}
        with rasterio.open(crop, "w", **profile) as small:
            small.write(file.read(window=((0, 512), (0, 512))))
    geoseg.map_objects(crop, model, folder, overwrite=True, **options)
    began = spent()
    geoseg.map_objects(classes, model, folder, overwrite=True, **options)
    ended = spent()
    (folder / "polygons.parquet").replace(out)
    return began, ended


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        began, ended = {"theirs": run_theirs, "ours": run_ours}[sys.argv[2]](*sys.argv[3:5], json.loads(sys.argv[5]))
        print(json.dumps({"wall": ended[0] - began[0], "processor": ended[1] - began[1], "gb": peak_gb()}))
    else:
        main()
