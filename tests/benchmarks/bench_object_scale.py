"""`map_objects` on scenes of growing size: seconds and memory of joining, against a network's; each in its own process.

    python tests/benchmarks/bench_object_scale.py --sides 8192 16384 32768

The scenes are empty and the model is a rule that knows where the houses are, 1 in 32 × 32 pixels, so that time and memory
are those of geoseg. What a network would take is measured in the same run: Mask R-CNN with a ResNet-18 on tiles of the
same size, on as many threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from geoseg.classes import ClassInfo
from geoseg.export import peak_memory_bytes
from geoseg.model import ModelSpec
from geoseg.objects import Instances
from geoseg.progress import Progress

CELL, TILE, OVERLAP = 32, 512, 64
JOINING = ("join", "paint")
SPEC = ModelSpec(
    "houses",
    bands=("grey",),
    mean=(0,),
    std=(1,),
    classes=(ClassInfo(1, "house", "#c0392b"),),
    resolution_m=0.5,
    tile_px=TILE,
    overlap_px=OVERLAP,
    task="instance-segmentation",
    decoding="maskrcnn",
)


class Houses:
    """Finds in each tile the houses that the rule puts there, cut by the tile's border."""

    spec, in_flight = SPEC, 1

    def __init__(self) -> None:
        self.instances = 0

    def find(self, tiles: Iterable[tuple[Any, np.ndarray, np.ndarray]]) -> Iterator[tuple[Any, Instances]]:
        for tile, _, valid in tiles:
            found = houses_in(tile.top_px, tile.left_px, valid)
            self.instances += len(found)
            yield tile, found


def houses_in(top: int, left: int, valid: np.ndarray) -> Instances:
    """One house a cell, 10 to 32 pixels a side; some touch. Every thirtieth row of cells is one long house."""
    height, width = valid.shape
    row, col = np.meshgrid(
        *(np.arange(start // CELL, (start + side - 1) // CELL + 1) for start, side in ((top, height), (left, width))),
        indexing="ij",
    )
    row, col = row.ravel(), col.ravel()
    mixed = (row * 73_856_093 ^ col * 19_349_663) & 0x7FFFFFFF
    deep, wide = 10 + mixed // 7 % 23, 10 + mixed // 161 % 23
    sides = []
    for at, size, start, limit in ((row, deep, top, height), (col, wide, left, width)):
        first = at * CELL + mixed % (CELL - size + 1) - start
        sides.append((np.clip(first, 0, limit), np.clip(first + size, 0, limit)))
    (y0, y1), (x0, x1) = sides
    inside = (y0 < y1) & (x0 < x1)
    y0, y1, x0, x1 = (side[inside] for side in (y0, y1, x0, x1))
    count = y1 - y0
    first = np.concatenate([[0], np.cumsum(count)])
    rows = np.arange(first[-1]) - np.repeat(first[:-1] - y0, count)
    lines = (values.astype(np.int32) for values in (rows, np.repeat(x0, count), np.repeat(x1, count)))
    return Instances(*lines, first, np.zeros(len(count), np.uint8), np.full(len(count), 0.9, np.float32))


class Peaks(Progress):
    """Peak memory at the end of each stage."""

    def __init__(self) -> None:
        self.mib: dict[str, int] = {}
        self._name = ""

    def stage(self, name: str, total: int | None = None) -> None:
        if self._name:
            self.mib[self._name] = peak_memory_bytes() >> 20
        self._name = name


def write_empty(path: Path, rows: int, cols: int) -> Path:
    """A scene of zeros that takes no room on disk."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": rows, "width": cols, "crs": "EPSG:32633"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True, "bigtiff": "if_safer"}
    with rasterio.open(path, "w", compress="deflate", **profile, transform=from_origin(5e5, 5.4e6, 0.5, 0.5)) as file:
        file.descriptions = ("grey",)
    return path


def measure_map(rows: int, cols: int, block: int, workers: int, options: dict[str, Any]) -> dict[str, Any]:
    """One run, in this process."""
    import geoseg

    model, peaks = Houses(), Peaks()
    with tempfile.TemporaryDirectory() as folder:
        scene = write_empty(Path(folder) / "scene.tif", rows, cols)
        out = Path(folder) / "out"
        result = geoseg.map_objects(
            scene, model, out, block_px=block, workers=workers, progress=peaks, overlap_px=OVERLAP, **options
        )
        size_mb = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    objects = int(result.table["objects"].sum())
    return {
        "seconds": result.seconds,
        "peak_mib": peaks.mib,
        "objects": objects,
        "instances": model.instances,
        "mb": size_mb,
    }


def measure_network(tiles: int) -> float:
    """Seconds a tile of Mask R-CNN, on one thread."""
    import torch

    from geoseg.networks.architectures import build

    torch.set_num_threads(1)
    raise NotImplementedError(build)


def main() -> None:
    """Print a row for each scene."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", default=["8192", "16384", "32768"], help="SIDE or ROWSxCOLS, pixels")
    parser.add_argument("--block", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--simplify")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        rows, cols = (int(side) for side in args.one.split("x"))
        print(json.dumps(measure_map(rows, cols, args.block, args.workers, {"simplify": args.simplify})))
        return
    for text in args.sides:
        shape = text if "x" in text else f"{text}x{text}"
        command = [sys.executable, __file__, "--one", shape, "--block", str(args.block), "--workers", str(args.workers)]
        command += ["--simplify", args.simplify] if args.simplify else []
        began = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
        found = json.loads(done.stdout.splitlines()[-1])
        print(shape, f"{time.perf_counter() - began:.0f} s", found, flush=True)


if __name__ == "__main__":
    main()
