"""Which files of a STAC item hold which band."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import pystac

from geoseg.errors import SceneError

__all__ = ["assets_of"]


@dataclass(frozen=True)
class _Band:
    """One band of one asset."""

    asset: str
    """The key of the asset."""
    number: int
    """The band's number in the asset's file, from 1."""
    href: str
    """The file."""
    common: str
    """The common name (``red``, ``nir``), or nothing."""
    name: str
    """The provider's name (``B04``); the asset's key where bands are not described."""
    alone: bool
    """True if it is the asset's only band."""


def assets_of(
    source: Any, named: Mapping[str, int | str], chosen: tuple[str, ...]
) -> tuple[dict[str, tuple[str, int]], str]:
    """Files and band numbers by band name, and the item's id.

    A band goes by its common name, by the provider's name and by the key of its asset. A file of one band is
    preferred to one of several (true-colour composites often repeat the bands).
    """
    item = _item(source)
    bands = [band for key, asset in item.assets.items() for band in _bands(key, asset, item)]
    if not bands:
        raise SceneError(
            f"A STAC item opened as a scene needs an asset that is a raster of data, but {item.id} has "
            f"{', '.join(item.assets) or 'no asset'}. Name the file itself, or another item."
        )
    bands.sort(key=lambda band: not band.alone)
    if named:
        found = {}
        for name, which in named.items():
            if isinstance(which, int):
                first = [band for band in bands if band.asset == bands[0].asset]
                if len({band.asset for band in bands}) > 1 or not 1 <= which <= len(first):
                    assets = ", ".join(dict.fromkeys(band.asset for band in bands))
                    raise SceneError(
                        "Bands of a STAC item with several assets are named by asset, but "
                        f"{name}={which} was asked for of {item.id}: {assets}. "
                        "Write --bands red=B04."
                    )
                found[name] = (first[which - 1].href, first[which - 1].number)
            else:
                found[name] = _find(bands, which, item.id)
        return found, item.id
    if chosen:
        return {name: _find(bands, name, item.id) for name in chosen}, item.id
    described = [band for band in bands if band.common or band.name != band.asset] or bands
    commons = [band.common for band in described]
    found = {}
    for band in described:
        others = [other for other in described if other.common == band.common and other.alone == band.alone]
        name = band.common if band.common and len(others) == 1 else band.name
        if (commons.count(band.common) == 1 or band.alone) or name not in found:
            found.setdefault(name, (band.href, band.number))
    return found, item.id


def _item(source: Any) -> pystac.Item:
    if isinstance(source, pystac.Item):
        return source
    try:
        if isinstance(source, Mapping):
            return pystac.Item.from_dict(dict(source))
        return pystac.Item.from_file(os.fspath(source))
    except FileNotFoundError as error:
        raise SceneError(f"A scene must be an existing file, but there is no {source}. Check the path.") from error
    except Exception as error:  # pystac lets errors of JSON, HTTP and its own pass
        raise SceneError(
            f"A .json source must be a STAC item, but {source if not isinstance(source, Mapping) else 'this mapping'} "
            f"is none ({type(error).__name__}: {error}). Give the raster itself, or an item."
        ) from error


def _bands(key: str, asset: pystac.Asset, item: pystac.Item) -> list[_Band]:
    kind, roles = (asset.media_type or "").lower(), set(asset.roles or ())
    href = asset.get_absolute_href() or asset.href
    raster = any(word in kind for word in ("tiff", "jp2", "image/vnd", "vrt", "netcdf", "hdf"))
    raster = raster or (not kind and urlparse(href).path.lower().endswith((".tif", ".tiff", ".jp2", ".vrt")))
    if not raster or roles & {"thumbnail", "overview", "metadata", "labels", "mlm:model"}:
        return []
    listed = asset.extra_fields.get("bands") or asset.extra_fields.get("eo:bands") or [{}]
    found = []
    for number, band in enumerate(listed, start=1):
        common = band.get("eo:common_name") or band.get("common_name") or ""
        name = band.get("name") or (key if len(listed) == 1 else f"{key}{number}")
        found.append(_Band(key, number, href, str(common), str(name), len(listed) == 1))
    return found


def _find(bands: list[_Band], wanted: str, item: str) -> tuple[str, int]:
    """The file and number of a band; single-band assets come first in `bands`."""
    key = wanted.lower()
    for known in (
        [band for band in bands if band.common.lower() == key],
        [band for band in bands if band.name.lower() == key],
        [band for band in bands if band.asset.lower() == key and band.alone],
    ):
        if known:
            return known[0].href, known[0].number
    have = ", ".join(dict.fromkeys(name for band in bands for name in (band.common, band.name) if name))
    raise SceneError(
        f"A band must be one of the item's, but there is no {wanted} in {item}: it has {have}. "
        "Say which asset is which band with --bands red=B04."
    )
