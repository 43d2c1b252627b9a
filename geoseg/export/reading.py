"""Polygons that somebody drew, from a vector file: a clip area, zones, or objects to compare with."""

from __future__ import annotations

import os
from pathlib import Path

import geopandas as gpd
import pyogrio
import pyogrio.errors

from geoseg.errors import OptionError
from geoseg.zones import check_areas

__all__ = ["read_areas", "read_objects", "read_reference"]


def read_areas(path: str | os.PathLike[str], *, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read the polygons to clip or to split by, and refuse those that cannot be used.

    Parameters
    ----------
    path
        Any vector file that GDAL reads, or GeoParquet.
    layer
        The layer's name; None where there is only one.

    Returns
    -------
    GeoDataFrame
        Valid Polygons and MultiPolygons with a CRS, and the columns of the file.

    Raises
    ------
    OptionError
        The file is missing or not a vector file, has several layers or not the one asked for, or its features are
        refused by `geoseg.zones.check_areas`.

    Examples
    --------
    >>> import shapely, tempfile
    >>> file = Path(tempfile.mkdtemp()) / "aoi.geojson"
    >>> gpd.GeoDataFrame({"name": ["Au"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_file(file)
    >>> read_areas(file)["name"].tolist()
    ['Au']
    """
    areas = _read(path, layer, what="Areas")
    check_areas(areas, name=str(path))
    return areas


def read_objects(path: str | os.PathLike[str], *, layer: str | None = None, what: str = "Objects") -> gpd.GeoDataFrame:
    """Read the polygons of objects, as they are: `geoseg.assess_objects` checks and mends them.

    Parameters
    ----------
    path
        Any vector file that GDAL reads, or GeoParquet.
    layer
        The layer's name; None where there is only one.
    what
        What errors call them.

    Returns
    -------
    GeoDataFrame
        All features and columns of the layer.

    Raises
    ------
    OptionError
        The file is missing or not a vector file, or has several layers or not the one asked for.

    Examples
    --------
    >>> import shapely, tempfile
    >>> file = Path(tempfile.mkdtemp()) / "houses.geojson"
    >>> gpd.GeoDataFrame({"score": [0.9]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_file(file)
    >>> read_objects(file)["score"].tolist()
    [0.9]
    """
    return _read(path, layer, what=what)


def read_reference(path: str | os.PathLike[str], *, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read reference points or polygons, as they are: `geoseg.assess_map` checks them. Otherwise as `read_objects`.

    >>> import shapely, tempfile
    >>> file = Path(tempfile.mkdtemp()) / "plots.geojson"
    >>> gpd.GeoDataFrame({"reference": ["forest"]}, geometry=[shapely.Point(9, 50)], crs="EPSG:4326").to_file(file)
    >>> read_reference(file)["reference"].tolist()
    ['forest']
    """
    return read_objects(path, layer=layer, what="References")


def _read(path: str | os.PathLike[str], layer: str | None, *, what: str) -> gpd.GeoDataFrame:
    source = Path(path)
    if not source.exists():
        raise OptionError(f"{what} are read from a vector file, but {source} is not there. Check the path.")
    if source.suffix.lower() in (".parquet", ".geoparquet"):
        return _read_parquet(source, layer, what)
    try:
        found = pyogrio.list_layers(source)
        spatial = [str(name) for name, kind in found if kind is not None]
        chosen = layer if layer is not None else (spatial[0] if len(spatial) == 1 else None)
        if chosen not in spatial:
            asked = "none is chosen" if layer is None else f"{layer!r} is not among them"
            raise OptionError(f"{what} are read from one layer, but {source} has {spatial} and {asked}. Choose one.")
        return pyogrio.read_dataframe(source, layer=chosen)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, UnicodeDecodeError) as error:
        raise OptionError(
            f"{what} are read from a vector file, but {source} cannot be read as one: {error}. Give a GeoPackage, a "
            "GeoJSON, GeoParquet or a Shapefile."
        ) from error


def _read_parquet(source: Path, layer: str | None, what: str) -> gpd.GeoDataFrame:
    if layer is not None:
        raise OptionError(f"GeoParquet has no layers, but {layer!r} of {source} is asked for. Leave it out.")
    try:
        return gpd.read_parquet(source)
    except (ValueError, OSError) as error:  # pyarrow's own among them
        raise OptionError(
            f"{what} are read from a vector file, but {source} cannot be read as one: {error}. Give GeoParquet, or a "
            "GeoPackage."
        ) from error
