"""A reference sample as files: a GeoPackage to interpret, and a list of places for other tools."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pyogrio.errors
import pyproj
import shapely

from geoseg.errors import OptionError, OutputError
from geoseg.export.form import sample_qml
from geoseg.export.geopackage import finish_geopackage
from geoseg.files import replacing

__all__ = ["SAMPLE_LAYER", "sample_places", "write_sample_layer"]

SAMPLE_LAYER = "sample"
"""The name of the layer."""


def write_sample_layer(units: gpd.GeoDataFrame, path: str | os.PathLike[str], *, classes: Iterable[str]) -> Path:
    """Write sample units to a GeoPackage that QGIS opens with a drop-down of the classes.

    Parameters
    ----------
    units
        ``id, reference, confidence, comment`` and points or squares, as `geoseg.draw_sample` gives them.
    path
        ``.gpkg``; replaced when it is there. It has no date of its own: equal input gives equal bytes.
    classes
        The names that are offered.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        Another suffix.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> units = gpd.GeoDataFrame({"id": [1], "reference": [None]}, geometry=[shapely.Point(9, 50)], crs="EPSG:4326")
    >>> file = write_sample_layer(units, Path(tempfile.mkdtemp()) / "sample.gpkg", classes=["forest"])
    >>> gpd.read_file(file, layer="sample").columns.tolist()
    ['id', 'reference', 'geometry']
    """
    target = Path(path)
    if target.suffix.lower() != ".gpkg":
        raise OptionError(
            f"A sample is written as a GeoPackage, but the file is {target.name!r}. Name it {target.stem}.gpkg."
        )
    text = units.assign(**{name: units[name].astype("string") for name in units.columns if units[name].dtype == object})
    with replacing(target) as beside:
        try:
            pyogrio.write_dataframe(
                text,
                beside,
                layer=SAMPLE_LAYER,
                driver="GPKG",
                dataset_options={"VERSION": "1.2"},  # programs of a few years ago open it without a warning
                layer_options={"GEOMETRY_NAME": "geom", "FID": "fid"},
            )
            squares = not (units.geom_type == "Point").all()
            finish_geopackage(beside, layer=SAMPLE_LAYER, style=sample_qml(classes, squares=squares))
        except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, sqlite3.Error) as error:
            free_bytes = shutil.disk_usage(target.parent).free
            raise OutputError(
                f"Cannot write {target}: {error} ({free_bytes / 2**20:.0f} MiB are free). Free some space, or choose "
                "another disk."
            ) from error
    return target


def sample_places(units: gpd.GeoDataFrame) -> pd.DataFrame:
    """Where each unit lies, for tools that take a list: ``id, lon, lat`` (WGS 84, degrees, 1 cm).

    >>> units = gpd.GeoDataFrame({"id": [7]}, geometry=[shapely.Point(500000, 0)], crs="EPSG:32632")
    >>> sample_places(units).values.tolist()
    [[7.0, 9.0, 0.0]]
    """
    middle = shapely.centroid(units.geometry.to_numpy())
    move = pyproj.Transformer.from_crs(units.crs, "EPSG:4326", always_xy=True)
    lon, lat = move.transform(shapely.get_x(middle), shapely.get_y(middle))
    return pd.DataFrame({"id": units["id"].to_numpy(), "lon": lon.round(7), "lat": lat.round(7)})
