"""Where pixels are: positions from one grid to another, true ground lengths, metric grids."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache

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
    "grid_in",
    "half_turn",
    "metric_grid",
    "node_step",
    "positions",
    "resolution_of",
    "same_grid",
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
    if _is_geographic(source):  # a scene may cross the date line, or count longitudes from 0 to 360
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


@lru_cache
def _is_geographic(crs: str) -> bool:
    return pyproj.CRS(crs).is_geographic


def half_turn(place: GeoBox | Gcps) -> float:
    """Columns that 180 degrees of longitude take; infinite where columns are not longitudes."""
    if isinstance(place, Gcps) or not _is_geographic(str(place.crs)):
        return math.inf
    return 180 / max(abs(place.affine.a), abs(place.affine.b))


def node_step(place: GeoBox) -> int:
    """Pixels between two nodes of a resampling: 16, fewer where that is more than 20 km."""
    unit, a = metres_per_unit(str(place.crs)), place.affine
    side = max(math.hypot(a.a, a.d), math.hypot(a.b, a.e)) * (unit if math.isfinite(unit) else 111_000.0)
    return max(1, min(16, int(20_000 / side)))


@lru_cache
def metres_per_unit(crs: str) -> float:
    """Metres in one unit of a projected CRS (0.3048 for feet), NaN where it is not projected."""
    parsed = pyproj.CRS(crs)
    return float(parsed.axis_info[0].unit_conversion_factor) if parsed.is_projected else math.nan


def _lonlat(place: GeoBox, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude, degrees, of pixel positions, on the CRS's own datum."""
    crs = pyproj.CRS(str(place.crs))
    if crs.geodetic_crs is None:
        raise SceneError("A scene worked on in metres needs a CRS on the earth, but the scene's is local. Give --crs.")
    x, y = world_of(place, cols, rows)
    if crs.is_geographic:
        return x, y
    return _transformer(str(place.crs), crs.geodetic_crs.to_wkt()).transform(x, y)


def scale_error(crs: str, place: GeoBox) -> float:
    """How far lengths in a projected CRS are off, at worst, over a scene: 0.01 is 1 % (inf where undefined).

    Measured by Tissot's indicatrix at 3 by 3 points.
    """
    rows, cols = (axis.ravel() for axis in np.mgrid[0:1:3j, 0:1:3j])
    lon, lat = _lonlat(place, cols * place.shape[1], rows * place.shape[0])
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return math.inf
    factors = pyproj.Proj(crs).get_factors(lon, np.clip(lat, -90, 90))
    scales = np.array([factors.tissot_semimajor, factors.tissot_semiminor])
    return float(np.abs(scales - 1).max()) if np.isfinite(scales).all() else math.inf


def distorts(geobox: GeoBox) -> bool:
    """True for a geographic CRS and where a length is off by more than 1 % anywhere in the scene."""
    crs = str(geobox.crs)
    return not pyproj.CRS(crs).is_projected or scale_error(crs, geobox) > DISTORTION


def local_crs(geobox: GeoBox) -> str:
    """The UTM zone of the scene's centre (UPS near the poles; on another planet, a transverse Mercator)."""
    middle = np.array([geobox.shape[1] / 2]), np.array([geobox.shape[0] / 2])
    lon, lat = (float(item[0]) for item in _lonlat(geobox, *middle))
    lon = (lon + 180) % 360 - 180
    ellipsoid = pyproj.CRS(str(geobox.crs)).ellipsoid
    if ellipsoid is not None and abs(ellipsoid.semi_major_metre / 6378137.0 - 1) > 0.01:
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


def metric_grid(
    geobox: GeoBox, resolution_m: float, *, keep_crs: bool = False, extent: GeoBox | Gcps | None = None
) -> GeoBox:
    """The grid of square pixels of so many metres on which a scene is worked.

    The scene's own grid where it has that resolution already (within 1e-6, square and right-angled, in any
    orientation); else a north-up grid in the scene's CRS, or in a local UTM zone where the scene's CRS is
    geographic or its lengths are off by more than 1 %. Edges lie on multiples of the resolution. `extent` is what
    the grid has to hold, where that is not all of `geobox`.
    """
    if not (math.isfinite(resolution_m) and resolution_m > 0):
        raise OptionError(f"A resolution is a number of metres above 0, but it is {resolution_m}.")
    crs = str(geobox.crs)
    bad, unit = distorts(geobox), metres_per_unit(crs)
    if bad and keep_crs and math.isfinite(unit):  # in spite of its distortion: metres are those at the centre
        unit = ground_unit(geobox)
    elif bad:
        crs = local_crs(geobox)
        off = scale_error(crs, geobox)
        if off > MOST_DISTORTION:
            raise SceneError(
                "A scene worked on in metres must be small enough for one local grid (lengths off by at most "
                f"{MOST_DISTORTION:.0%}), but this one is too wide for {crs[:40]} "
                f"({f'off by {off:.0%}' if math.isfinite(off) else 'undefined at its edge'}). Cut it into "
                "parts, or give --crs with a projected CRS made for its area."
            )
        return snapped_grid(extent or geobox, crs, resolution_m)
    a, pixel = geobox.affine, resolution_m / unit
    sides = math.hypot(a.a, a.d), math.hypot(a.b, a.e)
    square = abs(a.a * a.b + a.d * a.e) <= 1e-6 * sides[0] * sides[1]
    if square and all(abs(side / pixel - 1) <= 1e-6 for side in sides):
        return geobox
    return snapped_grid(extent or geobox, crs, pixel)


def ground_unit(geobox: GeoBox) -> float:
    """True metres of one unit of the CRS at the scene's centre (geometric mean of both axes, by geodesics)."""
    height, width = geobox.shape
    cols = width / 2 + np.array([-0.5, 0.5, 0.0, 0.0])
    rows = height / 2 + np.array([0.0, 0.0, -0.5, 0.5])
    lon, lat = _lonlat(geobox, cols, rows)
    geod = pyproj.CRS(str(geobox.crs)).get_geod()
    assert geod is not None  # _lonlat has refused a CRS without an ellipsoid
    across, down = geod.inv(lon[[0, 2]], lat[[0, 2]], lon[[1, 3]], lat[[1, 3]])[2]
    return math.sqrt(across * down / abs(geobox.affine.determinant))


def resolution_of(geobox: GeoBox) -> float:
    """Metres of a pixel at the centre: the CRS's own where it distorts little, else on the ground."""
    unit = ground_unit(geobox) if distorts(geobox) else metres_per_unit(str(geobox.crs))
    return unit * math.sqrt(abs(geobox.affine.determinant))


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
