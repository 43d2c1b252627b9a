"""`pair`: two dates of one place as one scene, for models that look at both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.errors import OptionError, SceneError
from geoseg.scene.grids import positions
from geoseg.scene.nodes import Stack, onto
from geoseg.scene.opening import Bands, open_scene, parse_bands
from geoseg.scene.scene import Scene

__all__ = ["SECOND", "pair"]

SECOND = "_2"
"""What the names of the second date's bands end in."""


def pair(first: Any, second: Any, *, bands: Bands = None, crs: str | None = None) -> Scene:
    """Two dates of one place as one scene: bands ``red``, ... of the first and ``red_2``, ... of the second.

    The second is brought onto the first's grid when it is read, by the rule that scenes are resampled by; it may
    have another CRS, resolution or extent. A pixel is valid where it is valid in both.

    Parameters
    ----------
    first, second
        What `open_scene` takes (a path, several paths, a STAC item), or scenes.
    bands, crs
        See `open_scene`; they are meant for both, where these are not scenes yet. Where some of the names in `bands`
        end in ``_2``, those are meant for the second and the others for the first.

    Returns
    -------
    Scene
        On the first's grid.

    Raises
    ------
    OptionError
        `bands` or `crs` is given with scenes that are open already, or has a value that it cannot have.
    SceneError
        One of them cannot be opened, they lie apart, or they differ in data type.

    Examples
    --------
    >>> import pathlib, rasterio, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> like = dict(driver="GTiff", width=2, height=1, count=2, dtype="uint8", crs="EPSG:32631", nodata=0)
    >>> for name, pixels in (("may", [[[1, 2]], [[3, 4]]]), ("july", [[[5, 0]], [[7, 8]]])):
    ...     place = rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)
    ...     with rasterio.open(folder / f"{name}.tif", "w", transform=place, **like) as file:
    ...         file.write(np.array(pixels, "uint8"))
    >>> both = pair(folder / "may.tif", folder / "july.tif", bands="red=1,nir=2")
    >>> both.bands
    ('red', 'nir', 'red_2', 'nir_2')
    >>> pixels = both.read(slice(0, 1), slice(0, 2))
    >>> pixels.values[:, 0].tolist(), pixels.valid.tolist()
    ([[1, 0], [3, 0], [5, 0], [7, 0]], [[True, False]])
    """
    named_first, named_second = _bands_of_dates(bands)
    one, two = _opened(first, named_first, crs), _opened(second, named_second, crs)
    if one.dtype != two.dtype:
        raise SceneError(
            f"Both dates must have the same data type, but {one.name} has {one.dtype} and {two.name} has {two.dtype}. "
            "Bring them to the same with gdal_translate."
        )
    names = one.bands + tuple(band + SECOND for band in two.bands)
    if len(set(names)) < len(names):
        raise SceneError(
            f"Names of the first date's bands must not end in {SECOND}, but {one.name} has {', '.join(one.bands)}. "
            "Name them with --bands."
        )
    place = one.native.place
    assert isinstance(place, GeoBox)
    if not _overlap(place, two.geobox):
        raise SceneError(
            f"Two dates must show the same place, but {one.name} and {two.name} lie apart. "
            "Give two rasters that overlap."
        )
    native = Stack((one.native, onto(two.native, place)), place)
    node = native if one.node == one.native else onto(native, one.geobox)
    return replace(one, node=node, native=native, bands=names)


def _bands_of_dates(bands: Bands) -> tuple[Bands, Bands]:
    """The option for the first date and for the second.

    >>> _bands_of_dates("red=1,nir=4")
    ({'red': 1, 'nir': 4}, {'red': 1, 'nir': 4})
    >>> _bands_of_dates("red=1,red_2=3")
    ({'red': 1}, {'red': 3})
    >>> _bands_of_dates(["red", "red_2", "nir_2"])
    (['red'], ['red', 'nir'])
    """
    named, chosen = parse_bands(bands)
    if not any(name.endswith(SECOND) for name in chosen):
        return (named or list(chosen) or None,) * 2
    first: Any = [name for name in chosen if not name.endswith(SECOND)]
    second: Any = [name.removesuffix(SECOND) for name in chosen if name.endswith(SECOND)]
    if not first:
        raise OptionError(
            f"With two dates, --bands must name bands of the first too, but it names {', '.join(chosen)}."
        )
    if named:
        first = {name: named[name] for name in first}
        second = {name: named[name + SECOND] for name in second}
    return first, second


def _opened(source: Any, bands: Bands, crs: str | None) -> Scene:
    if not isinstance(source, Scene):
        return open_scene(source, bands=bands, crs=crs)
    if bands is not None or crs is not None:
        raise OptionError(
            f"bands and crs say how a raster is opened, but {source.name} is open already. Give them to open_scene."
        )
    return source


def _overlap(first: GeoBox, second: GeoBox) -> bool:
    """False where the second's edge lies all on one side of the first (or where there is no way between the CRSs)."""
    height, width = second.shape
    edge = np.linspace(0, 1, 17)
    cols = np.concatenate([edge, edge, edge * 0, edge * 0 + 1]) * width
    rows = np.concatenate([edge * 0, edge * 0 + 1, edge, edge]) * height
    x, y = positions(first, second, cols, rows)
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    return bool(
        x.size and y.size and x.max() > 0 and y.max() > 0 and x.min() < first.shape[1] and y.min() < first.shape[0]
    )
