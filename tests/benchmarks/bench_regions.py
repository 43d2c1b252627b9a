"""Objects out of a map of classes: time and memory, beside scipy.ndimage.label on the same map.

    python tests/benchmarks/bench_regions.py --sides 4096 16384
    python tests/benchmarks/bench_regions.py --buildings ../shared/data/banepa

Times are of the processor, of one thread. The map is random: fields of some 50 pixels across with boundary between them
and around them, a fifth of all pixels. In memory, `label_regions` is timed beside what scipy needs to label the insides
alone (and scikit-image's watershed, if that is installed: it is no requirement). From disk, all steps after the class
map are timed, from block files to painted ids, as `geoseg map` does them; the peak of memory is that of a process of
its own for each side.

With `--buildings` instead: how good objects are that come of a perfect map of boundaries, as `geoseg train --objects
boundary` draws it, by how far they grow.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter, label

from geoseg.blocks import BlockStore, map_in_order
from geoseg.classes import ClassInfo
from geoseg.classmap import write_block
from geoseg.model import ModelSpec, NumpyModel
from geoseg.objects.regions import BORDERS, Rules, label_regions
from geoseg.region import RegionPlan
from geoseg.semantic import Plan
from geoseg.tiling import Tiling

sys.path.insert(0, str(Path(__file__).parents[1]))
from objects_truth import quality

SPEC = ModelSpec(
    "fields",
    bands=("gray",),
    mean=(0,),
    std=(1,),
    classes=(ClassInfo(0, "ground"), ClassInfo(1, "field"), ClassInfo(2, "field boundary")),
    decoding="boundary",
)
WAYS = {"shared": {}, "gap": {"borders": "gap"}, "split": {"split_px": 3.0}}


def draw(side: int, seed: int = 0) -> np.ndarray:
    """Fields with boundary between them; the pattern goes on at the other side."""
    noise = np.random.default_rng(seed).random((side, side), dtype=np.float32)
    height = gaussian_filter(noise, 8, mode="wrap")
    inside, spread = np.median(height), height.std()
    return np.where(np.abs(height - inside) < 0.25 * spread, 2, height > inside).astype(np.uint8)


def per_100_mpx(work: Callable[[], Any], pixels: int) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e8 / pixels


def peak_mib() -> float:
    """The most memory that this process has had. (That of `getrusage` is at least its parent's.)"""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def in_memory(side: int) -> None:
    classes = draw(side)
    for way in WAYS.values():
        label_regions(classes[:64, :64], grow_px=2, **way)  # compiles
    alone = per_100_mpx(lambda: label(classes == 1), classes.size)
    print(f"scipy.ndimage.label   {alone:6.2f} s / 100 Mpx")
    for name, way in WAYS.items():
        for block_px in (side, 1024):
            took = per_100_mpx(partial(label_regions, classes, grow_px=2, block_px=block_px, **way), classes.size)
            what = f"{name}, {'whole' if block_px == side else 'blocks'}"
            print(f"{what:21} {took:6.2f} s / 100 Mpx, {took / alone:5.1f} × scipy", flush=True)
    try:
        from skimage.segmentation import watershed
    except ImportError:
        return
    took = per_100_mpx(lambda: watershed(classes == 2, label(classes == 1)[0], mask=classes > 0), classes.size)
    print(f"skimage watershed     {took:6.2f} s / 100 Mpx, {took / alone:5.1f} × scipy")


def from_disk(side: int, block_px: int, name: str) -> None:
    grid = GeoBox.from_bbox((500_000, 0, 500_000 + side, side), "EPSG:32633", resolution=1)
    scene: Any = SimpleNamespace(geobox=grid, bands=("gray",), dtype=np.dtype("uint8"))
    cover = Plan(scene, NumpyModel(SPEC, None), Tiling((side, side), block_px=block_px))
    plan = RegionPlan(cover, SPEC.classes[1:2], 2, Rules(2, **WAYS[name]))
    with tempfile.TemporaryDirectory() as folder:
        store = BlockStore(Path(folder) / "blocks", "bench")
        store.open()
        pattern = draw(min(side, block_px))
        blocks = plan.tiling.blocks()
        for block in blocks:
            rows, cols = slice(0, block.shape[0]), slice(0, block.shape[1])
            values = pattern[rows, cols]
            write_block(store.path(block), np.stack([values, np.full_like(values, 80)]), grid[rows, cols])

        def each(function: Callable[[Any], Any]) -> Any:
            return map_in_order(function, blocks)

        before = peak_mib()
        start = time.process_time()
        numbers = plan.number(store, each)
        between = time.process_time()
        largest = max(int(plan.paint(store, numbers, block).max()) for block in blocks)
        stop = time.process_time()
        assert largest == len(numbers)
        parts = [(between - start) * 1e8 / side**2, (stop - between) * 1e8 / side**2]
        peak = peak_mib()
        print(
            f"{name:7} {side:6} px: {len(numbers):8} objects, mark + number {parts[0]:5.2f} + paint {parts[1]:5.2f} s "
            f"/ 100 Mpx, peak {peak:.0f} MiB ({before:.0f} before)",
            flush=True,
        )


def from_footprints(folder: Path) -> None:
    import geopandas as gpd

    import geoseg
    from geoseg.training.objects import FIRST_NUMBER, read_objects

    scene = geoseg.open_scene(sorted((folder / "tiles").glob("*.tif"))).on_grid(0.3)
    frame = gpd.read_file(folder / "buildings.gpkg").to_crs(scene.geobox.crs.proj)
    (drawn,) = read_objects([frame], [scene], name="building", boundary_px=1.5)
    (whole,) = read_objects([frame], [scene], name="building")
    numbers, _ = whole.number(scene.geobox)
    truth = np.unique(np.where(numbers < FIRST_NUMBER, 0, numbers), return_inverse=True)[1].reshape(numbers.shape)
    kinds = drawn.burn(scene.geobox)
    for grow_px in (0, 1, 2, 3, 4):
        for borders in BORDERS[: 1 + (grow_px > 0)]:
            ids = label_regions(kinds, grow_px=grow_px, borders=borders).astype(np.int64)
            extra, pq = quality(truth, ids)
            print(f"grow {grow_px}, {borders:6}: {extra:+d} objects of {truth.max()}, panoptic quality {pq:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--block", type=int, default=2048)
    parser.add_argument("--buildings", type=Path)
    options = parser.parse_args()
    if options.buildings:
        from_footprints(options.buildings)
        raise SystemExit
    in_memory(min(options.sides))
    for way in WAYS:
        for side in options.sides:
            process = multiprocessing.get_context("spawn").Process(target=from_disk, args=(side, options.block, way))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)
