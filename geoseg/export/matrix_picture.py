"""A picture of a confusion matrix: shares of area as numbers and colours, accuracies at its sides.

Right cells are blue and wrong ones orange, which people with any colour vision tell apart; a darker cell is a larger
part of what the map calls that class. Only matplotlib's objects are used, never pyplot.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from geoseg.files import replacing

__all__ = ["write_matrix_picture"]

_DPI = 150
_MOST_PX = 6000  # a side
_CELL = 0.78  # inches
_RIGHT, _WRONG = np.array([11, 83, 148]) / 255, np.array([200, 84, 16]) / 255
_GREY = "#f1f1ee"
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def write_matrix_picture(
    path: str | os.PathLike[str],
    proportions: pd.DataFrame,
    counts: pd.DataFrame,
    *,
    users: Sequence[float],
    producers: Sequence[float],
    overall: float,
    title: str = "",
    unit: str = "sample units",
) -> Path:
    """Draw a confusion matrix as PNG.

    Parameters
    ----------
    path
        The file; replaced when it is there.
    proportions, counts
        (map class, reference class) Proportions of the whole area, and units.
    users, producers, overall
        Accuracies, 0..1; NaN where there is none.
    title
        Above the picture.
    unit
        What `counts` counts.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    count = len(proportions)
    longest = max(len(str(name)) for name in proportions.index)
    margin = min(2.6, 0.35 + 0.085 * min(longest, 28))
    width = margin + (count + 1) * _CELL + 0.3
    head, foot = 0.9 + 0.062 * min(longest, 28), 0.55
    height = head + (count + 1) * _CELL + foot
    width = max(width, 4.6)
    dpi = min(_DPI, _MOST_PX / max(width, height))
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-margin / _CELL, (width - margin) / _CELL), ylim=(count + 1 + foot / _CELL, -head / _CELL))
    axes.set_axis_off()
    _cells(axes, proportions.to_numpy(), counts.to_numpy())
    _sides(axes, users, producers, overall)
    _names(axes, [str(name) for name in proportions.index], [str(name) for name in proportions.columns])
    left = -margin / _CELL + 0.15
    axes.text(left, -head / _CELL + 0.32, title, fontsize=11, va="center", parse_math=False)
    legend = f"% of the area; below, {unit}. Darker: more of the map's class. Blue is right, orange wrong."
    axes.text(left, count + 1 + 0.38, legend, fontsize=6.5, color="#444444", va="center", wrap=True)
    with replacing(path) as beside:
        canvas.print_figure(beside, format="png", dpi=dpi, metadata={"Software": None})
    return Path(path)


def _cells(axes: Axes, shares: np.ndarray, counts: np.ndarray) -> None:
    rows = shares.sum(axis=1, keepdims=True)
    within = np.divide(shares, rows, out=np.zeros_like(shares), where=rows > 0)
    for (row, col), share in np.ndenumerate(shares):
        strength = 0 if share <= 0 else 0.12 + 0.88 * within[row, col] ** 0.7
        color = 1 - strength * (1 - (_RIGHT if row == col else _WRONG))
        axes.add_patch(Rectangle((col, row), 1, 1, facecolor=color, edgecolor="white", linewidth=1.5))
        ink = "white" if _LUMINANCE @ color**2.2 < 0.18 else "#222222"  # whichever can be read better
        axes.text(col + 0.5, row + 0.42, _percent(share), fontsize=8.5, ha="center", va="center", color=ink)
        axes.text(col + 0.5, row + 0.72, f"{counts[row, col]:,}", fontsize=6, ha="center", va="center", color=ink)


def _sides(axes: Axes, users: Sequence[float], producers: Sequence[float], overall: float) -> None:
    count = len(users)
    places = [(count, at, value) for at, value in enumerate(users)]
    places += [(at, count, value) for at, value in enumerate(producers)] + [(count, count, overall)]
    for col, row, value in places:
        last = col == row == count
        face = "#3c3c3c" if last else _GREY
        axes.add_patch(Rectangle((col, row), 1, 1, facecolor=face, edgecolor="white", linewidth=1.5))
        text = "–" if value != value else f"{value:.1%}".replace("%", " %")
        ink, weight = ("white", "bold") if last else ("#222222", "normal")
        axes.text(col + 0.5, row + 0.5, text, fontsize=8, ha="center", va="center", color=ink, weight=weight)


def _names(axes: Axes, rows: list[str], columns: list[str]) -> None:
    count = len(rows)
    for at, name in enumerate([*rows, "producer's"]):
        style = "italic" if at == count else "normal"
        axes.text(-0.12, at + 0.5, _clipped(name), fontsize=8, ha="right", va="center", style=style, parse_math=False)
    for at, name in enumerate([*columns, "user's"]):
        style = "italic" if at == count else "normal"
        axes.text(
            at + 0.5,
            -0.12,
            _clipped(name),
            fontsize=8,
            ha="center",
            va="bottom",
            rotation=90,
            style=style,
            parse_math=False,
        )
    axes.text(-0.12, -0.12, "map ↓   reference →", fontsize=7, ha="right", va="bottom", color="#666666")


def _percent(share: float) -> str:
    percent = 100 * share
    return "0" if percent == 0 else "< 0.1" if percent < 0.1 else f"{percent:.1f}"


def _clipped(text: str, length: int = 28) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
