"""The package that training leaves: weights, metadata, model card, report and record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.export import versions, write_record
from geoseg.model import ModelSpec
from geoseg.training.course import Course
from geoseg.training.object_report import object_card, object_page
from geoseg.training.object_scores import f1_of
from geoseg.training.objects import BoundaryLabels, ObjectLabels
from geoseg.training.report import card, page
from geoseg.training.samples import Ground, Split
from geoseg.training.scores import Calibration, iou_of, mean_iou

if TYPE_CHECKING:
    from geoseg.training.learn import Learned, LearnedObjects

__all__ = ["ObjectTrainResult", "TrainResult", "write_package"]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What `train` leaves."""

    folder: Path
    """The package: ``model.json``, ``weights.safetensors``, ``README.md``, ``report.html``, ``training.json``."""
    spec: ModelSpec
    """Its metadata."""
    history: tuple[dict[str, float], ...]
    """For each epoch ``epoch``, ``loss``, ``miou`` (validation) and ``seconds`` since the start; epoch 0 is before the
    first step, where a package is taught on."""
    confusion: np.ndarray
    """Validation pixels, truth by row and prediction by column, in the order of the classes."""
    iou: dict[str, float]
    """Intersection over union of each class on the validation blocks; NaN where none is labelled there."""
    miou: float
    """Their mean."""
    calibration: Calibration
    """The temperature, which is part of the weights, and what it changed."""


@dataclass(frozen=True, eq=False)
class ObjectTrainResult:
    """What `train` leaves of Mask R-CNN."""

    folder: Path
    """As in `TrainResult`."""
    spec: ModelSpec
    """Its metadata."""
    history: tuple[dict[str, float], ...]
    """As in `TrainResult`, with ``f1`` instead of ``miou``."""
    counts: np.ndarray
    """(class, 3): objects in the validation windows that were found as drawn, found too much, and missed."""
    class_f1: dict[str, float]
    """The F1 score of each class; NaN where there is none, neither drawn nor found."""
    f1: float
    """The F1 score of all objects together."""


def write_package(
    package: Path,
    out: Path,
    spec: ModelSpec,
    ground: Ground,
    split: Split,
    course: Course,
    learned: Learned | LearnedObjects,
    start: str | Path | None,
) -> TrainResult | ObjectTrainResult:
    """Write everything that is in a package into a new folder.

    Parameters
    ----------
    package
        The folder to write, which becomes `out`.
    out
        What the result names.
    spec, ground, split, course, start
        What was learned from, and how.
    learned
        What it gave.
    """
    shutil.rmtree(package, ignore_errors=True)  # of a run that was broken off here
    package.mkdir()
    found: Any = learned
    write = _write_objects if course.objects == "maskrcnn" else _write_classes
    facts, record = _facts(ground, split, course, found, start), _record(ground, split, course, found, start)
    return write(package, out, spec, ground, found, facts, record)


def _write_classes(
    package: Path,
    out: Path,
    spec: ModelSpec,
    ground: Ground,
    learned: Learned,
    facts: dict[str, Any],
    record: dict[str, Any],
) -> TrainResult:
    confusion, calibration = learned.examination.confusion, learned.calibration
    scores = dict(zip(ground.names, (float(v) for v in iou_of(confusion)), strict=True))
    spec = _write_model(package, spec, learned.network, {"mIoU": mean_iou(confusion), **scores})
    temperature = f"{calibration.error_before:.3f}, with temperature {calibration.error_after:.3f}"
    facts = {**_about(spec), **facts, "calibration error": temperature, **_made_with()}
    (package / "README.md").write_text(card(spec.name, facts, classes=spec.classes, confusion=confusion), "utf-8")
    text = page(
        spec.name,
        facts,
        classes=spec.classes,
        history=learned.history,
        confusion=confusion,
        calibration=calibration,
        worst=learned.examination.worst,
    )
    (package / "report.html").write_text(text, "utf-8")
    measured = {"confusion": confusion, "iou": scores, "calibration": calibration}
    write_record(package / "training.json", record | measured)
    return TrainResult(out, spec, tuple(learned.history), confusion, scores, mean_iou(confusion), calibration)


def _write_objects(
    package: Path,
    out: Path,
    spec: ModelSpec,
    ground: Ground,
    learned: LearnedObjects,
    facts: dict[str, Any],
    record: dict[str, Any],
) -> ObjectTrainResult:
    counts = learned.examination.counts
    scores = dict(zip(ground.names[1:], (float(v) for v in f1_of(counts)), strict=True))
    together = float(np.nan_to_num(f1_of(counts.sum(axis=0))))
    spec = _write_model(package, spec, learned.network, {"F1": together, **scores})
    facts = {**_about(spec), **facts, **_made_with()}
    names = ground.names[1:]
    (package / "README.md").write_text(object_card(spec.name, facts, names=names, counts=counts), "utf-8")
    pictures = learned.examination.pictures
    text = object_page(spec.name, facts, names=names, history=learned.history, counts=counts, pictures=pictures)
    (package / "report.html").write_text(text, "utf-8")
    columns = ("right", "too_much", "missed")
    each = {name: dict(zip(columns, row, strict=True)) for name, row in zip(names, counts.tolist(), strict=True)}
    write_record(package / "training.json", record | {"objects": each, "f1": scores, "f1_together": together})
    return ObjectTrainResult(out, spec, tuple(learned.history), counts, scores, together)


def _write_model(package: Path, spec: ModelSpec, network: Any, accuracy: Mapping[str, float]) -> ModelSpec:
    """Weights and ``model.json``."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, package / spec.weights)
    spec = replace(
        spec,
        accuracy={name: round(value, 4) for name, value in accuracy.items() if value == value},
        parameters=sum(value.numel() for value in network.parameters()),
    ).with_file(package / spec.weights)
    spec.write(package)
    return spec


def _about(spec: ModelSpec) -> dict[str, Any]:
    encoder = spec.arguments.get("encoder_name") or spec.arguments.get("backbone", "")
    return {
        "bands": ", ".join(spec.bands),
        "metres a pixel": f"{spec.resolution_m:g}",
        "network": f"{spec.architecture}, {encoder}, {spec.parameters:,} parameters",
    }


def _facts(
    ground: Ground, split: Split, course: Course, learned: Learned | LearnedObjects, start: str | Path | None
) -> dict[str, Any]:
    """What the card and the report say of how it was made."""
    objects = {"objects": _objects_of(ground), "drawn completely": _area_of(ground)} if course.objects else {}
    return {
        "images": ", ".join(scene.name for scene in ground.scenes),
        "started from": str(start or "random weights"),
        **objects,
        "windows": f"{len(split.training)} for training, {len(split.validation)} for validation, {split.side_px} px",
        "blocks": f"{split.block_px} px, for validation; no training window touches one",
        "loss": "that of Mask R-CNN" if course.objects == "maskrcnn" else course.loss,
        "epochs": f"{learned.history[-1]['epoch']} (the best one is kept)",
        "seed": course.seed,
    }


def _made_with() -> dict[str, str]:
    return {"versions": ", ".join(f"{n} {v}" for n, v in versions().items() if n in ("geoseg", "torch", "python"))}


def _objects_of(ground: Ground) -> str:
    count = sum(len(one.frame) for one in ground.labels)
    first = ground.labels[0]
    if not isinstance(first, BoundaryLabels):
        return f"{count:,}"
    pixel = abs(ground.scenes[0].geobox.affine.determinant) ** 0.5
    return f"{count:,}, with a boundary of {first.width / pixel:g} px"


def _area_of(ground: Ground) -> str:
    areas = [one.area for one in ground.labels if isinstance(one, ObjectLabels) and one.area is not None]
    if not areas:
        return "the images as a whole were taken for it (no --labelled)"
    return f"inside of {sum(len(area.frame) for area in areas):,} polygons"


def _record(
    ground: Ground, split: Split, course: Course, learned: Learned | LearnedObjects, start: str | Path | None
) -> dict[str, Any]:
    """What ``training.json`` holds of how it was made."""
    record = {
        "images": [scene.describe() for scene in ground.scenes],
        "labels": [{"features": len(one.frame), "dropped": one.dropped} for one in ground.labels],
        "options": {**asdict(course), "start": None if start is None else str(start)},
        "split": {
            "block_px": split.block_px,
            "training_windows": len(split.training),
            "validation_windows": len(split.validation),
            "training_px": dict(zip(ground.names, split.training_px.tolist(), strict=True)),
            "validation_px": dict(zip(ground.names, split.validation_px.tolist(), strict=True)),
        },
        "history": learned.history,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
    }
    return record | ({"drawn_completely": _area_of(ground)} if course.objects else {})
