"""Where lattice vertices lie and how long a step between them is on the ground."""

from __future__ import annotations

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.areas import PixelAreas
from geoseg.polygons.strip import Ground

__all__ = ["ground_of"]

_LENGTH_TOLERANCE = 2e-6  # relative, of a step's length on the ground
_MOST_CELLS = 4096  # along each axis


def ground_of(geobox: GeoBox, areas: PixelAreas) -> Ground:
    """Ground lengths as bilinear surfaces over a few cells: halved until the middles of cells are met."""
    counts = [1, 1]
    while True:
        rows, cols = (np.linspace(0.0, n, 2 * k + 1) for n, k in zip(geobox.shape, counts, strict=True))
        at_cols, at_rows = np.meshgrid(cols, rows)
        lengths = np.stack(areas.edge_lengths(at_cols.ravel(), at_rows.ravel()), axis=-1)
        lengths = lengths.reshape(len(rows), len(cols), 2)
        errors = [
            np.max(abs(v[:-2:2] + v[2::2] - 2 * v[1::2]) / np.maximum(v[:-2:2] + v[2::2], 1e-300))
            for v in (lengths, lengths.swapaxes(0, 1))
        ]
        more = [
            error > _LENGTH_TOLERANCE and k < min(n, _MOST_CELLS)
            for error, k, n in zip(errors, counts, geobox.shape, strict=True)
        ]
        if not any(more):
            break
        counts = [2 * k if halve else k for k, halve in zip(counts, more, strict=True)]
    nodes = lengths[::2, ::2]
    rows, cols = rows[::2, None, None], cols[::2, None]
    height, width = rows[1] - rows[0], cols[1] - cols[0]
    north, south = nodes[:-1], nodes[1:]
    by_col = np.diff(north, axis=1) / width
    by_row = (south - north)[:, :-1] / height
    by_both = (np.diff(south, axis=1) / width - by_col) / height
    row, col = rows[:-1], cols[:-1]  # of each cell's first corner, from where the surface is moved to the map's
    surfaces = np.stack(
        [
            north[:, :-1] - by_col * col - by_row * row + by_both * row * col,
            by_col - by_both * row,
            by_row - by_both * col,
            by_both,
        ],
        axis=-1,
    )
    cells = np.array(counts) / geobox.shape
    return Ground(tuple(geobox.transform)[:6], areas.unit_m2, np.ascontiguousarray(surfaces), cells)
