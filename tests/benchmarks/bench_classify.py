"""`classify` against the bare forward pass over the same tiles, and what settings do to the forward pass.

    python tests/benchmarks/bench_classify.py            # the ratio
    python tests/benchmarks/bench_classify.py --settings # the table of settings

Ratios are taken pair by pair in one run, so that they hold when the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SIDE, REPEATS = 2048, 5
SETTINGS = {
    "one image a batch, NCHW, all threads on it": ("intra", 1, False, ""),
    "four images a batch, NCHW, all threads on it": ("intra", 4, False, ""),
    "one image a batch, channels last, all threads on it": ("intra", 1, True, ""),
    "four images a batch, channels last, all threads on it": ("intra", 4, True, ""),
    "one thread a tile, NCHW": ("tiles", 1, False, ""),
    "one thread a tile, channels last": ("tiles", 1, True, ""),
    "one thread a tile, channels last, memory kept (the default)": ("tiles", 1, True, "keep"),
}


def ratio() -> None:
    """Time classify and the bare forward pass in turn."""
    import numpy as np
    import torch

    import geoseg
    from geoseg.semantic import make_plan
    from geoseg.synthetic import write_scene
    from geoseg.tiling import Block

    with tempfile.TemporaryDirectory() as folder:
        path = write_scene(Path(folder) / "scene.tif", shape=(SIDE, SIDE))
        model = geoseg.load_model("landcover-aerial", device="cpu")
        plan = make_plan(geoseg.open_scene(path), model)
        whole = Block(0, 0, (0, SIDE), (0, SIDE))
        scaled = [
            ((torch.from_numpy(np.ascontiguousarray(tile[None])).float() - 127.5) / 127.5).contiguous(
                memory_format=torch.channels_last
            )
            for _, tile, _ in plan._tiles(whole)
        ]

        def forward(tile: torch.Tensor) -> None:
            with torch.inference_mode():
                model.network(tile)

        def bare() -> None:
            with ThreadPoolExecutor(model.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(forward, scaled))

        tile, overlap = plan.tiling.tile_px, plan.tiling.overlap_px
        print(f"{len(scaled)} tiles of {tile} px, overlap {overlap} px, {model.threads} threads")
        bare()
        plan.block(whole)
        pairs = [(timed(bare), timed(lambda: plan.block(whole))) for _ in range(REPEATS)]
        for index, clock in enumerate(("wall", "processor")):
            first, second = ([times[index] for times in side] for side in zip(*pairs, strict=True))
            shares = [a / b for a, b in zip(first, second, strict=True)]
            print(f"{clock} time: bare forward pass {statistics.median(first):.2f} s, "
                  f"classify {statistics.median(second):.2f} s, bare / classify {statistics.median(shares):.1%} "
                  f"(from {min(shares):.1%} to {max(shares):.1%})")  # fmt: skip


def timed(call) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor


def settings() -> None:
    """Each setting in a process of its own, in turns; relative to the first."""
    rounds = [[measure(name) for name in SETTINGS] for _ in range(3)]
    print("| setting | Mpx/s | relative |\n|---|---|---|")
    for index, name in enumerate(SETTINGS):
        speed = statistics.median(r[index] for r in rounds)
        relative = statistics.median(r[index] / r[0] for r in rounds)
        print(f"| {name} | {speed:.2f} | {relative:.2f} |")


def measure(name: str) -> float:
    command = [sys.executable, __file__, "--one", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def one(name: str) -> None:
    """Speed of the forward pass in Mpx/s with one setting."""
    way, batch, channels_last, allocator = SETTINGS[name]
    import torch

    from geoseg.allocator import keep_memory
    from geoseg.model import read_spec
    from geoseg.networks import build_network

    if allocator == "keep":
        keep_memory()
    cores, count = os.cpu_count() or 1, 16
    network = build_network(read_spec("landcover-aerial")).eval()  # speed does not depend on the weights
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    tiles = [torch.rand(batch, 3, 512, 512).contiguous(memory_format=layout) for _ in range(count // batch)]

    def forward(tile: torch.Tensor) -> None:
        with torch.inference_mode():
            network(tile)

    def run() -> None:
        if way == "intra":
            for tile in tiles:
                forward(tile)
        else:
            with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(forward, tiles))

    torch.set_num_threads(cores)
    run()
    print(count * 512**2 / 1e6 / timed(run)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one)
    elif given.settings:
        settings()
    else:
        ratio()
