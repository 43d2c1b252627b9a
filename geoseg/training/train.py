"""The story of training: scenes and labels → windows → a network that learns → a package with its report.

Everything is made in ``<out>.partial`` beside the package, which takes its name when all is there. The state after each
epoch is kept in it, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import ClassInfo
from geoseg.errors import OptionError
from geoseg.packages import ModelSpec, read_spec
from geoseg.progress import Progress
from geoseg.scene import Scene, open_scene
from geoseg.semantic import fit_scene
from geoseg.training.course import Course
from geoseg.training.drafting import divisor_of, draft, statistics
from geoseg.training.labels import Labels
from geoseg.training.objects import read_objects
from geoseg.training.samples import Ground, Split, all_classes, read_each, split_ground
from geoseg.training.workplace import publish, refuse, same_run, work_folder
from geoseg.training.writing import ObjectTrainResult, TrainResult, write_package

__all__ = ["train"]

_RATE, _RATE_ON, _RATE_OBJECTS = 2e-3, 5e-4, 1e-3
_RASTERS = (".tif", ".tiff", ".gtif", ".vrt", ".jp2", ".img")
"""What is taken for an image in a folder."""


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
    objects: str | None = None,
    labelled: Any = None,
    class_name: str | None = None,
    boundary_px: float = 1.5,
    precision: str = "32",
    seed: int = 0,
    validation: float = 0.2,
    device: str | None = None,
    workers: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainResult | ObjectTrainResult:
    """Teach a network the classes or the objects that somebody drew, and write it as a package that `map_scene` runs.

    Parameters
    ----------
    images
        What `geoseg.open_scene` takes as one image (a file, a STAC item, a mapping of bands), a folder of rasters, or a
        list of these.
    labels
        Labels as `geoseg.training.labels.read_labels` takes them: one file for all images, or a list with one each. Of
        the file for all, images without any label are left out; with `objects` they show background.
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
        The highest learning rate; by default 0.002 (Mask R-CNN: 0.001), and 0.0005 for a package that is taught on,
        which knows something to lose.
    loss
        ``ce``, ``focal``, ``dice`` or ``ce+dice``.
    balance
        How much more rare classes count: by one over their frequency to this power. By default the root; 0 not at all.
    vary
        ``light`` for maps of the images that are learned from; ``strong`` for maps of other places, which needs more
        windows and more time. See `geoseg.training.vary.Variation`.
    objects
        None for classes of pixels. ``boundary`` or ``maskrcnn`` where each polygon is an object: a semantic network of
        interior, boundary and background, or Mask R-CNN. Then polygons need no class.
    labelled
        With `objects`: polygons of the places where every object was drawn, one file for all images or a list with one
        each. By default that is everywhere, and all else is background.
    class_name
        With `objects` and without `column`: what the objects are called, by default "object".
    boundary_px
        With ``boundary``: how wide it is drawn, pixels.
    precision
        ``32``, or ``bf16`` or ``fp16``: convolutions in half precision (autocast), faster on a GPU.
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
    TrainResult or ObjectTrainResult
        The package's folder and how good it is; the second for Mask R-CNN.

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
    if rate is None:
        rate = _RATE_ON if base is not None else _RATE_OBJECTS if objects == "maskrcnn" else _RATE
    how = {"objects": objects, "boundary_px": boundary_px, "precision": precision}
    course = Course(epochs, minutes, tile_px, batch, rate, loss, seed, validation, vary, balance, **how)  # type: ignore[arg-type]
    device, out = choose_device(device), Path(out)
    _check_together(course, device, start, labelled, class_name)
    refuse(out, overwrite)
    progress.stage("labels")
    backbone = backbone_state(str(start), progress=progress) if is_backbone(start) else None
    if backbone is not None:
        encoder = _same_encoder(encoder, backbone.encoder, start)
    scenes = _open(images, bands, resolution, base, None if backbone is None else backbone.bands)
    scenes, read, found = _read_labels(labels, scenes, course, labelled, column, class_name)
    spec = draft(out.name, scenes, found, base, course, architecture=architecture, encoder=encoder, arguments=arguments)
    ground = _ground(scenes, read, spec)
    split = split_ground(ground, side_px=tile_px, share=validation, seed=seed)
    if base is None:
        mean, std = statistics(ground, split) if backbone is None else (backbone.mean, backbone.std)
        spec = replace(spec, mean=mean, std=std)
    spec = replace(spec, divisor=divisor_of(spec, tile_px))
    check_start(spec, None if start is None else str(start))
    work = work_folder(out, overwrite)
    same_run(
        work, [asdict(course), spec.to_item(), str(start), [s.fingerprint() for s in scenes], _digest(read, split)]
    )

    learned = learn(spec, ground, split, course, work, start=start, device=device, workers=workers, progress=progress)
    progress.stage("report")
    result = write_package(work / "package", out, spec, ground, split, course, learned, start)
    publish(work, out)
    progress.stage("done")
    return result


def _check_together(course: Course, device: str, start: Any, labelled: Any, class_name: str | None) -> None:
    """No option is ignored in silence."""
    from geoseg.training.starting import is_package

    usual, masks = Course(), course.objects == "maskrcnn"
    rules = {
        "--labelled and --class-name are for objects: give --objects as well": course.objects is not None
        or (labelled is None and class_name is None),
        "--boundary-width is for --objects boundary only: leave it out": course.objects == "boundary"
        or course.boundary_px == usual.boundary_px,
        "Mask R-CNN has losses of its own: leave out --loss and --balance": not masks
        or (course.loss, course.balance) == (usual.loss, usual.balance),
        f"Mask R-CNN starts from chance, imagenet or a package of its kind, not from {start}: change --start": not masks
        or start in (None, "imagenet")
        or is_package(start),
        "--precision fp16 needs a GPU: take bf16 or 32 on a processor": course.precision != "fp16"
        or not device.startswith("cpu"),
    }
    for rule, holds in rules.items():
        if not holds:
            raise OptionError(f"{rule}.")


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
    given = list(images) if isinstance(images, list | tuple) else [images]
    sources = [source for image in given for source in _images_of(image)]
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


def _images_of(image: Any) -> list[Any]:
    """The image, or the rasters in a folder by name."""
    if not isinstance(image, str | os.PathLike) or not Path(image).is_dir():
        return [image]
    found = sorted(path for path in Path(image).iterdir() if path.suffix.lower() in _RASTERS)
    if not found:
        raise OptionError(
            f"A folder of images must hold rasters ({', '.join(_RASTERS)}), but {os.fspath(image)} has none. Name the "
            "files themselves."
        )
    return found


def _read_labels(
    sources: Any,
    scenes: Sequence[Scene],
    course: Course,
    labelled: Any,
    column: str | None,
    class_name: str | None,
) -> tuple[tuple[Scene, ...], tuple[Labels, ...], tuple[ClassInfo, ...]]:
    """The scenes where something is known, their labels, and the classes that a network has for them."""
    many = _for_each(sources, scenes, "labels")
    found: Sequence[Labels | None]
    if course.objects is None:
        found = read_each(many, scenes, column=column)
    else:
        found = read_objects(
            many,
            scenes,
            areas=None if labelled is None else _for_each(labelled, scenes, "labelled areas"),
            column=column,
            name=class_name,
            boundary_px=course.boundary_px if course.objects == "boundary" else None,
        )
    there = tuple(scene for scene, one in zip(scenes, found, strict=True) if one is not None)
    read = tuple(one for one in found if one is not None)
    classes = all_classes(read) if course.objects is None else read[0].classes
    if course.objects == "maskrcnn":  # which has no class for the background
        classes = tuple(replace(info, value=i) for i, info in enumerate(classes[1:]))
    return there, read, classes


def _for_each(sources: Any, scenes: Sequence[Scene], what: str) -> list[Any]:
    many = list(sources) if isinstance(sources, list | tuple) else [sources] * len(scenes)
    if len(many) != len(scenes):
        raise OptionError(
            f"Give one file of {what} for all images, or one for each, but there are {len(many)} for {len(scenes)}."
        )
    return many


def _ground(scenes: tuple[Scene, ...], read: tuple[Labels, ...], spec: ModelSpec) -> Ground:
    names = [info.name for info in spec.classes]
    if spec.task == "instance-segmentation":
        names.insert(0, read[0].classes[0].name)  # the background
    channel = {name.casefold(): i for i, name in enumerate(names)}
    return Ground(scenes, read, tuple(_lookup(one, channel) for one in read), tuple(names))


def _lookup(labels: Labels, channel: Mapping[str, int]) -> np.ndarray:
    table = np.full(256, 255, np.uint8)
    for info in labels.classes:
        table[info.value] = channel[info.name.casefold()]
    return table


def _digest(labels: Sequence[Labels], split: Split) -> list[Any]:
    """What tells other labels from the same."""
    frames = [frame for one in labels for frame in (one.frame, one.reach) if frame is not None]
    shapes = [hashlib.sha256(b"".join(frame.geometry.to_wkb())).hexdigest() for frame in frames]
    return [shapes, str(split.training), str(split.validation), split.training_px.tolist()]
