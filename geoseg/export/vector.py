"""Polygons to a file that a GIS opens: GeoPackage, GeoParquet, FlatGeobuf, GeoJSON, Shapefile.

Batches go through as an Arrow stream: the file is opened once, indexes are built once, and memory holds
one group of rows. (FlatGeobuf is the exception: GDAL keeps an index entry of about 100 bytes for each
polygon until the end, and polygons wait in a file beside.) The bytes written do not depend on how the
polygons are cut into batches.

The columns of the vectoriser keep their names, except that a Shapefile calls ``perimeter_m`` ``perim_m``,
because its names have ten characters.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyogrio.errors
import pyproj

from geoseg.classes import ClassInfo, check_classes
from geoseg.errors import OptionError, OutputError
from geoseg.export.geopackage import finish_geopackage
from geoseg.export.stream import Stream, parse_crs
from geoseg.export.style import polygon_qml
from geoseg.files import replacing

if TYPE_CHECKING:
    import os

    import pyarrow as pa

__all__ = ["FORMATS", "write_polygons"]

FORMATS = {
    ".gpkg": "GPKG",
    ".parquet": "Parquet",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
    ".shp": "ESRI Shapefile",
}
"""The suffixes that `write_polygons` knows, and GDAL's name of each format."""

_ROWS = 4_096
"""Polygons that are handed to GDAL together: each of several copies on the way holds so many."""

_CONFIG = {
    # Memory for the spatial index; beyond, GDAL writes it to disk as it grows.
    "OGR_GPKG_MAX_RAM_USAGE_RTREE": 128 << 20,
    # The file takes its name when it is whole: it needs no journal to be whole again after a broken-off run.
    "OGR_SQLITE_JOURNAL": "OFF",
    "OGR_SQLITE_SYNCHRONOUS": "OFF",
    "OGR_SQLITE_PRAGMA": "page_size=16384",
}
"""Settings of GDAL for GeoPackages, where the user has made none."""

GROUP_ROWS = 65_536
"""Polygons in a row group of GeoParquet."""

WRITER: dict[str, Any] = {"compression": "zstd", "store_schema": False}
"""Settings of pyarrow for GeoParquet. A schema of Arrow's own would hide from pyarrow what is said at the end."""

# Whatever GDAL has to say about writing. (Full disks among it: it cleans up before it tells.)
_DRIVER_ERRORS = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
)

_SHP_NAMES = {"perimeter_m": "perim_m"}
_SHP_MAX_BYTES = 2**31 - 1
_SHP_ROW_BYTES = 240  # of the .dbf: the widths that GDAL gives to the columns above, and some room

_LAYER_OPTIONS: dict[str, dict[str, str]] = {
    ".gpkg": {"GEOMETRY_NAME": "geom", "FID": "fid"},
    ".fgb": {},
    # Nine decimals of a degree are 0.1 mm; RFC 7946 alone would round to 11 mm and close thin polygons.
    ".geojson": {"RFC7946": "YES", "COORDINATE_PRECISION": "9"},
    ".shp": {"2GB_LIMIT": "YES"},
}


def write_polygons(
    batches: Iterable[gpd.GeoDataFrame] | Iterable[pa.Table],
    path: str | os.PathLike[str],
    *,
    classes: Iterable[ClassInfo],
    areas: pd.DataFrame | Callable[[], pd.DataFrame] | None = None,
    crs: Any = None,
    layer: str = "polygons",
    multi: bool = False,
    style: Mapping[str, Any] | None = None,
) -> Path:
    """Write polygons, batch by batch, to one file; its suffix chooses the format.

    A GeoPackage also gets its QGIS style, so that it opens with class names and colours, and the table
    ``class_areas``. It has no date of its own: equal input gives equal bytes.

    Parameters
    ----------
    batches
        What `geoseg.polygons.iter_polygons` or, faster, `geoseg.polygons.iter_tables` yields: with the same columns
        and CRS. Further columns are written too. No batch at all makes an empty layer with all columns.
    path
        ``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson`` or ``.shp``. Replaced, as a whole, when it is there.
    classes
        The classes of the map, for the style. Values of the polygons that are not among them are styled, too.
    areas
        The table of `geoseg.areas.class_areas`, for a GeoPackage; or what gives it when all batches have passed.
    crs
        Write in this CRS (anything that pyproj takes). Each vertex is moved by itself, so neighbours keep
        sharing their edges; the columns keep the true areas. GeoJSON is always in EPSG:4326 (RFC 7946).
    layer
        The layer's name (GeoParquet has none, and a Shapefile is named by its file).
    multi
        Make a layer of MultiPolygons, as 8-connected maps need. Otherwise it is one of Polygons.
    style
        Further arguments of `geoseg.export.polygon_qml`, for a GeoPackage.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        Unknown suffix; batches without a CRS or with unequal columns; a MultiPolygon without `multi`.
    OutputError
        The file cannot be written, is too large for a Shapefile, or the polygons have no place in `crs`.

    Examples
    --------
    >>> import tempfile, shapely
    >>> file = Path(tempfile.mkdtemp()) / "polygons.gpkg"
    >>> water = ClassInfo(3, "water", "#1f6fb4")
    >>> frame = gpd.GeoDataFrame(
    ...     {"object_id": [1], "class": [3]}, geometry=[shapely.box(0, 0, 10, 10)], crs="EPSG:32633"
    ... )
    >>> path = write_polygons([frame], file, classes=[water])
    >>> gpd.read_file(path, layer="polygons")["class"].tolist()
    [3]
    >>> len(gpd.read_file(write_polygons([], file, classes=[water], crs="EPSG:32633"), layer="polygons"))
    0
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise OptionError(
            f"The suffix must be one of {', '.join(FORMATS)}, but the file is {target.name!r}. Rename it."
        )
    infos = check_classes(classes)
    stream = Stream(batches, crs=parse_crs("EPSG:4326" if suffix == ".geojson" else crs), multi=multi)
    with replacing(target) as beside:
        if suffix == ".parquet":
            _write_parquet(stream, beside)
            return target
        try:
            _write_gdal(stream, beside, layer=layer)
            if suffix == ".gpkg":
                table = areas() if callable(areas) else areas
                qml = polygon_qml(*stream.legend(infos), **(style or {}))
                finish_geopackage(beside, layer=layer, style=qml, areas=table)
        except (*_DRIVER_ERRORS, sqlite3.Error) as error:
            free_bytes = shutil.disk_usage(target.parent).free
            raise OutputError(
                f"Cannot write {target}: {error} ({free_bytes / 2**20:.0f} MiB are free). Free some space, or "
                "choose another disk or format."
            ) from error
    return target


def _write_gdal(stream: Stream, path: Path, *, layer: str) -> None:
    import pyarrow as pa
    from pyogrio.raw import write_arrow

    suffix = path.suffix.lower()
    failed: list[BaseException] = []
    guard = _shapefile_guard() if suffix == ".shp" else None
    schema = stream.schema()
    schema = schema.remove(schema.get_field_index("bbox"))
    names = [_short(name) if suffix == ".shp" else name for name in schema.names]
    schema = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])

    def record_batches() -> Iterator[pa.RecordBatch]:
        # GDAL pulls these through C, where an exception becomes a bare message: keep the real one.
        try:
            for table in stream.tables(_ROWS):
                if guard:
                    guard(table)
                table = table.drop_columns("bbox").rename_columns(names).combine_chunks()
                yield from table.to_batches()
        except BaseException as error:
            failed.append(error)
            raise

    options = dict(_LAYER_OPTIONS[suffix])
    if suffix == ".fgb":
        options["TEMPORARY_DIR"] = str(path.parent)
    try:
        with warnings.catch_warnings(), _configured():
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            write_arrow(
                pa.RecordBatchReader.from_batches(schema, record_batches()),
                path,
                layer=path.stem if suffix == ".shp" else layer,
                driver=FORMATS[suffix],
                geometry_name="geometry",
                geometry_type=stream.kind,
                crs=None if stream.crs is None else _crs_text(stream.crs),
                encoding="UTF-8" if suffix == ".shp" else None,
                # GDAL would write 1.4, which programs of a few years ago open with a warning.
                dataset_options={"VERSION": "1.2"} if suffix == ".gpkg" else None,
                layer_options=options,
            )
    except Exception:
        if failed:
            raise failed[0] from None
        raise


@contextmanager
def _configured() -> Iterator[None]:
    """GDAL's settings for GeoPackages, for a while."""
    unset = {name: value for name, value in _CONFIG.items() if pyogrio.get_gdal_config_option(name) is None}
    pyogrio.set_gdal_config_options(unset)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(dict.fromkeys(unset))


def _write_parquet(stream: Stream, path: Path) -> None:
    """GeoParquet 1.1, with a bounding box for each polygon so that readers can skip row groups."""
    from pyarrow import parquet

    schema = stream.schema()
    with parquet.ParquetWriter(path, schema, **WRITER) as writer:
        for table in stream.tables(GROUP_ROWS):
            # In one piece: pages end where pieces do.
            writer.write_table(table.combine_chunks(), row_group_size=GROUP_ROWS)
        writer.add_key_value_metadata({"geo": json.dumps(geo_metadata(stream, [stream.kind]))})


def geo_metadata(stream: Stream, kinds: list[str]) -> dict[str, Any]:
    """What GeoParquet says of a file, when all polygons have passed; `kinds` are their types."""
    covering = {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": kinds,
        "crs": None if stream.crs is None else pyproj.CRS.from_user_input(_crs_text(stream.crs)).to_json_dict(),
        "covering": {"bbox": covering},
    }
    if np.isfinite(stream.bounds).all():
        column["bbox"] = stream.bounds
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _shapefile_guard() -> Callable[[pa.Table], None]:
    """A function that counts what a Shapefile will hold and stops before its limit of 2 GB."""
    total = {".shp": 100, ".dbf": 400}

    def check(table: pa.Table) -> None:
        # A record is 52 bytes, 4 for each ring and 16 for each point; in WKB it is 9, 4 and 16.
        total[".shp"] += table["geometry"].combine_chunks().nbytes + 52 * table.num_rows
        total[".dbf"] += _SHP_ROW_BYTES * table.num_rows
        for part, size in total.items():
            if size > _SHP_MAX_BYTES:
                raise OutputError(
                    f"A Shapefile holds at most 2 GB, but its {part} would be larger. Choose another format: "
                    "gpkg, parquet or fgb."
                )

    return check


def _short(name: str) -> str:
    short = _SHP_NAMES.get(name, name)
    if len(short.encode()) > 10 and short != "geometry":
        raise OptionError(f"A Shapefile's column names have at most 10 characters, but {name!r} has more.")
    return short


def _crs_text(crs: pyproj.CRS) -> str:
    code = crs.to_authority(min_confidence=100)
    return ":".join(code) if code else crs.to_wkt()
