"""Tables that are made of the matrix, the codes and what was counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from geoseg.change.codes import Codes
from geoseg.change.counting import Counted
from geoseg.change.legends import Legends
from geoseg.change.matrix import matrix_of
from geoseg.change.table import change_table

__all__ = ["PAIR", "areas_by_code", "beside_mapped", "dated", "intervals_of", "pairs_of", "patch_table"]

PAIR = ("from", "from_name", "to", "to_name")
"""What a code stands for, as columns."""


def pairs_of(codes: Iterable[int], known: Codes, legends: Legends) -> pd.DataFrame:
    """The columns `PAIR` for codes; what stands for several pairs has none of them (NA)."""
    names, values = list(legends.values), list(legends.values.values())
    rows = []
    for code in codes:
        first, second = known.pairs.get(int(code), (None, None))
        early, late = ((pd.NA, pd.NA) if k is None else (values[k], names[k]) for k in (first, second))
        rows.append((*early, *late))
    table = pd.DataFrame(rows, columns=list(PAIR))
    return table.astype({"from": "Int64", "from_name": "string", "to": "Int64", "to_name": "string"})


def areas_by_code(matrix: pd.DataFrame, counted: Counted, codes: Codes, legends: Legends) -> pd.DataFrame:
    """What `class_areas` says of the map of change, from the matrix."""
    names = {name: number for number, name in enumerate(legends.values)}
    places = [matrix[column].map(names).to_numpy() for column in ("from_name", "to_name")]
    sums = matrix.groupby(codes.table[places[0], places[1]])[["pixels", "area_m2"]].sum()
    infos = sorted(codes.infos)
    table = pd.DataFrame({"class": [info.value for info in infos], "class_name": [info.name for info in infos]})
    sums = sums.reindex(table["class"], fill_value=0)
    table["pixels"] = sums["pixels"].to_numpy(np.int64)
    table["area_m2"] = sums["area_m2"].to_numpy(float)
    table["area_ha"] = table["area_m2"] / 1e4
    table["share"] = table["area_m2"] / (table["area_m2"].sum() or 1)
    table.attrs["invalid_pixels"] = counted.no_data[0]
    table.attrs["invalid_area_m2"] = counted.no_data[1] * counted.unit_m2
    return table


def beside_mapped(matrix: pd.DataFrame, mapped: pd.DataFrame) -> pd.DataFrame:
    """A matrix without small patches, with the columns ``mapped_pixels`` and ``mapped_ha`` of that with them."""
    columns = mapped[[*PAIR, "pixels", "area_ha"]].rename(columns={"pixels": "mapped_pixels", "area_ha": "mapped_ha"})
    table = columns.merge(matrix, on=list(PAIR), how="left")
    table = table.fillna({"pixels": 0, "area_m2": 0.0, "area_ha": 0.0}).astype({"pixels": "int64"})
    return table[[*matrix.columns, "mapped_pixels", "mapped_ha"]]


def intervals_of(counted: Counted, legends: Legends, dates: Sequence[Any] | None) -> pd.DataFrame:
    """`change_table` from each map to the next, with ``from_map`` and ``to_map``, counted from 1."""
    parts = []
    for date in range(len(legends.names) - 1):
        pair = None if dates is None else dates[date : date + 2]
        part = change_table(matrix_of(counted, legends, date, date + 1), pair)
        part.attrs = {}  # pandas compares them when tables are joined
        parts.append(part.assign(from_map=date + 1, to_map=date + 2))
    table = pd.concat(parts, ignore_index=True)
    table = table[["from_map", "to_map", *table.columns.drop(["from_map", "to_map"])]]
    return dated(dated(table, dates, "from_map", "from_date"), dates, "to_map", "to_date")


def dated(table: pd.DataFrame, dates: Sequence[Any] | None, column: str = "map", name: str = "date") -> pd.DataFrame:
    """A table with a further column: the date of the map with a number; empty where there are no dates."""
    known = {} if dates is None else {number: str(date) for number, date in enumerate(dates, 1)}
    result = table.copy()
    result.insert(list(result.columns).index(column) + 1, name, result[column].map(known).astype("string"))
    return result


def patch_table(
    patches: Mapping[int, tuple[int, float]], areas: pd.DataFrame, codes: Codes, legends: Legends
) -> pd.DataFrame:
    """How many patches of each change there are, and how large; the change of the largest area comes first.

    Parameters
    ----------
    patches
        How many polygons each code of a change has, and the area of the largest in m².
    areas
        Of `areas_by_code`.
    """
    table = areas[areas["class"].isin(list(patches))][["class", "class_name", "area_ha"]].reset_index(drop=True)
    table = pd.concat([table, pairs_of(table["class"], codes, legends)], axis=1)
    counts, largest_m2 = zip(*(patches[code] for code in table["class"]), strict=True) if len(table) else ((), ())
    table["patches"] = np.array(counts, np.int64)
    table["mean_ha"] = table["area_ha"] / table["patches"]
    table["largest_ha"] = np.array(largest_m2, float) / 1e4
    table = table[["class", "class_name", *PAIR, "patches", "area_ha", "mean_ha", "largest_ha"]]
    return table.sort_values("area_ha", ascending=False, kind="stable", ignore_index=True)
