"""The story of training: scenes and labels → windows → a network that learns → a package with its report.

Everything is made in ``<out>.partial`` beside the package, which takes its name when all is there. The state after each
epoch is kept in it, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import ClassInfo
from geoseg.errors import OptionError, OutputError
from geoseg.files import check_folder
from geoseg.packages import ModelSpec, read_spec
from geoseg.progress import Progress
from geoseg.scene import Scene, open_scene
from geoseg.semantic import fit_scene
from geoseg.training.course import Course
from geoseg.training.labels import Labels, read_any
from geoseg.training.samples import Ground, Split, all_classes, split_ground
from geoseg.training.writing import TrainResult, write_package

__all__ = ["train"]

_ENCODER = "tu-tf_efficientnet_lite0"
_LIGHT_DECODER = (128, 64, 48, 32, 16)
_RATE, _RATE_ON = 2e-3, 5e-4
_STATISTICS_WINDOWS = 400


def train(
    images: Any,
    labels: Any,
    out: str | Path,
    *,
    column: str | None = None,
    architecture: str | None = None,
    encoder: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
    bands: Any = None,
    resolution: float | None = None,
    epochs: int = 60,
    minutes: float | None = None,
    tile_px: int = 256,
    batch: int = 8,
    rate: float | None = None,
    loss: str = "ce",
    balance: float = 0.5,
    vary: str = "light",
    seed: int = 0,
    validation: float = 0.2,
    device: str | None = None,
    workers: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Teach a network the classes that somebody drew, and write it as a package that `map_scene` runs.

    Parameters
    ----------
    images
        A raster, or a list of them.
    labels
        Labels as `geoseg.training.labels.read_labels` takes them: one file for all images, or a list with one each.
    out
        The package's folder. It must not be there, unless `overwrite` is set; ``<out>.partial`` of a run with the same
        options that was broken off is taken up.
    column
        The column with the class.
    architecture, encoder, arguments
        A network of segmentation_models_pytorch (``Unet``, ``FPN``, ``DeepLabV3Plus``, ...), its encoder, and more
        arguments for it. By default those of `start`, or a small U-Net.
    start
        None for random weights; ``imagenet``, or ``torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO`` and the like (see
        `geoseg.networks.torchgeo_weights.list_backbones`), for the encoder's; or a package that is taught on. If all
        classes of the labels are among the package's, its classes stay, else the labels' replace them.
    bands
        See `geoseg.open_scene`; by default all, or those of `start`.
    resolution
        Metres of a pixel to learn at; by default that of the first image, or what `start` needs.
    epochs, minutes
        Stop after so many rounds or minutes, or when the validation has not become better for 12 epochs.
    tile_px
        Side of a window, pixels.
    batch
        Windows in a step.
    rate
        The highest learning rate; by default 0.002, and 0.0005 for a package that is taught on, which knows something
        to lose.
    loss
        ``ce``, ``focal``, ``dice`` or ``ce+dice``.
    balance
        How much more rare classes count: by one over their frequency to this power. By default the root; 0 not at all.
    vary
        ``light`` for maps of the images that are learned from; ``strong`` for maps of other places, which needs more
        windows and more time. See `geoseg.training.vary.Variation`.
    seed
        The same seed gives the same weights, on one machine's processor, and without `minutes`.
    validation
        About which share of the labels is kept apart, in whole blocks, to measure and to stop in time.
    device
        ``cpu``, ``cuda``, ``mps``; by default the best one.
    workers
        Processes that read windows; 0 reads in this one.
    overwrite
        Replace a package that was made by training, and discard what a broken-off run left.

    Returns
    -------
    TrainResult
        The package's folder and how good it is.

    Raises
    ------
    OptionError
        An option, or the labels: too few, too close to each other, elsewhere; or what training needs is not installed.
    GeosegError
        The images, the package to start from, or the output folder are at fault.
    """
    _require()
    from geoseg.networks.loading import choose_device
    from geoseg.networks.torchgeo_weights import backbone_state
    from geoseg.training.learn import learn
    from geoseg.training.starting import check_start, is_backbone, is_package

    progress = progress or Progress()
    base = read_spec(str(start)) if is_package(start) else None
    rate = rate if rate is not None else (_RATE if base is None else _RATE_ON)
    course = Course(epochs, minutes, tile_px, batch, rate, loss, seed, validation, vary, balance)
    device, out = choose_device(device), Path(out)
    _refuse(out, overwrite)
    progress.stage("labels")
    backbone = backbone_state(str(start), progress=progress) if is_backbone(start) else None
    if backbone is not None:
        encoder = _same_encoder(encoder, backbone.encoder, start)
    scenes = _open(images, bands, resolution, base, None if backbone is None else backbone.bands)
    read = _read_labels(labels, scenes, column)
    spec = _draft(out.name, scenes, all_classes(read), base, tile_px, architecture, encoder, arguments)
    channel = {info.name.casefold(): i for i, info in enumerate(spec.classes)}
    ground = Ground(scenes, read, tuple(_lookup(one, channel) for one in read), tuple(c.name for c in spec.classes))
    split = split_ground(ground, side_px=tile_px, share=validation, seed=seed)
    if base is None:
        mean, std = _statistics(ground, split) if backbone is None else (backbone.mean, backbone.std)
        spec = replace(spec, mean=mean, std=std)
    spec = replace(spec, divisor=_divisor(spec, tile_px))
    check_start(spec, None if start is None else str(start))
    work = _work_folder(out, overwrite)
    _same_run(
        work, [asdict(course), spec.to_item(), str(start), [s.fingerprint() for s in scenes], _digest(read, split)]
    )

    learned = learn(spec, ground, split, course, work, start=start, device=device, workers=workers, progress=progress)
    progress.stage("report")
    result = write_package(work / "package", out, spec, ground, split, course, learned, start)
    _publish(work, out)
    progress.stage("done")
    return result


def _require() -> None:
    try:
        import kornia  # noqa: F401
        import lightning  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"Training needs more packages than mapping, but {error.name} is not installed. Install them: "
            "pip install 'geoseg[train]'"
        ) from error


def _same_encoder(asked: str | None, there: str, start: Any) -> str:
    if asked not in (None, there):
        raise OptionError(
            f"--start {start} has weights for the encoder {there}, but --encoder is {asked}. Leave it out."
        )
    return there


def _open(
    images: Any, bands: Any, resolution: float | None, base: ModelSpec | None, wanted: tuple[str, ...] | None
) -> tuple[Scene, ...]:
    """The scenes on the grids and with the bands to learn from."""
    sources = list(images) if isinstance(images, list | tuple) else [images]
    if not sources:
        raise OptionError("Training needs an image at least, but none is given.")
    scenes = [open_scene(source, bands=bands) for source in sources]
    if wanted is not None:
        scenes = [scene.select(wanted) for scene in scenes]
    if base is not None:
        odd = next((scene for scene in scenes if np.dtype(scene.dtype) != np.dtype(base.dtype)), None)
        if odd is not None:
            raise OptionError(
                f"The package {base.name} takes {base.dtype} pixels, but {odd.name} has {odd.dtype}. Convert "
                "the image, or leave out --start."
            )
        return tuple(fit_scene(scene, base, resolution=resolution) for scene in scenes)
    if resolution is not None and not resolution > 0:
        raise OptionError(f"The resolution must be a positive number of metres, but is {resolution}.")
    first = scenes[0]
    for scene in scenes:
        if scene.dtype != first.dtype:
            raise OptionError(
                f"All images must have one data type, but {first.name} has {first.dtype} and {scene.name} has "
                f"{scene.dtype}. Convert one, or train on images of one kind."
            )
    return tuple(scene.select(first.bands).on_grid(resolution or first.resolution_m) for scene in scenes)


def _read_labels(sources: Any, scenes: Sequence[Scene], column: str | None) -> tuple[Labels, ...]:
    many = list(sources) if isinstance(sources, list | tuple) else [sources] * len(scenes)
    if len(many) != len(scenes):
        raise OptionError(
            f"Give one file of labels for all images, or one for each, but there are {len(many)} for {len(scenes)}."
        )
    return tuple(read_any(source, scene, column=column) for source, scene in zip(many, scenes, strict=True))


def _lookup(labels: Labels, channel: Mapping[str, int]) -> np.ndarray:
    table = np.full(256, 255, np.uint8)
    for info in labels.classes:
        table[info.value] = channel[info.name.casefold()]
    return table


def _draft(
    name: str,
    scenes: Sequence[Scene],
    found: tuple[ClassInfo, ...],
    base: ModelSpec | None,
    tile_px: int,
    architecture: str | None,
    encoder: str | None,
    arguments: Mapping[str, Any] | None,
) -> ModelSpec:
    """The package's metadata before anything is measured."""
    if len(found) < 2:
        raise OptionError(
            f"Labels need at least two classes, but there is only {found[0].name!r}. Draw examples of what is not "
            f"{found[0].name!r} as well."
        )
    names = ", ".join(scene.name for scene in scenes)
    description = f"Trained on {names[:80]} by geoseg train."
    given = dict(arguments or {})
    if encoder is not None:
        given["encoder_name"] = encoder
    if base is not None:
        from geoseg.training.starting import keep_classes

        return replace(
            base,
            name=name,
            classes=keep_classes(base, found),
            architecture=architecture or base.architecture,
            arguments={**base.arguments, **given},
            accuracy={},
            sha256="",
            weights="weights.safetensors",
            description=description,
            temperature=1.0,  # that of the new weights goes into the weights
        )
    architecture = architecture or "Unet"
    if architecture != "FCN":
        given.setdefault("encoder_name", _ENCODER)
    if architecture == "Unet" and "encoder_depth" not in given:
        given.setdefault("decoder_channels", list(_LIGHT_DECODER))
    overlap = tile_px // 4
    size = float(f"{scenes[0].resolution_m:.4g}")
    return ModelSpec(
        name,
        bands=scenes[0].bands,
        mean=(0.0,) * len(scenes[0].bands),
        std=(1.0,) * len(scenes[0].bands),
        classes=found,
        dtype=str(scenes[0].dtype),
        resolution_m=size,
        resolution_range_m=(size * 0.75, size * 1.5),
        architecture=architecture,
        arguments=given,
        tile_px=tile_px,
        overlap_px=overlap,
        margin_px=min(16, overlap // 2),
        description=description,
    )


def _divisor(spec: ModelSpec, tile_px: int) -> int:
    """What the tile side must be a multiple of: the product of all the encoder's strides."""
    from geoseg.networks import build_network

    encoder = getattr(build_network(spec), "encoder", None)
    if encoder is None:  # no strides, no divisor
        return 1
    divisor = max(int(getattr(encoder, "output_stride", 32)), 2 ** int(spec.arguments.get("encoder_depth", 5)))
    if tile_px < divisor or tile_px % divisor:
        raise OptionError(
            f"The tile side must be a multiple of {divisor} for this network, but is {tile_px}. Change --tile."
        )
    return divisor


def _statistics(ground: Ground, split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band over the valid pixels of the training windows."""
    bands = len(ground.scenes[0].bands)
    step = -(-len(split.training) // _STATISTICS_WINDOWS)
    count, sums, squares = 0, np.zeros(bands), np.zeros(bands)
    for window in split.training[::step]:
        values, valid, _ = ground.read(window, split.side_px)
        there = values[:, valid].astype(np.float64)
        count, sums, squares = count + there.shape[1], sums + there.sum(axis=1), squares + (there**2).sum(axis=1)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple(float(v) for v in mean), tuple(float(v) or 1.0 for v in std)


def _digest(labels: Sequence[Labels], split: Split) -> list[Any]:
    """What tells other labels from the same."""
    shapes = [hashlib.sha256(b"".join(one.frame.geometry.to_wkb())).hexdigest() for one in labels]
    return [shapes, str(split.training), str(split.validation), split.training_px.tolist()]


def _refuse(out: Path, overwrite: bool) -> None:
    """Make sure that nothing is replaced unasked, and nothing that training did not make."""
    if out.exists() and not overwrite:
        raise OutputError(f"The package must not be there, but {out} is. Choose another --out, or give --overwrite.")
    for folder, mark in ((out, "training.json"), (_beside(out), "run-key.json")):
        if overwrite and folder.exists() and not (folder / mark).is_file():
            raise OutputError(
                f"--overwrite replaces only what training made, but {folder} is not. Choose another --out."
            )


def _beside(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _work_folder(out: Path, overwrite: bool) -> Path:
    if overwrite and _beside(out).exists():
        shutil.rmtree(_beside(out))
    return check_folder(_beside(out), create=True)


def _same_run(work: Path, decides: list[Any]) -> None:
    """Refuse to go on with a run that was begun with other data or options."""
    key = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    path = work / "run-key.json"
    if path.is_file() and json.loads(path.read_text()) != key:
        raise OutputError(
            f"A run that was broken off goes on with the same images, labels and options, but {work} is of another "
            "one. Give the same, choose another --out, or give --overwrite to begin anew."
        )
    path.write_text(json.dumps(key))


def _publish(work: Path, out: Path) -> None:
    """Give the finished package its name; an older one goes only when the new one is whole."""
    old = work / "old"
    if out.exists():
        os.replace(out, old)
    os.replace(work / "package", out)
    shutil.rmtree(work)
