"""The package that training leaves: weights, metadata, model card, report and record."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.export import versions, write_record
from geoseg.model import ModelSpec
from geoseg.training.course import Course
from geoseg.training.report import card, page
from geoseg.training.samples import Ground, Split
from geoseg.training.scores import Calibration, iou_of, mean_iou

if TYPE_CHECKING:
    from geoseg.training.learn import Learned

__all__ = ["TrainResult", "write_package"]


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


def write_package(
    package: Path,
    out: Path,
    spec: ModelSpec,
    ground: Ground,
    split: Split,
    course: Course,
    learned: Learned,
    start: str | Path | None,
) -> TrainResult:
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
    from safetensors.torch import save_file

    shutil.rmtree(package, ignore_errors=True)  # of a run that was broken off here
    package.mkdir()
    confusion, calibration = learned.examination.confusion, learned.calibration
    scores = dict(zip(ground.names, (float(v) for v in iou_of(confusion)), strict=True))
    measured = {name: round(value, 4) for name, value in scores.items() if value == value}
    state = {name: value.detach().cpu().contiguous() for name, value in learned.network.state_dict().items()}
    save_file(state, package / spec.weights)
    spec = replace(
        spec,
        accuracy={"mIoU": round(mean_iou(confusion), 4), **measured},
        parameters=sum(value.numel() for value in learned.network.parameters()),
    ).with_file(package / spec.weights)
    spec.write(package)
    facts = {
        "images": ", ".join(scene.name for scene in ground.scenes),
        "bands": ", ".join(spec.bands),
        "metres a pixel": f"{spec.resolution_m:g}",
        "network": f"{spec.architecture}, {spec.arguments.get('encoder_name', '')}, {spec.parameters:,} parameters",
        "started from": str(start or "random weights"),
        "windows": f"{len(split.training)} for training, {len(split.validation)} for validation, {split.side_px} px",
        "blocks": f"{split.block_px} px, for validation; no training window touches one",
        "loss": course.loss,
        "epochs": f"{learned.history[-1]['epoch']} (the best one is kept)",
        "seed": course.seed,
        "calibration error": f"{calibration.error_before:.3f}, with temperature {calibration.error_after:.3f}",
        "versions": ", ".join(f"{n} {v}" for n, v in versions().items() if n in ("geoseg", "torch", "python")),
    }
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
        "confusion": confusion,
        "iou": scores,
        "calibration": calibration,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
    }
    write_record(package / "training.json", record)
    return TrainResult(out, spec, tuple(learned.history), confusion, scores, mean_iou(confusion), calibration)
