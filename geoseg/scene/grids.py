"""Where pixels are: positions from one grid to another, true ground lengths, metric grids."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
import pyproj
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer

from geoseg.errors import OptionError, SceneError

__all__ = [
    "Gcps",
    "crs_text",
    "distorts",
    "ground_steps",
    "metres_per_unit",
    "metric_grid",
    "positions",
    "same_grid",
    "snapped_grid",
    "window_of",
]

DISTORTION = 0.01
"""A CRS is left for a local one where its scale is off by more than this anywhere in the scene."""
MOST_DISTORTION = 0.05
"""A scene is too wide for one local grid where that grid's scale is off by more than this."""


@dataclass(frozen=True)
class Gcps:
    """The position of a raster that has ground control points only (GDAL's polynomial through them)."""

    shape: tuple[int, int]
    """Rows and columns."""
    points: tuple[tuple[float, float, float, float], ...]
    """Row, column, x and y of each point."""
    crs: str
    """The CRS of x and y."""


_local = threading.local()


def _transformer(source: str, target: str) -> pyproj.Transformer:
    """A transformer of this thread (PROJ contexts are not to be shared)."""
    cache = _local.__dict__.setdefault("transformers", {})
    if (source, target) not in cache:
        cache[source, target] = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return cache[source, target]


def _gcp_transformer(place: Gcps) -> GCPTransformer:
    cache = _local.__dict__.setdefault("gcps", {})
    if place not in cache:
        cache[place] = GCPTransformer([GroundControlPoint(*point) for point in place.points])
    return cache[place]


def crs_text(crs: object) -> str:
    """A CRS as text: ``EPSG:32633`` where it has a code, else WKT; OptionError where it is none.

    >>> crs_text("epsg:32633"), crs_text(4326)
    ('EPSG:32633', 'EPSG:4326')
    """
    try:
        parsed = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise OptionError(
            f"A CRS is written EPSG:32633 or as WKT, but {crs!r} is none that PROJ knows ({error}). Give --crs EPSG:..."
        ) from error
    authority = parsed.to_authority(min_confidence=100)
    return ":".join(authority) if authority else parsed.to_wkt()


def world_of(place: GeoBox | Gcps, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World x and y of pixel positions (0, 0 is the outer corner of the first pixel)."""
    if isinstance(place, Gcps):
        with rasterio.Env():
            x, y = _gcp_transformer(place).xy(rows.ravel(), cols.ravel(), offset="ul")
        return np.reshape(x, rows.shape), np.reshape(y, rows.shape)
    a = place.affine
    return a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f


def positions(
    place: GeoBox | Gcps, target: GeoBox, cols: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions in `place` of pixel positions in `target` (x, y; not finite where there is none)."""
    x, y = world_of(target, cols, rows)
    source = str(place.crs)
    if str(target.crs) != source:
        x, y = _transformer(str(target.crs), source).transform(x, y)
    if isinstance(place, Gcps):
        with rasterio.Env():
            found = _gcp_transformer(place).rowcol(x.ravel(), y.ravel(), op=lambda value: value)
        v, u = (np.reshape(np.asarray(item, float), x.shape) for item in found)
        return u, v
    if place.crs.geographic:  # a scene may cross the date line, or count longitudes from 0 to 360
        middle = world_of(place, np.array(place.shape[1] / 2), np.array(place.shape[0] / 2))[0]
        with np.errstate(invalid="ignore"):
            x = np.where(np.abs(x - middle) > 180, middle + np.mod(x - middle + 180, 360) - 180, x)
    inverse = ~place.affine
    return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f


def window_of(geobox: GeoBox, rows: slice, cols: slice) -> GeoBox:
    """The GeoBox of a window."""
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    return GeoBox(shape, geobox.affine * Affine.translation(cols.start, rows.start), geobox.crs)


def same_grid(one: GeoBox, other: GeoBox) -> bool:
    """True if both have the same pixels: equal shape and CRS, corners within 1e-6 of a pixel."""
    if tuple(one.shape) != tuple(other.shape) or str(one.crs) != str(other.crs):
        return False
    step = ~one.affine * other.affine
    return np.allclose(tuple(step)[:6], (1, 0, 0, 0, 1, 0), rtol=0, atol=1e-6 / max(1, *one.shape))


def metres_per_unit(crs: str) -> float:
    """Metres in one unit of a projected CRS (0.3048 for feet), NaN where it is not projected."""
    parsed = pyproj.CRS(crs)
    return float(parsed.axis_info[0].unit_conversion_factor) if parsed.is_projected else math.nan


def ground_steps(geobox: GeoBox, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True metres of one column step and of one row step at pixel positions (geodesics on the ellipsoid)."""
    parsed = pyproj.CRS(str(geobox.crs))
    geodetic = parsed.geodetic_crs
    if geodetic is None:
        unit = parsed.axis_info[0].unit_conversion_factor if parsed.axis_info else 1.0
        a = geobox.affine
        both = math.hypot(a.a, a.d) * unit, math.hypot(a.b, a.e) * unit
        return np.full(cols.shape, both[0]), np.full(cols.shape, both[1])
    geod = parsed.get_geod()
    lengths = []
    for dc, dr in ((0.5, 0.0), (0.0, 0.5)):
        ends = []
        for sign in (-1, 1):
            x, y = world_of(geobox, cols + sign * dc, rows + sign * dr)
            if not parsed.is_geographic:
                x, y = _transformer(str(geobox.crs), geodetic.to_wkt()).transform(x, y)
            ends.append((x, y))
        (x0, y0), (x1, y1) = ends
        good = np.isfinite(x0) & np.isfinite(x1) & (np.abs(y0) <= 90) & (np.abs(y1) <= 90)
        length = np.full(cols.shape, np.nan)
        length[good] = geod.inv(x0[good], y0[good], x1[good], y1[good])[2]
        lengths.append(length)
    return lengths[0], lengths[1]


def _scale_error(geobox: GeoBox) -> float:
    """The largest relative error of a projected CRS's lengths over a 3 by 3 set of points (NaN → inf)."""
    height, width = geobox.shape
    rows, cols = (axis.ravel() for axis in np.mgrid[0:1:3j, 0:1:3j])
    found = ground_steps(geobox, cols * width, rows * height)
    a, unit = geobox.affine, metres_per_unit(str(geobox.crs))
    said = math.hypot(a.a, a.d) * unit, math.hypot(a.b, a.e) * unit
    error = max(float(np.abs(true / nominal - 1).max()) for true, nominal in zip(found, said, strict=True))
    return error if math.isfinite(error) else math.inf


def distorts(geobox: GeoBox) -> bool:
    """True for a geographic CRS and where a length is off by more than 1 % anywhere in the scene."""
    parsed = pyproj.CRS(str(geobox.crs))
    if parsed.is_projected:
        return _scale_error(geobox) > DISTORTION
    return parsed.is_geographic


def local_crs(geobox: GeoBox) -> str:
    """The UTM zone of the scene's centre (UPS near the poles; on another planet, a transverse Mercator)."""
    parsed = pyproj.CRS(str(geobox.crs))
    geodetic, ellipsoid = parsed.geodetic_crs, parsed.ellipsoid
    if geodetic is None or ellipsoid is None:
        raise SceneError("A metric grid needs a CRS on an ellipsoid, but the scene's is a local one. Give --crs.")
    x, y = world_of(geobox, np.array([geobox.shape[1] / 2]), np.array([geobox.shape[0] / 2]))
    lon, lat = _transformer(str(geobox.crs), geodetic.to_wkt()).transform(x, y)
    lon, lat = (float(lon[0]) + 180) % 360 - 180, float(lat[0])
    if abs(ellipsoid.semi_major_metre / 6378137.0 - 1) > 0.01:
        return pyproj.CRS.from_dict(
            {"proj": "tmerc", "lon_0": lon, "lat_0": lat, "k": 1, "units": "m"}
            | {"a": ellipsoid.semi_major_metre, "b": ellipsoid.semi_minor_metre}
        ).to_wkt()
    if lat >= 84 or lat < -80:
        return "EPSG:5041" if lat > 0 else "EPSG:5042"
    zone = min(int((lon + 180) // 6) + 1, 60)
    return f"EPSG:{32600 + zone if lat >= 0 else 32700 + zone}"


def snapped_grid(place: GeoBox | Gcps, crs: str, pixel: float) -> GeoBox:
    """A north-up grid of square pixels over `place`, its edges on multiples of `pixel` (units of `crs`)."""
    height, width = place.shape
    edge = np.linspace(0, 1, 33)
    cols = np.concatenate([edge, edge, edge * 0, edge * 0 + 1]) * width
    rows = np.concatenate([edge * 0, edge * 0 + 1, edge, edge]) * height
    x, y = world_of(place, cols, rows)
    if str(place.crs) != crs:
        x, y = _transformer(str(place.crs), crs).transform(x, y)
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    if not (x.size and y.size):
        raise SceneError(f"The scene lies outside the area where {crs[:60]} is defined. Give another --crs.")
    slack = 1e-6
    left, right = math.floor(x.min() / pixel + slack), math.ceil(x.max() / pixel - slack)
    bottom, top = math.floor(y.min() / pixel + slack), math.ceil(y.max() / pixel - slack)
    shape = (max(top - bottom, 1), max(right - left, 1))
    return GeoBox(shape, Affine(pixel, 0, left * pixel, 0, -pixel, top * pixel), crs)


def metric_grid(geobox: GeoBox, resolution_m: float, *, keep_crs: bool = False) -> GeoBox:
    """The grid of square pixels of so many metres on which a scene is worked.

    The scene's own grid where it has that resolution already (within 1e-6, square and right-angled, in any
    orientation); else a north-up grid in the scene's CRS, or in a local UTM zone where the scene's CRS is
    geographic or its lengths are off by more than 1 %. Edges lie on multiples of the resolution.
    """
    if not (math.isfinite(resolution_m) and resolution_m > 0):
        raise OptionError(f"A resolution is a number of metres above 0, but it is {resolution_m}.")
    crs = str(geobox.crs)
    parsed = pyproj.CRS(crs)
    bad = distorts(geobox)
    if bad and not (keep_crs and parsed.is_projected):
        crs, unit = local_crs(geobox), 1.0
        grid = snapped_grid(geobox, crs, resolution_m)
        if _scale_error(grid) > MOST_DISTORTION:
            raise SceneError(
                f"A scene worked on in metres must be small enough for one local grid (lengths off by at most "
                f"{MOST_DISTORTION:.0%}), but this one is too wide for {crs[:60]}. Cut it into parts, or give "
                "--crs with a projected CRS made for its area."
            )
        return grid
    if bad:  # the caller wants this CRS in spite of its distortion: metres are those at the centre
        unit = _ground_unit(geobox)
    else:
        unit = metres_per_unit(crs) if parsed.is_projected else 1.0
    a, pixel = geobox.affine, resolution_m / unit
    sides = math.hypot(a.a, a.d), math.hypot(a.b, a.e)
    square = abs(a.a * a.b + a.d * a.e) <= 1e-6 * sides[0] * sides[1]
    if square and all(abs(side / pixel - 1) <= 1e-6 for side in sides):
        return geobox
    return snapped_grid(geobox, crs, pixel)


def _ground_unit(geobox: GeoBox) -> float:
    """True metres of one unit of the CRS at the scene's centre (geometric mean of both axes)."""
    height, width = geobox.shape
    east, south = ground_steps(geobox, np.array([width / 2]), np.array([height / 2]))
    a = geobox.affine
    return math.sqrt(float(east[0] * south[0]) / abs(a.a * a.e - a.b * a.d))


def resolution_of(geobox: GeoBox) -> float:
    """Metres of a pixel at the centre: the CRS's own where it distorts little, else on the ground."""
    a = geobox.affine
    parsed = pyproj.CRS(str(geobox.crs))
    unit = _ground_unit(geobox) if distorts(geobox) else 1.0
    if unit == 1.0 and parsed.is_projected:
        unit = metres_per_unit(str(geobox.crs))
    return unit * math.sqrt(abs(a.a * a.e - a.b * a.d))


def grid_in(place: GeoBox | Gcps, crs: str) -> GeoBox:
    """A north-up grid over `place` in another CRS, with pixels of the same size at its centre."""
    height, width = place.shape
    cols, rows = width / 2 + np.array([-0.5, 0.5, 0.0, 0.0]), height / 2 + np.array([0.0, 0.0, -0.5, 0.5])
    x, y = world_of(place, cols, rows)
    if str(place.crs) != crs:
        x, y = _transformer(str(place.crs), crs).transform(x, y)
    area = abs((x[1] - x[0]) * (y[3] - y[2]) - (x[3] - x[2]) * (y[1] - y[0]))
    if not (np.isfinite(area) and area > 0):
        raise SceneError(f"The scene lies outside the area where {crs[:60]} is defined. Give another --crs.")
    return snapped_grid(place, crs, math.sqrt(area))
