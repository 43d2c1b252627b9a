"""Vectorise a land-cover map, against rasterio.features.shapes and GDAL's polygonize called in C, in one run.

    python tests/benchmarks/bench_vectorize.py                # 2048 × 2048, half a minute
    python tests/benchmarks/bench_vectorize.py --size 8192    # the numbers of docs/vectorize.md

Each peer runs in a process of its own on the same map, `--repeat` times after a warm-up on a small map, and its best
time counts. Ratios are what to trust: they come from one run on one machine; on a busy one, those of the processor's
time. Memory is the peak of the process above
what it held before the first run, the result included.
"""

from __future__ import annotations

import argparse
import ctypes
import glob
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numba import njit

TRANSFORM = (10.0, 0.0, 400_000.0, 0.0, -10.0, 5_800_000.0)
CRS = "EPSG:32633"
MAPS = {
    # (cell size in pixels, weight) of the noise that each of eight classes has; share of single odd pixels
    "fragmented": (((512, 1.0), (96, 0.8), (24, 0.6), (8, 0.55), (4, 0.45)), 0.001),
    "smooth": (((1024, 1.0), (256, 1.0), (64, 0.7), (24, 0.35), (8, 0.12)), 0.001),
}


@njit(nogil=True, cache=True)
def _add_noise(field, grid, cell, weight):
    """Add value noise: random numbers at the nodes of a grid, smoothly interpolated."""
    for row in range(field.shape[0]):
        i = row // cell
        v = (row % cell) / cell
        v = v * v * (3 - 2 * v)
        for col in range(field.shape[1]):
            j = col // cell
            u = (col % cell) / cell
            u = u * u * (3 - 2 * u)
            north = grid[i, j] * (1 - u) + grid[i, j + 1] * u
            south = grid[i + 1, j] * (1 - u) + grid[i + 1, j + 1] * u
            field[row, col] += weight * (north * (1 - v) + south * v)


def land_cover(kind: str, size: int, *, seed: int = 7) -> np.ndarray:
    """A map of eight classes, uint8 (size, size): the class whose noise is highest, and some odd pixels."""
    scales, odd = MAPS[kind]
    rng = np.random.default_rng(seed)
    highest = np.full((size, size), -np.inf, np.float32)
    classes = np.zeros((size, size), np.uint8)
    for value, prior in enumerate((0.5, 0.3, 0.2, 0.1, 0.0, -0.2, -0.3, -0.4), start=1):
        field = np.full((size, size), prior, np.float32)
        for cell, weight in scales:
            nodes = size // cell + 2
            _add_noise(field, rng.standard_normal((nodes, nodes)).astype(np.float32), cell, np.float32(weight))
        higher = field > highest
        classes[higher] = value
        np.copyto(highest, field, where=higher)
    places = rng.integers(0, size * size, int(odd * size * size))
    classes.ravel()[places] = rng.integers(1, 9, len(places))
    return classes


def geoseg_frame(values: np.ndarray, threads: int = 2):
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from geoseg.classmap import class_map
    from geoseg.polygons import vectorize

    cover = class_map(values, GeoBox(values.shape, Affine(*TRANSFORM), CRS), [])
    return vectorize(cover, threads=threads)


def geoseg_stream(values: np.ndarray) -> range:
    """The same polygons in batches that are dropped at once."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from geoseg.classmap import class_map
    from geoseg.polygons import iter_polygons

    cover = class_map(values, GeoBox(values.shape, Affine(*TRANSFORM), CRS), [])
    return range(sum(len(batch) for batch in iter_polygons(cover)))


def rasterio_frame(values: np.ndarray):
    """What people write: shapes, then a frame."""
    import geopandas
    from affine import Affine
    from rasterio.features import shapes
    from shapely.geometry import shape

    found = shapes(values, transform=Affine(*TRANSFORM))
    geometry, classes = zip(*((shape(polygon), value) for polygon, value in found), strict=True)
    return geopandas.GeoDataFrame({"class": classes}, geometry=list(geometry), crs=CRS)


def contourrs_frame(values: np.ndarray):
    """contourrs (Rust), its Arrow table as a frame."""
    import contourrs
    import geopandas
    import shapely

    table = contourrs.shapes_arrow(values, transform=TRANSFORM)
    geometry = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    return geopandas.GeoDataFrame({"class": table["value"].to_numpy()}, geometry=geometry, crs=CRS)


def xrspatial_frame(values: np.ndarray):
    """xarray-spatial (numba), as a frame."""
    import xarray

    try:
        from xrspatial import polygonize
    except ImportError:  # of older versions
        from xrspatial.experimental import polygonize

    raster = xarray.DataArray(values.astype(np.int64), dims=("y", "x"))
    return polygonize(raster, transform=np.array(TRANSFORM), return_type="geopandas", column_name="class")


class GdalInC:
    """GDALPolygonize from memory to a layer in memory, or a GeoPackage, in the libgdal of rasterio's wheel.

    No Python per polygon.
    """

    def __init__(self, geopackage: str | None = None) -> None:
        import rasterio

        self.geopackage = geopackage

        where = os.path.join(os.path.dirname(rasterio.__file__), "..", "rasterio.libs", "libgdal*")
        found = sorted(glob.glob(where))
        if not found:
            raise SystemExit("This benchmark needs rasterio from a wheel, which brings libgdal along.")
        self.lib = lib = ctypes.CDLL(found[0])
        self.open: list[int] = []
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        for name, result, arguments in (
            ("GDALAllRegister", None, []),
            ("GDALVersionInfo", text, [text]),
            ("GDALGetDriverByName", pointer, [text]),
            ("GDALCreate", pointer, [pointer, text, number, number, number, number, pointer]),
            ("GDALSetGeoTransform", number, [pointer, pointer]),
            ("GDALGetRasterBand", pointer, [pointer, number]),
            (
                "GDALRasterIO",
                number,
                [pointer, *[number] * 5, pointer, *[number] * 5],
            ),
            ("GDALDatasetCreateLayer", pointer, [pointer, text, pointer, number, pointer]),
            ("OGR_Fld_Create", pointer, [text, number]),
            ("OGR_L_CreateField", number, [pointer, pointer, number]),
            ("GDALPolygonize", number, [pointer, pointer, pointer, number, pointer, pointer, pointer]),
            ("OGR_L_GetFeatureCount", ctypes.c_longlong, [pointer, number]),
            ("GDALDatasetStartTransaction", number, [pointer, number]),
            ("GDALDatasetCommitTransaction", number, [pointer]),
            ("GDALClose", None, [pointer]),
        ):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        lib.GDALAllRegister()
        self.version = lib.GDALVersionInfo(b"RELEASE_NAME").decode()

    def __call__(self, values: np.ndarray) -> range:
        lib = self.lib
        height, width = values.shape
        memory = lib.GDALGetDriverByName(b"MEM")
        raster = lib.GDALCreate(memory, b"", width, height, 1, 1, None)
        a, b, c, d, e, f = TRANSFORM
        lib.GDALSetGeoTransform(raster, (ctypes.c_double * 6)(c, a, b, f, d, e))
        band = lib.GDALGetRasterBand(raster, 1)
        data = values.ctypes.data_as(ctypes.c_void_p)
        assert lib.GDALRasterIO(band, 1, 0, 0, width, height, data, width, height, 1, 0, 0) == 0
        vectors = lib.GDALGetDriverByName(b"Memory") or memory
        if self.geopackage is not None:
            vectors = lib.GDALGetDriverByName(b"GPKG")
        output = lib.GDALCreate(vectors, (self.geopackage or "").encode(), 0, 0, 0, 0, None)
        layer = lib.GDALDatasetCreateLayer(output, b"polygons", None, 3, None)
        lib.OGR_L_CreateField(layer, lib.OGR_Fld_Create(b"class", 0), 1)
        if self.geopackage is not None:  # one by one, features would take ten times as long
            lib.GDALDatasetStartTransaction(output, 0)
        assert lib.GDALPolygonize(band, None, layer, 0, None, None, None) == 0
        if self.geopackage is not None:
            lib.GDALDatasetCommitTransaction(output)
        count = lib.OGR_L_GetFeatureCount(layer, 1)
        self.open = [output, raster]
        return range(count)

    def release(self) -> None:
        while self.open:
            self.lib.GDALClose(self.open.pop(0))


PEERS: dict[str, tuple[str, Callable[[], Callable]]] = {
    "geoseg": ("geoseg.vectorize → GeoDataFrame, 9 columns, 2 threads", lambda: geoseg_frame),
    "geoseg-1": ("the same, threads=1", lambda: lambda values: geoseg_frame(values, threads=1)),
    "geoseg-stream": ("geoseg.iter_polygons, batches dropped", lambda: geoseg_stream),
    "gdal": ("GDALPolygonize in C → memory layer, class only", GdalInC),
    "contourrs": ("contourrs → GeoDataFrame, class only (Python >= 3.12)", lambda: contourrs_frame),
    "xrspatial": ("xarray-spatial → GeoDataFrame, class only", lambda: xrspatial_frame),
    "rasterio": ("rasterio.features.shapes → GeoDataFrame, class only", lambda: rasterio_frame),
}


def _status_kib(name: str) -> int:
    """A line of Linux's account of this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _forget_peak() -> int:
    """Start the count of peak memory anew; what is held now, KiB."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status_kib("VmRSS")


def measure(peer: str, path: str, repeat: int) -> dict:
    """Run one peer in this process."""
    values = np.load(path)
    run = PEERS[peer][1]()
    run(np.ascontiguousarray(values[:64, :64]))
    before = _forget_peak()
    seconds, processor_seconds = [], []
    result = None
    for _ in range(repeat):
        del result  # outside the time, for all peers
        getattr(run, "release", int)()
        start, processor_start = time.perf_counter(), time.process_time()
        result = run(values)
        seconds.append(time.perf_counter() - start)
        processor_seconds.append(time.process_time() - processor_start)
        if len(seconds) == 1:
            peak = _status_kib("VmHWM")
    return {
        "seconds": min(seconds),
        "processor_seconds": min(processor_seconds),
        "polygons": len(result),
        "peak_mib": (peak - before) / 1024,
        "gdal": getattr(run, "version", None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--map", choices=MAPS, default="fragmented")
    parser.add_argument("--repeat", type=int, default=3)
    # contourrs and xarray-spatial are asked for by name: they are not installed with geoseg's tests.
    usual = [peer for peer in PEERS if peer not in ("contourrs", "xrspatial")]
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=usual)
    parser.add_argument("--measure", nargs=2, metavar=("PEER", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options.repeat)))
        return

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "map.npy")
        np.save(path, land_cover(options.map, options.size))
        results = {}
        for peer in options.peers:
            repeat = 1 if peer == "rasterio" else options.repeat
            command = [sys.executable, __file__, "--repeat", str(repeat), "--measure", peer, path]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[peer] = json.loads(done.stdout.splitlines()[-1])
    own = results.get("geoseg")
    load = os.getloadavg()[0]
    print(f"{options.map} {options.size} × {options.size} px, {os.cpu_count()} cores, load {load:.1f}")
    print(f"{'':66} {'s':>8} {'× geoseg':>9} {'CPU s':>8} {'× geoseg':>9} {'polygons':>9} {'peak MiB':>9}")
    for peer, result in results.items():
        line = f"{PEERS[peer][0] + (' (' + result['gdal'] + ')' if result['gdal'] else ''):66}"
        for kind in ("seconds", "processor_seconds"):
            line += f" {result[kind]:8.3f} " + (f"{result[kind] / own[kind]:9.2f}" if own else " " * 9)
        print(f"{line} {result['polygons']:9d} {result['peak_mib']:9.0f}")
    counts = {result["polygons"] for result in results.values()}
    assert len(counts) == 1, f"The peers found different numbers of polygons: {counts}"


if __name__ == "__main__":
    main()
