"""Compare a town with itself, its corners moved: seconds of the processor and peak memory of `assess_objects`.

    python tests/benchmarks/bench_assess.py                    # 100 000 against 100 000, less than a minute
    python tests/benchmarks/bench_assess.py --objects 20000

Houses have six corners and stand 20 m apart; each corner of an object is off by 0.7 m (standard deviation). One core;
compiling is done before, on a small town. Memory is the peak of the process, of which the libraries are some 280 MB.
"""

from __future__ import annotations

import argparse
import time

import geopandas as gpd
import numpy as np
import shapely

import geoseg
from geoseg.export import peak_memory_bytes


def town(count: int) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Objects with scores, and the reference."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(count**0.5))
    place = np.arange(count)
    at = np.stack([500_000 + place % side * 20.0, 5_000_000 + place // side * 20.0], axis=-1)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0.5, 1), (0.5, 0.5), (0, 0.5)])
    true = at[:, None] + corners * rng.uniform(6, 18, (count, 1, 2))
    moved = true + rng.normal(0, 0.7, true.shape)
    return (
        gpd.GeoDataFrame({"score": rng.random(count)}, geometry=shapely.polygons(moved), crs="EPSG:32632"),
        gpd.GeoDataFrame(geometry=shapely.polygons(true), crs="EPSG:32632"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    count = parser.parse_args().objects
    geoseg.assess_objects(*town(100), score_column="score")
    sides = town(count)
    wall, processor = time.perf_counter(), time.process_time()
    found = geoseg.assess_objects(*sides, score_column="score")
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    figures = ", ".join(f"{name} {found.overall[name]:.3f}" for name in ("f1", "pq", "ap", "boundary_iou", "polis_m"))
    print(f"{count:,} objects: {processor:.1f} s of the processor, {wall:.1f} s, {peak_memory_bytes() / 2**20:.0f} MiB")
    print(figures)


if __name__ == "__main__":
    main()
