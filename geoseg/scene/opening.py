"""`open_scene`: from a path, several paths, a STAC item or a mapping to a `Scene`."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from odc.geo.geobox import GeoBox

from geoseg.errors import OptionError, SceneError
from geoseg.scene.files import File, open_file
from geoseg.scene.grids import crs_text, grid_in
from geoseg.scene.nodes import Node, Stack, mosaic_of, onto
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    import pystac

__all__ = ["open_scene", "parse_bands"]

Bands = str | Sequence[str] | Mapping[str, int | str] | None


def open_scene(
    source: str | os.PathLike | Sequence[str | os.PathLike] | Mapping[str, str | os.PathLike] | pystac.Item,
    *,
    bands: Bands = None,
    resolution: float | None = None,
    crs: str | None = None,
) -> Scene:
    """Open a raster, or several as one, for reading by window.

    Parameters
    ----------
    source
        A path or URL (``https://``, ``s3://``) of anything GDAL reads, a VRT too; several of them (a mosaic:
        where they overlap, the first valid pixel wins); a STAC item, its JSON file or URL; or
        ``{band name: path}`` with one file a band.
    bands
        Which band is which, ``{"red": 3, "green": 2}`` or ``"red=3,green=2"`` (numbers from 1; names of assets in a
        STAC item), or just the names of the bands to use, in order. All bands when not given.
    resolution
        Work on square pixels of this many metres (see `Scene.on_grid`).
    crs
        The CRS of a file that has none; for others, the CRS to work in.

    Raises
    ------
    OptionError
        An option has a value it cannot have.
    SceneError
        Something cannot be opened as a scene: missing, damaged, no raster, no georeference, no such band.

    Examples
    --------
    >>> import numpy as np, rasterio, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.tif"
    >>> like = dict(driver="GTiff", width=3, height=2, count=1, dtype="uint8", crs="EPSG:32631", nodata=0)
    >>> with rasterio.open(path, "w", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), **like) as file:
    ...     file.write(np.array([[[0, 1, 2], [3, 4, 5]]], "uint8"))
    >>> scene = open_scene(path)
    >>> scene.bands, scene.resolution_m
    (('gray',), 10.0)
    >>> pixels = scene.read(slice(0, 1), slice(0, 3))
    >>> pixels.values.tolist(), pixels.valid.tolist()
    ([[[0, 1, 2]]], [[False, True, True]])
    """
    crs = None if crs is None else crs_text(crs)
    named, chosen = parse_bands(bands)
    numbers = {number for number in named.values() if isinstance(number, int)}
    if _is_item(source):
        from geoseg.scene.stac import assets_of

        paths, name = assets_of(source, named, chosen)
        node, named = _stack(paths, crs), {}
    elif isinstance(source, Mapping):
        if not source:
            raise OptionError("A scene needs at least one file, but the mapping of bands to files is empty.")
        node, name = _stack({band: (path, 1) for band, path in source.items()}, crs, alone=True), ""
    elif isinstance(source, str | os.PathLike):
        node, name = open_file(source, crs=crs, numbers=numbers), _stem(source)
    elif isinstance(source, Sequence):
        node, name = _mosaic(list(source), crs, numbers), _stem(source[0]) if source else ""
    else:
        raise OptionError(
            f"A scene is opened from a path, a list of paths, a mapping or a STAC item, not from a {type(source)}."
        )
    native = _gridded(node, crs)
    scene = Scene(native, native, node.names, name or _stem(next(node.files()).path))
    scene = replace(scene, keep_crs=crs is not None)
    scene = _named(scene, named)
    if chosen and scene.bands != chosen:
        scene = scene.select(chosen)
    return scene if resolution is None else scene.on_grid(resolution)


def parse_bands(bands: Bands) -> tuple[dict[str, int | str], tuple[str, ...]]:
    """The option ``bands`` as a mapping (which is which) and the names to select, in order.

    >>> parse_bands("red=3,green=2")
    ({'red': 3, 'green': 2}, ('red', 'green'))
    >>> parse_bands(["nir", "red"])
    ({}, ('nir', 'red'))
    """
    if bands is None:
        return {}, ()
    if isinstance(bands, str):
        parts = [part.strip() for part in bands.split(",") if part.strip()]
        pairs = [tuple(item.strip() for item in part.split("=", 1)) for part in parts]
        if len({len(pair) for pair in pairs}) != 1 or not all(all(pair) for pair in pairs):
            raise OptionError(
                "Bands are given as red=3,green=2,blue=1 or as names, red,green,blue, "
                f"but they are {bands!r}. Write one or the other."
            )
        if len(pairs[0]) == 1:
            return parse_bands([pair[0] for pair in pairs])
        names = [pair[0] for pair in pairs]
        if len(set(names)) < len(names):
            raise OptionError(f"Each band can be named once, but {bands!r} names one twice.")
        return parse_bands(dict(pairs))  # type: ignore[arg-type]
    if isinstance(bands, Mapping):
        found = {
            str(name): int(value) if re.fullmatch(r"[+-]?\d+", str(value)) else str(value)
            for name, value in bands.items()
        }
        if not found:
            raise OptionError("The option bands must name at least one band, but it is empty.")
        return found, tuple(found)
    listed = tuple(str(name) for name in bands)
    if not listed or len(set(listed)) < len(listed):
        raise OptionError(f"The option bands must name bands, each once, but it is {list(listed)}.")
    return {}, listed


def _named(scene: Scene, named: Mapping[str, int | str]) -> Scene:
    """The bands that the caller names, by number or by the name they have, under the names given."""
    if not named:
        return scene
    lowered = [band.lower() for band in scene.bands]
    stacked = isinstance(scene.node, Stack)
    numbers = list(range(1, len(lowered) + 1) if stacked else next(scene.node.files()).indexes)
    chosen = []
    for name, which in named.items():
        known: Sequence = lowered if isinstance(which, str) else numbers
        which = which.lower() if isinstance(which, str) else which
        if which not in known:
            raise SceneError(
                f"A band is one of {', '.join(map(str, numbers))} in {scene.name} ({', '.join(scene.bands)}), "
                f"but {name}={which} was asked for. Correct --bands."
            )
        chosen.append(known.index(which))
    picked = tuple(chosen)
    return replace(scene, node=scene.node.pick(picked), native=scene.native.pick(picked), bands=tuple(named))


def _gridded(node: Node, crs: str | None) -> Node:
    """The node on a grid in the CRS wanted: its own, unless it has none or another is asked for."""
    if isinstance(node.place, GeoBox) and (crs is None or str(node.place.crs) == crs):
        return node
    return onto(node, grid_in(node.place, crs or str(node.place.crs)))


def _mosaic(paths: list, crs: str | None, numbers: Collection[int]) -> Node:
    if not paths:
        raise OptionError("A scene needs at least one file, but the list is empty.")
    files = [open_file(path, crs=crs, numbers=numbers) for path in paths]
    if len(files) == 1:
        return files[0]
    first = files[0]
    for other in files[1:]:
        for what, mine, yours in (
            ("band count", len(first.names), len(other.names)),
            ("data type", first.dtype, other.dtype),
            ("CRS", str(first.place.crs), str(other.place.crs)),
        ):
            if mine != yours:
                raise SceneError(
                    f"The files of one mosaic must have the same {what}, but {first.path} has {mine} and "
                    f"{other.path} has {yours}. Bring them to the same with gdalwarp or gdal_translate."
                )
    return mosaic_of([_gridded(file, None) for file in files])


def _stack(sources: Mapping[str, tuple[str | os.PathLike, int]], crs: str | None, *, alone: bool = False) -> Node:
    """One raster from bands of several files, on the finest of their grids."""
    opened: dict[str, File] = {}
    parts = []
    for band, (path, number) in sources.items():
        key = os.fspath(path)
        if key not in opened:
            opened[key] = open_file(path, crs=crs)
        file = opened[key]
        if (alone and len(file.names) != 1) or not 1 <= number <= len(file.names):
            raise SceneError(
                f"A file given for one band must have one band, but {path} for {band!r} has {len(file.names)}. "
                "Give the file alone and say which band is which with --bands red=1,green=2."
            )
        parts.append(replace(file.pick((number - 1,)), names=(str(band),)))
    grids = [_gridded(part, None) for part in parts]
    finest = min(grids, key=lambda node: _pixel_area(node.place))
    assert isinstance(finest.place, GeoBox)
    same_crs = [node for node in grids if str(node.place.crs) == str(finest.place.crs)]
    if len(same_crs) < len(grids):
        other = next(node for node in grids if node not in same_crs)
        raise SceneError(
            f"The bands of one scene must have the same CRS, but {next(finest.files()).path} has "
            f"{finest.place.crs} and {next(other.files()).path} has {other.place.crs}. "
            "Bring them to the same with gdalwarp."
        )
    return Stack(tuple(onto(part, finest.place) for part in parts), finest.place)


def _pixel_area(place: object) -> float:
    assert isinstance(place, GeoBox)
    return abs(place.affine.determinant)


def _stem(source: object) -> str:
    return Path(str(source).rstrip("/")).stem


def _is_item(source: object) -> bool:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source).lower().split("?")[0].endswith((".json", ".geojson"))
    if isinstance(source, Mapping):
        return source.get("type") == "Feature" and "assets" in source
    return hasattr(source, "assets") and hasattr(source, "get_assets")
