"""Labels: what people know about the ground, as polygons with a class or as a raster, burnt onto any grid.

A pixel gets the class of the polygon that its centre lies in. Where polygons overlap, the smallest one wins: a pond
drawn inside a forest is a pond. Pixels in no polygon are unlabelled (255), which is never a class of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyogrio.errors
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from pandas.api import types
from rasterio.features import rasterize

from geoseg.classes import NODATA, ClassInfo, check_classes
from geoseg.classmap import classes_of, geobox_of, iter_strips, nodata_of, open_class_map
from geoseg.errors import OptionError, SceneError
from geoseg.scene import Scene
from geoseg.training.lookup import look_up
from geoseg.zones import move_areas

__all__ = ["UNLABELLED", "ElsewhereError", "Labels", "read_any", "read_labels"]

UNLABELLED = NODATA
"""The value of a pixel that nobody has labelled."""

_NAMES = ("class_name", "classname", "class", "label", "name", "type")
"""Columns that are taken for the class when none is named, the first one that is there."""
_COLORS = ("color", "colour")
_STRAIGHT_PX = 0.1


class ElsewhereError(OptionError):
    """Labels do not lie on the scene."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of one scene: its classes and where they are. Made by `read_labels`."""

    classes: tuple[ClassInfo, ...]
    """The classes; their values are 0..n-1 in this order."""
    frame: gpd.GeoDataFrame
    """Valid polygons in the scene's CRS with the integer column ``class``; without rows where a raster was read."""
    dropped: int = 0
    """How many features were left out for having no area or no class."""
    raster: xr.DataArray | None = None
    """The label raster, where the labels are one."""
    values: tuple[int, ...] = field(default=())
    """The raster's values of the classes, in their order."""

    @property
    def reach(self) -> gpd.GeoDataFrame | None:
        """Polygons outside of which nothing is labelled; None where labels may be anywhere."""
        return self.frame if self.raster is None else None

    def burn(self, geobox: GeoBox) -> np.ndarray:
        """The labels on a grid.

        Parameters
        ----------
        geobox
            Any grid, as a rule a window of the scene's.

        Returns
        -------
        ndarray
            (row, col) uint8: class values, 255 = unlabelled. A pixel has the class of the smallest polygon that its
            centre lies in, or of the raster's pixel that its centre lies in.
        """
        if self.raster is not None:
            table = {value: info.value for value, info in zip(self.values, self.classes, strict=True)}
            return look_up(self.raster, geobox, table, empty=UNLABELLED)
        return self._burn_polygons(geobox)

    def _burn_polygons(self, geobox: GeoBox) -> np.ndarray:
        shapes, found = np.asarray(self.frame.geometry.values, dtype=object), self.frame["class"].to_numpy()
        if self.frame.crs != geobox.crs.proj:  # type: ignore[union-attr]
            shapes = move_areas(self.frame.geometry, geobox.crs.proj, tolerance=_straight(geobox))  # type: ignore[union-attr]
            near = shapely.intersects(shapes, geobox.extent.geom)
        else:
            near = np.zeros(len(shapes), dtype=bool)
            near[self.frame.sindex.query(geobox.extent.geom, predicate="intersects")] = True
        out = np.full(tuple(geobox.shape), UNLABELLED, dtype=np.uint8)
        if near.any():
            shapes, found = shapes[near], found[near]
            # The last one burnt is seen: so the large ones come first. Sorting is stable, so the answer is one.
            order = np.argsort(-shapely.area(shapes), kind="stable")
            pairs = ((shapes[i], int(found[i])) for i in order)
            rasterize(pairs, out=out, transform=geobox.affine, all_touched=False)
        return out


def read_labels(
    source: str | os.PathLike[str] | gpd.GeoDataFrame,
    scene: Scene,
    *,
    column: str | None = None,
    classes: Sequence[str] | None = None,
) -> Labels:
    """Read the labels of a scene.

    Parameters
    ----------
    source
        A GeoPackage, GeoJSON, Shapefile or GeoDataFrame of polygons with a column of classes, in any CRS; or a
        categorical raster (then 255 and its nodata value are unlabelled).
    scene
        The scene that they lie on.
    column
        The column with the class. By default ``class_name``, ``classname``, ``class``, ``label``, ``name`` or ``type``
        (the first that is there), or else the only column of texts or whole numbers.
    classes
        The names of the classes wanted, in the order of their values; labels of other classes are left out. By
        default all that lie on the scene, sorted. Whole numbers are called "class 3".

    Returns
    -------
    Labels
        Polygons are in the scene's CRS, mended where they were invalid. Colours come from a column ``color``
        (``#rrggbb``) or from the raster, or are chosen.

    Raises
    ------
    OptionError
        No such file, column or class; no polygons; no CRS; nothing on the scene; or one class only.
    SceneError
        A label raster that cannot be read.

    Examples
    --------
    >>> import geoseg, geoseg.synthetic, tempfile, pathlib
    >>> path = geoseg.synthetic.write_scene(pathlib.Path(tempfile.mkdtemp()) / "scene.tif", shape=(64, 64))
    >>> scene = geoseg.open_scene(path)
    >>> box = scene.geobox[:32, :].extent.geom, scene.geobox[48:, :].extent.geom
    >>> drawn = gpd.GeoDataFrame({"class": ["wood", "meadow"]}, geometry=list(box), crs="EPSG:32633")
    >>> labels = read_labels(drawn, scene)
    >>> [info.name for info in labels.classes]
    ['meadow', 'wood']
    >>> np.unique(labels.burn(scene.geobox), return_counts=True)
    (array([  0,   1, 255], dtype=uint8), array([1024, 2048, 1024]))
    """
    labels = read_any(source, scene, column=column, classes=classes)
    if len(labels.classes) < 2:
        raise OptionError(
            f"Labels need at least two classes, but {_called(source)} has only {labels.classes[0].name!r} on "
            f"{scene.name}. Draw examples of what is not {labels.classes[0].name!r} as well."
        )
    return labels


def read_any(
    source: str | os.PathLike[str] | gpd.GeoDataFrame,
    scene: Scene,
    *,
    column: str | None = None,
    classes: Sequence[str] | None = None,
    single: str | None = None,
) -> Labels:
    """`read_labels`, but one class is enough: others may lie on other scenes. `single` is the class of all polygons."""
    if isinstance(source, gpd.GeoDataFrame):
        return _from_polygons(source, scene, "the table", column, classes, single)
    path = Path(source)
    if not path.exists():
        raise OptionError(f"Labels are read from a file, but {path} is not there. Check the path.")
    try:
        layers = pyogrio.list_layers(path)
    except (pyogrio.errors.DataSourceError, UnicodeDecodeError) as error:
        return _from_raster(path, scene, column, classes, error)
    spatial = [str(name) for name, kind in layers if kind is not None]
    if len(spatial) != 1:
        raise OptionError(
            f"Labels are read from a file with one layer of polygons, but {path} has {len(spatial)}: "
            f"{', '.join(spatial) or 'none'}. Save the layer with the labels as a file of its own."
        )
    frame = pyogrio.read_dataframe(path, layer=spatial[0])
    return _from_polygons(frame, scene, str(path), column, classes, single)


def _from_polygons(
    frame: gpd.GeoDataFrame,
    scene: Scene,
    name: str,
    column: str | None,
    classes: Sequence[str] | None,
    single: str | None,
) -> Labels:
    if single is None:
        column = _class_column(frame, column, name)
    if frame.crs is None:
        raise OptionError(f"Labels need a CRS, but {name} has none. Assign the one they were drawn in.")
    shapes = _mended(np.asarray(frame.geometry.values, dtype=object), name)
    names = _names(frame[column]) if single is None else pd.Series([single] * len(frame), dtype=object)
    usable = np.array([shape is not None for shape in shapes], dtype=bool) & names.notna().to_numpy()
    if not usable.any():
        where = "" if single is not None else f" (class column {column!r})"
        raise OptionError(
            f"Labels need polygons with an area and a class, but none of the {len(frame)} features of {name} has "
            f"both{where}. Draw polygons, and fill in their class."
        )
    there = gpd.GeoDataFrame({"class_name": names[usable].to_numpy()}, geometry=shapes[usable], crs=frame.crs)
    hex_column = next((c for c in frame.columns if str(c).lower() in _COLORS), None)
    there["color"] = "" if hex_column is None else frame.loc[usable, hex_column].fillna("").to_numpy()
    known = sorted(set(there["class_name"]), key=natural)
    there = _on_scene(there, scene, name)
    chosen = _chosen(known, sorted(set(there["class_name"]), key=natural), classes, name)
    there = there[there["class_name"].isin(chosen)].reset_index(drop=True)
    there["class"] = there["class_name"].map({n: i for i, n in enumerate(chosen)}).astype(np.int64)
    colors = {n: str(group["color"].iloc[0]) for n, group in there.groupby("class_name")}
    infos = check_classes(ClassInfo(i, n, colors.get(n, "")) for i, n in enumerate(chosen))
    return Labels(infos, there[["class", "class_name", "geometry"]], dropped=int((~usable).sum()))


def _class_column(frame: gpd.GeoDataFrame, column: str | None, name: str) -> str:
    """The column with the class: the one named, one with a usual name, or the only one that can be it."""
    others = [str(c) for c in frame.columns if c != frame.geometry.name]
    fitting = [c for c in others if _holds_names(frame[c])]
    if column is not None:
        if column in fitting:
            return column
        what = "holds fractions or dates" if column in others else "is not there"
        raise OptionError(
            f"The class is a column of texts or whole numbers, but {column!r} {what} in {name}: it has "
            f"{', '.join(others) or 'no columns'}. Choose one with --class-column."
        )
    usual = {c.lower(): c for c in reversed(fitting)}
    for wanted in _NAMES:
        if wanted in usual:
            return usual[wanted]
    fitting = [c for c in fitting if c.lower() not in ("fid", "id", *_COLORS)] or fitting
    if len(fitting) == 1:
        return fitting[0]
    raise OptionError(
        f"One column must hold the class, but {name} has {', '.join(others) or 'no columns'} and none is called "
        f"{', '.join(_NAMES)}. Choose one with --class-column."
    )


def _holds_names(values: pd.Series) -> bool:
    if types.is_float_dtype(values):  # whole numbers with gaps are read as floats
        return bool(values.notna().any() and (values.dropna() % 1 == 0).all())
    whole = types.is_integer_dtype(values) and not types.is_bool_dtype(values)
    return whole or types.is_string_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype)


def _names(values: pd.Series) -> pd.Series:
    """The class names; None where there is none."""
    if types.is_numeric_dtype(values):
        return pd.Series([None if pd.isna(v) else f"class {int(v)}" for v in values], dtype=object)
    return pd.Series([None if pd.isna(v) or not str(v).strip() else str(v).strip() for v in values], dtype=object)


def natural(name: str) -> tuple[int, str]:
    """Sorts "class 10" behind "class 9"."""
    number = name.removeprefix("class ")
    return (int(number), "") if number.lstrip("-").isdigit() and number != name else (1 << 40, name)


def _mended(shapes: np.ndarray, name: str) -> np.ndarray:
    """Valid polygons; None where there is no area."""
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    kinds = shapely.get_type_id(shapes)
    wrong = there & (kinds != shapely.GeometryType.POLYGON) & (kinds != shapely.GeometryType.MULTIPOLYGON)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise OptionError(
            f"Labels are polygons, but feature {first} of {name} (counted from 0) is a {shapes[first].geom_type}. "
            "Draw polygons, or give points and lines a width (buffer)."
        )
    out = np.full(len(shapes), None, dtype=object)
    out[there] = shapely.force_2d(shapely.make_valid(shapes[there], method="structure", keep_collapsed=False))
    out[shapely.area(out) == 0] = None
    return out


def _on_scene(there: gpd.GeoDataFrame, scene: Scene, name: str) -> gpd.GeoDataFrame:
    """The polygons that meet the scene, in its CRS."""
    # First in the labels' own CRS: a polygon far away may have no place in the scene's.
    footprint = scene.geobox.extent.to_crs(there.crs.to_wkt(), resolution="auto").geom
    west, south, east, north = footprint.bounds
    near = shapely.intersects(
        there.geometry.values, shapely.box(west, south, east, north).buffer(0.01 * max(east - west, north - south))
    )
    moved = there[near].copy()
    if near.any():
        crs = scene.geobox.crs.proj  # type: ignore[union-attr]
        shapes = move_areas(moved.geometry, crs, tolerance=_straight(scene.geobox))
        moved = moved.drop(columns=["geometry"]).set_geometry(gpd.GeoSeries(shapes, index=moved.index, crs=crs))
        moved = moved[shapely.intersects(shapes, scene.geobox.extent.geom)]
    if not len(moved):
        raise _elsewhere(name, there.total_bounds, scene, footprint.bounds, there.crs.name)
    return moved.reset_index(drop=True)


def _from_raster(
    path: Path, scene: Scene, column: str | None, classes: Sequence[str] | None, reason: Exception
) -> Labels:
    try:
        raster = open_class_map(path)
    except SceneError as error:
        raise SceneError(
            f"Labels are a vector file with polygons or a categorical raster, but {path} is neither ({reason}; {error})"
        ) from error
    if column is not None:
        raise OptionError(f"Only polygons have a class column, but {path} is a raster. Leave out --class-column.")
    grid = geobox_of(raster)
    footprint = scene.geobox.extent.to_crs(grid.crs.to_wkt(), resolution="auto").geom  # type: ignore[union-attr]
    if not shapely.intersects(grid.extent.geom, footprint):
        raise _elsewhere(str(path), grid.extent.geom.bounds, scene, footprint.bounds, grid.crs.proj.name)  # type: ignore[union-attr]
    nodata, present = nodata_of(raster), set()
    for _, strip in iter_strips(raster):
        present |= set(np.unique(strip).tolist())
    present -= {nodata, UNLABELLED}
    if not present:
        raise OptionError(f"Labels need pixels with a class, but {path} holds nodata only. Choose another raster.")
    if min(present) < 0 or max(present) > UNLABELLED:
        raise OptionError(
            f"A label raster holds classes 0..254, but {path} has values {min(present)} to {max(present)}. Renumber "
            "them, and set the nodata value of what is not labelled."
        )
    legend = [info for info in classes_of(raster, values=present) if info.value in present]
    by_name = {info.name: info for info in legend}
    chosen = _chosen(list(by_name), list(by_name), classes, str(path))
    infos = tuple(ClassInfo(i, n, by_name[n].color) for i, n in enumerate(chosen))
    empty = gpd.GeoDataFrame(
        {"class": np.array([], np.int64), "class_name": np.array([], object)},
        geometry=[],
        crs=scene.geobox.crs.proj,  # type: ignore[union-attr]
    )
    return Labels(infos, empty, raster=raster, values=tuple(by_name[n].value for n in chosen))


def _chosen(known: list[str], here: list[str], wanted: Sequence[str] | None, name: str) -> list[str]:
    """The class names to use, in order."""
    if wanted is None:
        return here
    unknown = [n for n in wanted if n not in known]
    if unknown or not wanted:
        raise OptionError(
            f"A class must be one of the labels', but {', '.join(map(repr, unknown)) or 'none asked for'} is not in "
            f"{name}: it has {', '.join(known)}. Correct the names."
        )
    if not set(wanted) & set(here):
        raise OptionError(f"Labels of {', '.join(wanted)} are asked for, but none lies on the image. Draw some there.")
    return list(wanted)


def _elsewhere(name: str, labels: Any, scene: Scene, image: Any, crs: str) -> ElsewhereError:
    def text(bounds: Any) -> str:
        west, south, east, north = (f"{float(v):.10g}" for v in bounds)
        return f"x {west} to {east}, y {south} to {north}"

    return ElsewhereError(
        f"Labels must lie on the image, but {name} covers {text(labels)}, and {scene.name} covers {text(image)} (both "
        f"in {crs}). Check that they are of the same place, and that the CRS of both is right."
    )


def _called(source: Any) -> str:
    return "the table" if isinstance(source, gpd.GeoDataFrame) else str(source)


def _straight(geobox: GeoBox) -> float:
    """How far a moved edge may be off, in units of the CRS."""
    return _STRAIGHT_PX * abs(geobox.affine.determinant) ** 0.5
