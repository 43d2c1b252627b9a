"""`Scene` and `Pixels`: what the other rooms see of a raster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.errors import OptionError, SceneError
from geoseg.scene.grids import metric_grid, resolution_of, same_grid, window_of
from geoseg.scene.nodes import Node, Warp, onto

__all__ = ["Pixels", "Scene"]


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of one window, with their validity and their place."""

    values: np.ndarray
    """(band, row, col) in the scene's data type; 0 where not valid."""
    valid: np.ndarray
    """(row, col) bool; True = usable in every band."""
    geobox: GeoBox
    """The grid of exactly this window."""

    def __post_init__(self) -> None:
        if self.values.shape[1:] != self.valid.shape or self.valid.shape != tuple(self.geobox.shape):
            raise OptionError(
                "Pixels must have one validity and one place for each value, but the shapes are "
                f"{self.values.shape}, {self.valid.shape} and {tuple(self.geobox.shape)}."
            )


@dataclass(frozen=True)
class Scene:
    """A raster of any size: bands by name, on a grid. Cheap, picklable, with no open file.

    Made by `open_scene`. Reading a window gives the same bits however the scene is cut into windows, also
    where it is resampled.
    """

    node: Node
    """Where pixels come from."""
    native: Node
    """The same before `on_grid`."""
    bands: tuple[str, ...]
    """The names of the bands."""
    name: str
    """A short name for people, as a rule the file's name."""
    keep_crs: bool = False
    """True if the caller chose the CRS: `on_grid` keeps it, if it is projected, in spite of distortion."""

    def __post_init__(self) -> None:
        if len(self.bands) != len(self.node.names) or not self.bands:
            raise OptionError(
                f"A scene needs a name for each band, but it has {len(self.node.names)} bands and the names "
                f"{self.bands}."
            )
        if not isinstance(self.node.place, GeoBox):
            raise OptionError("A scene needs a grid, but its raster has control points only.")

    @property
    def geobox(self) -> GeoBox:
        """The grid: shape, transform and CRS."""
        return self.node.place  # type: ignore[return-value]

    @property
    def dtype(self) -> np.dtype:
        """The data type of the pixels."""
        return self.node.dtype

    @property
    def resolution_m(self) -> float:
        """Metres of a pixel's side (geometric mean of both).

        In the CRS's own metres where its lengths are off by less than 1 % (10 for a Sentinel-2 band in UTM),
        else measured on the ellipsoid at the scene's centre.
        """
        return resolution_of(self.geobox)

    def read(self, rows: slice, cols: slice) -> Pixels:
        """The pixels of a window.

        Parameters
        ----------
        rows, cols
            The window; inside the scene, without a step.

        Returns
        -------
        Pixels
            The same bits for a pixel, whatever the window.

        Raises
        ------
        OptionError
            The window reaches outside the scene.
        SceneError
            The file cannot be read there (truncated, say).
        """
        height, width = self.geobox.shape
        rows, cols = _bounded(rows, height, "rows"), _bounded(cols, width, "columns")
        values, valid = self.node.read(rows, cols)
        return Pixels(values, valid, window_of(self.geobox, rows, cols))

    def select(self, bands: Iterable[str]) -> Scene:
        """The same scene with these bands, in this order (capital letters do not matter).

        Raises
        ------
        SceneError
            There is no such band.
        """
        wanted = [bands] if isinstance(bands, str) else list(bands)
        known = {name.lower(): i for i, name in reversed(list(enumerate(self.bands)))}
        missing = [name for name in wanted if name.lower() not in known]
        if missing or not wanted:
            raise SceneError(
                f"A band must be one of the scene's, but there is no {', '.join(missing) or 'band asked for'} in "
                f"{self.name}: it has {', '.join(self.bands)}. Say which band is which with "
                "--bands red=1,green=2,blue=3."
            )
        chosen = tuple(known[name.lower()] for name in wanted)
        names = tuple(self.bands[i] for i in chosen)
        if names == self.bands:
            return self
        return replace(self, node=self.node.pick(chosen), native=self.native.pick(chosen), bands=names)

    def on_grid(self, resolution_m: float) -> Scene:
        """The scene resampled to square pixels of this many metres.

        In the scene's CRS, or in the local UTM zone (UPS near the poles) where that CRS is geographic or its
        lengths are off by more than 1 %; north up, edges on multiples of the resolution. A scene that has
        this resolution already (within 1e-6) is left as it is, in any orientation.

        Raises
        ------
        OptionError
            The resolution is not above 0.
        SceneError
            The scene is too wide for one local grid.
        """
        assert isinstance(self.native.place, GeoBox)
        extent = self.native.source.place if isinstance(self.native, Warp) else self.native.place
        grid = metric_grid(self.native.place, float(resolution_m), keep_crs=self.keep_crs, extent=extent)
        if same_grid(grid, self.geobox):
            return self
        return replace(self, node=onto(self.native, grid))

    def fingerprint(self) -> str:
        """SHA-256 over files (path, size, time of change when opened), grid and bands.

        Of a remote file only the path is known.
        """
        return hashlib.sha256(json.dumps(self._identity(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict:
        """What the scene is, ready for JSON."""
        height, width = self.geobox.shape
        return {
            "name": self.name,
            "files": sorted({file.path for file in self.node.files()}),
            "bands": list(self.bands),
            "dtype": str(self.dtype),
            "height_px": int(height),
            "width_px": int(width),
            "crs": str(self.geobox.crs),
            "transform": list(self.geobox.affine)[:6],
            "resolution_m": self.resolution_m,
            "resampled": self.node != self.native,
            "fingerprint": self.fingerprint(),
        }

    def _identity(self) -> list:
        files = [[file.stamp, file.indexes, file.level] for file in self.node.files()]
        return [
            files,
            list(self.bands),
            str(self.geobox.crs),
            list(self.geobox.affine),
            [int(n) for n in self.geobox.shape],
        ]

    def __repr__(self) -> str:
        height, width = self.geobox.shape
        return (
            f"<Scene {self.name}: {height} × {width} px of {self.resolution_m:g} m, {', '.join(self.bands)}, "
            f"{self.dtype}, {str(self.geobox.crs)[:40]}>"
        )


def _bounded(part: slice, size: int, what: str) -> slice:
    start = 0 if part.start is None else int(part.start)
    stop = size if part.stop is None else int(part.stop)
    if part.step not in (None, 1) or not 0 <= start <= stop <= size:
        raise OptionError(f"A window must lie inside the scene, but {what} {start}:{stop} are not in 0:{size}.")
    return slice(start, stop)
