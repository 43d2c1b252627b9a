"""What a GeoPackage gets besides its polygons: the table of areas, the QGIS style, and a fixed date.

GDAL has written and closed the file before; here it is a database like any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api import types

__all__ = ["finish_geopackage"]

WRITTEN = "1970-01-01T00:00:00.000Z"
"""The date in the file: with a real one, two files of the same content would differ (run.json has it)."""

_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
  styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
  ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)
"""


def finish_geopackage(path: Path, *, layer: str, style: str, areas: pd.DataFrame | None = None) -> None:
    """Add ``class_areas`` (where given) and ``layer_styles`` to a GeoPackage, and set its dates.

    Parameters
    ----------
    path
        A GeoPackage that nothing else has open.
    layer
        The polygon layer that the style is for; its geometry column is ``geom``.
    style
        The layer's QML, which becomes its default style.
    areas
        Becomes the attribute table ``class_areas``, with its columns as they are.
    """
    # isolation_level=None: one transaction, begun and ended here, holds creating and filling the tables.
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")  # nothing is lost: the file takes its name when it is whole
        database.execute("BEGIN")
        if areas is not None:
            _add_table(database, "class_areas", areas)
        database.execute(_STYLES)
        row = {
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": layer,
            "f_geometry_column": "geom",
            "styleName": "classes",
            "styleQML": style,
            "styleSLD": "",
            "useAsDefault": True,
            "description": "geoseg: classes",
            "owner": "",
            "update_time": WRITTEN,
        }
        names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        database.execute(f"INSERT INTO layer_styles ({names}) VALUES ({marks})", row)
        _register(database, "layer_styles")
        database.execute("UPDATE gpkg_contents SET last_change = ?", (WRITTEN,))
        database.execute("COMMIT")


def _add_table(database: sqlite3.Connection, name: str, frame: pd.DataFrame) -> None:
    columns = ", ".join(f"{_quoted(column)} {_sql_type(frame[column])}" for column in frame)
    database.execute(f"CREATE TABLE {_quoted(name)} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, {columns})")
    marks = ", ".join("?" for _ in frame.columns)
    names = ", ".join(_quoted(column) for column in frame.columns)
    database.executemany(f"INSERT INTO {_quoted(name)} ({names}) VALUES ({marks})", _rows(frame))
    _register(database, name)


def _register(database: sqlite3.Connection, name: str) -> None:
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
        "VALUES (?, 'attributes', ?, '', ?)",
        (name, name, WRITTEN),
    )


def _rows(frame: pd.DataFrame) -> Iterable[tuple[object, ...]]:
    for row in frame.itertuples(index=False):
        values = (value.item() if isinstance(value, np.generic) else value for value in row)
        yield tuple(None if pd.isna(value) else value for value in values)


def _sql_type(column: pd.Series) -> str:
    if types.is_bool_dtype(column):
        return "BOOLEAN"
    if types.is_integer_dtype(column):
        return "INTEGER"
    return "REAL" if types.is_float_dtype(column) else "TEXT"


def _quoted(name: object) -> str:
    return '"' + str(name).replace('"', '""') + '"'
