"""Measure `landcover-aerial` on the areas that were kept apart, through the library as a user runs it.

    python examples/evaluate_landcover_aerial.py DATA

DATA holds `dubai/tile1` and `dubai/tile4` of "Semantic segmentation of aerial imagery" (Humans in the Loop and MBRSC,
CC0). The images carry no georeference: each gets one in UTM zone 40N with pixels of 1 m, in a temporary GeoTIFF.
Pixels of both areas are pooled, unlabelled ones left out. No class is weighted and nothing is predicted twice.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio.transform import from_origin
from train_landcover_aerial import KEPT_APART, NAMES, RESOLUTION_M, UNLABELLED, Patch, read_dubai

import geoseg


def classify_patch(patch: Patch, model, folder: Path) -> np.ndarray:
    """Class values (row, col) of one image, by way of a GeoTIFF and the library."""
    bands, rows, cols = patch.image.shape
    path = folder / f"{patch.name.replace('/', '_')}.tif"
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": bands,
        "height": rows,
        "width": cols,
        "crs": "EPSG:32640",
        "transform": from_origin(320_000, 2_780_000, RESOLUTION_M, RESOLUTION_M),
        "photometric": "RGB",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(patch.image.numpy())
    return geoseg.classify(geoseg.open_scene(path), model)["class"].to_numpy()


def accuracy(counts: np.ndarray) -> pd.DataFrame:
    """IoU, precision and recall by class, from counts with truth by row and prediction by column."""
    hits, truth, guess = np.diag(counts), counts.sum(1), counts.sum(0)
    rows = {"IoU": hits / (truth + guess - hits), "precision": hits / guess, "recall": hits / truth}
    return pd.DataFrame(rows | {"share of truth": truth / truth.sum()}, index=list(NAMES)).round(4)


def main() -> None:
    """Classify the 18 images and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds dubai/")
    parser.add_argument("--model", default="landcover-aerial", help="name or folder of a model package")
    args = parser.parse_args()
    model = geoseg.load_model(args.model)
    pooled = np.zeros((len(NAMES), len(NAMES)), np.int64)
    with tempfile.TemporaryDirectory() as folder:
        for area in KEPT_APART:
            counts = np.zeros_like(pooled)
            for patch in read_dubai(args.data, area):
                guess, truth = classify_patch(patch, model, Path(folder)), patch.truth.numpy()
                known = truth != UNLABELLED
                pair = truth[known].astype(np.int64) * len(NAMES) + guess[known]
                counts += np.bincount(pair, minlength=counts.size).reshape(counts.shape)
            print(f"\n{area}\n{accuracy(counts)}")
            pooled += counts
    result = accuracy(pooled)
    print(f"\n{' + '.join(KEPT_APART)}, pixels pooled\n{result}\n\nmIoU {result['IoU'].mean():.4f}")
    print("\nWhere each true class went (rows: truth, columns: prediction)")
    print(pd.DataFrame(pooled / pooled.sum(1, keepdims=True), index=list(NAMES), columns=list(NAMES)).round(3))


if __name__ == "__main__":
    main()
