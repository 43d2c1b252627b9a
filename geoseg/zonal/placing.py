"""Zones on the grid of a map: checked, named, moved to its CRS, as rings in pixel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pyproj.exceptions
import shapely
from odc.geo.geobox import GeoBox

from geoseg.ellipsoid import horizontal_crs, plain_crs
from geoseg.errors import OptionError, SceneError
from geoseg.polygons.measure import SNAP_PX, polygon_areas
from geoseg.polygons.overlay import polygonal
from geoseg.zonal.compiled import to_grid
from geoseg.zones import check_areas, move_areas

__all__ = ["STRAIGHT_M", "STRAIGHT_PX", "Placed", "measure_whole", "names_of", "place_zones"]

STRAIGHT_PX, STRAIGHT_M = 1e-5, 1e-3
"""How far an edge of a zone may be from where it runs in its own CRS: the smaller of the two."""

_SHORTEST_PX = 0.01  # edges are not cut finer than this, however a projection rounds
_RADIUS_M = 6.4e6
_DENSE = 101  # places along each side of the map
_MARGIN = 0.05  # of the map's size: zones are cut there before they are moved
_CELLS = 64  # along the sides of a grid that zones are measured on; any number does


@dataclass(frozen=True)
class Placed:
    """Zones as rings in the pixel coordinates of a map: (0, 0) is the corner of its first pixel."""

    cols: np.ndarray
    """float64 (vertex,): of all rings, one after the other; each ends where it begins."""
    rows: np.ndarray
    """float64 (vertex,)"""
    rings: np.ndarray
    """int64 (ring + 1,): the first vertex of each ring, and the end of the last."""
    signs: np.ndarray
    """float64 (ring,): 1 or -1, so that areas right of edges that go down add up to the inside, holes left out."""
    first_ring: np.ndarray
    """int64 (zone + 1,): the first ring of each zone, and the end of the last."""
    spans: np.ndarray
    """float64 (zone, 2): the first row and the last that a zone reaches; (inf, -inf) for those that are not near."""
    inside: np.ndarray
    """bool (zone,): no part of the zone is outside of the map."""
    moved: bool
    """Whether the zones came in another CRS."""

    @property
    def shapes(self) -> tuple[np.ndarray, ...]:
        """What `geoseg.zonal.compiled.add_zones` takes."""
        return self.cols, self.rows, self.rings, self.signs, self.first_ring


def names_of(zones: gpd.GeoDataFrame, field: str | None) -> list[str]:
    """The name of each zone as text; their numbers from 1 where no field is given.

    Raises
    ------
    OptionError
        There is no such field, or a zone has no name in it.

    >>> names_of(gpd.GeoDataFrame({"no": [7.0, 8.5]}, geometry=[None, None]), "no")
    ['7', '8.5']
    """
    if field is None:
        return [str(number + 1) for number in range(len(zones))]
    fields = [str(name) for name in zones.columns.drop(zones.geometry.name)]
    if field not in fields:
        raise OptionError(
            f"--zone-field names a field of the zones, but {field!r} is none of theirs: "
            f"{', '.join(fields) or 'they have no fields'}."
        )
    values = zones[field]
    names = ["" if pd.isna(value) else _text(value) for value in values]
    empty = [number for number, name in enumerate(names) if not name]
    if empty:
        raise OptionError(
            f"Each zone needs a name, but {len(empty)} of {len(names)} have none in the field {field!r}, the first is "
            f"feature {empty[0] + 1}. Name them, or leave out --zone-field: zones are numbered then."
        )
    return names


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def place_zones(zones: gpd.GeoDataFrame, names: Sequence[str], geobox: GeoBox) -> Placed:
    """Where zones lie on a grid.

    Edges are straight in the CRS of the zones: in another one they get as many vertices as it takes for `STRAIGHT_PX`
    and `STRAIGHT_M`.

    Raises
    ------
    OptionError
        No zone, no CRS, no polygon, an invalid one, zones that have no place in the map's CRS, or none near the map.
    """
    if not len(zones):
        raise OptionError("A sum by zone needs zones, but the layer is empty. Choose another file or layer.")
    check_areas(zones, name="the zones", task="A sum by zone", labels=names)
    _check_crs(zones.crs, geobox)
    shapes, uncut = _moved(zones, geobox)
    polygons, zone = shapely.get_parts(shapes, return_index=True)
    outlines, polygon = shapely.get_rings(polygons, return_index=True)
    rings = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(outlines))]).astype(np.int64)
    at = shapely.get_coordinates(outlines)
    cols, rows = np.empty((2, len(at)))
    turns, sides = np.empty(len(outlines)), np.empty((len(outlines), 4))
    to_grid(at, rings, np.array(tuple(~geobox.transform)[:6]), SNAP_PX, (cols, rows, turns, sides))
    is_hole = np.diff(polygon, prepend=-1) == 0  # a polygon's first ring is its exterior
    signs = np.where((turns > 0) == is_hole, -1.0, 1.0)

    count, owner = len(zones), zone[polygon]
    low, high = np.full((2, count), np.inf), np.full((2, count), -np.inf)
    for axis in (0, 1):
        np.minimum.at(low[axis], owner, sides[:, axis])
        np.maximum.at(high[axis], owner, sides[:, 2 + axis])
    height, width = geobox.shape
    near = (high[0] > 0) & (low[0] < width) & (high[1] > 0) & (low[1] < height)
    if not near.any():
        raise elsewhere(zones, geobox)
    inside = uncut & (low[0] >= 0) & (high[0] <= width) & (low[1] >= 0) & (high[1] <= height)
    spans = np.where(near, [low[1], high[1]], [[np.inf], [-np.inf]]).T
    first_ring = np.searchsorted(owner, np.arange(count + 1))
    target = geobox.crs.proj  # type: ignore[union-attr]
    return Placed(cols, rows, rings, signs, first_ring.astype(np.int64), spans, inside, zones.crs != target)


def _check_crs(crs: pyproj.CRS, geobox: GeoBox) -> None:
    """Refuse a CRS that has nothing to do with that of the map: of a building site, or of another planet."""
    try:
        horizontal_crs(crs)
        pyproj.Transformer.from_crs(crs, geobox.crs.proj, always_xy=True)  # type: ignore[union-attr]
    except (SceneError, pyproj.exceptions.ProjError) as error:
        raise OptionError(
            f"Zones must lie on the ellipsoid of the map, but there is no way from their CRS, {crs.name!r}, to "
            f"{geobox.crs.proj.name!r}. Assign the one that they were drawn in."  # type: ignore[union-attr]
        ) from error


def elsewhere(zones: gpd.GeoDataFrame, geobox: GeoBox) -> OptionError:
    """What to say when no zone lies on the map."""
    where = ", ".join(f"{side:.6g}" for side in zones.total_bounds)
    box = ", ".join(f"{side:.6g}" for side in geobox.boundingbox)
    return OptionError(
        f"Zones must lie on the map, but none does: they are at {where} in {zones.crs.name}, the map at {box} in "
        f"{geobox.crs.proj.name}. Check the CRS of both."  # type: ignore[union-attr]
    )


def measure_whole(zones: gpd.GeoDataFrame, which: np.ndarray) -> np.ndarray:
    """The true areas of some zones, with edges straight in their CRS, wherever they lie: float64 (zone,), m².

    >>> square = gpd.GeoDataFrame(geometry=[shapely.box(10, 50, 11, 51)], crs="EPSG:4326")
    >>> f"{measure_whole(square, np.array([True]))[0] / 1e6:.3f} km²"
    '7892.219 km²'
    """
    areas = np.zeros(len(zones))
    shapes = shapely.force_2d(np.asarray(zones.geometry.values))
    chosen = np.flatnonzero(which & ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes))
    if not len(chosen):
        return areas
    try:
        areas[chosen] = polygon_areas(shapes[chosen], _around(shapes[chosen], zones.crs))
    except SceneError:  # a projection may be good around each of them that is not so around all
        for zone in chosen:
            areas[zone] = polygon_areas(shapes[[zone]], _around(shapes[[zone]], zones.crs))[0]
    return areas


def _around(shapes: np.ndarray, crs: pyproj.CRS) -> GeoBox:
    return GeoBox.from_bbox(tuple(shapely.total_bounds(shapes)), crs.to_wkt(), shape=(_CELLS, _CELLS))


def _moved(zones: gpd.GeoDataFrame, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """The zones in the CRS of the map, and whether all of each is there: what is far from the map is left out."""
    shapes = np.array(shapely.force_2d(np.asarray(zones.geometry.values)), dtype=object)
    shapes[shapely.is_empty(shapes)] = None
    uncut = np.ones(len(shapes), dtype=bool)
    target = geobox.crs.proj  # type: ignore[union-attr]
    if zones.crs == target:
        return shapes, uncut
    region = _region(geobox, zones.crs)
    if region is not None:
        shapely.prepare(region)
        there = ~shapely.is_missing(shapes)
        uncut = ~there | shapely.covers(region, shapes)
        shapes[~uncut] = polygonal(np.array(shapely.intersection(shapes[~uncut], region), dtype=object))
    a, b, _, d, e, _ = tuple(geobox.transform)[:6]
    pixel = min(np.hypot(a, d), np.hypot(b, e))
    plain = plain_crs(geobox)
    metre = 1 / plain.axis_info[0].unit_conversion_factor / (_RADIUS_M if plain.is_geographic else 1)
    tolerance = min(STRAIGHT_PX * pixel, STRAIGHT_M * metre)
    shapes[shapely.is_empty(shapes)] = None
    filled = ~shapely.is_missing(shapes)
    if filled.any():
        near = gpd.GeoSeries(shapes[filled], crs=zones.crs)
        shapes[filled] = move_areas(near, target, tolerance=tolerance, shortest=_SHORTEST_PX * pixel)
    return shapes, uncut


def _region(geobox: GeoBox, crs: pyproj.CRS) -> shapely.Geometry | None:
    """A box around the map, larger than it, in another CRS: two boxes at the date line; None where it has no place."""
    height, width = geobox.shape
    corners = np.array([geobox.transform * at for at in ((0, 0), (width, 0), (0, height), (width, height))])
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    transformer = pyproj.Transformer.from_crs(geobox.crs.proj, crs, always_xy=True)  # type: ignore[union-attr]
    try:
        west, south, east, north = transformer.transform_bounds(left, bottom, right, top, densify_pts=_DENSE)
    except pyproj.exceptions.ProjError:
        return None
    if not np.isfinite([west, south, east, north]).all():
        return None
    over = east < west  # only in geographic CRSs: the date line is on the map
    more_x = _MARGIN * (east - west + (360 if over else 0))
    more_y = _MARGIN * (north - south)
    south, north = south - more_y, north + more_y
    if over:
        boxes = [shapely.box(west - more_x, south, 180, north), shapely.box(-180, south, east + more_x, north)]
        return shapely.multipolygons(boxes)
    return shapely.box(west - more_x, south, east + more_x, north)
