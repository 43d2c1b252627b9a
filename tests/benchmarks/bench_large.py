"""A class map of 60 000 × 60 000 pixels → a sieved, simplified GeoPackage: time and peak memory.

    python tests/benchmarks/bench_large.py [--shape 60000x60000] [--map smooth] [--keep FOLDER]
    python tests/benchmarks/bench_large.py --shape 4096x16384 8192x16384 16384x16384 32768x16384

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


def write_map(path: Path, height: int, width: int, kind: str) -> None:
    """A class map of so many rows and columns."""
    tile = land_cover(kind, TILE)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width, "nodata": 255}
    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw", "BIGTIFF": "YES"}
    with rasterio.open(path, "w", crs=CRS, transform=rasterio.Affine(*TRANSFORM), **profile, **options) as target:
        for i, top in enumerate(range(0, height, TILE)):
            # Every second tile is mirrored, so neighbours agree along the edge that they share.
            row = [tile[:: (-1) ** i, :: (-1) ** j] for j in range(-(-width // TILE))]
            strip = np.concatenate(row, axis=1)[: height - top, :width]
            target.write(strip, 1, window=Window(0, top, width, len(strip)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", default=["60000x60000"], help="Rows and columns; several in turn.")
    parser.add_argument("--map", choices=MAPS, default="smooth")
    parser.add_argument("--min-area", default="16px")
    parser.add_argument("--simplify", default="1px")
    parser.add_argument("--keep", type=Path, help="Leave the layer here.")
    given = parser.parse_args()
    options = [f"--min-area={given.min_area}"] * bool(given.min_area)
    options += [f"--simplify={given.simplify}"] * bool(given.simplify)
    print(f"{given.map}, {' '.join(options) or 'exact'}")
    with tempfile.TemporaryDirectory() as folder:
        source, layer = Path(folder) / "map.tif", (given.keep or Path(folder)) / "polygons.gpkg"
        write_map(source, 64, 64, given.map)
        command = [sys.executable, "-m", "geoseg", "vectorize", str(source), "--out", str(layer), "--overwrite"]
        command += [*options, "--quiet"]
        subprocess.run(command, check=True)  # compiles
        for shape in given.shape:
            height, width = (int(side) for side in shape.split("x"))
            write_map(source, height, width, given.map)
            start = time.perf_counter()
            peak = peak_of(command)
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
                f"{shape:>13} px {int(rows):>10,} polygons {os.path.getsize(layer) / 1e9:6.2f} GB {seconds:6.1f} s "
                f"{height * width / seconds / 1e6:6.1f} Mpx/s, peak {peak / 1e9:.3f} GB",
                flush=True,
            )


if __name__ == "__main__":
    main()
