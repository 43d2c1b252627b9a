"""The shapes of finished polygons as they leave: geometries of shapely for a GeoDataFrame, WKB for a file."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import shapely

from geoseg.polygons.compiled import entry

__all__ = ["Rings", "Wkb", "encode", "geometries"]


class Rings(NamedTuple):
    """Shapes as flat arrays."""

    coords: Any
    """(vertex, 2) float64; rings are closed."""
    ring_offsets: Any
    """(ring + 1,) int64 into coords."""
    part_offsets: Any
    """(part + 1,) int64 into rings; a part's first ring is its exterior."""
    feature_offsets: Any
    """(feature + 1,) int64 into parts."""


class Wkb(NamedTuple):
    """Shapes as well-known binary: little-endian, ISO 19125."""

    data: np.ndarray
    """(byte,) uint8: one shape after the other."""
    offsets: np.ndarray
    """(feature + 1,) int64 into data."""
    bounds: np.ndarray
    """(feature, 4) float64: xmin, ymin, xmax, ymax."""


def geometries(rings: Rings) -> np.ndarray:
    """Polygons, and MultiPolygons where a feature has several parts.

    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    >>> one = np.array([0, 1])
    >>> geometries(Rings(square, np.array([0, 5]), one, one)).tolist()
    [<POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))>]
    """
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, rings.coords, (rings.ring_offsets, rings.part_offsets)
    )
    counts = np.diff(rings.feature_offsets)
    if (counts == 1).all():
        return polygons
    features = polygons[rings.feature_offsets[:-1]]
    several = np.flatnonzero(counts > 1)
    feature_of_part = np.repeat(np.arange(len(counts)), counts)
    chosen = counts[feature_of_part] > 1
    place = np.searchsorted(several, feature_of_part[chosen])
    features[several] = shapely.multipolygons(polygons[chosen], indices=place)
    return features


def encode(rings: Rings, *, multi: bool) -> Wkb:
    """The same shapes as WKB: all MultiPolygons, or all Polygons.

    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    >>> one = np.array([0, 1])
    >>> wkb = encode(Rings(square, np.array([0, 5]), one, one), multi=True)
    >>> shapely.from_wkb(wkb.data.tobytes()), wkb.bounds.tolist()
    (<MULTIPOLYGON (((0 0, 1 0, 1 1, 0 1, 0 0)))>, [[0.0, 0.0, 1.0, 1.0]])
    """
    coords = np.ascontiguousarray(rings.coords, "<f8")
    return Wkb(*_encode(coords, coords.view(np.uint8).reshape(-1), *rings[1:], multi))


@entry
def _encode(coords, raw, ring_offsets, part_offsets, feature_offsets, multi):
    n = feature_offsets.shape[0] - 1
    n_parts = part_offsets.shape[0] - 1
    n_rings = ring_offsets.shape[0] - 1
    data = np.empty(9 * (n_parts + (n if multi else 0)) + 4 * n_rings + raw.shape[0], np.uint8)
    offsets = np.zeros(n + 1, np.int64)
    bounds = np.empty((n, 4), np.float64)
    at = 0
    for i in range(n):
        first, last = feature_offsets[i], feature_offsets[i + 1]
        low_x = low_y = np.inf
        high_x = high_y = -np.inf
        for head in range(0 if multi else 1, last - first + 1):
            # First the feature's head, with its number of parts; then each part's, with its number of rings.
            part = first + head - 1
            count = last - first if head == 0 else part_offsets[part + 1] - part_offsets[part]
            data[at] = 1
            for k, number in enumerate((6 if head == 0 else 3, count)):
                for byte in range(4):
                    data[at + 1 + 4 * k + byte] = (number >> 8 * byte) & 255
            at += 9
            if head == 0:
                continue
            for ring in range(part_offsets[part], part_offsets[part + 1]):
                start, stop = ring_offsets[ring], ring_offsets[ring + 1]
                for byte in range(4):
                    data[at + byte] = (stop - start >> 8 * byte) & 255
                at += 4
                for k in range(16 * (stop - start)):
                    data[at + k] = raw[16 * start + k]
                at += 16 * (stop - start)
            exterior = part_offsets[part]
            for v in range(ring_offsets[exterior], ring_offsets[exterior + 1]):
                low_x = min(low_x, coords[v, 0])
                high_x = max(high_x, coords[v, 0])
                low_y = min(low_y, coords[v, 1])
                high_y = max(high_y, coords[v, 1])
        offsets[i + 1] = at
        bounds[i, 0] = low_x
        bounds[i, 1] = low_y
        bounds[i, 2] = high_x
        bounds[i, 3] = high_y
    return data, offsets, bounds
