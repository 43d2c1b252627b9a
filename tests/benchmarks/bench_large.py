"""A class map of 60 000 × 60 000 pixels → a sieved, simplified GeoPackage: time and peak memory.

    python tests/benchmarks/bench_large.py [--side 60000] [--map smooth] [--keep FOLDER]

The map is one drawn tile of 4000 × 4000 pixels and its mirror images, so that regions go on across tiles; it is written
strip by strip and read from disk. Peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from bench_memory import peak_of
from bench_vectorize import CRS, MAPS, TRANSFORM, land_cover
from rasterio.windows import Window

TILE = 4000


def write_map(path: Path, side: int, kind: str) -> None:
    """A class map of so many pixels a side."""
    tile = land_cover(kind, TILE)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": side, "width": side, "nodata": 255}
    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw", "BIGTIFF": "YES"}
    with rasterio.open(path, "w", crs=CRS, transform=rasterio.Affine(*TRANSFORM), **profile, **options) as target:
        for i, top in enumerate(range(0, side, TILE)):
            # Every second tile is mirrored, so neighbours agree along the edge that they share.
            row = [tile[:: (-1) ** i, :: (-1) ** j] for j in range(-(-side // TILE))]
            strip = np.concatenate(row, axis=1)[: side - top, :side]
            target.write(strip, 1, window=Window(0, top, side, len(strip)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=60_000)
    parser.add_argument("--map", choices=MAPS, default="smooth")
    parser.add_argument("--min-area", default="16px")
    parser.add_argument("--simplify", default="1px")
    parser.add_argument("--keep", type=Path, help="Leave the layer here.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, layer = Path(folder) / "map.tif", (given.keep or Path(folder)) / "polygons.gpkg"
        write_map(source, given.side, given.map)
        command = [sys.executable, "-m", "geoseg", "vectorize", str(source), "--out", str(layer), "--overwrite"]
        start = time.perf_counter()
        peak = peak_of([*command, "--min-area", given.min_area, "--simplify", given.simplify, "--quiet"])
        seconds = time.perf_counter() - start
        rows = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import pyogrio; print(pyogrio.read_info({str(layer)!r}, layer='polygons')['features'])",
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()
        print(
            f"{given.map} {given.side}², --min-area {given.min_area} --simplify {given.simplify}: {rows} polygons, "
            f"{os.path.getsize(layer) / 1e9:.2f} GB, {seconds:.0f} s, {given.side**2 / seconds / 1e6:.1f} Mpx/s, "
            f"peak {peak / 1e9:.3f} GB"
        )


if __name__ == "__main__":
    main()
