"""The areas of a map's classes by zone."""

from __future__ import annotations

import os
from collections.abc import Callable

import geopandas as gpd
import numpy as np
import xarray as xr

from geoseg.classmap import class_names, classes_of, geobox_of
from geoseg.errors import OptionError
from geoseg.zonal.counting import Sums, check_same_grid, sum_by_zone
from geoseg.zonal.placing import STRAIGHT_M, STRAIGHT_PX, elsewhere, measure_whole, names_of, place_zones
from geoseg.zonal.result import ZoneAreas, class_table, statistics, zone_table

__all__ = ["zone_areas"]

_SAME_SIZE = 1e-3  # ellipsoids differ by 1e-4


def zone_areas(
    class_map: xr.DataArray,
    zones: gpd.GeoDataFrame,
    *,
    zone_field: str | None = None,
    values: xr.DataArray | None = None,
    values_name: str = "value",
    threads: int | None = None,
    on_pixels: Callable[[int], None] | None = None,
) -> ZoneAreas:
    """The true area of each class of a map in each zone.

    A pixel that a zone's border crosses counts with the part that lies in the zone, exactly: with the part's true area
    on the ellipsoid, in any CRS of the map. Zones may overlap, have several parts and holes, and lie partly or wholly
    outside of the map. Features with one name stay zones of their own, in rows of their own.

    Parameters
    ----------
    class_map
        Any categorical map with a grid: (row, col) integers, or floats with whole values and NaN; numpy or Dask. It is
        read once, strip by strip.
    zones
        Polygons and MultiPolygons, in any CRS. Their edges are straight in that CRS; where the map has another one they
        get as many vertices as it takes to be within 1e-5 pixel and 1 mm of it there.
    zone_field
        The column with the names of zones. None: they are numbered from 1.
    values
        Numbers on the same grid (confidence, a height), NaN or ``_FillValue`` where there are none: their statistics
        are given beside, each pixel weighted by its true area in the zone.
    values_name
        What the columns of these statistics begin with.
    threads
        So many zones are summed at the same time; None: one for each core. The result is the same to the bit.
    on_pixels
        Called with the number of pixels done since the last call.

    Returns
    -------
    ZoneAreas
        ``.table`` by zone and class, ``.zones`` by zone, ``.wide()`` and ``.layer()``.

    Raises
    ------
    OptionError
        No zone, no CRS, no such field, a zone without a name, one that is no polygon or invalid; no zone on the map;
        one that the CRS of the map tears apart.
    SceneError
        The map has no CRS or grid, fractions instead of classes, or more than 600 classes.
    MismatchError
        The values lie on another grid.

    Examples
    --------
    >>> import shapely
    >>> from odc.geo.geobox import GeoBox
    >>> from geoseg.classes import ClassInfo
    >>> from geoseg.classmap import class_map
    >>> grid = GeoBox.from_bbox((500000, 0, 500030, 20), "EPSG:32632", resolution=10)
    >>> legend = [ClassInfo(1, "forest"), ClassInfo(2, "open water")]
    >>> cover = class_map(np.array([[1, 1, 2], [1, 255, 2]], np.uint8), grid, legend)
    >>> parish = shapely.box(500005, 0, 500030, 20)
    >>> parishes = gpd.GeoDataFrame({"name": ["Au"]}, geometry=[parish], crs="EPSG:32632")
    >>> found = zone_areas(cover, parishes, zone_field="name")
    >>> found.table[["zone", "class_name", "pixels", "share"]].round(4).values.tolist()
    [['Au', 'forest', 2.0, 0.5], ['Au', 'open water', 2.0, 0.5]]
    >>> found.zones[["mapped_share", "no_data_share", "outside_share"]].round(4).values.tolist()
    [[0.8, 0.2, 0.0]]
    >>> zone_areas(cover, parishes.iloc[:0])
    Traceback (most recent call last):
    geoseg.errors.OptionError: A sum by zone needs zones, but the layer is empty. Choose another file or layer.
    """
    if threads is not None and threads < 1:
        raise OptionError(f"There must be at least one thread, but threads={threads}. Give 1 or more.")
    geobox = geobox_of(class_map)
    if values is not None:
        check_same_grid(class_map, values)
    names = names_of(zones, zone_field)
    placed = place_zones(zones, names, geobox)
    sums = sum_by_zone(class_map, placed, values=values, threads=threads or os.cpu_count() or 1, on_pixels=on_pixels)
    if not sums.area_m2.any():
        raise elsewhere(zones, geobox)

    legend = class_names(class_map)
    labels = {value: legend.get(value, f"class {value}") for value in sums.values}
    whole_m2 = measure_whole(zones, ~placed.inside | placed.moved)
    if placed.moved:
        _check_sizes(names, sums, whole_m2, placed.inside)
    by_zone = zone_table(names, sums, whole_m2, labels, placed.inside)
    table = class_table(by_zone, sums, labels)
    if values is not None:
        of_class = statistics(sums.moments[:, :-1], sums.extremes[:, :-1], sums.origins[:, None], values_name)
        table = table.assign(**{name: column.ravel() for name, column in of_class.items()})
        moments = sums.moments.sum(axis=1)
        extremes = np.stack([sums.extremes[..., 0].min(axis=1), sums.extremes[..., 1].max(axis=1)], axis=-1)
        by_zone = by_zone.assign(**statistics(moments, extremes, sums.origins, values_name))
        by_zone[f"{values_name}_area_m2"] = moments[:, 0] * sums.unit_m2
    settings = {
        "zone_field": zone_field,
        "values": None if values is None else values_name,
        "map_crs": geobox.crs.proj.name,  # type: ignore[union-attr]
        "zones_crs": zones.crs.name,
        "edges_straight_px": STRAIGHT_PX,
        "edges_straight_m": STRAIGHT_M,
    }
    return ZoneAreas(table, by_zone, zones, classes_of(class_map, values=sums.values), settings)


def _check_sizes(names: list[str], sums: Sums, whole_m2: np.ndarray, inside: np.ndarray) -> None:
    """Zones that were moved must have their size still, where all of it is on the map."""
    found_m2 = sums.area_m2.sum(axis=1)
    pixel_m2 = found_m2.sum() / sums.pixels.sum()
    wrong = np.flatnonzero(inside & (np.abs(found_m2 - whole_m2) > _SAME_SIZE * (whole_m2 + pixel_m2)))
    if len(wrong):
        zone = wrong[0]
        raise OptionError(
            f"A zone must be as large in the CRS of the map as in its own, but {names[zone]!r} has "
            f"{found_m2[zone] / 1e4:.6g} instead of {whole_m2[zone] / 1e4:.6g} ha there. Check both CRSs; where it "
            "reaches the edge of a projection, cut it there first."
        )
