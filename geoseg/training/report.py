"""What a person looks at after training: a page with curves, tables and pictures, and the model card."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geoseg.classes import ClassInfo
from geoseg.training.labels import UNLABELLED
from geoseg.training.scores import Calibration, iou_of, mean_iou

__all__ = ["Picture", "card", "curves", "embedded", "head", "number", "page", "stretched"]

Picture = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Pixels (band, row, col), validity, truth and guess (row, col) of one window."""

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}"""


def page(
    title: str,
    facts: Mapping[str, Any],
    *,
    classes: Sequence[ClassInfo],
    history: Sequence[Mapping[str, float]],
    confusion: np.ndarray,
    calibration: Calibration,
    worst: Sequence[Picture],
) -> str:
    """A page of HTML that needs no other file."""
    names = [info.name for info in classes]
    scores = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{number(value)}</td><td>{count:,}</td></tr>"
        for name, value, count in zip(names, iou_of(confusion), confusion.sum(1), strict=True)
    )
    parts = [
        f"<h2>Validation</h2><p>Mean IoU {mean_iou(confusion):.3f}, on blocks of the scenes that were not learned "
        "from.</p>",
        f"<table><tr><th>class</th><th>IoU</th><th>validation pixels</th></tr>{scores}</table>",
        embedded(_matrix(confusion, names)),
        f"<h2>Course</h2>{embedded(curves(history, 'miou', 'validation mIoU'))}",
        f"<h2>Confidence</h2><p>Expected calibration error {calibration.error_before:.3f} before and "
        f"{calibration.error_after:.3f} after dividing by the temperature {calibration.temperature:.3f}, which is "
        "part of the weights. Both are measured on the pixels that the temperature was fitted on.</p>",
        embedded(_reliability(calibration)),
        "<h2>The worst validation windows</h2><p>Scene, label (black: not labelled), prediction.</p>",
        *(embedded(_triple(picture, classes)) for picture in worst),
    ]
    return head(title, facts) + "".join(parts) + "</body></html>\n"


def head(title: str, facts: Mapping[str, Any]) -> str:
    """How a page begins: its title, and the facts as a table."""
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    name = html.escape(title)
    begin = f"<!doctype html><html><head><meta charset='utf-8'><title>{name}</title><style>{_STYLE}</style></head>"
    return f"{begin}<body><h1>{name}</h1><table>{rows}</table>"


def card(title: str, facts: Mapping[str, Any], *, classes: Sequence[ClassInfo], confusion: np.ndarray) -> str:
    """The model card, Markdown."""
    names = [info.name for info in classes]
    lines = [f"# {title}", "", "A land-cover model made by `geoseg train`.", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    lines += ["", f"## Validation: mean IoU {mean_iou(confusion):.3f}", ""]
    lines += ["Measured on blocks of the scenes that were not learned from. Rows are the truth, columns the map.", ""]
    lines += [f"| truth | {' | '.join(names)} | IoU |", "|---" * (len(names) + 2) + "|"]
    for name, counts, value in zip(names, confusion, iou_of(confusion), strict=True):
        lines.append(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} | {number(value)} |")
    lines += ["", "A class without validation pixels has no IoU: nothing is known about it.", ""]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits, or a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def embedded(figure: Figure) -> str:
    """A figure as an image inside of the page."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=90, bbox_inches="tight", metadata={"Software": None})
    return f"<p><img alt='' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'></p>"


def curves(history: Sequence[Mapping[str, float]], measure: str, measured: str) -> Figure:
    """Loss and validation, epoch by epoch; `measure` is the key in the history, `measured` its name."""
    figure = Figure(figsize=(9, 3))
    for place, (key, name) in enumerate((("loss", "training loss"), (measure, measured))):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.plot([row["epoch"] for row in history], [row[key] for row in history], ".-")
        axes.set(title=name, xlabel="epoch")
        if key == measure:
            axes.set_ylim(0, 1)
    return figure


def _matrix(confusion: np.ndarray, names: Sequence[str]) -> Figure:
    side = 2 + 0.55 * len(names)
    figure = Figure(figsize=(side + 1, side))
    axes = figure.add_subplot()
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    for (row, col), value in np.ndenumerate(share):
        axes.text(col, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
    axes.set(title="share of each true class", xlabel="map", ylabel="truth")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    return figure


def _reliability(calibration: Calibration) -> Figure:
    figure = Figure(figsize=(4.5, 4))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7")
    for bins, name in ((calibration.bins_before, "before"), (calibration.bins_after, "after")):
        there = bins[:, 2] > 0
        axes.plot(bins[there, 0], bins[there, 1], "o-", label=name)
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return figure


def _triple(picture: Picture, classes: Sequence[ClassInfo]) -> Figure:
    values, valid, truth, guess = picture
    figure = Figure(figsize=(9, 3))
    for place, (image, name) in enumerate(
        (
            (stretched(values, valid), "scene"),
            (_painted(truth, classes), "label"),
            (_painted(np.where(valid, guess, UNLABELLED), classes), "prediction"),
        )
    ):
        axes = figure.add_subplot(1, 3, place + 1)
        axes.imshow(image, interpolation="nearest")
        axes.set_title(name)
        axes.set_axis_off()
    return figure


def stretched(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Three bands as a picture, each from its 2nd to its 98th percentile."""
    shown = values[[0, 1, 2] if len(values) >= 3 else [0, 0, 0]].astype(float)
    if valid.any():
        low, high = np.percentile(shown[:, valid], (2, 98), axis=1)[..., None, None]
        shown = np.clip((shown - low) / np.maximum(high - low, 1e-9), 0, 1)
    return np.moveaxis(np.where(valid, shown, 1.0), 0, -1)


def _painted(channels: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = [info.rgb for info in classes]
    return palette[channels]
