"""The metadata of a package before anything is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from geoseg.classes import ClassInfo
from geoseg.errors import OptionError
from geoseg.packages import ModelSpec
from geoseg.scene import Scene
from geoseg.training.course import Course
from geoseg.training.object_scores import SURE
from geoseg.training.samples import Ground, Split

__all__ = ["divisor_of", "draft", "statistics"]

_ENCODER = "tu-tf_efficientnet_lite0"
_LIGHT_DECODER = (128, 64, 48, 32, 16)
_BACKBONE = "resnet18"
_BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_STATISTICS_WINDOWS = 400
_DECODING = {None: "classes", "boundary": "boundary", "maskrcnn": "maskrcnn"}


def draft(
    name: str,
    scenes: Sequence[Scene],
    found: tuple[ClassInfo, ...],
    base: ModelSpec | None,
    course: Course,
    *,
    architecture: str | None,
    encoder: str | None,
    arguments: Mapping[str, Any] | None,
) -> ModelSpec:
    """The metadata of what is to be made; scaling and divisor are still to be filled in.

    Parameters
    ----------
    name
        Of the package.
    scenes
        On their grids.
    found
        The classes of the labels; of objects only, for Mask R-CNN.
    base
        The package that is taught on.
    course, architecture, encoder, arguments
        See `geoseg.training.train.train`.

    Raises
    ------
    OptionError
        There is one class only; or the network does not fit what is to be learned.
    """
    if len(found) < 2 and course.objects != "maskrcnn":
        raise OptionError(
            f"Labels need at least two classes, but there is only {found[0].name!r}. Draw examples of what is not "
            f"{found[0].name!r} as well."
        )
    if len(found) > 3 and course.objects == "boundary":
        raise OptionError(
            f"A boundary network has one class of objects, but the labels have {len(found) - 2}: "
            f"{', '.join(info.name for info in found[1:-1])}. Leave out --class-column, or give --objects maskrcnn."
        )
    names = ", ".join(scene.name for scene in scenes)
    description = f"Trained on {names[:80]} by geoseg train."
    if base is not None:
        return _taught_on(
            name, found, base, course, description, _network(base, course, architecture, encoder, arguments)
        )
    network = _network(None, course, architecture, encoder, arguments)
    overlap = course.tile_px // 4
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
        tile_px=course.tile_px,
        overlap_px=overlap,
        margin_px=0 if course.objects == "maskrcnn" else min(16, overlap // 2),
        description=description,
        **network,
    )


def _taught_on(
    name: str,
    found: tuple[ClassInfo, ...],
    base: ModelSpec,
    course: Course,
    description: str,
    network: Mapping[str, Any],
) -> ModelSpec:
    from geoseg.training.starting import keep_classes

    if course.objects == "boundary":  # which of them is the boundary goes by place
        same = [info.name.casefold() for info in found] == [info.name.casefold() for info in base.classes]
        classes = base.classes if same else found
    else:
        classes = keep_classes(base, found)
    return replace(
        base,
        name=name,
        classes=classes,
        accuracy={},
        sha256="",
        weights="weights.safetensors",
        description=description,
        temperature=1.0,  # that of the new weights goes into the weights
        **network,
    )


def _network(
    base: ModelSpec | None,
    course: Course,
    architecture: str | None,
    encoder: str | None,
    arguments: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Architecture, arguments, task and decoding."""
    objects = course.objects == "maskrcnn"
    given = dict(arguments or {})
    if encoder is not None:
        given["backbone" if objects else "encoder_name"] = encoder
    if base is not None:
        architecture, given = architecture or base.architecture, {**base.arguments, **given}
    architecture = architecture or ("MaskRCNN" if objects else "Unet")
    if objects != (architecture == "MaskRCNN"):
        what = "Mask R-CNN" if objects else "A network of classes"
        remedy = (
            "--architecture MaskRCNN or none, and a --start of this kind or none" if objects else "--objects maskrcnn"
        )
        raise OptionError(f"{what} is to be learned, but the network is {architecture}. Give {remedy}.")
    if objects:
        backbone = str(given.setdefault("backbone", _BACKBONE))
        if backbone not in _BACKBONES and not _in_timm(backbone):
            raise OptionError(
                f"The encoder of Mask R-CNN must be one of {', '.join(_BACKBONES)}, or tu- and one of timm's networks, "
                f"but is {backbone}. Change --encoder."
            )
    elif base is None:
        if architecture != "FCN":
            given.setdefault("encoder_name", _ENCODER)
        if architecture == "Unet" and "encoder_depth" not in given:
            given.setdefault("decoder_channels", list(_LIGHT_DECODER))
    return {
        "architecture": architecture,
        "arguments": given,
        "task": "instance-segmentation" if objects else "semantic-segmentation",
        "decoding": _DECODING[course.objects],
        **({"min_score": SURE} if objects else {}),  # as it is measured
    }


def _in_timm(name: str) -> bool:
    import timm

    return name.startswith("tu-") and timm.is_model(name.removeprefix("tu-"))


def divisor_of(spec: ModelSpec, tile_px: int) -> int:
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


def statistics(ground: Ground, split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
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
