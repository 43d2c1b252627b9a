"""How much area lies left of any place of a row, above any height within the row: what partial pixels are measured by.

`PixelAreas.table` has the area of a row from column 0 to x, C(x), for the whole height of the row. For a part of its
height one must know how C changes within the row. On the row r, with s from -1 at its upper edge to 1 at its lower one,

    C(s, x) = C_0(x) + p_1(s) C_1(x) + p_2(s) C_2(x) + p_3(s) C_3(x)

with Legendre polynomials p_k. Their mean over the whole row is 0 for k > 0: a whole pixel is just what `table` says.
"""

from __future__ import annotations

import numpy as np

from geoseg.areas import PixelAreas

__all__ = ["RowProfile"]

_ORDERS = 4  # pixels of 1°: 1e-10 of their area is left
_NEGLIGIBLE = 1e-13  # part of the area of a row: orders below it do not matter
_TRIED = 64  # rows in which orders are looked for
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_ORDERS)


class RowProfile:
    """The coefficients of C on the rows of a grid.

    Parameters
    ----------
    areas
        The grid.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> profile = RowProfile(PixelAreas(GeoBox.from_bbox((10, 50, 12, 51), "EPSG:4326", resolution=1)))
    >>> knots, coefs = profile.rows(0, 1)
    >>> knots, coefs.shape
    (array([0, 2]), (1, 4, 1, 4))
    """

    def __init__(self, areas: PixelAreas) -> None:
        self._areas = areas
        self._edges, _, self._surface = areas.surface()
        height = areas.geobox.shape[0]
        self._orders = _ORDERS
        tried = np.unique(np.linspace(0, height - 1, min(height, _TRIED)).astype(np.int64))
        slopes = np.abs(np.concatenate([self.rows(row, row + 1)[1] for row in tried])[..., 1])  # (row, order, piece)
        matters = (slopes > _NEGLIGIBLE * np.maximum(slopes[:, :1], 1e-300)).any(axis=(0, 2))
        self._orders = int(matters.nonzero()[0].max(initial=0)) + 1

    def rows(self, row0: int, row1: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows ``row0..row1-1``.

        Returns
        -------
        knots, coefs
            int64 (piece + 1,) and float64 (row, order, piece, 4), m²: cubics in x as those of `PixelAreas.table`, which
            are order 0. A row's numbers do not depend on row0 and row1.
        """
        knots, table = self._areas.table(row0, row1)
        coefs = np.zeros((row1 - row0, self._orders, *table.shape[1:]))
        coefs[:, 0] = table
        if self._orders > 1:
            rows = np.arange(row0, row1)
            for node, weight in zip(_NODES, _WEIGHTS, strict=True):
                at = self._at(rows + (1 + node) / 2)
                for order in range(1, self._orders):
                    legendre = np.polynomial.legendre.legval(node, np.eye(order + 1)[order])
                    coefs[:, order] += (order + 0.5) * weight * legendre * at
        return knots, coefs

    def _at(self, rows: np.ndarray) -> np.ndarray:
        """C at places along the column axis: (place, piece, 4)."""
        panel = np.clip(np.searchsorted(self._edges, rows, side="right") - 1, 0, len(self._edges) - 2)
        start, stop = self._edges[panel], self._edges[panel + 1]
        s = ((2 * rows - start - stop) / (stop - start))[:, None, None]
        before, now = s, np.ones_like(s)
        total = np.zeros((len(rows), *self._surface.shape[2:]))
        for order in range(self._surface.shape[1]):  # in a fixed order: the same bits for whichever rows are asked for
            total += now * self._surface[panel, order]
            before, now = now, 2 * s * now - before
        return total
