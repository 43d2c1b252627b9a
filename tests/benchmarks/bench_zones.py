"""Areas by zone and class: `geoseg.zone_areas` against exactextract and rasterstats, in one run.

    pip install exactextract rasterstats
    python tests/benchmarks/bench_zones.py                               # 10 000² pixels, 3 000 zones
    python tests/benchmarks/bench_zones.py --side 4000 --zones 500
    python tests/benchmarks/bench_zones.py --zones 12                    # few zones, each with millions of pixels

From the files, a GeoTIFF of ten classes and a GeoPackage of districts that fill it and share wiggly borders, to a table
in memory. Each tool runs in a process of its own; time is after its imports, and compiled functions of geoseg are in
numba's cache (a run on a small map comes before). exactextract gives parts of pixels, rasterstats whole pixels whose
centre lies in a zone; neither knows the true area of a pixel in a projected CRS. (exactextract can weight with the
area of a pixel in the plane, or on a sphere for maps in degrees.) So parts of pixels are what is compared.
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

TOOLS = ("geoseg", "geoseg, 1 thread", "exactextract", "exactextract, by raster", "rasterstats")
CLASSES = 10
PIXEL_M = 10.0
LEFT, TOP = 300_000.0, 5_600_000.0


def draw(folder: Path, side: int, count: int) -> None:
    """The map and the zones."""
    import geopandas as gpd
    import rasterio.transform
    import shapely

    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "nodata": 255,
        "crs": "EPSG:32632",
        "transform": rasterio.transform.from_origin(LEFT, TOP, PIXEL_M, PIXEL_M),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
    }
    patches = rng.integers(0, CLASSES, (side // 12 + 3, side // 12 + 3)).astype(np.uint8)
    with rasterio.open(folder / "classes.tif", "w", width=side, height=side, **profile) as out:
        for row0 in range(0, side, 512):
            rows, cols = np.ogrid[row0 : min(row0 + 512, side), :side]
            values = patches[
                ((rows + 6 * np.sin(cols / 9)) // 12).astype(int), ((cols + 6 * np.cos(rows / 7)) // 12).astype(int)
            ]
            values[rng.random(values.shape) < 0.01] = 255
            out.write(values, 1, window=((row0, row0 + len(values)), (0, side)))
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(rng.random((count, 2)) * side)))
    cells = shapely.segmentize(shapely.intersection(cells, shapely.box(0, 0, side, side).buffer(0.002 * side)), 3)

    def wiggle(at: np.ndarray) -> np.ndarray:
        return at + 5 * np.sin(at[:, ::-1] / 11) + 0.8 * np.sin(at[:, ::-1] / 2.3)

    cells = shapely.transform(cells, wiggle)
    cells = shapely.transform(cells, lambda at: np.stack([LEFT + at[:, 0] * PIXEL_M, TOP - at[:, 1] * PIXEL_M], axis=1))
    zones = gpd.GeoDataFrame({"name": [f"d{n}" for n in range(len(cells))]}, geometry=cells, crs="EPSG:32632")
    zones.to_file(folder / "zones.gpkg", layer="zones")


def by_geoseg(folder: Path, threads: int | None) -> np.ndarray:
    import geoseg
    from geoseg.export import read_objects

    cover = geoseg.open_class_map(folder / "classes.tif")
    found = geoseg.zone_areas(cover, read_objects(folder / "zones.gpkg"), zone_field="name", threads=threads)
    return found.table.pivot(index="zone_id", columns="class", values="pixels").reindex(columns=range(CLASSES)).values


def by_exactextract(folder: Path, strategy: str) -> np.ndarray:
    import geopandas as gpd
    from exactextract import exact_extract

    zones = gpd.read_file(folder / "zones.gpkg")  # a path needs GDAL's own Python package
    table = exact_extract(str(folder / "classes.tif"), zones, ["count", "unique", "frac"], strategy=strategy)
    result = np.zeros((len(table), CLASSES))
    for number, row in enumerate(table):
        found = row["properties"]
        result[number, np.asarray(found["unique"], int)] = np.asarray(found["frac"]) * found["count"]
    return result


def by_rasterstats(folder: Path) -> np.ndarray:
    from rasterstats import zonal_stats

    table = zonal_stats(str(folder / "zones.gpkg"), str(folder / "classes.tif"), categorical=True)
    return np.array([[row.get(value, 0) for value in range(CLASSES)] for row in table], float)


def peak_mib() -> float:
    """As `geoseg.export.peak_memory_bytes`, but without the memory that geoseg's libraries take."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def run(tool: str, folder: Path) -> None:
    """One tool in this process; its figures go to its output."""
    if tool.startswith("geoseg"):
        import geoseg.export
        import geoseg.zonal.areas  # noqa: F401
    elif tool == "rasterstats":
        import rasterstats  # noqa: F401
    else:
        import exactextract  # noqa: F401
        import geopandas  # noqa: F401
    before = peak_mib()
    wall, processor = time.perf_counter(), time.process_time()
    if tool.startswith("geoseg"):
        result = by_geoseg(folder, 1 if "1 thread" in tool else None)
    elif tool == "rasterstats":
        result = by_rasterstats(folder)
    else:
        result = by_exactextract(folder, "raster-sequential" if "raster" in tool else "feature-sequential")
    figures = {
        "wall_s": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
        "peak_mib": peak_mib(),
        "imports_mib": before,
    }
    np.save(folder / f"{tool}.npy", result)
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--zones", type=int, default=3_000)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        run(options.tool, options.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, small = Path(name), Path(name) / "small"
        small.mkdir()
        draw(folder, options.side, options.zones)
        draw(small, 200, 5)
        subprocess.run(_command("geoseg", small), check=True, stdout=subprocess.DEVNULL)
        print("| | by the clock | processor time | peak of memory | of it libraries | pixels that differ from geoseg |")
        print("|---|---|---|---|---|---|")
        for tool in options.tools:
            done = subprocess.run(_command(tool, folder), check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            ours, theirs = np.load(folder / f"{options.tools[0]}.npy"), np.load(folder / f"{tool}.npy")
            print(
                f"| {tool} | {found['wall_s']:.1f} s | {found['processor_s']:.1f} s | {found['peak_mib']:.0f} MiB | "
                f"{found['imports_mib']:.0f} MiB | {np.abs(ours - theirs).max():.2g} (largest of a zone and class), "
                f"{np.abs(ours - theirs).sum() / ours.sum():.2g} of all |",
                flush=True,
            )


def _command(tool: str, folder: Path) -> list[str]:
    return [sys.executable, __file__, "--tool", tool, "--folder", str(folder)]


if __name__ == "__main__":
    main()
