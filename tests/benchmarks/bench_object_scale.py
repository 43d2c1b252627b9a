"""`map_objects` on scenes of growing size: processor time and memory of joining; and a network's, in the same run.

    python tests/benchmarks/bench_object_scale.py --shapes 8192x8192 32768x8192 131072x8192

The scenes are empty and the model is a rule that knows where the houses are, one in 32 × 32 pixels, so time and memory
are those of geoseg. Each scene has a process of its own. What a network takes is measured beside: Mask R-CNN on tiles
of the same size, with weights that find nothing, so it takes the least that it can; on one thread as the rest (or with
`--device cuda` on a GPU: then wall time).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
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


class Meter(Progress):
    """Seconds of the processor in each stage, and the peak of memory up to its end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.mib: dict[str, int] = {}
        self._name, self._since = "", 0.0

    def stage(self, name: str, total: int | None = None) -> None:
        now = time.process_time()
        if self._name:
            self.seconds[self._name] = now - self._since
            self.mib[self._name] = peak_memory_bytes() >> 20
        self._name, self._since = name, now


def write_empty(path: Path, rows: int, cols: int) -> Path:
    """A scene of zeros that takes no room on disk."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": rows, "width": cols, "crs": "EPSG:32633"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True, "bigtiff": "if_safer"}
    with rasterio.open(path, "w", compress="deflate", **profile, transform=from_origin(5e5, 5.4e6, 0.5, 0.5)) as file:
        file.descriptions = ("grey",)
    return path


def measure_map(rows: int, cols: int, block: int, options: dict[str, Any]) -> dict[str, Any]:
    """One run, in this process."""
    import geoseg

    model = Houses()
    with tempfile.TemporaryDirectory() as folder:
        warm = write_empty(Path(folder) / "warm.tif", 600, 600)
        geoseg.map_objects(warm, Houses(), Path(folder) / "warm", **options)  # loads and compiles
        scene = write_empty(Path(folder) / "scene.tif", rows, cols)
        meter = Meter()
        result = geoseg.map_objects(scene, model, Path(folder) / "out", block_px=block, progress=meter, **options)
    objects = int(result.table["objects"].sum())
    return {"seconds": meter.seconds, "mib": meter.mib, "objects": objects, "instances": model.instances}


def measure_network(backbone: str, device: str, tiles: int) -> dict[str, float]:
    """Seconds a tile."""
    import torch

    from geoseg.networks.architectures import build_network
    from geoseg.networks.instance_models import MaskRCNNModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    three = {"bands": ("red", "green", "blue"), "mean": (127.5,) * 3, "std": (60.0,) * 3}
    spec = replace(SPEC, architecture="MaskRCNN", arguments={"backbone": backbone}, min_score=1.0, **three)
    model = MaskRCNNModel(spec, build_network(spec), device=device)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (tiles + 16, 3, TILE, TILE), dtype=np.uint8)
    valid = np.ones((TILE, TILE), bool)
    clock = time.process_time if device == "cpu" else time.perf_counter
    list(model.find((k, pixels[k], valid) for k in range(1 if device == "cpu" else 16)))
    began = clock()
    found = sum(len(one) for _, one in model.find((k, pixels[k], valid) for k in range(tiles)))
    assert found == 0
    return {"seconds": (clock() - began) / tiles}


def in_own_process(*arguments: str) -> dict[str, Any]:
    """What this script prints with these arguments."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a row for each scene."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["8192x8192", "32768x8192", "131072x8192"], help="ROWSxCOLS")
    parser.add_argument("--block", type=int, default=4096)
    parser.add_argument("--simplify")
    parser.add_argument("--backbones", nargs="*", default=["resnet18", "resnet50"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiles", type=int, default=4, help="that the network sees")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        rows, cols = (int(side) for side in args.one.split("x"))
        print(json.dumps(measure_map(rows, cols, args.block, {"simplify": args.simplify})))
        return
    if args.network:
        print(json.dumps(measure_network(args.network, args.device, args.tiles)))
        return
    networks = {}
    for name in args.backbones:
        found = in_own_process("--network", name, "--device", args.device, "--tiles", str(args.tiles))
        networks[name] = found["seconds"]
        print(f"Mask R-CNN, {name}, {args.device}: {found['seconds']:.3f} s a tile", flush=True)
    for shape in args.shapes:
        options = ["--simplify", args.simplify] if args.simplify else []
        found = in_own_process("--one", shape, "--block", str(args.block), *options)
        rows, cols = (-(-(int(side) - OVERLAP) // (TILE - OVERLAP)) for side in shape.split("x"))
        seconds, joining = found["seconds"], sum(found["seconds"][name] for name in JOINING)
        shares = (
            f"{name} {joining / (rows * cols * each + sum(seconds.values())):.2%}" for name, each in networks.items()
        )
        print(
            f"{shape}: {found['objects']:,} objects, {found['instances']:,} instances in {rows * cols:,} tiles; "
            f"joining {joining:.1f} s, {joining / found['instances'] * 1e5:.2f} s for 100 000 instances; "
            f"share {', '.join(shares)}; peak {max(found['mib'].values())} MiB",
            flush=True,
        )
        print("   seconds", {name: round(value, 1) for name, value in seconds.items()}, "MiB", found["mib"], flush=True)


if __name__ == "__main__":
    main()
