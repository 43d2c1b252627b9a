"""`sieve`: regions under a minimum size are filled by their neighbours, never punched out.

**Regions** are connected pixels of one value, across edges (connectivity 4) or across corners too (8); nodata belongs
to none. A region's **size** is its number of pixels or its true area (in the integers of `PixelAreas`, so that no sum
depends on an order). It is **small** if its size is below the minimum.

**Filling.** The smallest small region is filled first; of equal ones the one whose first pixel comes first, row by row.
It gets the value with which it shares the longest border, counted in pixel edges; of equal ones the value at the first
edge, by pixel, row by row, then north, west, east, south: so no class is favoured. Edges to nodata and to the outside
do not count. The region unites with the regions of that value beyond those edges, and their sizes are added: if they
are still small together, they take their new place in the order; otherwise they are finished. This goes on until there
is no small region with a valid neighbour across an edge; those without one stay as they are. Nodata neither grows nor
shrinks. (Corners count for what is one region of the map, but a region that was filled is not united across them.)

Borders are counted by value, not by region. So it does not matter whether two large regions are one somewhere else, and
what a small region becomes depends on its small neighbours only. That makes it possible to do the same out of core:
`label` and `note` read the map row by row and keep only what is still small, `fill` fills a region as soon as nothing
can change the outcome any more, and rows leave in order when no region in them can change. How the map is cut into
strips cannot be seen in the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import xarray as xr

from geoseg.areas import PixelAreas
from geoseg.classmap import geobox_of, iter_strips, nodata_of
from geoseg.errors import OptionError
from geoseg.polygons.fill import fill
from geoseg.polygons.gather import label, new_lines, note
from geoseg.polygons.integers import Integers
from geoseg.polygons.patches import BORDER, NONE, PATCH, RUN, compact, first_pending_row, paint, roots
from geoseg.polygons.pending import Pending, StripRows
from geoseg.units import Area, parse_area, with_unit

__all__ = ["Sieving", "sieve", "sieve_strips", "smallest_size"]

_STRIP_ROWS = 64
_PENDING_BYTES = 256 << 20
_TABLE_ROWS = 1024  # of areas that are asked for at once
_LARGEST = 2**62


def sieve(class_map: xr.DataArray, *, min_area: str | float | Area, connectivity: int = 4) -> xr.DataArray:
    """A class map or an object map without small regions: each is filled by its neighbours.

    Smallest first, each region below the minimum gets the value with which it shares the longest border (the module's
    text says it exactly). Pixels of nodata stay nodata, and no other pixel becomes nodata. The result depends on the
    map alone, not on Dask's chunks.

    Parameters
    ----------
    class_map
        (row, col) integers, numpy or Dask, with a grid and a CRS; nodata as in `vectorize`.
    min_area
        Regions smaller than this are filled: ``"500m2"``, ``"0.05ha"``, ``"1km2"`` (true area on the ellipsoid) or
        ``"9px"``; a number alone is m² where the map's coordinates are metres.
    connectivity
        4: pixels of one region are connected across edges. 8: across corners too.

    Returns
    -------
    DataArray
        In memory, with the map's grid, type, name and attributes.

    Raises
    ------
    OptionError
        Values are not integers, or an option has a value that it cannot have.
    SceneError
        No grid or CRS.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500050, 20), "EPSG:32632", resolution=10)
    >>> cover = class_map(np.array([[1, 1, 1, 2, 255], [1, 3, 1, 2, 2]], np.uint8), grid, [])
    >>> sieve(cover, min_area="2px").values.tolist()
    [[1, 1, 1, 2, 255], [1, 1, 1, 2, 2]]
    >>> sieve(cover, min_area="0.035ha").values.tolist()
    [[1, 1, 1, 1, 255], [1, 1, 1, 1, 1]]
    >>> sieve(class_map(np.full((1, 2), 255, np.uint8), grid[:1, :2], []), min_area="2px").values.tolist()
    [[255, 255]]
    """
    if connectivity not in (4, 8):
        raise OptionError(f"Pixels are connected by 4 or 8 neighbours, but connectivity={connectivity!r}.")
    integers = Integers(class_map.dtype, nodata_of(class_map))
    minimum, areas = smallest_size(class_map, min_area)
    values = np.empty(class_map.shape, class_map.dtype)
    sieved = sieve_strips(
        ((row0, integers.convert(strip), None) for row0, strip in iter_strips(class_map, rows=_STRIP_ROWS)),
        values.shape[1],
        dtype=integers.dtype,
        nodata=integers.nodata,
        connectivity=connectivity,
        minimum=minimum,
        areas=areas,
    )
    for row0, strip, _ in sieved:
        values[row0 : row0 + len(strip)] = strip
    return class_map.copy(data=values)


def smallest_size(class_map: xr.DataArray, min_area: str | float | Area) -> tuple[int, PixelAreas | None]:
    """The smallest size that a region keeps, as an integer: pixels, or units of the areas that are given with it.

    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((0, 0, 2, 1), "EPSG:4326", resolution=1)
    >>> smallest_size(class_map(np.zeros((1, 2), np.uint8), grid, []), "2.5px")
    (3, None)
    """
    geobox = geobox_of(class_map)
    area = with_unit(parse_area(min_area), geobox)
    areas = PixelAreas(geobox) if area.unit == "m2" else None
    size = area.value if areas is None else area.value / areas.unit_m2
    return math.ceil(min(size, _LARGEST)), areas


def sieve_strips(
    strips: Iterable[StripRows],
    width: int,
    *,
    dtype: np.dtype,
    nodata: int,
    connectivity: int,
    minimum: int,
    areas: PixelAreas | None = None,
) -> Iterator[StripRows]:
    """`sieve` strip by strip: each leaves as soon as no pixel of it can change.

    Memory holds the regions that are still small and the strips that they touch, these up to 256 MB; what is more waits
    in a temporary file.

    Parameters
    ----------
    strips
        All rows from top to bottom, cut anywhere: each strip's first row, its values (row, col), C-contiguous, and its
        confidence or None. They are kept, so they must not be changed by others.
    width
        Columns.
    dtype, nodata
        Of the values: uint8 or int32; pixels with the value nodata belong to no region.
    connectivity
        4 or 8.
    minimum
        Regions of a smaller size are filled.
    areas
        Of the map: sizes are in its units. None: sizes are in pixels.

    Yields
    ------
    row0, values, confidence
        The strips that came, in their order, with small regions filled; their confidence as it was.

    Examples
    --------
    >>> strips = [(0, np.array([[1, 1, 2]], np.uint8), None), (1, np.array([[1, 1, 1]], np.uint8), None)]
    >>> sieved = sieve_strips(strips, 3, dtype=np.uint8, nodata=255, connectivity=4, minimum=2)
    >>> [values.tolist() for _, values, _ in sieved]
    [[[1, 1, 1]], [[1, 1, 1]]]
    >>> list(sieve_strips([], 3, dtype=np.uint8, nodata=255, connectivity=4, minimum=2))
    []
    """
    state = Sieving(width, np.dtype(dtype), nodata, connectivity == 8, minimum, areas)
    for strip in strips:
        state.add(strip)
        yield from state.finished()
    state.close()
    yield from state.finished()


class Sieving:
    """All that may still change in the rows that came: its size follows the small regions, not the map."""

    def __init__(
        self, width: int, dtype: np.dtype, nodata: int, across_corners: bool, minimum: int, areas: PixelAreas | None
    ) -> None:
        self.nodata = dtype.type(nodata)
        self.reach = across_corners
        self.minimum = min(minimum, _LARGEST)
        self.sizes = _Sizes(areas)
        self.lines = new_lines(width)
        self.patches, self.n_patches = np.empty(1 << 10, PATCH), 0
        self.runs, self.n_runs = np.empty(1 << 12, RUN), 0
        self.borders, self.n_borders = np.empty(1 << 12, BORDER), 0
        self.live = (0, 0, 0)
        self.oldest = 0  # no patch before this row of the table can change
        self.row_runs = np.empty(0, np.int32)
        self.first_row = self.end_row = 0
        self.pending = Pending(_PENDING_BYTES)

    def add(self, strip: StripRows) -> None:
        """Read a strip and fill what can be filled."""
        row0, values, _ = strip
        if not self.end_row:
            self.first_row = row0
        self.end_row = row0 + len(values)
        self.row_runs = np.concatenate([self.row_runs, np.full(len(values), NONE, np.int32)])
        self.pending.add(strip)
        n_looked_at = self._compact()
        old_front = roots(self.patches, self._front())
        self.lines, self.patches, self.n_patches = label(
            values,
            row0,
            self.nodata,
            self.minimum,
            self.reach,
            self.lines,
            *self.sizes.table(row0, self.end_row),
            self.patches,
            self.n_patches,
            self.runs,
            self.borders,
            self.row_runs,
            self.first_row,
        )
        self.runs, self.n_runs, self.borders, self.n_borders = note(
            self.lines, row0, self.patches, self.runs, self.n_runs, self.borders, self.n_borders
        )
        self._fill(n_looked_at, old_front, self.end_row - 1)

    def close(self) -> None:
        """No more rows come: fill what is left."""
        self._fill(0, self._front(), self.end_row)

    def finished(self) -> Iterator[StripRows]:
        """The strips in which nothing can change."""
        self.oldest, end = first_pending_row(self.patches, self.n_patches, self.oldest, self.end_row)
        while strip := self.pending.pop(int(end)):
            row0, values, confidence = strip
            values = values.copy()
            paint(values, self.row_runs, self.runs)
            self.row_runs = self.row_runs[len(values) :]
            self.first_row += len(values)
            yield row0, values, confidence

    def _front(self) -> np.ndarray:
        """The regions of the last row."""
        return self.lines.regions[self.lines.offsets[-2] : self.lines.offsets[-1] - 1]

    def _fill(self, n_looked_at: int, old_front: np.ndarray, last_row: int) -> None:
        fill(
            self.patches,
            n_looked_at,
            self.n_patches,
            old_front,
            last_row,
            self.minimum,
            self.runs,
            self.borders,
            self.row_runs,
            self.first_row,
        )

    def _compact(self) -> int:
        """Forget what is settled once it is the larger part; the number of patches that need not be looked at again."""
        used = (self.n_patches, self.n_runs, self.n_borders)
        if all(n <= 2 * live + (1 << 12) for n, live in zip(used, self.live, strict=True)):
            return self.n_patches
        self.patches, self.runs, self.n_runs, self.borders, self.n_borders = compact(
            self.patches,
            self.n_patches,
            self.runs,
            self.borders,
            self.row_runs,
            self._front(),
        )
        self.n_patches = len(self.patches)
        self.live = (self.n_patches, self.n_runs, self.n_borders)
        self.oldest = 0
        return 0


class _Sizes:
    """What a run's size is computed from."""

    def __init__(self, areas: PixelAreas | None) -> None:
        self.areas = areas
        self.start = self.stop = 0
        self.knots, self.coefs = np.empty(0, np.int64), np.empty((0, 0, 4))

    def table(self, row0: int, end: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Knots, coefs and unit for `label`; empty where sizes are pixels."""
        if self.areas is None:
            return self.knots, self.coefs, 1.0
        if end > self.stop:  # a table's rows do not depend on where it is cut; a long one costs less per row
            self.start, self.stop = row0, max(end, min(row0 + _TABLE_ROWS, self.areas.geobox.shape[0]))
            self.knots, self.coefs = self.areas.table(self.start, self.stop)
        return self.knots, self.coefs[row0 - self.start : end - self.start], self.areas.unit_m2
