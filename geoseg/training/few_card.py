"""What `train_few` leaves: the package, and a card that says how good it is, and how that is known."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import save_file

from geoseg.classes import ClassInfo
from geoseg.errors import OutputError
from geoseg.files import replacing
from geoseg.model import ModelSpec
from geoseg.networks.few_network import FewLabels
from geoseg.training.few_fit import Estimate, Pixels
from geoseg.training.few_sample import Places
from geoseg.training.labels import Labels

__all__ = ["FewResult", "check_out", "count_labels", "notes_of", "write_package"]

_RECORD = "training.json"


@dataclass(frozen=True, eq=False)
class FewResult:
    """What `train_few` leaves."""

    folder: Path
    """The model package."""
    spec: ModelSpec
    """Its metadata."""
    estimate: Estimate | None
    """What spatial cross-validation says; None where too few polygons could be held back."""
    counts: pd.DataFrame
    """A row for each class: name, polygons, groups of neighbouring polygons, labelled pixels used."""
    notes: tuple[str, ...]
    """What a person should know: bands left out, polygons without a pixel, classes without an estimate."""
    seconds: float
    """Wall time."""

    def summary(self) -> str:
        """What was found, in lines for a person."""
        lines = [f"Fitted on {self.counts['polygons'].sum()} polygons in {self.seconds:.0f} s: {self.folder}"]
        estimate = self.estimate
        if estimate is not None:
            lines += [f"{'class':<20}{'polygons':>9}{'right':>7}{'F1':>8}{'IoU':>8}"]
            for row, right, f1, iou in zip(
                self.counts.to_dict("records"), estimate.right, estimate.f1, estimate.iou, strict=True
            ):
                scores = "".join(f"{v:8.3f}" if np.isfinite(v) else f"{'–':>8}" for v in (f1, iou))
                lines.append(f"{row['class']:<20}{row['polygons']:>9}{right:>7}{scores}")
            lines.append(
                f"On polygons held back: accuracy {estimate.overall:.3f}, calibration error "
                f"{estimate.calibration_after:.3f}."
            )
        lines += [*self.notes, f"Map with: geoseg map IMAGE --model {self.folder}"]
        return "\n".join(lines)


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a folder that is there, unless it is a package that this made and it may be replaced."""
    if not out.exists():
        return
    if not overwrite:
        raise OutputError(f"The package folder must not be there, but {out} is. Choose another --out, or --overwrite.")
    if not (out / _RECORD).is_file():
        raise OutputError(
            f"--overwrite replaces only what geoseg trained, but {out} has no {_RECORD}. Choose another --out, or "
            "move it away."
        )


def count_labels(infos: tuple[ClassInfo, ...], known: Pixels, groups: np.ndarray) -> pd.DataFrame:
    """A row for each class: how many polygons, groups of neighbours (polygon,) and pixels there are."""
    rows = []
    for info in infos:
        mine = known.classes == info.value
        pixels = int((known.target == info.value).sum())
        rows.append((info.value, info.name, int(mine.sum()), len(np.unique(groups[mine])), pixels))
    return pd.DataFrame(rows, columns=["value", "class", "polygons", "groups", "pixels"])


def notes_of(
    tables: list[Labels],
    places: list[Places],
    counts: pd.DataFrame,
    estimate: Estimate | None,
    wanted: float,
    gap: float,
) -> list[str]:
    """What a person should know of a fit."""
    notes = []
    empty = sum(len(t.frame) - len(np.unique(p.polygon)) for t, p in zip(tables, places, strict=True))
    if empty:
        notes.append(f"{empty} polygons left out: no centre of a valid pixel lies in them, or smaller ones cover them.")
    if estimate is None:
        notes.append(
            "Accuracy not estimated: at least two classes need two polygons or more that lie apart "
            f"(over {gap:.3g} pixels). The model is fitted, but nobody knows how good it is, and its confidence is not "
            "calibrated. Draw more polygons, far from each other."
        )
        return notes
    if gap < wanted:
        notes.append(
            f"Polygons lie close together: only those within {gap:.3g} pixels of each other were held back together, "
            f"not {wanted:g}. The accuracy may be too good. Draw polygons over the whole image."
        )
    for row, tested in zip(counts.to_dict("records"), estimate.tested, strict=True):
        if not tested:
            notes.append(
                f"{row['class']}: accuracy not estimated, for its {row['polygons']} polygon(s) cannot be held back: "
                f"none lies apart from the others (by {gap:.3g} pixels). Draw it at another place, too."
            )
    return notes


def write_package(result: FewResult, network: FewLabels, record: dict[str, Any], *, overwrite: bool) -> ModelSpec:
    """Write weights, metadata, card and record; they appear together. Returns the metadata as written."""
    check_out(result.folder, overwrite)
    new = result.folder.with_name(result.folder.name + ".new") if result.folder.exists() else result.folder
    with replacing(new) as folder:
        folder.mkdir()
        weights = folder / result.spec.weights
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
        spec = result.spec.with_file(weights)
        spec.write(folder)
        (folder / "README.md").write_text(_card(result), encoding="utf-8")
        (folder / _RECORD).write_text(json.dumps(_record(result, record), indent=2) + "\n", encoding="utf-8")
    if new != result.folder:
        shutil.rmtree(result.folder)
        os.replace(new, result.folder)
    return spec


def _record(result: FewResult, record: dict[str, Any]) -> dict[str, Any]:
    estimate = result.estimate
    found: dict[str, Any] = {"accuracy": "not estimated"}
    if estimate is not None:
        found = {
            "accuracy": {
                "how": f"spatial cross-validation, {estimate.folds} folds of whole polygons",
                "overall": estimate.overall,
                "mean_f1": _number(np.nanmean(estimate.f1)),
                "mean_iou": _number(np.nanmean(estimate.iou)),
                "classes": {
                    info.name: {
                        "f1": _number(estimate.f1[i]),
                        "iou": _number(estimate.iou[i]),
                        "recall": _number(estimate.recall[i]),
                        "polygons_tested": int(estimate.tested[i]),
                        "polygons_right": int(estimate.right[i]),
                    }
                    for i, info in enumerate(result.spec.classes)
                },
                "confusion": estimate.confusion.tolist(),
            },
            "calibration": {
                "temperature": estimate.temperature,
                "error_before": estimate.calibration_before,
                "error_after": estimate.calibration_after,
            },
            "regularisation": {
                "strength": estimate.strength,
                "log_loss": {f"{strength:g}": loss for strength, loss in estimate.losses.items()},
            },
        }
    labels = result.counts.to_dict("records")
    return {"way": "few", **record, "labels": labels, **found, "notes": list(result.notes), "seconds": result.seconds}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _card(result: FewResult) -> str:
    spec, estimate = result.spec, result.estimate
    kind = spec.arguments["features"]
    lines = [
        f"# {spec.name}",
        "",
        f"A land-cover model for {', '.join(spec.bands)} ({spec.dtype}) at {spec.resolution_m:g} m, fitted on a few",
        f"labelled polygons with `geoseg train --few`. Features: {kind}. It knows the image it was fitted on; at",
        "another place or date its accuracy is not known.",
        "",
        "## Labels",
        "",
        _table(
            ["class", "polygons", "groups of neighbours", "pixels"],
            [[r["class"], r["polygons"], r["groups"], r["pixels"]] for r in result.counts.to_dict("records")],
        ),
        "",
        "## Accuracy",
        "",
    ]
    lines += _accuracy(result, estimate) if estimate is not None else ["Not estimated."]
    if result.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def _accuracy(result: FewResult, estimate: Estimate) -> list[str]:
    names = [info.name for info in result.spec.classes]
    scores = [
        [name, f"{right} of {tested}", *(f"{v:.3f}" for v in (f1, iou, recall))]
        if tested
        else [name, "0", *["not estimated"] * 3]
        for name, tested, right, f1, iou, recall in zip(
            names, estimate.tested, estimate.right, estimate.f1, estimate.iou, estimate.recall, strict=True
        )
    ]
    confusion = [[name, *row] for name, row in zip(names, estimate.confusion.tolist(), strict=True)]
    return [
        f"By spatial cross-validation: {estimate.folds} folds of whole polygons, neighbours held back together. The",
        "strength of the regularisation was chosen by the same folds, which makes the figures a little optimistic;",
        "polygons that people choose as clear examples make them more so.",
        "",
        f"Overall accuracy {estimate.overall:.3f} of the labelled pixels, mean IoU {np.nanmean(estimate.iou):.3f}.",
        "",
        _table(["class", "polygons right", "F1", "IoU", "recall"], scores),
        "",
        "Confusion in pixels (rows: labelled, columns: mapped):",
        "",
        _table(["", *names], confusion),
        "",
        f"Expected calibration error {estimate.calibration_before:.3f}, and {estimate.calibration_after:.3f} with the "
        f"temperature {estimate.temperature:.2f},",
        "which is part of the weights. Classes weigh the same in it, as they do in the fit.",
    ]


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
