"""How good objects are: found, missed and false ones, and how well the outlines of those found agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geoseg.accuracy.average_precision import average_precision
from geoseg.accuracy.matching import IOU_DECIMALS, Pairs, find_pairs, match_one_to_one
from geoseg.accuracy.outlines import boundary_iou, polis_distance
from geoseg.accuracy.sides import Side, class_names, column_of, make_sides
from geoseg.accuracy.verdicts import make_verdicts
from geoseg.errors import OptionError

__all__ = ["SIZES", "ObjectAccuracy", "assess_objects"]

SIZES = ("tiny", "small", "medium", "large")
"""The size classes, from small to large."""


@dataclass(frozen=True, eq=False)
class ObjectAccuracy:
    """What `assess_objects` finds. `docs/assess.md` explains each figure."""

    table: pd.DataFrame
    """One row for all, each size class and each class: ``by`` (all, size, class), ``name``, ``reference``, ``objects``,
    ``found``, ``missed``, ``false``, ``count_error``, ``precision``, ``recall``, ``f1``, ``pq``, ``sq``, ``rq``,
    ``ap``, ``ap50``, ``ap75``, ``over_segmentation``, ``under_segmentation``, ``split``, ``merged``,
    ``boundary_iou``, ``polis_m``. Ratios are 0..1; what has no value (0 of 0) is NaN."""
    matches: gpd.GeoDataFrame
    """Each object and each reference that was not found, in the CRS of the reference: ``class`` and ``class_name`` (1
    found, 2 missed, 3 false, 4 not counted), ``kind`` (the class, where there are classes), ``object_row``,
    ``reference_row`` (from 0), ``iou``, ``boundary_iou``, ``polis_m``, ``area_m2``, ``size``, ``score``."""
    settings: dict[str, Any]
    """What the figures depend on: ``iou``, ``boundary_m``, ``sizes_m2``, ``classes``."""
    left_out: dict[str, dict[str, int]]
    """For ``objects`` and ``reference``: how many features were ``mended``, and how many have no part in the figures,
    because they are ``without_area``, ``outside`` of the area of interest, or ``less_than_half_inside``."""

    @property
    def overall(self) -> pd.Series:
        """The row for all."""
        return self.table.iloc[0]

    @property
    def by_size(self) -> pd.DataFrame:
        """The rows of the size classes."""
        return self.table[self.table["by"] == "size"].reset_index(drop=True)

    @property
    def by_class(self) -> pd.DataFrame:
        """The rows of the classes; empty without classes."""
        return self.table[self.table["by"] == "class"].reset_index(drop=True)


def assess_objects(
    objects: gpd.GeoDataFrame,
    reference: gpd.GeoDataFrame,
    *,
    within: gpd.GeoDataFrame | gpd.GeoSeries | None = None,
    class_column: str | None = None,
    reference_class_column: str | None = None,
    score_column: str | None = None,
    iou: float = 0.5,
    boundary_m: float = 1.0,
    sizes_m2: Sequence[float] = (50.0, 200.0, 1000.0),
) -> ObjectAccuracy:
    """Compare objects with a reference.

    An object and a reference are matched where they have the same class (if there are classes) and their IoU, the
    area of the intersection divided by that of the union, is at least `iou`; each is matched at most once, so that the
    sum of the IoUs is as large as it can be. Areas are true, whatever the CRS.

    With an area of interest, only what lies inside is compared. A reference with less than half of its area inside
    does not count: it is not missed, and an object matched to it is not false. An object with less than half of
    its area inside is not false; it may be the match of a reference that counts.

    Parameters
    ----------
    objects, reference
        Polygons and MultiPolygons, each side in any CRS. Invalid ones are mended, those without an area left out.
    within
        The area of interest: polygons in any CRS. None = everywhere.
    class_column, reference_class_column
        The column with the class, on both sides, or another one on the side of the reference. None = no classes.
    score_column
        The column of the objects that says how sure each is. Without it there is no average precision.
    iou
        From which IoU on an object counts as found, 0..1.
    boundary_m
        Width of the band along the outline that boundary IoU compares, m.
    sizes_m2
        Where small, medium and large objects begin, m².

    Returns
    -------
    ObjectAccuracy
        Tables.

    Raises
    ------
    OptionError
        No CRS, no polygons, no such column, a class or score that is missing, or an option out of its range.

    Examples
    --------
    >>> from shapely import box
    >>> truth = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 10), box(20, 0, 30, 10)], crs="EPSG:32632")
    >>> found = assess_objects(truth.iloc[:1], truth)
    >>> found.overall[["found", "missed", "false", "precision", "recall"]].astype(float).tolist()
    [1.0, 1.0, 0.0, 1.0, 0.5]
    >>> int(assess_objects(truth.iloc[:0], truth).overall["missed"])
    2
    """
    _check_options(iou, boundary_m, sizes_m2)
    if class_column is None and reference_class_column is not None:
        raise OptionError("Classes need a column on both sides, but only the reference's is given. Give class_column.")
    one, other = make_sides(objects, reference, within)
    names, one_kind, other_kind = _kinds(
        (objects, one, class_column), (reference, other, reference_class_column or class_column)
    )
    score = np.full(len(one), np.nan) if score_column is None else _scores(objects, one, score_column)
    pairs = find_pairs(one, other)
    pairs = pairs.at(one_kind[pairs.object] == other_kind[pairs.reference])
    matched = pairs.at(pairs.iou >= round(iou, IOU_DECIMALS))
    matched = matched.at(match_one_to_one(matched))
    shapes = one.shapes[matched.object], other.shapes[matched.reference]
    outlines = boundary_iou(*shapes, boundary_m, common_m2=matched.common_m2), polis_distance(*shapes)
    sizes = [np.searchsorted(sizes_m2, side.area_m2, side="right") for side in (one, other)]
    group = _Groups(one, other, pairs, matched, outlines, (one_kind, other_kind), score, len(names))
    rows = [group.row("all", "all", np.ones(len(one), bool), np.ones(len(other), bool))]
    rows += [group.row("size", name, sizes[0] == k, sizes[1] == k) for k, name in enumerate(SIZES)]
    if class_column is not None:
        rows += [group.row("class", name, one_kind == k, other_kind == k) for k, name in enumerate(names)]
    labels = [np.array(SIZES, dtype=object)[size] for size in sizes]
    kinds = None if class_column is None else [np.array(names, dtype=object)[kind] for kind in (one_kind, other_kind)]
    return ObjectAccuracy(
        table=pd.DataFrame(rows),
        matches=make_verdicts((objects, reference), (one, other), matched, outlines, labels, kinds, score),
        settings={
            "iou": float(iou),
            "boundary_m": float(boundary_m),
            "sizes_m2": [float(size) for size in sizes_m2],
            "classes": list(names) if class_column is not None else [],
        },
        left_out={"objects": _left_out(one), "reference": _left_out(other)},
    )


class _Groups:
    """All that the figures of a group of objects are computed from."""

    def __init__(
        self,
        one: Side,
        other: Side,
        pairs: Pairs,
        matched: Pairs,
        outlines: tuple[np.ndarray, np.ndarray],
        kinds: tuple[np.ndarray, np.ndarray],
        score: np.ndarray,
        classes: int,
    ) -> None:
        self.one, self.other, self.pairs, self.matched, self.outlines = one, other, pairs, matched, outlines
        self.kinds, self.score, self.classes = kinds, score, classes
        self.free = ~np.isin(np.arange(len(one)), matched.object)
        self.missed = other.counts & ~np.isin(np.arange(len(other)), matched.reference)
        self.has_score = bool(np.isfinite(score).all())

    def row(self, by: str, name: str, objects: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
        """The figures of some objects and references; a match belongs to the group of its reference."""
        counts = reference & self.other.counts
        right = counts[self.matched.reference]
        found, missed = int(right.sum()), int((self.missed & reference).sum())
        false = int((self.free & self.one.counts & objects).sum())
        sq, rq = _mean(self.matched.iou[right]), _ratio(2 * found, 2 * found + false + missed)
        return {
            "by": by,
            "name": name,
            "reference": found + missed,
            "objects": found + false,
            "found": found,
            "missed": missed,
            "false": false,
            "count_error": _ratio(false - missed, found + missed),
            "precision": _ratio(found, found + false),
            "recall": _ratio(found, found + missed),
            "f1": rq,
            "pq": sq * rq if found else rq,
            "sq": sq,
            "rq": rq,
            **self._precision(objects, counts),
            **self._segmentation(counts),
            "boundary_iou": _mean(self.outlines[0][right]),
            "polis_m": _mean(self.outlines[1][right]),
        }

    def _precision(self, objects: np.ndarray, counts: np.ndarray) -> dict[str, float]:
        """COCO's average precision: the mean over the classes that the reference has."""
        names = ("ap", "ap50", "ap75")
        present = np.unique(self.kinds[1][counts])
        if not self.has_score or not len(present):
            return dict.fromkeys(names, np.nan)
        of_classes = [
            average_precision(
                self.pairs.at(self.kinds[0][self.pairs.object] == kind),
                self.score,
                other_objects=~(objects & self.one.counts & (self.kinds[0] == kind)),
                other_reference=~(counts & (self.kinds[1] == kind)),
            )
            for kind in present
        ]
        mean = np.mean(of_classes, axis=0)
        return dict(zip(names, (float(mean.mean()), float(mean[0]), float(mean[5])), strict=True))

    def _segmentation(self, counts: np.ndarray) -> dict[str, float]:
        """Over- and under-segmentation, of pairs where more than half of the one lies in the other."""
        pairs = self.pairs.at(counts[self.pairs.reference])
        of_reference = pairs.common_m2 / self.other.inside_m2[pairs.reference]
        of_object = pairs.common_m2 / self.one.inside_m2[pairs.object]
        belong = (of_reference > 0.5) | (of_object > 0.5)
        pieces = np.bincount(pairs.reference[of_object > 0.5], minlength=1)
        swallowed = np.bincount(pairs.object[of_reference > 0.5], minlength=1)
        return {
            "over_segmentation": _mean(1 - np.minimum(of_reference[belong], 1)),
            "under_segmentation": _mean(1 - np.minimum(of_object[belong], 1)),
            "split": int((pieces > 1).sum()),
            "merged": int(swallowed[swallowed > 1].sum()),
        }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _left_out(side: Side) -> dict[str, int]:
    return {
        "mended": side.mended,
        "without_area": side.without_area,
        "outside": side.outside,
        "less_than_half_inside": int((~side.counts).sum()),
    }


def _kinds(*sides: tuple[gpd.GeoDataFrame, Side, str | None]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The classes in order, and the number of each object's class on both sides; all are 0 without classes."""
    if sides[0][2] is None:
        return ["all"], *(np.zeros(len(side), np.int64) for _, side, _ in sides)  # type: ignore[return-value]
    found = [
        class_names(frame, str(column), side.rows, name=name)
        for (frame, side, column), name in zip(sides, ("the objects", "the reference"), strict=True)
    ]
    names = sorted(set(found[0]) | set(found[1]), key=lambda name: (0, int(name)) if name.isdecimal() else (1, name))
    number = {name: k for k, name in enumerate(names)}
    one, other = (np.array([number[name] for name in side], np.int64) for side in found)
    return names, one, other


def _scores(frame: gpd.GeoDataFrame, side: Side, column: str) -> np.ndarray:
    values = pd.to_numeric(column_of(frame, column, name="the objects"), errors="coerce").to_numpy(float)[side.rows]
    if not np.isfinite(values).all():
        row = side.rows[np.argmax(~np.isfinite(values))]
        raise OptionError(
            f"Every object needs a score that is a number, but feature {row} of the objects (counted from 0) has "
            f"{frame[column].iloc[row]!r} in the column {column!r}. Fill it, or compare without scores."
        )
    return values


def _check_options(iou: float, boundary_m: float, sizes_m2: Sequence[float]) -> None:
    if not 0 < iou <= 1:
        raise OptionError(f"An IoU is above 0 and at most 1, but iou is {iou!r}. 0.5 is usual.")
    if not 0 < boundary_m < np.inf:
        raise OptionError(f"The band along the outline has a width above 0, but boundary_m is {boundary_m!r}.")
    if len(sizes_m2) != 3 or not 0 < sizes_m2[0] < sizes_m2[1] < sizes_m2[2] < np.inf:
        raise OptionError(
            "Sizes are three rising areas in m², where small, medium and large objects begin, like 50,200,1000; but "
            f"they are {list(sizes_m2)}."
        )
