"""Objects that somebody drew: which pixels belong to which, where one ends, and where nothing is known.

Each polygon is one object. Where polygons overlap, the smallest lies on top and is cut out of what lies below, so no
two objects share ground. Objects that are cut by the edge of the labelled area count inside it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from rasterio.enums import MergeAlg
from rasterio.features import rasterize

from geoseg.classes import ClassInfo
from geoseg.errors import OptionError
from geoseg.scene import Scene
from geoseg.training.labels import UNLABELLED, Labels
from geoseg.training.samples import all_classes, read_each

__all__ = ["FIRST_NUMBER", "BoundaryLabels", "ObjectLabels", "read_objects", "separate"]

FIRST_NUMBER = 256
"""Numbers of objects begin here: smaller ones are 0 for the background and 255 for what is not labelled."""

_BACKGROUND, _BOUNDARY = "background", "boundary"
_BACKGROUND_COLOR, _BOUNDARY_COLOR = "#e4e4de", "#33333d"
_EXACT_PX = 1e-3
"""Distances that differ by less are the same: a polygon drawn along pixels looks alike from all sides."""


@dataclass(frozen=True, eq=False)
class ObjectLabels(Labels):
    """The objects of one scene; value 0 is the background. Made by `read_objects`."""

    area: Labels | None = None
    """Where everything was drawn; None for the whole scene. Outside nothing is known."""

    @property
    def reach(self) -> gpd.GeoDataFrame | None:
        """See `Labels.reach`: the background is labelled, too."""
        return None if self.area is None else self.area.frame

    def burn(self, geobox: GeoBox) -> np.ndarray:
        """Class values on a grid of the scene's CRS, (row, col) uint8: 0 = background, 255 = unlabelled."""
        shapes, values = self._near(geobox)
        return self._only_known(_painted(geobox, zip(shapes, values, strict=True)), geobox)

    def number(self, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
        """Objects one by one.

        Parameters
        ----------
        geobox
            A grid of the scene's CRS.

        Returns
        -------
        tuple
            (row, col) int32: 0 = background, 255 = unlabelled, else `FIRST_NUMBER` plus the object's place in the
            second; and (object,) class values of the objects near.
        """
        shapes, values = self._near(geobox)
        numbers = range(FIRST_NUMBER, FIRST_NUMBER + len(shapes))
        return self._only_known(_painted(geobox, zip(shapes, numbers, strict=True), "int32"), geobox), values

    def _near(self, geobox: GeoBox, distance: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        found = self._indices(geobox, distance)
        return np.asarray(self.frame.geometry.values, dtype=object)[found], self.frame["class"].to_numpy()[found]

    def _indices(self, geobox: GeoBox, distance: float = 0.0) -> np.ndarray:
        """The objects near a grid, in the order of the file."""
        where = geobox.extent.geom.buffer(distance)
        return np.sort(self.frame.sindex.query(where, predicate="intersects"))

    def _only_known(self, values: np.ndarray, geobox: GeoBox) -> np.ndarray:
        if self.area is not None:
            values[self.area.burn(geobox) == UNLABELLED] = UNLABELLED
        return values


@dataclass(frozen=True, eq=False)
class BoundaryLabels(ObjectLabels):
    """Objects as three kinds of ground: interior (by class), boundary (the last value) and background.

    Interior is what lies in an object at least a width from its outline. Boundary is the rest of it, and the gap
    between two objects where it is narrower than two widths. Distances are those of the drawn polygons, not of pixels.
    Each object has one interior pixel at least: where no pixel is far enough inside, the one that is farthest.
    """

    width: float = 0.0
    """Width of the boundary, in units of the CRS."""
    cores: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    """(object,) polygons: what lies far enough inside; may be empty."""
    seeds: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    """(object, 2) x and y of the one interior pixel of an object that would have none, else NaN."""

    def burn(self, geobox: GeoBox) -> np.ndarray:
        """Class values on a grid of the scene's CRS, (row, col) uint8: 0 = background, 255 = unlabelled."""
        near = self._indices(geobox, 2 * self.width)
        shapes, values = self._near(geobox, 2 * self.width)
        edge = self.classes[-1].value
        cores = self.cores[near]
        whole = ((shape, edge) for shape in shapes)
        inner = ((core, value) for core, value in zip(cores, values, strict=True) if not core.is_empty)
        out = _painted(geobox, [*whole, *inner])
        out[self._gaps(geobox, shapes, out > 0)] = edge
        for (x, y), value in zip(self.seeds[near], values, strict=True):
            if x == x:
                col, row = (int(np.floor(place)) for place in ~geobox.affine * (x, y))
                if 0 <= row < out.shape[0] and 0 <= col < out.shape[1]:
                    out[row, col] = value
        return self._only_known(out, geobox)

    def _gaps(self, geobox: GeoBox, shapes: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """(row, col) bool: between two objects, on a way from one to the other that is shorter than two widths.

        Between is where the nearest points of the two nearest objects are seen at a right angle at least.
        """
        out = np.zeros(taken.shape, bool)
        if len(shapes) < 2:
            return out
        wide = 2 * self.width
        around = ((shape, 1) for shape in shapely.buffer(shapes, 1.05 * wide))  # a little more: arcs are polygons
        rows, cols = np.nonzero((_painted(geobox, around, "int32", MergeAlg.add) > 1) & ~taken)
        points = shapely.points(_move(geobox.affine, np.stack([cols + 0.5, rows + 0.5], axis=1)))
        point, shape = shapely.STRtree(shapes).query(points, predicate="dwithin", distance=wide)
        distance = shapely.distance(points[point], shapes[shape])
        order = np.lexsort((distance, point))
        point, shape, distance = point[order], shape[order], distance[order]
        first = np.flatnonzero(np.diff(point, prepend=-1))
        first = first[first + 1 < len(point)]
        first = first[point[first] == point[first + 1]]  # points with two objects near, the nearest two in a row
        ways = [_way(points[point[at]], shapes[shape[at]]) for at in (first, first + 1)]
        between = (ways[0] * ways[1]).sum(axis=1) <= 0
        short = distance[first] + distance[first + 1] < wide - _EXACT_PX * _pixel(geobox)
        narrow = point[first][between & short]
        out[rows[narrow], cols[narrow]] = True
        return out


def read_objects(
    sources: Sequence[Any],
    scenes: Sequence[Scene],
    *,
    areas: Sequence[Any] | None = None,
    column: str | None = None,
    name: str | None = None,
    boundary_px: float | None = None,
) -> tuple[ObjectLabels | None, ...]:
    """Read objects that were drawn on scenes.

    Parameters
    ----------
    sources
        For each scene a file or table of polygons, as `geoseg.training.labels.read_labels` takes it; each is an object.
    scenes
        The scenes, on the grids to learn on.
    areas
        For each scene polygons of the places that were drawn completely; by default all of it was.
    column
        The column with the class; without it all are of one class.
    name
        The name of that class, by default "object".
    boundary_px
        The width of the boundary, pixels; by default there is none (`ObjectLabels` instead of `BoundaryLabels`).

    Returns
    -------
    tuple
        The objects of each scene, all with the same classes: background, the classes of objects, boundary. Where one
        file is for all scenes, a scene without an object is background; without a labelled area it is None.

    Raises
    ------
    OptionError
        Labels are a raster or at fault (see `geoseg.training.labels.read_labels`); no object lies where all was drawn.

    Examples
    --------
    >>> import geoseg, geoseg.synthetic, tempfile, pathlib
    >>> path = geoseg.synthetic.write_scene(pathlib.Path(tempfile.mkdtemp()) / "scene.tif", shape=(64, 64))
    >>> scene = geoseg.open_scene(path)
    >>> house = gpd.GeoDataFrame(geometry=[scene.geobox[1:6, 1:6].extent.geom], crs=scene.geobox.crs.proj)
    >>> (labels,) = read_objects([house], [scene], name="house", boundary_px=1.5)
    >>> [info.name for info in labels.classes]
    ['background', 'house', 'house boundary']
    >>> labels.burn(scene.geobox[:4, :4])
    array([[0, 0, 0, 0], [0, 2, 2, 2], [0, 2, 1, 1], [0, 2, 1, 1]], dtype=uint8)
    """
    if column is not None and name is not None:
        raise OptionError(
            f"Objects have one class, {name!r}, or a column with it, {column!r}, not both. Leave one out."
        )
    single = None if column is not None else name or "object"
    read = read_each(sources, scenes, column=column, single=single)
    inside = [None] * len(read) if areas is None else read_each(areas, scenes, single="labelled")
    _refuse_rasters(read, sources, inside, areas)
    classes = _classes_of([one for one in read if one is not None], boundary_px is not None)
    drawn = [
        None if areas is not None and area is None else _separated(one, scene, classes, area)
        for one, scene, area in zip(read, scenes, inside, strict=True)
    ]
    _check_inside(drawn)
    if boundary_px is None:
        return tuple(drawn)
    return tuple(
        None if labels is None else _with_boundary(labels, scene.geobox, boundary_px)
        for labels, scene in zip(drawn, scenes, strict=True)
    )


def separate(shapes: np.ndarray) -> np.ndarray:
    """Polygons without what smaller ones cover; what is covered entirely is left empty.

    >>> large, small = shapely.box(0, 0, 4, 4), shapely.box(3, 0, 5, 1)
    >>> shapely.area(separate(np.array([large, small], object))).tolist()
    [15.0, 2.0]
    """
    height = np.empty(len(shapes), int)
    height[np.argsort(-shapely.area(shapes), kind="stable")] = range(len(shapes))
    below, above = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    higher = height[above] > height[below]
    below, above = below[higher], above[higher]
    sharing = shapely.relate_pattern(shapes[below], shapes[above], "T********")  # more than a common wall
    below, above = below[sharing], above[sharing]
    order = np.argsort(below, kind="stable")
    out = shapes.copy()
    which, start = np.unique(below[order], return_index=True)
    for i, over in zip(which, np.split(above[order], start[1:]), strict=False):
        out[i] = shapely.difference(shapes[i], shapely.union_all(shapes[over]))
    return out


def _refuse_rasters(
    read: Sequence[Labels | None],
    sources: Sequence[Any],
    inside: Sequence[Labels | None],
    areas: Sequence[Any] | None,
) -> None:
    for labels, source in zip(read, sources, strict=True):
        if labels is not None and labels.raster is not None:
            raise OptionError(
                f"Objects are learned from polygons, each one an object, but {os.fspath(source)} is a raster, which "
                "does not tell where one object ends and the next begins. Give polygons, or learn classes: leave out "
                "--objects."
            )
    for labels, source in zip(inside, areas or [None] * len(inside), strict=True):
        if labels is not None and labels.raster is not None:
            raise OptionError(
                f"The area where everything was drawn is given by polygons, but {os.fspath(source)} is a raster. "
                "Change --labelled."
            )


def _classes_of(read: Sequence[Labels], boundary: bool) -> tuple[ClassInfo, ...]:
    found = all_classes(read)
    last = f"{found[0].name} {_BOUNDARY}" if len(found) == 1 else _BOUNDARY
    ours = {_BACKGROUND, last} if boundary else {_BACKGROUND}
    taken = [info.name for info in found if info.name.casefold() in {name.casefold() for name in ours}]
    if taken:
        raise OptionError(
            f"A class of objects cannot be called {taken[0]!r}, which is the ground around them. Rename it in the "
            "labels."
        )
    inner = [replace(info, value=i + 1) for i, info in enumerate(found)]
    outer = [ClassInfo(len(inner) + 1, last, _BOUNDARY_COLOR)] if boundary else []
    return (ClassInfo(0, _BACKGROUND, _BACKGROUND_COLOR), *inner, *outer)


def _separated(one: Labels | None, scene: Scene, classes: tuple[ClassInfo, ...], area: Labels | None) -> ObjectLabels:
    """Objects that share no ground, with the values of the classes."""
    crs = scene.geobox.crs.proj  # type: ignore[union-attr]
    if one is None:
        empty = {"class": np.array([], np.int64), "class_name": np.array([], object)}
        return ObjectLabels(classes, gpd.GeoDataFrame(empty, geometry=[], crs=crs), area=area)
    value = {info.name.casefold(): info.value for info in classes}
    frame = one.frame.copy()
    frame["class"] = frame["class_name"].map(lambda name: value[name.casefold()]).astype(np.int64)
    frame = frame.set_geometry(gpd.GeoSeries(separate(np.asarray(frame.geometry.values, object)), crs=crs))
    seen = ~frame.geometry.is_empty.to_numpy()
    frame = frame[seen].reset_index(drop=True)
    return ObjectLabels(classes, frame, dropped=one.dropped + int((~seen).sum()), area=area)


def _check_inside(drawn: Sequence[ObjectLabels | None]) -> None:
    there = [labels for labels in drawn if labels is not None]
    if not any(
        len(labels.frame)
        if labels.area is None
        else len(labels.frame.sindex.query(labels.area.frame.union_all(), "intersects"))
        for labels in there
    ):
        raise OptionError(
            "Objects must lie where everything was drawn, but none lies in --labelled. Check that both are of the same "
            "place."
        )


def _with_boundary(labels: ObjectLabels, geobox: GeoBox, width_px: float) -> BoundaryLabels:
    shapes, pixel = np.asarray(labels.frame.geometry.values, dtype=object), _pixel(geobox)
    cores = shapely.buffer(shapes, -(width_px - _EXACT_PX) * pixel)
    seeds = np.full((len(shapes), 2), np.nan)
    # A disc of half a pixel's diagonal holds a pixel's centre wherever it lies: what has room for one needs no look.
    for i in np.flatnonzero(shapely.is_empty(shapely.buffer(cores, -0.708 * pixel))):
        seeds[i] = _seed(shapes[i], cores[i], geobox)
    parts = {"area": labels.area, "width": width_px * pixel, "cores": cores, "seeds": seeds}
    return BoundaryLabels(labels.classes, labels.frame, dropped=labels.dropped, **parts)


def _seed(shape: Any, core: Any, geobox: GeoBox) -> tuple[float, float]:
    """The centre of the pixel that is to be interior; NaN where the core has a pixel of its own."""
    shape, core = (shapely.transform(each, lambda at: _move(~geobox.affine, at)) for each in (shape, core))
    left, top, right, bottom = shape.bounds
    across, down = np.arange(np.floor(left), np.ceil(right)) + 0.5, np.arange(np.floor(top), np.ceil(bottom)) + 0.5
    x, y = (each.ravel() for each in np.meshgrid(across, down))
    if not core.is_empty and shapely.contains_xy(core, x, y).any():
        return np.nan, np.nan
    inside = shapely.contains_xy(shape, x, y)
    if not inside.any():  # smaller than a pixel
        at = shape.representative_point()
        return geobox.affine * (np.floor(at.x) + 0.5, np.floor(at.y) + 0.5)
    x, y = x[inside], y[inside]
    deepest = int(np.argmax(shapely.distance(shape.boundary, shapely.points(x, y)).round(6)))
    return geobox.affine * (float(x[deepest]), float(y[deepest]))


def _way(points: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """(point, 2) from each point straight to its shape."""
    ends = shapely.get_coordinates(shapely.shortest_line(points, shapes)).reshape(-1, 2, 2)
    return ends[:, 1] - ends[:, 0]


def _move(affine: Any, at: np.ndarray) -> np.ndarray:
    return np.stack(affine * (at[:, 0], at[:, 1]), axis=1)


def _painted(geobox: GeoBox, pairs: Any, dtype: str = "uint8", how: MergeAlg = MergeAlg.replace) -> np.ndarray:
    """(row, col): the values of polygons at the centres of pixels, 0 elsewhere; the last one is seen."""
    out = np.zeros(tuple(geobox.shape), dtype)
    pairs = [(shape, int(value)) for shape, value in pairs]
    if pairs:
        rasterize(pairs, out=out, transform=geobox.affine, merge_alg=how)
    return out


def _pixel(geobox: GeoBox) -> float:
    """The side of a pixel, in units of the CRS."""
    return abs(geobox.affine.determinant) ** 0.5
