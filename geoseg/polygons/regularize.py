"""`regularize`: building outlines with straight walls and right angles that still fit together."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numba import njit

from geoseg.ellipsoid import ground_frames
from geoseg.errors import OptionError
from geoseg.polygons.arcs import Arcs, as_multipolygons, components, cut_into_arcs
from geoseg.polygons.corners import only_corners, place_corners, slopes, zip_walls
from geoseg.polygons.walls import corner_candidates, cut_into_walls, main_direction

__all__ = ["regularize"]

_PIXELS = 1.5  # the default tolerance
_SHIFT = 2.0  # the default of max_shift_m, in tolerances
_SAME_DIRECTION = np.radians(2.0)  # touching buildings whose directions differ by less are squared together
_LONG_CONTACT = 0.5  # of the side of a square as large as the smaller polygon; with less, two polygons share no wall
_PASSES = 3  # of finding walls and turning the main direction to them
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
    columns = {
        "shift_m": np.zeros(len(polygons)),
        "area_change": np.zeros(len(polygons)),
        "regularized": np.zeros(len(polygons), bool),
    }
    if polygons.empty:
        return polygons.assign(**columns)
    tolerance = _PIXELS * _pixel_m(polygons) if tolerance_m is None else tolerance_m
    limits = _Limits(tolerance, max_area_change, _SHIFT * tolerance if max_shift_m is None else max_shift_m)
    old = polygons.geometry.to_numpy()
    crs = polygons.crs
    assert crs is not None

    new, shift, area_change = old.copy(), columns["shift_m"], columns["area_change"]
    frozen = np.zeros(len(old), bool)
    touching = _touching(old)
    joined = _long_contacts(old, crs)
    house = components(len(old), joined)  # polygons with one number share their walls
    todo = np.arange(len(old))
    for attempt in range(2 * len(old)):
        fits = _squared(old, new, todo, house, frozen, crs, limits, shift, area_change)
        failed = np.zeros(len(old), bool)
        failed[todo] = ~fits
        waiting = np.isin(house, house[failed])
        new[waiting] = old[waiting]  # for now, so that others are not compared with shapes that will not stay
        clash = _clashes(new, todo, house, touching, shift, frozen, waiting)
        failed |= clash.failed
        if attempt >= _ROUNDS:
            failed |= np.isin(house, house[failed])
        failed &= ~frozen
        if not (failed.any() or len(clash.join)):
            break
        frozen |= failed
        joined = np.concatenate([joined, clash.join])
        changed = failed.copy()
        changed[clash.join] = True
        house = components(len(old), joined)
        todo = np.flatnonzero(np.isin(house, house[changed]))
    columns["regularized"] = ~frozen
    return polygons.set_geometry(gpd.array.GeometryArray(new, crs=crs)).assign(**columns)


@dataclass(frozen=True)
class _Limits:
    tolerance: float
    area_change: float
    shift: float


def _squared(old, new, todo, house, frozen, crs, limits, shift, area_change):
    """Square the polygons of some groups, in place; return which of them keep within the limits."""
    before = old[todo]
    arcs = cut_into_arcs(before, house[todo])
    origin, frame, back = _frames(arcs, crs)
    local = np.einsum("vij,vj->vi", frame, arcs.xy - origin)
    placed, vertices, offsets = _place(arcs, local, frozen[todo], limits.tolerance)
    moved = (np.abs(placed - local) > 1e-9 * limits.tolerance).any(axis=1)  # the rest keeps its digits
    placed = np.where(moved[:, None], placed, local)
    xy = np.where(moved[:, None], np.einsum("vij,vj->vi", back, placed) + origin, arcs.xy)

    after = arcs.polygons(xy, vertices, offsets)
    after[frozen[todo]] = before[frozen[todo]]
    new[todo] = after
    fits = shapely.is_valid(after)
    area = shapely.area(before)
    area_change[todo] = np.where(frozen[todo], 0.0, (shapely.area(after) - area) / area)
    fits &= np.abs(area_change[todo]) <= limits.area_change
    shift[todo] = 0.0
    check = fits & ~frozen[todo]
    was = shapely.segmentize(shapely.boundary(arcs.polygons(local)[check]), limits.tolerance)
    now = shapely.segmentize(shapely.boundary(arcs.polygons(placed, vertices, offsets)[check]), limits.tolerance)
    shift[todo[check]] = shapely.hausdorff_distance(was, now).round(6)  # its last digits depend on the order of rows
    return fits & (shift[todo] <= limits.shift)


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


def _place(
    arcs: Arcs, xy: np.ndarray, frozen: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of vertices, and the corners of arcs: what `Arcs.polygons` takes."""
    vertices = arcs.vertices.copy()
    closed = ~arcs.is_node[vertices[arcs.offsets[:-1]]]
    marked = corner_candidates(xy, vertices, arcs.offsets, tolerance / 2)
    family, angles = _families(arcs, xy, frozen, tolerance)
    n = len(angles)
    arc_family = np.where(arcs.sides[:, 1] < 0, family[arcs.sides[:, 0]], family[arcs.sides].min(axis=1))
    for attempt in range(_PASSES):
        arc_angles = np.where(arc_family >= 0, np.append(angles, np.nan)[arc_family], np.nan)
        kept, kinds, sums = cut_into_walls(xy, vertices, arcs.offsets, closed, marked, arc_angles, tolerance)
        if attempt < _PASSES - 1:
            angles = angles + slopes(arc_family, n, arcs.offsets, kept, kinds, sums)
    order = np.argsort(arc_family, kind="stable")
    family_offsets = np.searchsorted(arc_family[order], np.arange(n + 1))
    placed = place_corners(
        xy, vertices, arcs.offsets, arc_family, order, family_offsets, arc_angles, kept, kinds, sums, tolerance
    )
    vertices, offsets = only_corners(vertices, arcs.offsets, kept, kinds, closed)
    return placed, *zip_walls(placed, vertices, offsets, closed, 1e-9 * tolerance)


def _edges(arcs: Arcs, xy: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The edges of simplified rings, which nodes do not cut: (edge, 2) m, and their polygons' offsets."""
    _, at, (rings, parts, rows) = shapely.to_ragged_array(as_multipolygons(arcs.polygons(xy)))
    marked = corner_candidates(at, np.arange(len(at)), rings, tolerance)
    ring = np.repeat(np.arange(len(rings) - 1), np.diff(rings))[marked]
    at = at[marked]
    inside = ring[1:] == ring[:-1]
    return (at[1:] - at[:-1])[inside], np.searchsorted(ring[1:][inside], parts[rows])


def _families(arcs: Arcs, xy: np.ndarray, frozen: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Polygons of a group that share a main direction, and these directions.

    Returns
    -------
    (polygon,) number of the family, those of a group in order of their largest member's size; -1: frozen.
    (family,) angle.
    """
    steps, offsets = _edges(arcs, xy, tolerance)
    length2 = (steps**2).sum(axis=1)
    weight = np.add.reduceat(length2, offsets[:-1])
    doubt = np.arctan2(tolerance, np.sqrt(np.maximum.reduceat(length2, offsets[:-1])))
    first_arc = np.zeros(len(weight), np.int64)
    first_arc[arcs.sides[::-1, 0]] = np.arange(len(arcs.sides))[::-1]
    by_weight = np.lexsort((first_arc, -weight, arcs.groups))
    family = _gather(arcs.groups, frozen, main_direction(steps, offsets), _SAME_DIRECTION + doubt, by_weight)
    owner = np.repeat(family, np.diff(offsets))
    order = np.argsort(owner, kind="stable")
    return family, main_direction(steps[order], np.searchsorted(owner[order], np.arange(family.max() + 2)))


@njit(nogil=True, cache=True)
def _gather(groups, frozen, angles, doubt, order):
    """Each polygon joins the family of its group whose first member's direction is nearest, or starts one."""
    family = np.full(len(groups), -1)
    first = np.empty(len(groups), np.int64)  # member of each family
    count = start = 0
    for k in range(len(order)):
        row = order[k]
        if k > 0 and groups[row] != groups[order[k - 1]]:
            start = count
        if frozen[row]:
            continue
        nearest, least = -1, doubt[row]
        for f in range(start, count):
            off = abs(angles[row] - angles[first[f]])
            off = min(off, np.pi / 2 - off)
            if off <= least:
                nearest, least = f, off
        if nearest < 0:
            first[count] = row
            nearest = count
            count += 1
        family[row] = nearest
    return family


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


@dataclass(frozen=True)
class _Clashes:
    failed: np.ndarray
    """(polygon,) bool: shapes that must be put back."""

    join: np.ndarray
    """(pair, 2): polygons that fit only if they are squared together."""


def _clashes(new, todo, house, touching, shift, frozen, waiting) -> _Clashes:
    """What overlaps, or touches but did not before, of the polygons ``todo`` and those beside them.

    Of two polygons that newly touch, the one that moved more is put back.
    """
    n = len(new)
    beside = np.unique(shapely.STRtree(new).query(new[todo])[1])
    misfit = np.zeros(n, bool)
    misfit[beside] = ~shapely.is_empty(shapely.coverage_invalid_edges(new[beside])) & ~waiting[beside]
    pairs = beside[_touching(new[beside])]
    one, other = pairs.T
    touched = np.isin(pairs @ [n, 1], touching @ [n, 1])
    apart = touched & (house[one] != house[other]) & (misfit | waiting)[pairs].all(axis=1)
    ready = ~waiting[pairs].any(axis=1)
    failed = misfit.copy()
    failed[pairs[apart]] = False  # they are joined first
    moved = np.where(frozen, -1.0, shift)
    failed[one[ready & ~touched & (moved[one] >= moved[other])]] = True
    failed[other[ready & ~touched & (moved[other] >= moved[one])]] = True
    return _Clashes(failed & ~frozen, pairs[apart & ready])


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
