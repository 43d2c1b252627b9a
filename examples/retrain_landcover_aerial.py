r"""Teach `landcover-aerial` on through `geoseg train`: write rasters of all that may be learned from, train, average.

    python examples/retrain_landcover_aerial.py rasters DATA rasters/
    python examples/retrain_landcover_aerial.py train rasters/ --minutes 95 --seed 1 --out one/  # and --seed 2
    python examples/retrain_landcover_aerial.py average one/ two/ --out model/
    python examples/evaluate_landcover_aerial.py DATA --model model/

DATA is as for `train_landcover_aerial.py`, which made the weights that are shipped. What this one gave is in their
card: better on the areas that it learns from, worse on those kept apart. Needs `pip install geoseg[train]`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import rasterio
import torch
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from safetensors.torch import load_file, save_file
from train_landcover_aerial import RESOLUTION_M, TRAINED_ON, Patch, draw_synthetic, read_dubai, read_naip

import geoseg
from geoseg.classmap import class_map, write_class_map
from geoseg.model import ModelSpec, read_spec
from geoseg.progress import make_progress

CLASSES = read_spec("landcover-aerial").classes


def mosaic(parts: list[Patch], name: str) -> Patch:
    """The 3 × 3 images of an area side by side."""
    rows = [parts[i : i + 3] for i in (0, 3, 6)]
    image = torch.cat([torch.cat([part.image for part in row], 2) for row in rows], 1)
    return Patch(name, image, torch.cat([torch.cat([part.truth for part in row], 1) for row in rows], 0))


def write(folder: Path, patch: Patch) -> None:
    """The image as a GeoTIFF with pixels of 1 m, its truth as a class map beside it. The place is made up."""
    name, transform = patch.name.replace("/", "-"), from_origin(320_000, 2_780_000, RESOLUTION_M, RESOLUTION_M)
    bands, height, width = patch.image.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": bands, "height": height, "width": width}
    profile |= {"crs": "EPSG:32640", "transform": transform, "photometric": "RGB", "tiled": True}
    with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
        file.write(patch.image.numpy())
    geobox = GeoBox((height, width), transform, "EPSG:32640")
    write_class_map(class_map(patch.truth.numpy(), geobox, CLASSES), folder / f"{name}-truth.tif", overwrite=True)


def write_rasters(data: Path, folder: Path, drawn: int) -> None:
    """Everything that may be learned from."""
    folder.mkdir(parents=True, exist_ok=True)
    areas = [mosaic(read_dubai(data, area), area) for area in TRAINED_ON]
    for patch in (*areas, *read_naip(data), *draw_synthetic(drawn, seed=0)):
        write(folder, patch)


def train(folder: Path, out: Path, start: str, minutes: float, seed: int) -> None:
    """What `geoseg train` does."""
    images = [path for path in sorted(folder.glob("*.tif")) if not path.stem.endswith("-truth")]
    truths = [path.with_name(f"{path.stem}-truth.tif") for path in images]
    with make_progress() as progress:
        result = geoseg.train(
            images,
            truths,
            out,
            start=start,
            resolution=RESOLUTION_M,
            epochs=1000,
            minutes=minutes,
            tile_px=256,
            batch=4,
            rate=5e-4,
            loss="ce+dice",
            balance=0.0,
            vary="strong",
            seed=seed,
            validation=0.08,
            progress=progress,
        )
    print(result.iou, result.miou, flush=True)


def average(packages: list[Path], out: Path) -> ModelSpec:
    """The mean of weights that were taught on from the same ones (Wortsman et al. 2022, "Model soups"), in half
    precision. Their norms must be the same, as they are where a package is taught on."""
    states = [load_file(path / read_spec(path).weights) for path in packages]
    mean = {}
    for name, value in states[0].items():
        floating = value.is_floating_point()
        mean[name] = torch.stack([state[name].float() for state in states]).mean(0).half() if floating else value
    out.mkdir(parents=True, exist_ok=True)
    spec = replace(read_spec(packages[0]), name=out.name)
    save_file(mean, out / spec.weights)
    spec = spec.with_file(out / spec.weights)
    spec.write(out)
    return spec


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("rasters")
    verb.add_argument("data", type=Path)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--drawn", type=int, default=40, help="how many scenes to draw")
    verb = verbs.add_parser("train")
    verb.add_argument("folder", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--start", default="landcover-aerial")
    verb.add_argument("--minutes", type=float, default=95)
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--threads", type=int, default=1)
    verb = verbs.add_parser("average")
    verb.add_argument("packages", type=Path, nargs="+")
    verb.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.verb == "rasters":
        write_rasters(args.data, args.folder, args.drawn)
    elif args.verb == "train":
        torch.set_num_threads(args.threads)
        train(args.folder, args.out, args.start, args.minutes, args.seed)
    else:
        print(average(args.packages, args.out))


if __name__ == "__main__":
    main()
