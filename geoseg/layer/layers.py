"""The steps from a class map to a layer, in memory or in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import geopandas as gpd
import pandas as pd
import xarray as xr

from geoseg import export, polygons
from geoseg.areas import PixelAreas, class_areas
from geoseg.classmap import classes_of, geobox_of
from geoseg.errors import OptionError
from geoseg.layer.cuts import Cuts
from geoseg.layer.tally import Tally
from geoseg.polygons import regularize as square
from geoseg.units import Area, Length

__all__ = ["Layer", "iter_layer", "vectorize", "write_layer"]

_NO_CUTS = Cuts()


def iter_layer(
    class_map: xr.DataArray, *, cuts: Cuts = _NO_CUTS, squared: bool = False, **options: Any
) -> Iterator[gpd.GeoDataFrame]:
    """The polygons of a layer, batch by batch.

    Parameters
    ----------
    class_map
        See `vectorize`.
    cuts
        How polygons are cut in the end.
    squared
        Whether to regularize buildings; keeps all polygons in memory.
    options
        Of `geoseg.polygons.iter_polygons`.

    Yields
    ------
    GeoDataFrame
        At least one, which is empty if the map is.

    Examples
    --------
    >>> import numpy as np
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> [len(batch) for batch in iter_layer(class_map(np.array([[1, 2, 255]], np.uint8), grid, []))]
    [2]
    """
    yield from _finish(polygons.iter_polygons(class_map, **options), class_map, cuts, squared, **options)


def _finish(
    batches: Iterable[gpd.GeoDataFrame], class_map: xr.DataArray, cuts: Cuts, squared: bool, **options: Any
) -> Iterable[gpd.GeoDataFrame]:
    """What is done to polygons that are traced."""
    grid = geobox_of(class_map)
    if squared:
        batches = [square(_joined(batches))]
    if cuts.any:
        shaped = squared or options.get("simplify") is not None or options.get("smooth", False)
        batches = cuts.apply((_measured(batch, grid) for batch in batches) if shaped else batches, grid)
    return batches


def _joined(batches: Iterable[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    frames = list(batches)
    return gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), geometry="geometry", crs=frames[0].crs)


def _measured(frame: gpd.GeoDataFrame, grid: Any) -> gpd.GeoDataFrame:
    """Areas and perimeters of the shapes in place of those of their pixels: pieces are shares of what is cut."""
    area_m2 = polygons.polygon_areas(frame.geometry, grid)
    perimeter_m = polygons.polygon_perimeters(frame.geometry, grid)
    return frame.assign(area_m2=area_m2, area_ha=area_m2 / 1e4, perimeter_m=perimeter_m)


def write_layer(
    class_map: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    areas: pd.DataFrame | None = None,
    crs: Any = None,
    cuts: Cuts = _NO_CUTS,
    squared: bool = False,
    **options: Any,
) -> Layer:
    """Write the polygons of a map to a file, batch by batch.

    Parameters
    ----------
    class_map, cuts, squared, options
        As in `iter_layer`.
    path
        Its suffix chooses the format: .gpkg, .parquet, .fgb, .geojson, .shp, .fiboa.parquet (fields).
    areas
        The table of `class_areas` of the map, as it is before it is sieved; made where it is not given.
    crs
        Write in this CRS.

    Returns
    -------
    Layer
        The file, which appears whole or not at all, and what was done to its shapes.

    Raises
    ------
    OptionError, MismatchError, SceneError
        As `vectorize`.
    OutputError
        The file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in export.FORMATS:
        raise OptionError(
            f"The suffix must be one of {', '.join(export.FORMATS)}, but the file is {target.name!r}. Rename it."
        )
    outlines = polygons.Outlines(*(options.get(name, default) for name, default in _OUTLINES.items()))
    grid = geobox_of(class_map)
    outlines.check(grid)
    tally = Tally(class_areas(class_map) if areas is None else areas, PixelAreas(grid).unit_m2)
    multi = cuts.any or outlines.connectivity == 8
    fields = target.name.lower().endswith(export.FIBOA_SUFFIX)
    batches: Any
    if cuts.any or squared or fields:
        traced = tally.count(polygons.iter_polygons(class_map, **options))
        batches = _finish(traced, class_map, cuts, squared, **options)
    else:  # nobody asks for geometries
        batches = tally.count(polygons.iter_tables(class_map, multi=multi, **options))
    if fields:
        drawn = (_measured(batch, grid) for batch in tally.count_rows(batches))
        export.write_fiboa(drawn, target, collection=target.name[: -len(export.FIBOA_SUFFIX)], crs=crs)
        return Layer(target, tally.rows, outlines.largest_shift, tally.changes())
    export.write_polygons(
        tally.count_rows(batches),
        target,
        classes=classes_of(class_map, values=tally.table["class"]),
        areas=tally.result if cuts.clip is None else tally.clipped,
        crs=crs,
        multi=multi,
    )
    return Layer(target, tally.rows, outlines.largest_shift, tally.changes())


_OUTLINES: dict[str, Any] = {"connectivity": 4, "min_area": None, "simplify": None, "smooth": False}


@dataclass(frozen=True)
class Layer:
    """A layer that was written."""

    path: Path
    """The file."""
    polygons: int
    """Rows of the layer."""
    largest_shift: Length | None
    """No border was moved by more by simplification and smoothing; None = they are exact."""
    area_changes: dict[str, float]
    """Of each class's shapes against its pixels, after simplification and smoothing: 0.01 = 1 % larger."""

    def describe(self) -> list[str]:
        """Lines for a person: what was done to the shapes, and how many there are."""
        lines = []
        if self.largest_shift is not None and self.area_changes:
            name, change = max(self.area_changes.items(), key=lambda item: abs(item[1]))
            lines.append(
                f"No border moved by more than {self.largest_shift.value:g} {self.largest_shift.unit or 'm'}; the area "
                f"of no class changed by more than {abs(change):.2%} ({name})."
            )
        return [*lines, f"{self.polygons:,} polygons are in {self.path}."]


@overload
def vectorize(class_map: xr.DataArray, *, to: None = None, **options: Any) -> gpd.GeoDataFrame: ...


@overload
def vectorize(class_map: xr.DataArray, *, to: str | os.PathLike[str], **options: Any) -> Path: ...


def vectorize(  # type: ignore[misc]  # each call of an overload is a call of this
    class_map: xr.DataArray,
    *,
    to: str | os.PathLike[str] | None = None,
    confidence: xr.DataArray | None = None,
    connectivity: int = 4,
    min_area: str | float | Area | None = None,
    simplify: str | float | Length | None = None,
    smooth: bool = False,
    regularize: bool = False,
    clip: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    split: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    zone_column: str | None = None,
    max_vertices: int | None = None,
    threads: int | None = None,
    cluster: str | None = None,
) -> gpd.GeoDataFrame | Path:
    """The polygons of any categorical map, as a GeoDataFrame, or streamed to a file of any size.

    Parameters
    ----------
    class_map
        (row, col) integers, numpy or Dask, with a grid and a CRS; also one that geoseg did not make
        (`open_class_map`).
    to
        A file: .gpkg, .parquet, .fgb, .geojson, .shp or .fiboa.parquet. Polygons are written as they are finished, and
        memory holds only what is open.
    confidence, connectivity, min_area, simplify, smooth, threads, cluster
        See `geoseg.polygons.vectorize`.
    regularize
        Square buildings, see `geoseg.regularize`; keeps all polygons in memory.
    clip
        Polygons (a file or a frame): only what lies in them is kept, see `geoseg.polygons.clip`.
    split
        ``"grid"``: cut into tiles of 2048 pixels. Or zones (a file or a frame), see `geoseg.polygons.split_by_zones`.
    zone_column
        The column with the names of zones.
    max_vertices
        Halve polygons that have more, see `geoseg.polygons.limit_vertices`.

    Returns
    -------
    GeoDataFrame or Path
        The polygons, with the columns of `geoseg.polygons.vectorize` and those of the steps asked for; the file where
        `to` is given. Where shapes are simplified or squared, and then cut, areas and perimeters are the shapes'.

    Raises
    ------
    OptionError
        Values are not integers, an option has a value that it cannot have, or the areas to cut by cannot be used.
    MismatchError
        The confidence lies on another grid, or lacks pixels that have a class.
    SceneError
        No grid or CRS, or the map cannot be read.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 1, 2], [1, 255, 2]], np.uint8), grid, [])
    >>> vectorize(cover)[["class", "pixels"]].values.tolist()
    [[1, 3], [2, 2]]
    >>> file = vectorize(cover, to=Path(tempfile.mkdtemp()) / "cover.parquet")
    >>> len(gpd.read_parquet(file))
    2
    >>> len(vectorize(class_map(np.full((2, 3), 255, np.uint8), grid, [])))
    0
    """
    options: dict[str, Any] = {
        "confidence": confidence,
        "connectivity": connectivity,
        "min_area": min_area,
        "simplify": simplify,
        "smooth": smooth,
        "threads": threads,
        "cluster": cluster,
    }
    cuts = Cuts(clip, split, zone_column, max_vertices)
    if to is None:
        return _joined(iter_layer(class_map, cuts=cuts, squared=regularize, **options))
    return write_layer(class_map, to, cuts=cuts, squared=regularize, **options).path
