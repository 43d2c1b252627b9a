"""Peak memory of `geoseg map` at 5 000² and at 20 000² pixels: it must not grow with the raster.

    python tests/benchmarks/bench_memory.py [--model NAME] [--sides 5000,20000]

The scenes repeat one drawn patch, so that they are quickly made and have polygons everywhere.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

PATCH = 1250


def write_repeated(path: Path, side: int) -> Path:
    from geoseg.synthetic import SyntheticScene, render

    patch, _ = render(SyntheticScene(seed=5), slice(0, PATCH), slice(0, PATCH))
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": side, "width": side, "crs": "EPSG:32633"}
    transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
    with rasterio.open(path, "w", transform=transform, tiled=True, compress="lzw", BIGTIFF="YES", **profile) as target:
        target.descriptions = ("red", "green", "blue")
        for top in range(0, side, PATCH):
            rows = min(PATCH, side - top)
            strip = np.concatenate([patch[:, :rows]] * -(-side // PATCH), axis=2)[:, :, :side]
            target.write(strip, window=Window(0, top, side, rows))
    return path


def peak_of(command: list[str]) -> int:
    """Peak resident memory of a command, bytes."""
    code = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="landcover-aerial")
    parser.add_argument("--sides", default="5000,20000")
    given = parser.parse_args()
    sides = [int(side) for side in given.sides.split(",")]
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            scene = write_repeated(Path(folder) / f"{side}.tif", side)
            out = Path(folder) / f"map{side}"
            start = time.perf_counter()
            command = [sys.executable, "-m", "geoseg", "map", str(scene), "--model", given.model, "--out", str(out)]
            peaks[side] = peak_of([*command, "--device", "cpu", "--quiet"])
            print(f"{side} px a side: peak {peaks[side] / 1e9:.3f} GB, {time.perf_counter() - start:.0f} s", flush=True)
            print((out / "run.json").read_text().partition('"seconds"')[2].partition("}")[0], flush=True)
    print(f"ratio {peaks[sides[-1]] / peaks[sides[0]]:.3f}")


if __name__ == "__main__":
    sys.exit(main())
