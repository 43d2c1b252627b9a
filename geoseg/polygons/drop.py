"""Small regions are left out: they become nodata, whatever lies around them.

`sieve` fills a small region with what surrounds it, as a map of land cover needs it. In a map of change that would be
wrong: a small patch that stayed as it was would be filled with the change around it, and a small change in the middle
of another one with that. There a small change is left out, and nothing else is touched.

Regions and sizes are those of `sieve`, and so is the way out of core: rows leave in order when it is known of each of
their regions whether it is small, so memory holds the regions that still may be and the strips that they touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from geoseg.areas import PixelAreas
from geoseg.polygons.compiled import entry
from geoseg.polygons.patches import settle
from geoseg.polygons.pending import StripRows
from geoseg.polygons.sieve import Sieving

__all__ = ["drop_strips"]


def drop_strips(
    strips: Iterable[StripRows],
    width: int,
    *,
    dtype: np.dtype,
    nodata: int,
    connectivity: int,
    minimum: int,
    areas: PixelAreas | None = None,
) -> Iterator[StripRows]:
    """Regions below the minimum become nodata, strip by strip; each strip leaves as soon as no pixel of it can change.

    Parameters
    ----------
    strips, width, dtype, nodata, connectivity, minimum, areas
        See `geoseg.polygons.sieve.sieve_strips`.

    Yields
    ------
    row0, values, confidence
        The strips that came, in their order; their confidence as it was.

    Examples
    --------
    >>> strips = [(0, np.array([[1, 1, 2]], np.uint8), None), (1, np.array([[1, 9, 9]], np.uint8), None)]
    >>> dropped = drop_strips(strips, 3, dtype=np.uint8, nodata=255, connectivity=4, minimum=2)
    >>> [values.tolist() for _, values, _ in dropped]
    [[[1, 1, 255]], [[1, 9, 9]]]
    """
    state = _Dropping(width, np.dtype(dtype), nodata, connectivity == 8, minimum, areas)
    for strip in strips:
        state.add(strip)
        yield from state.finished()
    state.close()
    yield from state.finished()


class _Dropping(Sieving):
    """What is small when no row can add to it is nodata."""

    def _fill(self, n_looked_at: int, old_front: np.ndarray, last_row: int) -> None:
        front = self._front() if last_row < self.end_row else np.empty(0, np.int32)
        _drop(self.patches, self.n_patches, front, self.nodata, self.runs, self.row_runs, self.first_row)


@entry
def _drop(patches, n, front, nodata, runs, row_runs, first_row):
    """Settle, as nodata, the patches that no region of the last row belongs to."""
    open_ = np.zeros(n, np.bool_)
    for h in front:
        if h >= 0:
            while patches[h].parent != h:
                h = patches[h].parent
            open_[h] = True
    for h in range(n):
        patch = patches[h]
        if patch.parent == h and not patch.settled and not open_[h]:
            patch.value = nodata
            patch.filled = True
            settle(patches, runs, row_runs, first_row, h)
