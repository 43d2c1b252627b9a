"""Small patches of change are left out: the ground is taken for what it was before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from odc.geo.xr import wrap_xr

from geoseg.areas import PixelAreas
from geoseg.areas.rows import add_runs
from geoseg.change.coded import number_strips
from geoseg.change.legends import Legends
from geoseg.change.pairing import Stack
from geoseg.classes import NODATA
from geoseg.errors import OptionError
from geoseg.polygons.drop import drop_strips
from geoseg.polygons.sieve import smallest_size
from geoseg.units import Area

__all__ = ["LargeChanges"]


class LargeChanges:
    """Pairs of classes without small patches of change, strip by strip, and what was counted on the way.

    A patch is a connected region of one change, "forest → field", as a polygon of the layer is. Where it is smaller
    than the minimum, its pixels become "forest (unchanged)", whatever lies around them. What stayed as it was, however
    small, is never touched: no small island of forest is filled with the clearing around it.

    Parameters
    ----------
    stack, legends
        The maps; of more than two, the first and the last are compared.
    min_area
        The smallest patch that is kept: ``"0.5ha"``, ``"500m2"``, ``"9px"``.
    connectivity
        4: pixels of one patch are connected across edges. 8: across corners too.

    Raises
    ------
    OptionError
        An option has a value that it cannot have.
    """

    pixels: dict[tuple[str, str], int]
    """Pixels of each pair of classes, by names, in the strips that have passed."""
    units: dict[tuple[str, str], int]
    """The same as area, in integers of `PixelAreas.unit_m2`."""

    def __init__(self, stack: Stack, legends: Legends, *, min_area: str | float | Area, connectivity: int = 4) -> None:
        if connectivity not in (4, 8):
            raise OptionError(f"Pixels are connected by 4 or 8 neighbours, but connectivity={connectivity!r}.")
        self.legends, self.connectivity = legends, connectivity
        self._stack = stack
        self._minimum, self._sized_by = smallest_size(wrap_xr(stack.maps[-1], stack.geobox), min_area)
        self._areas = PixelAreas(stack.geobox)
        self._sums = np.zeros((2, len(legends.values) ** 2 + 1), np.int64)

    def strips(self) -> Iterator[tuple[int, np.ndarray]]:
        """First row and numbers of pairs, int32 (row, col) as in `number_strips`, of each strip from top to bottom."""
        count = np.int32(len(self.legends.values))
        nothing = count * count
        kept = drop_strips(
            self._changes(count),
            self._stack.geobox.shape[1],
            dtype=np.dtype(np.int32),
            nodata=-1,
            connectivity=self.connectivity,
            minimum=self._minimum,
            areas=self._sized_by,
        )
        for row0, changes, was in kept:
            assert was is not None  # it was given
            numbers = np.where(was == NODATA, nothing, was.astype(np.int32) * (count + np.int32(1)))
            np.copyto(numbers, changes, where=changes >= 0)
            table = self._areas.table(row0, row0 + len(numbers))
            add_runs(numbers, 0, *table, self._areas.unit_m2, *self._sums)
            yield row0, numbers
        names = list(self.legends.values)
        found = np.flatnonzero(self._sums[0, :-1]).tolist()
        by_pair = {(names[number // count], names[number % count]): self._sums[:, number].tolist() for number in found}
        self.pixels, self.units = ({pair: sums[k] for pair, sums in by_pair.items()} for k in (0, 1))

    def _changes(self, count: np.int32) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Changes alone, -1 elsewhere; and beside them what was there before."""
        for row0, numbers in number_strips(self._stack, self.legends):
            before, after = np.divmod(numbers, count)
            nothing = numbers == count * count
            values = np.where(nothing | (before == after), np.int32(-1), numbers)
            yield row0, values, np.where(nothing, NODATA, before).astype(np.uint8)
