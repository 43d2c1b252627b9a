"""`iter_tables`: a map → Arrow tables, the short way to a file: no object of Python for any polygon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geoseg.classmap import class_names, geobox_of
from geoseg.polygons.batches import Batch, iter_batches, names_of
from geoseg.polygons.shapes import Wkb
from geoseg.polygons.source import Outlines

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["iter_tables"]


def iter_tables(
    class_map: xr.DataArray,
    *,
    confidence: xr.DataArray | None = None,
    multi: bool = False,
    strip_rows: int | None = None,
    threads: int | None = None,
    cluster: str | None = None,
    **outlines: Any,
) -> Iterator[pa.Table]:
    """`iter_polygons` as Arrow tables.

    Parameters
    ----------
    class_map, confidence, strip_rows, threads, cluster
        See `vectorize`.
    multi
        Shapes are MultiPolygons, as 8-connected maps need; otherwise Polygons.
    outlines
        ``connectivity``, ``min_area``, ``simplify``, ``smooth``, see `vectorize`.

    Yields
    ------
    pyarrow.Table
        The columns of `iter_polygons`; ``geometry`` is a column of GeoArrow (``geoarrow.wkb``, with the map's CRS);
        then ``bbox`` (struct of xmin, ymin, xmax, ymax). ``confidence`` is null where none is given. At least one,
        which is empty if the map is.

    Examples
    --------
    >>> from geoseg.classmap import class_map
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 10), "EPSG:32632", resolution=10)
    >>> (table,) = iter_tables(class_map(np.array([[1, 2, 255]], np.uint8), grid, []))
    >>> table["class"].to_pylist(), table["bbox"][1].as_py()["xmin"]
    ([1, 2], 500010.0)
    """
    drawn = Outlines(**outlines)
    batches = iter_batches(
        class_map,
        confidence=confidence,
        outlines=drawn,
        strip_rows=strip_rows,
        threads=threads,
        cluster=cluster,
        wkb="MultiPolygon" if multi else "Polygon",
    )
    names = class_names(class_map)
    crs = geobox_of(class_map).crs.proj.to_json_dict()  # type: ignore[union-attr]
    extension = {
        "ARROW:extension:name": "geoarrow.wkb",
        "ARROW:extension:metadata": json.dumps({"crs": crs, "crs_type": "projjson"}),
    }
    for batch in batches:
        yield _table(batch, names, confidence is not None, extension)


def _table(batch: Batch, known: dict[int, str], with_confidence: bool, extension: dict[str, str]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    for name, values in batch.columns.items():
        if name == "confidence" and not with_confidence:
            columns[name] = pa.nulls(len(values), pa.float64())
        elif name == "class":
            columns[name] = pa.array(values).cast(pa.int64())
            names, places = names_of(values, known)
            columns["class_name"] = pa.array(names, pa.string()).take(pa.array(places))
        else:
            columns[name] = pa.array(values)
    shapes = [_ordered(part.shapes, part.order) for part in batch.take_parts()]  # type: ignore[arg-type]
    columns["geometry"] = pa.chunked_array([wkb for wkb, _ in shapes], pa.large_binary())
    bounds = np.concatenate([box for _, box in shapes])
    sides = [pa.array(np.ascontiguousarray(side)) for side in bounds.T]
    columns["bbox"] = pa.StructArray.from_arrays(sides, ["xmin", "ymin", "xmax", "ymax"])
    table = pa.table(columns)
    at = table.schema.get_field_index("geometry")
    return table.cast(table.schema.set(at, table.schema.field(at).with_metadata(extension)))


def _ordered(shapes: tuple[Wkb, ...], order: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """Shapes in order, as an array of Arrow's; and their bounds."""
    import pyarrow as pa

    whole = pa.concat_arrays(
        pa.Array.from_buffers(
            pa.large_binary(), len(part.bounds), [None, pa.py_buffer(part.offsets), pa.py_buffer(part.data)]
        )
        for part in shapes
    )
    bounds = np.concatenate([part.bounds for part in shapes])
    if (order[1:] > order[:-1]).all():
        return whole, bounds
    return whole.take(pa.array(order)), bounds[order]
