"""What can be said of a layer when its polygons have passed by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import geopandas as gpd
import numpy as np
import pandas as pd

from geoseg.areas import with_no_data_row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Tally"]

_Batch = TypeVar("_Batch", gpd.GeoDataFrame, "pa.Table")


class Tally:
    """The areas of a layer after sieving, and what changed; counted while polygons pass by."""

    def __init__(self, table: pd.DataFrame, unit_m2: float) -> None:
        self.table = table
        self.unit_m2 = unit_m2
        self.rows = 0
        self._written_m2: dict[int, float] = {}
        self._pixels: dict[int, int] = {}
        self._units: dict[int, int] = {}
        self._drawn_m2: dict[int, float] = {}

    def count(self, batches: Iterable[_Batch]) -> Iterator[_Batch]:
        """Count polygons as they are traced."""
        for batch in batches:
            area_m2 = np.asarray(batch["area_m2"])
            drawn = "area_change" in (batch.columns if isinstance(batch, gpd.GeoDataFrame) else batch.column_names)
            _add(self._pixels, batch, np.asarray(batch["pixels"]))
            # Whole numbers, so that no sum depends on how polygons are divided into batches.
            _add(self._units, batch, np.rint(area_m2 / self.unit_m2).astype("int64"))
            _add(self._drawn_m2, batch, area_m2 * (1 + np.asarray(batch["area_change"])) if drawn else area_m2)
            yield batch

    def count_rows(self, batches: Iterable[_Batch]) -> Iterator[_Batch]:
        """Count polygons as they are written."""
        for batch in batches:
            self.rows += len(batch)
            _add(self._written_m2, batch, np.asarray(batch["area_m2"]))
            yield batch

    def changes(self) -> dict[str, float]:
        """By how much each class's area changed."""
        names = dict(zip(self.table["class"], self.table["class_name"], strict=True))
        return {
            names.get(value, f"class {value}"): self._drawn_m2[value] / (units * self.unit_m2) - 1
            for value, units in sorted(self._units.items())
        }

    def result(self) -> pd.DataFrame:
        """The table of areas, with its row of no data."""
        table = self.table.copy()  # with its attrs: what has no data is not sieved
        pixels, units = (
            np.array([sums.get(value, 0) for value in table["class"]], "int64") for sums in (self._pixels, self._units)
        )
        if (pixels != table["pixels"].to_numpy()).any():
            area_m2 = units * self.unit_m2
            table["pixels"], table["area_m2"], table["area_ha"] = pixels, area_m2, area_m2 / 1e4
            table["share"] = area_m2 / area_m2.sum()
        return with_no_data_row(table)

    def clipped(self) -> pd.DataFrame:
        """The table of areas of what was written: without pixels, which are not divided, and the row of no data."""
        area_m2 = np.array([self._written_m2.get(value, 0.0) for value in self.table["class"]])
        total_m2 = area_m2.sum()
        return self.table[["class", "class_name"]].assign(
            area_m2=area_m2, area_ha=area_m2 / 1e4, share=area_m2 / total_m2 if total_m2 else 0.0
        )


def _add(sums: dict[int, Any], batch: gpd.GeoDataFrame | pa.Table, amounts: np.ndarray) -> None:
    """Add amounts to the sum of each class."""
    values, places = np.unique(np.asarray(batch["class"]), return_inverse=True)
    parts = np.zeros(len(values), amounts.dtype)
    np.add.at(parts, places, amounts)
    for value, part in zip(values.tolist(), parts.tolist(), strict=True):
        sums[value] = sums.get(value, 0) + part
