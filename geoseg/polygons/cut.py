"""Cut layers of polygons, batch by batch: to an area, by zones, along the lattice, or into small pieces.

A row of the result is a *piece* of an object. Its ``area_m2``, ``area_ha`` and ``perimeter_m`` are those of the piece,
measured on the ellipsoid, and the new column ``share`` says how much of the object it is (0..1, by area). All other
columns, ``object_id``, ``pixels`` and ``confidence`` among them, are those of the whole object: pixels are not
divided. Pieces of one object have one ``object_id``; a piece may be a MultiPolygon. What is not cut stays as it was:
``area_m2`` must be the area of the polygon that comes in (after a simplification, measure first).

Neighbours that share their vertices do so after the cut (see `geoseg.polygons.nodes`), except that `limit_vertices`
cuts each polygon by itself. The result does not depend on how the polygons are divided into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from geoseg.areas import PixelAreas
from geoseg.errors import MismatchError, OptionError
from geoseg.polygons.measure import SNAP_PX, polygon_areas, polygon_perimeters
from geoseg.polygons.overlay import Cutter, halve, polygonal
from geoseg.zones import check_areas, move_areas

__all__ = ["clip", "limit_vertices", "split_by_grid", "split_by_zones"]

STRAIGHT_PX = 0.01
"""How far an edge of an area may be from where it runs in its own CRS."""

_OVERLAP_PX = 0.05  # mean width from which on zones overlap, more than their edges may move
_BEYOND_PX = 2.0  # what lies farther outside of the map does not matter
_MOST_TILES = 1 << 20
_FEWEST_VERTICES = 16  # around a corner where several parts touch, pieces have nearly as many
_COLUMNS = ("area_m2", "area_ha", "perimeter_m")

Batches = Iterable[gpd.GeoDataFrame]


def clip(
    batches: Batches, area: gpd.GeoDataFrame | gpd.GeoSeries, grid: GeoBox | PixelAreas
) -> Iterator[gpd.GeoDataFrame]:
    """What of each polygon lies in an area.

    Parameters
    ----------
    batches
        What `geoseg.polygons.iter_polygons` yields (``[parcels]`` for a single frame).
    area
        Polygons in any CRS; together they are the area. They are moved to the CRS of the grid so that edges that are
        straight in their own CRS stay so to 0.01 pixel.
    grid
        The grid of the map that the polygons were made from.

    Returns
    -------
    iterator of GeoDataFrame
        One for each batch, with the column ``share``; empty where no polygon of a batch lies in the area.

    Raises
    ------
    OptionError
        The area has no CRS, no polygon or an invalid one, or does not meet the map; the batches are a single frame or
        lack a column.
    MismatchError
        The polygons are in another CRS than the grid.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> from geoseg.polygons import iter_polygons
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 1, 2], [1, 255, 2]], np.uint8), grid, [])
    >>> field = gpd.GeoSeries([shapely.box(500000, 5, 500020, 15)], crs="EPSG:32632")
    >>> clipped = next(clip(iter_polygons(cover), field, grid))
    >>> clipped.area.tolist(), clipped.share.round(3).tolist(), clipped.pixels.tolist()
    ([150.0], [0.5], [3])
    >>> list(clip([], field, grid))
    []
    """
    areas = _areas_on(grid)
    shapes = _moved(area, areas.geobox, "the clip area")
    inside = polygonal(np.array([shapely.intersection(shapely.union_all(shapes), _extent(areas.geobox))]))
    cutter = Cutter(inside, _tolerance(areas.geobox))
    return _each(batches, areas, lambda frame: _cut(frame, cutter, areas)[0])


def split_by_zones(
    batches: Batches, zones: gpd.GeoDataFrame, grid: GeoBox | PixelAreas, *, column: str
) -> Iterator[gpd.GeoDataFrame]:
    """Cut polygons along the borders of zones, and say in which zone each piece lies.

    Parameters
    ----------
    batches, grid
        As in `clip`.
    zones
        Polygons in any CRS, moved as in `clip`, that do not overlap.
    column
        The column of the zones that holds their names.

    Returns
    -------
    iterator of GeoDataFrame
        One for each batch, with the columns ``share`` and ``zone`` (string). What lies in no zone is kept, as a piece
        of its own without a zone: shares of an object add up to 1.

    Raises
    ------
    OptionError
        As in `clip`; zones overlap, or have no such column or no name in it.
    MismatchError
        The polygons are in another CRS than the grid.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> from geoseg.polygons import iter_polygons
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 1, 1]], np.uint8), grid, [])
    >>> boxes = [shapely.box(500000, 0, 500015, 10), shapely.box(500015, 0, 500020, 10)]
    >>> parishes = gpd.GeoDataFrame({"name": ["Au", "Bad Au"]}, geometry=boxes, crs="EPSG:32632")
    >>> pieces = next(split_by_zones(iter_polygons(cover), parishes, grid, column="name"))
    >>> pieces.zone.fillna("-").tolist(), pieces.share.round(3).tolist()
    (['Au', 'Bad Au', '-'], [0.5, 0.167, 0.333])
    >>> list(split_by_zones([], parishes, grid, column="name"))
    []
    """
    areas = _areas_on(grid)
    if column not in zones.columns:
        raise OptionError(f"Zones are named by one of their columns {list(zones.columns)}, but {column!r} is none.")
    shapes = _moved(zones, areas.geobox, "the zones")
    there = ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)
    shapes, names = shapes[there], zones[column][there]
    if names.isna().any():
        raise OptionError(f"Each zone needs a name, but {names.isna().sum()} have none in the column {column!r}.")
    _check_overlaps(shapes, names.to_numpy(), areas.geobox)
    # The rest of a box around all zones, so that its edges are theirs; a box across them would cut their edges.
    around = shapely.box(*shapely.total_bounds([_extent(areas.geobox), *shapes]))
    elsewhere = shapely.difference(around, shapely.union_all(shapes))
    cutter = Cutter(np.array([*shapes, elsewhere]), _tolerance(areas.geobox))
    labels = pd.array([*names.astype(str), None], dtype="string")

    def cut(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        pieces, zone = _cut(frame, cutter, areas)
        return _with_columns(pieces, zone=labels[zone])

    return _each(batches, areas, cut)


def split_by_grid(batches: Batches, grid: GeoBox | PixelAreas, *, side_px: int) -> Iterator[gpd.GeoDataFrame]:
    """Cut polygons into square tiles of whole pixels, for layers that are drawn fast.

    Parameters
    ----------
    batches, grid
        As in `clip`. Tiles start at the grid's first pixel.
    side_px
        The side of a tile.

    Returns
    -------
    iterator of GeoDataFrame
        One for each batch, with the columns ``share``, ``tile_row`` and ``tile_col``.

    Raises
    ------
    OptionError
        The side is less than a pixel, or makes more than a million tiles; otherwise as in `clip`.
    MismatchError
        The polygons are in another CRS than the grid.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> from geoseg.polygons import iter_polygons
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 1, 1]], np.uint8), grid, [])
    >>> pieces = next(split_by_grid(iter_polygons(cover), grid, side_px=2))
    >>> pieces[["object_id", "tile_row", "tile_col"]].values.tolist(), pieces.area.tolist()
    ([[1, 0, 0], [1, 0, 1]], [200.0, 100.0])
    >>> list(split_by_grid([], grid, side_px=2))
    []
    """
    areas = _areas_on(grid)
    if side_px < 1:
        raise OptionError(f"A tile has a side of at least one pixel, but side_px={side_px}.")
    counts = [-(-size // side_px) for size in areas.geobox.shape]
    if counts[0] * counts[1] > _MOST_TILES:
        raise OptionError(f"There may be a million tiles, but side_px={side_px} makes {counts[0]} × {counts[1]}.")
    # The outermost lines are moved off the map, so that nothing is cut along its border.
    rows, cols = (np.arange(n + 1) * side_px for n in counts)
    rows[[0, -1]], cols[[0, -1]] = (-1, rows[-1] + 1), (-1, cols[-1] + 1)
    a, b, c, d, e, f = tuple(areas.geobox.transform)[:6]
    at_rows, at_cols = np.meshgrid(rows, cols, indexing="ij")
    corners = np.stack([c + at_cols * a + at_rows * b, f + at_cols * d + at_rows * e], axis=-1)
    around = [corners[:-1, :-1], corners[1:, :-1], corners[1:, 1:], corners[:-1, 1:], corners[:-1, :-1]]
    cutter = Cutter(shapely.polygons(np.stack(around, axis=2).reshape(-1, 5, 2)), _tolerance(areas.geobox))

    def cut(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        pieces, tile = _cut(frame, cutter, areas)
        return _with_columns(pieces, tile_row=tile // counts[1], tile_col=tile % counts[1])

    return _each(batches, areas, cut)


def limit_vertices(batches: Batches, grid: GeoBox | PixelAreas, *, max_vertices: int) -> Iterator[gpd.GeoDataFrame]:
    """Halve polygons until none has too many vertices.

    A polygon is cut across the longer side of its bounding box, along a line between pixels where the grid is north-up,
    and so are its halves (like PostGIS's ST_Subdivide). Each polygon is cut by itself: where a cut ends at the edge of
    a neighbour, that neighbour gets no vertex. The layer has no gap and no overlap then, but it is not edge-matched
    (`shapely.coverage_is_valid`). Use `split_by_grid` where that is needed.

    Parameters
    ----------
    batches, grid
        As in `clip`.
    max_vertices
        At least 16. Each ring's first vertex counts twice, as in most programs.

    Returns
    -------
    iterator of GeoDataFrame
        One for each batch, with the column ``share``.

    Raises
    ------
    OptionError
        Too few vertices; otherwise as in `clip`.
    MismatchError
        The polygons are in another CRS than the grid.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> from geoseg.polygons import iter_polygons
    >>> grid = GeoBox.from_bbox((500000, 0, 500100, 20), "EPSG:32632", resolution=10)
    >>> comb = class_map(np.array([[1] * 10, [1, 255] * 5], np.uint8), grid, [])
    >>> pieces = next(limit_vertices(iter_polygons(comb), grid, max_vertices=16))
    >>> shapely.get_num_coordinates(pieces.geometry).tolist(), pieces.share.round(3).tolist()
    ([14, 13], [0.533, 0.467])
    >>> list(limit_vertices([], grid, max_vertices=16))
    []
    """
    areas = _areas_on(grid)
    if max_vertices < _FEWEST_VERTICES:
        raise OptionError(
            f"Give max_vertices of {_FEWEST_VERTICES} or more, not {max_vertices}: smaller is a matter of luck."
        )

    def cut(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        pieces, source = halve(np.asarray(frame.geometry.values), max_vertices, areas.geobox, _tolerance(areas.geobox))
        several = np.bincount(source, minlength=len(frame)) > 1
        return _pieces_of(frame, pieces, source, several[source], areas)

    return _each(batches, areas, cut)


def _areas_on(grid: GeoBox | PixelAreas) -> PixelAreas:
    return grid if isinstance(grid, PixelAreas) else PixelAreas(grid)


def _each(
    batches: Batches, areas: PixelAreas, cut: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame]
) -> Iterator[gpd.GeoDataFrame]:
    """Check each batch and cut it."""
    if isinstance(batches, gpd.GeoDataFrame):
        raise OptionError("Polygons are cut batch by batch, but this is a single frame. Give a list: [frame].")
    crs = areas.geobox.crs.proj  # type: ignore[union-attr]

    def results() -> Iterator[gpd.GeoDataFrame]:
        for frame in batches:
            missing = [name for name in _COLUMNS if name not in frame.columns]
            if missing:
                raise OptionError(
                    f"Polygons need the columns {_COLUMNS}, as from vectorize, but {missing} are missing."
                )
            if frame.crs != crs:
                name = frame.crs.name if frame.crs else "none"
                raise MismatchError(
                    f"Polygons and grid need one CRS, but they have {name} and {crs.name}. "
                    "Cut before the polygons are moved to another CRS."
                )
            yield cut(frame)

    return results()


def _cut(frame: gpd.GeoDataFrame, cutter: Cutter, areas: PixelAreas) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    """The pieces of a batch, and the number of each one's area."""
    pieces, source, area, is_cut = cutter.cut(np.asarray(frame.geometry.values))
    return _pieces_of(frame, pieces, source, is_cut, areas), area


def _pieces_of(
    frame: gpd.GeoDataFrame, shapes: np.ndarray, source: np.ndarray, is_cut: np.ndarray, areas: PixelAreas
) -> gpd.GeoDataFrame:
    """A frame of pieces: their rows are those of their objects, but the measures of what is cut are its own."""
    pieces = frame.iloc[source].reset_index(drop=True)
    pieces = pieces.set_geometry(gpd.array.GeometryArray(shapes, crs=frame.crs))
    area_m2, perimeter_m = (pieces[name].to_numpy(dtype=float, copy=True) for name in ("area_m2", "perimeter_m"))
    share = pieces["share"].to_numpy(dtype=float, copy=True) if "share" in pieces else np.ones(len(pieces))
    measured = polygon_areas(shapes[is_cut], areas)
    share[is_cut] *= measured / area_m2[is_cut]
    area_m2[is_cut] = measured
    perimeter_m[is_cut] = polygon_perimeters(shapes[is_cut], areas)
    return _with_columns(pieces, area_m2=area_m2, area_ha=area_m2 / 1e4, perimeter_m=perimeter_m, share=share)


def _with_columns(frame: gpd.GeoDataFrame, **columns: Any) -> gpd.GeoDataFrame:
    """With columns set; new ones stand before the geometry."""
    frame = frame.assign(**columns)
    geometry = frame.geometry.name
    return frame[[*frame.columns.drop(geometry), geometry]]


def _moved(areas: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox, name: str) -> np.ndarray:
    """The polygons of areas in the CRS of the grid; an error if they cannot be used."""
    check_areas(areas, name=name)
    shapes = move_areas(areas, geobox.crs.proj, tolerance=STRAIGHT_PX * _pixel(geobox))  # type: ignore[union-attr]
    if not shapely.intersects(_extent(geobox, margin_px=0), shapes).any():
        where = ", ".join(f"{side:.6g}" for side in areas.total_bounds)
        crs = pyproj.CRS.from_user_input(areas.crs).name
        raise OptionError(
            f"Cutting needs areas on the map, but {name} ({where} in {crs}) lie elsewhere. Check their CRS."
        )
    return shapes


def _check_overlaps(shapes: np.ndarray, names: np.ndarray, geobox: GeoBox) -> None:
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    common = shapely.intersection(shapes[one], shapes[other])
    width = 2 * shapely.area(common) / np.maximum(shapely.length(common), np.finfo(float).tiny)
    wide = np.flatnonzero(width > _OVERLAP_PX * _pixel(geobox))
    if len(wide):
        first, second = names[one[wide[0]]], names[other[wide[0]]]
        more = f" (and {len(wide) - 1} more pairs)" if len(wide) > 1 else ""
        raise OptionError(
            f"Zones must not overlap, or areas would count twice, but {str(first)!r} and {str(second)!r} do{more}. "
            "Mend their borders, or split by one of them after the other."
        )


def _pixel(geobox: GeoBox) -> float:
    """The shorter side of a pixel, in units of the CRS."""
    a, b, _, d, e, _ = tuple(geobox.transform)[:6]
    return min(np.hypot(a, d), np.hypot(b, e))


def _tolerance(geobox: GeoBox) -> float:
    return SNAP_PX * _pixel(geobox)


def _extent(geobox: GeoBox, *, margin_px: float = _BEYOND_PX) -> shapely.Polygon:
    """A box around the map, by default a little larger."""
    height, width = geobox.shape
    corners = np.array([geobox.transform * at for at in ((0, 0), (width, 0), (0, height), (width, height))])
    margin = margin_px * np.abs(np.array(tuple(geobox.transform)[:6])[[0, 1, 3, 4]]).max()
    return shapely.box(*(corners.min(axis=0) - margin), *(corners.max(axis=0) + margin))
