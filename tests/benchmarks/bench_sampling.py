"""Time and memory of drawing a sample and assessing, beside the count of areas; maps are made as they are read.

    python tests/benchmarks/bench_sampling.py [side in pixels, ...]

Each side in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import subprocess
import sys
import time

import dask.array
import numpy as np
from odc.geo.geobox import GeoBox


def block(block_info: dict | None = None) -> np.ndarray:
    """Patches of four classes, by place alone."""
    (top, bottom), (left, right) = block_info[None]["array-location"]  # type: ignore[index]
    rows, cols = np.arange(top, bottom)[:, None] // 37, np.arange(left, right)[None, :] // 53
    return ((rows * 7919 + cols * 104729) % 11 // 3).astype(np.uint8)


def measure(side: int) -> None:
    from geoseg.areas import class_areas
    from geoseg.classes import ClassInfo
    from geoseg.classmap import class_map
    from geoseg.export import peak_memory_bytes
    from geoseg.sampling import assess_map, draw_sample

    rows = dask.array.core.normalize_chunks(512, (side,))[0]
    values = dask.array.map_blocks(block, chunks=(rows, (side,)), dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    grid = GeoBox.from_bbox((0, 0, 40, 40), "EPSG:4326", shape=(side, side))
    cover = class_map(values, grid, [ClassInfo(at, f"class {at}") for at in range(4)])
    draw_sample(cover[:600, :600], 50)  # compiled
    start = time.perf_counter()
    class_areas(cover)
    begin = time.perf_counter()
    sample = draw_sample(cover, 1000, at_least=100)
    drawn = time.perf_counter()
    done = sample.units.assign(reference="class 1")
    assess_map(cover, done, design=sample.design)
    end = time.perf_counter()
    peak = peak_memory_bytes() / 2**20
    told = f"class_areas {begin - start:.1f} s, draw {drawn - begin:.1f} s, assess {end - drawn:.1f} s"
    print(f"{side} × {side} px: {told}, peak {peak:.0f} MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(int(sys.argv[2]))
    else:
        for size in sys.argv[1:] or ["5000", "10000", "20000"]:
            subprocess.run([sys.executable, __file__, "--one", size], check=True)
