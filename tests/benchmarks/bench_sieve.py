"""Sieve a land-cover map, against rasterio.features.sieve (GDAL's sieve filter), in one run.

    python tests/benchmarks/bench_sieve.py                # 2048 × 2048, a minute
    python tests/benchmarks/bench_sieve.py --size 8192

The maps are those of `bench_vectorize.py`, the connectivity is 4. Each peer runs in a process of its own, `--repeat`
times after a warm-up on a small map, and its best time counts; on a busy machine trust the ratios of the processor's
time. Memory is the peak of the process above what it held before the first run, the result included.

The results differ by design: GDAL gives each small region, once, to its largest neighbour, and leaves what is still
small or has only small neighbours; geoseg fills by the longest border until no small region is left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zlib

import numpy as np
from bench_vectorize import CRS, MAPS, TRANSFORM, _forget_peak, _status_kib, land_cover

SIZES_PX = (4, 16, 64)


def geoseg_array(values: np.ndarray, size: int) -> np.ndarray:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from geoseg.classmap import class_map
    from geoseg.polygons import sieve

    cover = class_map(values, GeoBox(values.shape, Affine(*TRANSFORM), CRS), [])
    return sieve(cover, min_area=f"{size}px").values


def geoseg_stream(values: np.ndarray, size: int) -> int:
    """Strips that are dropped at once; what is left of the result is its checksum."""
    from geoseg.polygons.sieve import sieve_strips

    strips = ((row, values[row : row + 64], None) for row in range(0, len(values), 64))
    checksum = 0
    for _, strip, _ in sieve_strips(
        strips, values.shape[1], dtype=values.dtype, nodata=255, connectivity=4, minimum=size
    ):
        checksum = zlib.crc32(strip, checksum)
    return checksum


def rasterio_array(values: np.ndarray, size: int) -> np.ndarray:
    from rasterio.features import sieve

    return sieve(values, size, connectivity=4)


PEERS = {
    "geoseg": ("geoseg.sieve", geoseg_array),
    "stream": ("geoseg's sieve_strips, dropped", geoseg_stream),
    "rasterio": ("rasterio.features.sieve", rasterio_array),
}


def measure(peer: str, path: str, size: int, repeat: int) -> dict:
    """Run one peer in this process."""
    values = np.load(path)
    run = PEERS[peer][1]
    run(np.ascontiguousarray(values[:64, :64]), 4)
    before = _forget_peak()
    seconds, processor_seconds = [], []
    result = None
    for _ in range(repeat):
        del result  # outside the time, for all peers
        start, processor_start = time.perf_counter(), time.process_time()
        result = run(values, size)
        seconds.append(time.perf_counter() - start)
        processor_seconds.append(time.process_time() - processor_start)
        if len(seconds) == 1:
            peak = _status_kib("VmHWM")
    return {
        "seconds": min(seconds),
        "processor_seconds": min(processor_seconds),
        "peak_mib": (peak - before) / 1024,
        "checksum": zlib.crc32(result) if isinstance(result, np.ndarray) else result,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--maps", nargs="+", choices=MAPS, default=list(MAPS))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--measure", nargs=3, metavar=("PEER", "FILE", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        peer, path, size = options.measure
        print(json.dumps(measure(peer, path, int(size), options.repeat)))
        return

    import tempfile

    print(f"{options.size} × {options.size} px, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':52} {'s':>8} {'rasterio ÷':>10} {'CPU s':>8} {'rasterio ÷':>10} {'peak MiB':>9}")
    for kind in options.maps:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "map.npy")
            np.save(path, land_cover(kind, options.size))
            for size in SIZES_PX:
                results = {}
                for peer in PEERS:
                    command = [sys.executable, __file__, "--repeat", str(options.repeat)]
                    command += ["--measure", peer, path, str(size)]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    results[peer] = json.loads(done.stdout.splitlines()[-1])
                assert results["geoseg"]["checksum"] == results["stream"]["checksum"], "Strips changed the result"
                for peer, result in results.items():
                    line = f"{kind:10} {size:3d} px  {PEERS[peer][0]:34}"
                    for unit in ("seconds", "processor_seconds"):
                        line += f" {result[unit]:8.3f} {results['rasterio'][unit] / result[unit]:10.2f}"
                    print(f"{line} {result['peak_mib']:9.1f}")


if __name__ == "__main__":
    main()
