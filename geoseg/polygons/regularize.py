"""`regularize`: building outlines with straight walls and right angles that still fit together."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.ellipsoid import ground_frames
from geoseg.errors import OptionError
from geoseg.polygons.arcs import Arcs, components, cut_into_arcs
from geoseg.polygons.square import square

__all__ = ["regularize"]

_PIXELS = 1.5  # the default tolerance
_SHIFT = 2.0  # the default of max_shift_m, in tolerances
_LONG_CONTACT = 0.5  # of the side of a square as large as the smaller polygon; with less, two polygons share no wall
_ROUNDS = 12  # of leaving single polygons as they were, before whole groups are


def regularize(
    polygons: gpd.GeoDataFrame,
    *,
    tolerance_m: float | None = None,
    max_area_change: float = 0.05,
    max_shift_m: float | None = None,
) -> gpd.GeoDataFrame:
    """Building outlines from pixel edges → straight walls, most of them at right angles, that still fit together.

    Buildings that touch are squared together: their shared walls stay shared and the fronts of a row stay straight. A
    shape that would change too much, overlap another or newly touch one is left as it was.

    Parameters
    ----------
    polygons
        An edge-matched coverage, as `vectorize` gives for a map of buildings; also simplified. Any CRS: lengths
        and angles are those on the ground.
    tolerance_m
        What is smaller is taken for the raster's stairs or for noise, m. Without it 1.5 pixels, of the size that
        the columns ``area_m2`` and ``pixels`` tell.
    max_area_change
        By which part a polygon's area may change.
    max_shift_m
        How far a boundary may move, m. Without it twice the tolerance.

    Returns
    -------
    GeoDataFrame
        The same rows, with new geometry and the columns ``shift_m`` (the largest distance between the old and the new
        boundary, m), ``area_change`` (relative; positive where the polygon grew) and ``regularized`` (False where the
        shape was left as it was). Other columns still tell about the pixels.

    Raises
    ------
    OptionError
        There is no CRS, something else than polygons, not an edge-matched coverage, or an option has a value that it
        cannot have.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classmap import class_map
    >>> from geoseg.polygons import vectorize
    >>> grid = GeoBox.from_bbox((500000, 0, 500012, 10), "EPSG:32632", resolution=1)
    >>> values = np.full((10, 12), 255, np.uint8)
    >>> values[2:8, 2:10] = 1
    >>> values[2, 5] = values[8, 7] = 255  # a dent
    >>> house = regularize(vectorize(class_map(values, grid, [])))
    >>> house[["shift_m", "regularized"]].round(3).values.tolist()
    [[0.875, True]]
    >>> house.geometry.count_coordinates().tolist()
    [5]
    >>> len(regularize(house.iloc[:0]))
    0
    """
    _check_options(tolerance_m, max_area_change, max_shift_m)
    _check_polygons(polygons)
    if polygons.empty:
        nothing = np.zeros(0)
        return polygons.assign(shift_m=nothing, area_change=nothing, regularized=nothing.astype(bool))
    shapes = _Shapes(polygons, tolerance_m or _PIXELS * _pixel_m(polygons), max_area_change, max_shift_m)
    todo = np.arange(len(polygons))
    attempt = 0
    while len(todo):
        todo = shapes.retry(shapes.square(todo), todo, whole_groups=attempt >= _ROUNDS)
        attempt += 1
    geometry = gpd.array.GeometryArray(shapes.new, crs=polygons.crs)
    return polygons.set_geometry(geometry).assign(
        shift_m=shapes.shift, area_change=shapes.area_change, regularized=~shapes.frozen
    )


class _Shapes:
    """Shapes before and after, which of them stay as they were, and which are squared together."""

    def __init__(
        self, polygons: gpd.GeoDataFrame, tolerance: float, max_area_change: float, max_shift: float | None
    ) -> None:
        self.crs = polygons.crs
        self.tolerance = tolerance
        self.max_area_change = max_area_change
        self.max_shift = _SHIFT * tolerance if max_shift is None else max_shift
        self.old = polygons.geometry.to_numpy()
        self.new = self.old.copy()
        self.shift = np.zeros(len(self.old))
        self.area_change = np.zeros(len(self.old))
        self.frozen = np.zeros(len(self.old), bool)
        self.touching = _touching(self.old)
        self.joined = _long_contacts(self.old, self.crs)
        self.group = components(len(self.old), self.joined)

    def square(self, todo: np.ndarray) -> np.ndarray:
        """Square whole groups; return for each polygon of ``todo`` whether it keeps within the limits."""
        old, frozen = self.old[todo], self.frozen[todo]
        arcs = cut_into_arcs(old, self.group[todo])
        origin, frame, back = _frames(arcs, self.crs)
        local = np.einsum("vij,vj->vi", frame, arcs.xy - origin)
        placed, vertices, offsets = square(arcs, local, frozen, self.tolerance)
        moved = (np.abs(placed - local) > 1e-9 * self.tolerance).any(axis=1, keepdims=True)  # the rest keeps its digits
        placed = np.where(moved, placed, local)
        xy = np.where(moved, np.einsum("vij,vj->vi", back, placed) + origin, arcs.xy)

        new = arcs.polygons(xy, vertices, offsets)
        new[frozen] = old[frozen]
        area = shapely.area(old)
        change = (shapely.area(new) - area) / area
        fits = shapely.is_valid(new) & (np.abs(change) <= self.max_area_change)
        checked = fits & ~frozen
        was, now = arcs.polygons(local)[checked], arcs.polygons(placed, vertices, offsets)[checked]
        shift = np.zeros(len(todo))
        shift[checked] = self._distances(was, now)
        self.new[todo], self.shift[todo], self.area_change[todo] = new, shift, change
        return (fits & (shift <= self.max_shift)) | frozen

    def _distances(self, was: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Hausdorff distances of boundaries, in µm: further digits depend on where rings start."""
        lines = [shapely.segmentize(shapely.boundary(polygons), self.tolerance) for polygons in (was, now)]
        return shapely.hausdorff_distance(*lines).round(6)

    def retry(self, fits: np.ndarray, todo: np.ndarray, *, whole_groups: bool) -> np.ndarray:
        """Put back what does not fit, join what fits only together; return the polygons of groups to square again.

        Each time something is put back or joined that was not, so this ends.
        """
        failed = np.zeros(len(self.old), bool)
        failed[todo] = ~fits
        waiting = np.isin(
            self.group, self.group[failed]
        )  # not to be compared with others before they are squared again
        self.new[waiting] = self.old[waiting]
        clashing, join = self._clashes(todo, waiting)
        failed |= clashing
        if whole_groups:
            failed |= np.isin(self.group, self.group[failed])
        failed &= ~self.frozen
        self.frozen |= failed
        self.joined = np.concatenate([self.joined, join])
        failed[join] = True
        self.group = components(len(self.old), self.joined)
        return np.flatnonzero(np.isin(self.group, self.group[failed]))

    def _clashes(self, todo: np.ndarray, waiting: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What overlaps, or touches but did not before, among the polygons ``todo`` and those beside them.

        Returns
        -------
        (polygon,) bool: shapes to put back; of two that newly touch that which moved more.
        (pair, 2): polygons that hardly touched, were squared apart, and now do not fit.
        """
        n = len(self.new)
        beside = np.unique(shapely.STRtree(self.new).query(self.new[todo])[1])
        misfit = np.zeros(n, bool)
        misfit[beside] = ~shapely.is_empty(shapely.coverage_invalid_edges(self.new[beside]))
        pairs = beside[_touching(self.new[beside])]
        unclear = pairs[misfit[pairs].sum(axis=1) == 1]  # the edges of what covers another fit, but it does not
        misfit[unclear[shapely.relate_pattern(*self.new[unclear].T, "T********")]] = True
        misfit &= ~waiting
        ready = ~waiting[pairs].any(axis=1)
        touched = np.isin(pairs @ [n, 1], self.touching @ [n, 1])
        apart = touched & (misfit | waiting)[pairs].all(axis=1) & (self.group[pairs[:, 0]] != self.group[pairs[:, 1]])
        clashing = misfit.copy()
        clashing[pairs[apart]] = False
        one, other = pairs[ready & ~touched].T
        moved = np.where(self.frozen, -1.0, self.shift)
        clashing[one[moved[one] >= moved[other]]] = True
        clashing[other[moved[other] >= moved[one]]] = True
        return clashing, pairs[apart & ready]


def _frames(arcs: Arcs, crs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each vertex the origin of its group, the matrix from the CRS to metres and its inverse."""
    group = np.empty(len(arcs.xy), np.int64)
    arc = np.repeat(np.arange(len(arcs.sides)), np.diff(arcs.offsets))
    group[arcs.vertices] = arcs.groups[arcs.sides[arc, 0]]
    numbers, group = np.unique(group, return_inverse=True)
    lowest = np.full((len(numbers), 2), np.inf)
    highest = np.full((len(numbers), 2), -np.inf)
    np.minimum.at(lowest, group, arcs.xy)
    np.maximum.at(highest, group, arcs.xy)
    centre = (lowest + highest) / 2
    frames = ground_frames(crs, centre[:, 0], centre[:, 1])
    return centre[group], frames[group], np.linalg.inv(frames)[group]


def _long_contacts(polygons: np.ndarray, crs) -> np.ndarray:
    """(pair, 2) polygons that share walls: as long as half the side of a square as large as the smaller one."""
    arcs = cut_into_arcs(polygons)
    origin, frame, _ = _frames(arcs, crs)
    xy = np.einsum("vij,vj->vi", frame, arcs.xy - origin)
    length = np.zeros(len(arcs.vertices))
    length[:-1] = np.hypot(*np.diff(xy[arcs.vertices], axis=0).T)
    length[arcs.offsets[1:] - 1] = 0.0
    between = arcs.sides[:, 1] >= 0
    keys, pair = np.unique(arcs.sides[between] @ [len(polygons), 1], return_inverse=True)
    contact = np.bincount(pair, np.add.reduceat(length, arcs.offsets[:-1])[between], len(keys))
    pairs = np.stack(np.divmod(keys, len(polygons)), axis=1)
    return pairs[contact >= _LONG_CONTACT * np.sqrt(shapely.area(arcs.polygons(xy))[pairs].min(axis=1))]


def _touching(polygons: np.ndarray) -> np.ndarray:
    """(pair, 2) polygons that have a place in common, the lower row first."""
    pairs = shapely.STRtree(polygons).query(polygons, predicate="intersects").T
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _pixel_m(polygons: gpd.GeoDataFrame) -> float:
    if not {"area_m2", "pixels"} <= set(polygons.columns):
        raise OptionError(
            "The tolerance is 1.5 pixels, but the polygons have no columns area_m2 and pixels that tell how large a "
            "pixel is. Give tolerance_m."
        )
    return float(np.sqrt(polygons["area_m2"].sum() / polygons["pixels"].sum()))


def _check_options(tolerance_m: float | None, max_area_change: float, max_shift_m: float | None) -> None:
    for name, value in {
        "tolerance_m": tolerance_m,
        "max_area_change": max_area_change,
        "max_shift_m": max_shift_m,
    }.items():
        if value is not None and not 0 < value < np.inf:
            raise OptionError(f"Limits are positive numbers, but {name}={value!r}. Give, say, {name}=0.05.")


def _check_polygons(polygons: gpd.GeoDataFrame) -> None:
    if polygons.crs is None:
        raise OptionError("Right angles are those on the ground, but the polygons have no CRS. Give it with set_crs().")
    types = polygons.geometry.geom_type
    empty = polygons.geometry.is_empty
    wrong = ~types.isin(["Polygon", "MultiPolygon"]) | empty
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        found = "missing" if pd.isna(types.iloc[row]) else "empty" if empty.iloc[row] else types.iloc[row]
        raise OptionError(f"Outlines are polygons, but row {row} is {found}. Take out such rows.")
    if len(polygons) and not shapely.coverage_is_valid(polygons.geometry.to_numpy()):
        count = int((~shapely.is_empty(shapely.coverage_invalid_edges(polygons.geometry.to_numpy()))).sum())
        raise OptionError(
            "Neighbours must share their vertices and not overlap (an edge-matched coverage, as vectorize gives), but "
            f"{count} polygons do not fit. Take polygons from vectorize, and simplify them with "
            "shapely.coverage_simplify."
        )
