r"""The starter model `landcover-aerial`, from downloaded images to a package: write rasters, train, average, measure.

    python examples/landcover_aerial.py rasters DATA rasters/
    python examples/landcover_aerial.py train rasters/ --minutes 100 --seed 1 --out one/   # and so on, other seeds
    python examples/landcover_aerial.py average one/ two/ --out model/
    python examples/landcover_aerial.py measure DATA --model model/

DATA holds `dubai/` (Humans in the Loop and MBRSC, "Semantic segmentation of aerial imagery", CC0) and `chesapeake/`
(NAIP patches with land cover and buildings, 29 channels). Areas 1 and 4 of Dubai are kept apart: nothing is learned
from them, nor from what other areas show of their ground. Needs `pip install geoseg[train]`.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import torch
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.transform import from_origin
from safetensors.torch import load_file, save_file

import geoseg
from geoseg.classmap import class_map, write_class_map
from geoseg.model import ModelSpec, read_spec
from geoseg.progress import make_progress
from geoseg.synthetic import STYLES, SyntheticScene, render

CLASSES = read_spec("landcover-aerial").classes
"""Building, road, vegetation, water, bare land."""
COLORS = (0x3C1098, 0x6EC1E4, 0xFEDD3A, 0xE2A929, 0x8429F6)
"""Their colours in the masks of the Dubai set; everything else is unlabelled."""
UNLABELLED = 255
TRAINED_ON = ("tile3", "tile5", "tile6", "tile7", "tile8")
KEPT_APART = ("tile1", "tile4")
RESOLUTION_M = 1.0
"""Ground size of a pixel, metres, in all areas. Those that overlap (1 and 3; 4, 7 and 8) fit at a scale of exactly 1;
cars, motorway lanes and the known size of Jumeirah Village Circle give about 1 m. Areas 5 and 6 look the same."""
SEEN_TWICE = {"tile8": (slice(2400, None), slice(0, 1700)), "tile3": (slice(1580, None), slice(1470, None))}
"""Where a training area shows ground of an area kept apart, in pixels of the area's 3 × 3 mosaic. Found by correlating
the mosaics: tile4 begins at row 2432, column −1628 of tile8, and tile1 at row 1612, column 1504 of tile3, both at a
scale of exactly 1. Nothing there is ever learnt from; without this the score would be too good."""


# ------------------------------------------------------------------------------------------------------- rasters
def read_part(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One image of an area, uint8 (band, row, col), and its truth (row, col)."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    mask = np.asarray(Image.open(path.parents[1] / "masks" / f"{path.stem}.png").convert("RGB")).astype(np.int32)
    code = mask[..., 0] << 16 | mask[..., 1] << 8 | mask[..., 2]
    truth = np.full(code.shape, UNLABELLED, np.uint8)
    for value, color in enumerate(COLORS):
        truth[code == color] = value
    return rgb.transpose(2, 0, 1), truth


def mosaic(area: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 3 × 3 images of an area side by side, without labels where the ground is kept apart."""
    parts = [read_part(path) for path in sorted(area.glob("images/*.jpg"))]
    rows = [[np.concatenate([part[k] for part in parts[i : i + 3]], -1) for i in (0, 3, 6)] for k in (0, 1)]
    image, truth = (np.concatenate(row, -2) for row in rows)
    if area.name in SEEN_TWICE:
        truth[SEEN_TWICE[area.name]] = UNLABELLED
    return image, truth


def read_naip(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """A NAIP patch at both dates, with the land cover that both share (forest and grass are vegetation)."""
    with np.load(path) as archive:
        layers = archive[archive.files[0]].squeeze()
    cover, built = layers[8], layers[28] > 0
    truth = np.full(cover.shape, UNLABELLED, np.uint8)
    for code, value in ((1, 3), (2, 2), (3, 2), (4, 4), (6, 1)):
        truth[cover == code] = value
    truth[built] = 0
    dates = [layers[first : first + 3] for first in (0, 4)]
    return [(np.clip(rgb * 255 if rgb.max() <= 1.5 else rgb, 0, 255).astype(np.uint8), truth) for rgb in dates]


def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A drawn scene, each of another style and at 0.5 to 1.3 m: single houses, canopies, lanes, pools."""
    rng = np.random.default_rng(number)
    style = tuple(STYLES)[number % len(STYLES)]
    spec = SyntheticScene(int(rng.integers(2**31)), float(rng.uniform(0.5, 1.3)), number % 2, style)
    return render(spec, slice(0, 640), slice(0, 640))


def write(folder: Path, name: str, image: np.ndarray, truth: np.ndarray) -> None:
    """The image as a GeoTIFF with pixels of 1 m, its truth as a class map beside it. The place is made up."""
    transform = from_origin(320_000, 2_780_000, RESOLUTION_M, RESOLUTION_M)
    bands, height, width = image.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": bands, "height": height, "width": width}
    profile |= {"crs": "EPSG:32640", "transform": transform, "photometric": "RGB", "tiled": True}
    with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
        file.write(image)
    geobox = GeoBox((height, width), transform, "EPSG:32640")
    write_class_map(class_map(truth, geobox, CLASSES), folder / f"{name}-truth.tif", overwrite=True)


def write_rasters(data: Path, folder: Path, drawn: int) -> None:
    """Everything that may be learned from."""
    folder.mkdir(parents=True, exist_ok=True)
    for area in TRAINED_ON:
        write(folder, area, *mosaic(data / "dubai" / area))
    for path in sorted((data / "chesapeake").glob("*.npz")):
        for date, pair in enumerate(read_naip(path)):
            write(folder, f"naip-{path.stem}-{date}", *pair)
    for number in range(drawn):
        write(folder, f"drawn-{number:02}", *draw(number))


# ------------------------------------------------------------------------------------------- training, averaging
def train(folder: Path, out: Path, start: str, minutes: float, seed: int) -> None:
    """What `geoseg train` does."""
    images = [path for path in sorted(folder.glob("*.tif")) if not path.stem.endswith("-truth")]
    truths = [path.with_name(f"{path.stem}-truth.tif") for path in images]
    options = {"tile_px": 256, "batch": 4, "rate": 5e-4, "loss": "ce+dice", "balance": 0.0, "vary": "strong"}
    with make_progress() as progress:
        result = geoseg.train(
            images, truths, out, start=start, resolution=1.0, epochs=1000, minutes=minutes, validation=0.08, seed=seed,
            progress=progress, **options,
        )  # fmt: skip
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


# ------------------------------------------------------------------------------------------------------ measuring
def accuracy(counts: np.ndarray) -> pd.DataFrame:
    """IoU, precision and recall by class, from counts with truth by row and prediction by column."""
    hits, truth, guess = np.diag(counts), counts.sum(1), counts.sum(0)
    rows = {"IoU": hits / (truth + guess - hits), "precision": hits / guess, "recall": hits / truth}
    return pd.DataFrame(rows | {"share of truth": truth / truth.sum()}, index=[c.name for c in CLASSES]).round(4)


def measure(data: Path, package: str) -> None:
    """Map the 18 images of the areas kept apart as a user would, and print the tables. Pixels of both areas are
    pooled, unlabelled ones left out. No class is weighted and nothing is predicted twice."""
    model = geoseg.load_model(package)
    side = len(CLASSES)
    pooled = np.zeros((side, side), np.int64)
    with tempfile.TemporaryDirectory() as temporary:
        for area in KEPT_APART:
            counts = np.zeros_like(pooled)
            for path in sorted((data / "dubai" / area / "images").glob("*.jpg")):
                image, truth = read_part(path)
                write(Path(temporary), path.stem, image, truth)
                guess = geoseg.classify(geoseg.open_scene(Path(temporary) / f"{path.stem}.tif"), model)["class"]
                known = truth != UNLABELLED
                pair = truth[known].astype(np.int64) * side + guess.to_numpy()[known]
                counts += np.bincount(pair, minlength=counts.size).reshape(counts.shape)
            print(f"\n{area}\n{accuracy(counts)}")
            pooled += counts
    result = accuracy(pooled)
    print(f"\n{' + '.join(KEPT_APART)}, pixels pooled\n{result}\n\nmIoU {result['IoU'].mean():.4f}")
    names = [c.name for c in CLASSES]
    print("\nWhere each true class went (rows: truth, columns: prediction)")
    print(pd.DataFrame(pooled / pooled.sum(1, keepdims=True), index=names, columns=names).round(3))


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
    verb.add_argument("--minutes", type=float, default=100)
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--threads", type=int, default=1)
    verb = verbs.add_parser("average")
    verb.add_argument("packages", type=Path, nargs="+")
    verb.add_argument("--out", type=Path, required=True)
    verb = verbs.add_parser("measure")
    verb.add_argument("data", type=Path)
    verb.add_argument("--model", default="landcover-aerial")
    args = parser.parse_args()
    if args.verb == "rasters":
        write_rasters(args.data, args.folder, args.drawn)
    elif args.verb == "train":
        torch.set_num_threads(args.threads)
        train(args.folder, args.out, args.start, args.minutes, args.seed)
    elif args.verb == "average":
        print(average(args.packages, args.out))
    else:
        measure(args.data, args.model)


if __name__ == "__main__":
    main()
