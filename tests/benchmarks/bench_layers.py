"""Layers in files, and simplified layers, against GDAL, rasterio, shapely and topojson, in one run.

    python tests/benchmarks/bench_layers.py [--size 4096] [--map fragmented]

GeoPackages: exact polygons of one map from memory to a file. Simplification: what simplifying adds to `vectorize`,
against `shapely.coverage_simplify` and topojson on the very same polygons (topojson on a corner of the map).
Each peer runs in a process of its own after a warm-up, files by turns; the best time counts; memory is the peak above
what was held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_vectorize import CRS, MAPS, TRANSFORM, GdalInC, _forget_peak, _status_kib, land_cover, rasterio_frame

TOLERANCE_PX = 1.0
TOPOJSON_PX = 512


def cover_of(values: np.ndarray) -> Any:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from geoseg.classmap import class_map

    return class_map(values, GeoBox(values.shape, Affine(*TRANSFORM), CRS), [])


def geoseg_file(values: np.ndarray, path: str) -> None:
    import geoseg

    geoseg.vectorize(cover_of(values), to=path)


def gdal_file(values: np.ndarray, path: str) -> None:
    gdal = GdalInC(path)
    gdal(values)
    gdal.release()


def rasterio_file(values: np.ndarray, path: str) -> None:
    rasterio_frame(values).to_file(path, engine="pyogrio")


def exact(values: np.ndarray) -> Any:
    from geoseg.polygons import vectorize

    return vectorize(cover_of(values))


def geoseg_simplified(values: np.ndarray, polygons: Any) -> Any:
    from geoseg.polygons import vectorize

    return vectorize(cover_of(values), simplify=f"{TOLERANCE_PX}px")


def shapely_simplified(values: np.ndarray, polygons: Any) -> Any:
    import shapely

    # Its tolerance is the square root of the area of a triangle (Visvalingam and Whyatt).
    return shapely.coverage_simplify(polygons.geometry.to_numpy(), TOLERANCE_PX * TRANSFORM[0])


def topojson_simplified(values: np.ndarray, polygons: Any) -> Any:
    import topojson

    topology = topojson.Topology(polygons[["class", "geometry"]], prequantize=False)
    return topology.toposimplify(TOLERANCE_PX * TRANSFORM[0]).to_gdf()


FILES: dict[str, tuple[str, Callable[[np.ndarray, str], None]]] = {
    "geoseg": ("geoseg.vectorize(to=...), 9 columns, style, areas", geoseg_file),
    "gdal": ("GDALPolygonize in C → GeoPackage, class only", gdal_file),
    "rasterio": ("rasterio.features.shapes → GeoDataFrame → file, class only", rasterio_file),
}
SIMPLIFIED: dict[str, tuple[str, Callable[[np.ndarray, Any], Any]]] = {
    "geoseg": ("geoseg.vectorize(simplify='1px'), tracing included", geoseg_simplified),
    "shapely": ("shapely.coverage_simplify of the exact polygons", shapely_simplified),
    "topojson": ("topojson, toposimplify of the exact polygons", topojson_simplified),
}


def measure(what: str, peer: str, source: str, repeat: int) -> dict[str, float]:
    """Run one peer in this process."""
    values = np.load(source)
    small = np.ascontiguousarray(values[:64, :64])
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        if what == "files":
            FILES[peer][1](small, f"{folder}/small.gpkg")
            before = _forget_peak()
            for k in range(repeat):
                start = time.perf_counter()
                FILES[peer][1](values, f"{folder}/{k}.gpkg")
                seconds.append(time.perf_counter() - start)
            extra = {"MB": os.path.getsize(f"{folder}/0.gpkg") / 1e6}
        else:
            SIMPLIFIED[peer][1](small, exact(small))
            start = time.perf_counter()
            polygons = exact(values)
            extra = {"tracing": time.perf_counter() - start}
            before = _forget_peak()
            for _ in range(repeat):
                start = time.perf_counter()
                result = SIMPLIFIED[peer][1](values, polygons)
                seconds.append(time.perf_counter() - start)
            extra["polygons"] = len(result)
    return {"seconds": min(seconds), "peak_mib": (_status_kib("VmHWM") - before) / 1024, **extra}


def run(what: str, peer: str, source: str, repeat: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", what, peer, source, "--repeat", str(repeat)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--map", choices=MAPS, default="fragmented")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--topojson", action="store_true", help="It must be installed.")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure, given.repeat)))
        return
    with tempfile.TemporaryDirectory() as folder:
        whole, corner = str(Path(folder) / "map.npy"), str(Path(folder) / "corner.npy")
        values = land_cover(given.map, given.size)
        np.save(whole, values)
        np.save(corner, np.ascontiguousarray(values[:TOPOJSON_PX, :TOPOJSON_PX]))
        print(f"{given.map} {given.size} × {given.size} px, {os.cpu_count()} cores\n")
        own: dict[str, float] = {}
        # By turns: what else goes on while this runs hits all alike. A file is removed before the next is written.
        turns = [{peer: run("files", peer, whole, 1) for peer in ("geoseg", "gdal")} for _ in range(given.repeat)]
        turns[0]["rasterio"] = run("files", "rasterio", whole, 1)
        for peer, (title, _) in FILES.items():
            result = min((turn[peer] for turn in turns if peer in turn), key=lambda turn: turn["seconds"])
            own = own or result
            print(
                f"{title:62} {result['seconds']:8.2f} s {result['seconds'] / own['seconds']:7.2f} × "
                f"{result['peak_mib']:6.0f} MiB {result['MB']:7.0f} MB"
            )
        print()
        own = run("simplified", "geoseg", whole, given.repeat)
        added = own["seconds"] - own["tracing"]
        print(f"{SIMPLIFIED['geoseg'][0]:62} {own['seconds']:8.2f} s, of which simplifying {added:.2f} s")
        result = run("simplified", "shapely", whole, 1)
        print(
            f"{SIMPLIFIED['shapely'][0]:62} {result['seconds']:8.2f} s {result['seconds'] / added:7.1f} × that, "
            f"{result['seconds'] / own['seconds']:.1f} × with tracing; {result['peak_mib']:.0f} MiB"
        )
        if given.topojson:
            own = run("simplified", "geoseg", corner, given.repeat)
            result = run("simplified", "topojson", corner, 1)
            print(
                f"{SIMPLIFIED['topojson'][0]:62} {result['seconds']:8.2f} s "
                f"{result['seconds'] / own['seconds']:7.0f} × geoseg with tracing, on {TOPOJSON_PX}² px"
            )


if __name__ == "__main__":
    main()
