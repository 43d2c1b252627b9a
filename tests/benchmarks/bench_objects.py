"""How objects that cross tiles are joined, against the rules of other tools: python tests/benchmarks/bench_objects.py

Known objects (touching, elongated, larger than a tile, tiny, nested, on corners of tiles) are seen tile by tile by a
perfect model that cuts them and is up to two pixels off near a tile's border.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from objects_naive import box_suppression, centre_owner, union_of_touching
from objects_truth import all_tiles, draw_truth, quality, see, whole

from geoseg.objects.parts import Parts, parts_of
from geoseg.objects.whole import count, finish, link, number, paint_block
from geoseg.tiling import Tiling


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4500)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--overlaps", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--how", default="jitter", help="how tiles are seen, see objects_truth.see")
    args = parser.parse_args()
    truth = draw_truth(args.side, want=args.objects)
    print("overlap | rule | objects too many | PQ | seconds")
    for overlap in args.overlaps:
        tiling = Tiling(truth.shape, tile_px=512, overlap_px=overlap, block_px=args.side)
        pieces = [(tile, see(truth, tiling, tile, how=args.how)) for tile in all_tiles(tiling)]
        began = time.perf_counter()
        parts = [Parts.concatenate([parts_of(tiling, tile, found) for tile, found in pieces])]
        first = number([link(tiling, whole(tiling), parts)])
        numbers = finish(first, [count(paint_block(tiling, whole(tiling), parts, first))])
        ours = paint_block(tiling, whole(tiling), parts, numbers) + 1
        spent = time.perf_counter() - began
        extra, pq = quality(truth, ours)
        print(f"{overlap} | geoseg | {extra:+d} | {pq:.4f} | {spent:.1f} ({len(parts[0])} parts)", flush=True)
        for rule in (box_suppression, centre_owner, union_of_touching):
            began = time.perf_counter()
            extra, pq = quality(truth, rule(tiling, pieces))
            spent = time.perf_counter() - began
            print(f"{overlap} | {rule.__name__} | {extra:+d} | {pq:.4f} | {spent:.1f}", flush=True)


if __name__ == "__main__":
    main()
