"""Compare two or more drawn class maps of any size: seconds of each stage and peak memory of `geoseg change`.

    python tests/benchmarks/bench_change.py                                             # 4096 × 4096, a minute
    python tests/benchmarks/bench_change.py --shapes 4096x4096 32768x4096 16384x16384 --maps 2

The maps have fields of 64 × 64 pixels; in the later ones 3 % of the forest is cleared, in squares of 32 × 32 pixels,
and 1 % of all pixels are speckle. Each run is a process of its own. Maps lie in a folder of the system's temporary one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio

_ROWS = 512


def draw(path: Path, height: int, width: int, date: int) -> Path:
    """A class map, strip by strip; the same place for each date."""
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255, "crs": "EPSG:32632", "tiled": True,
               "blockxsize": _ROWS, "blockysize": _ROWS, "compress": "deflate", "zlevel": 1}  # fmt: skip
    transform = rasterio.transform.from_origin(4e5, 5.4e6, 10, 10)
    with rasterio.open(path, "w", height=height, width=width, transform=transform, **profile) as out:
        for row in range(0, height, _ROWS):
            fields = np.random.default_rng([7, row]).choice(np.array([1, 1, 1, 2, 3], np.uint8), (8, width // 64))
            values = np.kron(fields, np.ones((64, 64), np.uint8))
            if date:
                rng = np.random.default_rng([8, row, date])
                cleared = np.kron(rng.random((16, width // 32)) < 0.03, np.ones((32, 32), bool))
                values[cleared & (values == 1)] = 2
                values[rng.random(values.shape) < 0.01] = 3
            values[:64, :64] = 255
            out.write(values, 1, window=((row, row + _ROWS), (0, width)))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["4096x4096"], help="rows x columns, multiples of 512")
    parser.add_argument("--maps", type=int, default=2)
    given = parser.parse_args()
    for shape in given.shapes:
        height, width = (int(part) for part in shape.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            paths = [draw(Path(folder) / f"{date}.tif", height, width, date) for date in range(given.maps)]
            for options in ([], ["--min-area", "0.5ha"]):
                out = Path(folder) / f"out{len(options)}"
                command = [sys.executable, "-m", "geoseg", "change", *map(str, paths), "--out", str(out), "--quiet"]
                begin = time.perf_counter()
                subprocess.run([*command, *options], check=True)
                wall = time.perf_counter() - begin
                record = json.loads((out / "run.json").read_text())
                stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in record["seconds"].items())
                memory = record["peak_memory_bytes"] / 2**20
                print(f"{shape} {' '.join(options)}: {wall:.0f} s ({stages}), {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
