"""How the polygons of a layer are cut: to an area, by zones or tiles, into pieces of few vertices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd

from geoseg import export, polygons
from geoseg.errors import OptionError

__all__ = ["Cuts"]

_TILE_PX = 2048


@dataclass(frozen=True)
class Cuts:
    """How the polygons of a layer are cut."""

    clip: str | os.PathLike[str] | gpd.GeoDataFrame | None = None
    """The area to keep: polygons, or a file of them."""
    split: str | os.PathLike[str] | gpd.GeoDataFrame | None = None
    """``"grid"`` (tiles of 2048 pixels), or zones: polygons, or a file of them."""
    zone_column: str | None = None
    """The column with the names of zones; needed where there are several."""
    max_vertices: int | None = None
    """Polygons with more vertices are halved."""

    def __post_init__(self) -> None:
        for name in ("clip", "split"):
            area = getattr(self, name)
            if isinstance(area, str | os.PathLike) and not (name == "split" and area == "grid"):
                object.__setattr__(self, name, export.read_areas(area))
        if self.zone_column is not None and not isinstance(self.split, gpd.GeoDataFrame):
            raise OptionError(
                f"--zone-column names a column of zones, but --split is {self.split or 'not given'}. Give --split "
                "zones.gpkg, or leave it out."
            )

    @property
    def any(self) -> bool:
        """Whether anything is cut."""
        return any(option is not None for option in (self.clip, self.split, self.max_vertices))

    def apply(self, batches: Iterable[gpd.GeoDataFrame], grid: Any) -> Iterable[gpd.GeoDataFrame]:
        """The pieces of polygons, batch by batch."""
        if self.clip is not None:
            batches = polygons.clip(batches, self.clip, grid)
        if isinstance(self.split, gpd.GeoDataFrame):
            batches = polygons.split_by_zones(batches, self.split, grid, column=self._zone_column())
        elif self.split is not None:
            batches = polygons.split_by_grid(batches, grid, side_px=_TILE_PX)
        if self.max_vertices is not None:
            batches = polygons.limit_vertices(batches, grid, max_vertices=self.max_vertices)
        return batches

    def _zone_column(self) -> str:
        assert isinstance(self.split, gpd.GeoDataFrame)
        columns = [str(name) for name in self.split.columns.drop(self.split.geometry.name)]
        if self.zone_column is not None or len(columns) == 1:
            return self.zone_column or columns[0]
        raise OptionError(
            f"Zones need one column with their names, but there are {', '.join(columns) or 'none'}. Choose with "
            "--zone-column."
        )
