"""What became of each object, as a layer to look at."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.accuracy.matching import Pairs
from geoseg.accuracy.sides import Side
from geoseg.classes import ClassInfo

__all__ = ["VERDICTS", "make_verdicts"]

VERDICTS = (
    ClassInfo(1, "found", "#2e8b57"),
    ClassInfo(2, "missed", "#d9822b"),
    ClassInfo(3, "false", "#c0392b"),
    ClassInfo(4, "not counted", "#9e9e9e"),
)
"""The values of ``class`` in the layer, for its style."""


def make_verdicts(
    frames: tuple[gpd.GeoDataFrame, gpd.GeoDataFrame],
    sides: tuple[Side, Side],
    matched: Pairs,
    outlines: tuple[np.ndarray, np.ndarray],
    sizes: list[np.ndarray],
    kinds: list[np.ndarray] | None,
    score: np.ndarray,
) -> gpd.GeoDataFrame:
    """All objects, and the references that none was matched to; columns as in `ObjectAccuracy.matches`."""
    one, other = sides
    partner = np.full(len(one), -1)
    partner[matched.object] = matched.reference
    place = np.full(len(one), -1)
    place[matched.object] = np.arange(len(matched))
    free = np.flatnonzero(~np.isin(np.arange(len(other)), matched.reference))
    counts = np.where(partner >= 0, np.append(other.counts, False)[partner], one.counts)
    verdict = np.concatenate(
        [np.where(counts, np.where(partner >= 0, 1, 3), 4), np.where(other.counts[free], 2, 4)]
    ).astype(np.int64)
    nothing = np.full(len(free), np.nan)

    def of_matches(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.append(values, np.nan)[place], nothing])

    columns: dict[str, Any] = {
        "class": verdict,
        "class_name": _text(np.array([info.name for info in VERDICTS], dtype=object)[verdict - 1]),
        "object_row": _whole([one.rows, np.full(len(free), -1)]),
        "reference_row": _whole([np.append(other.rows, -1)[partner], other.rows[free]]),
        "iou": of_matches(matched.iou),
        "boundary_iou": of_matches(outlines[0]),
        "polis_m": of_matches(outlines[1]),
        "area_m2": np.concatenate([one.area_m2, other.area_m2[free]]),
        "size": _text(np.concatenate([sizes[0], sizes[1][free]])),
        "score": np.concatenate([score, nothing]),
    }
    if kinds is not None:
        columns["kind"] = _text(np.concatenate([kinds[0], kinds[1][free]]))
    crs = frames[1].crs
    shapes = np.concatenate([_shapes(frames[0], one.rows, crs), _shapes(frames[1], other.rows[free], crs)])
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)


def _whole(parts: list[np.ndarray]) -> pd.Series:
    """Row numbers; none where negative."""
    numbers = pd.Series(np.concatenate(parts), dtype="Int64")
    return numbers.mask(numbers < 0)


def _text(values: np.ndarray) -> pd.Series:
    """A column of text, also when it is empty."""
    return pd.Series(values, dtype="string")


def _shapes(frame: gpd.GeoDataFrame, rows: np.ndarray, crs: Any) -> np.ndarray:
    """As they were given, but for the CRS and for what is invalid."""
    shapes = shapely.force_2d(np.array(frame.geometry.iloc[rows].to_crs(crs).values, dtype=object))
    invalid = np.flatnonzero(~shapely.is_valid(shapes))
    shapes[invalid] = shapely.make_valid(shapes[invalid], method="structure", keep_collapsed=False)
    return shapes
