"""The report and the card of a model that finds objects; see also `geoseg.training.report`."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from geoseg.training.object_scores import MATCH_IOU, SURE, Found, f1_of
from geoseg.training.report import curves, embedded, head, number, stretched

__all__ = ["object_card", "object_page"]

_DRAWN, _FOUND = "#ffd23f", "#e6007e"
_COLUMNS = ("class", "F1", "precision", "recall", "drawn", "found as drawn", "found too much", "missed")
_HOW = (
    f"An object is found as drawn if its score is at least {SURE:g} and its intersection over union with a drawn one "
    f"of its class is at least {MATCH_IOU:g}. Measured on blocks of the scenes that were not learned "
    "from, window by window; objects are cut by the windows."
)


def object_page(
    title: str,
    facts: Mapping[str, Any],
    *,
    names: Sequence[str],
    history: Sequence[Mapping[str, float]],
    counts: np.ndarray,
    pictures: Sequence[tuple[np.ndarray, np.ndarray, Found, Found]],
) -> str:
    """A page of HTML that needs no other file; `counts` and `pictures` are those of an `ObjectExamination`."""
    columns = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in _rows(names, counts)
    )
    parts = [
        f"<h2>Validation</h2><p>{_HOW}</p><table><tr>{columns}</tr>{rows}</table>",
        f"<h2>Course</h2>{embedded(curves(history, 'f1', 'validation F1'))}",
        f"<h2>The worst validation windows</h2><p>Outlines: drawn <b style='color:{_DRAWN}'>yellow</b>, found "
        f"<b style='color:{_FOUND}'>pink</b>.</p>",
        *(embedded(_outlined(*picture)) for picture in pictures),
    ]
    return head(title, facts) + "".join(parts) + "</body></html>\n"


def object_card(title: str, facts: Mapping[str, Any], *, names: Sequence[str], counts: np.ndarray) -> str:
    """The model card, Markdown."""
    lines = [f"# {title}", "", "A model of objects made by `geoseg train`.", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    lines += ["", f"## Validation: F1 {number(float(f1_of(counts.sum(axis=0))))}", "", _HOW, ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(names, counts)]
    return "\n".join([*lines, ""])


def _rows(names: Sequence[str], counts: np.ndarray) -> list[list[str]]:
    """A row of text for each class, and for all."""
    named = [*zip(names, counts, strict=True), *([("all", counts.sum(axis=0))] if len(names) > 1 else [])]
    rows = []
    for name, (right, much, missed) in named:
        shares = [right / total if total else np.nan for total in (right + much, right + missed)]
        figures = [number(float(f1_of(np.array([right, much, missed])))), *(number(share) for share in shares)]
        rows.append([name, *figures, *(f"{count:,}" for count in (right + missed, right, much, missed))])
    return rows


def _outlined(values: np.ndarray, valid: np.ndarray, found: Found, drawn: Found) -> Figure:
    figure = Figure(figsize=(9, 4.5))
    for place in (1, 2):
        axes = figure.add_subplot(1, 2, place)
        axes.imshow(stretched(values, valid), interpolation="nearest")
        axes.set_axis_off()
        for objects, color in ((drawn, _DRAWN), (found, _FOUND)) if place == 2 else ():
            for mask in objects.masks:
                around = np.pad(mask, 1)  # so that outlines close at the window's edge
                ends = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
                axes.contour(ends[1], ends[0], around, levels=[0.5], colors=[color], linewidths=1.2)
        axes.set(xlim=(-0.5, valid.shape[1] - 0.5), ylim=(valid.shape[0] - 0.5, -0.5))
    return figure
