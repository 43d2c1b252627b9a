"""The design of a sample: what the interpreter must not see, and what an estimate cannot do without."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from geoseg.errors import OptionError

__all__ = ["SampleDesign", "read_design"]

_FORMAT = "geoseg sample design 1"


@dataclass(frozen=True, eq=False)
class SampleDesign:
    """How a sample was drawn."""

    settings: dict[str, Any]
    """``design`` and the other options, and ``strata``: what the strata are."""
    strata: pd.DataFrame
    """A row for each stratum: ``stratum``, ``pixels`` and ``area_m2`` (the whole stratum), ``units`` (in the sample),
    ``expected_accuracy`` (a guess) and ``expected_se`` (of the share of the stratum that is right)."""
    expected: pd.DataFrame
    """``measure, class, expected, se``: the standard errors to be expected if the guess is right; areas in m²."""
    units: pd.DataFrame
    """``id, stratum`` of each unit; empty in a plan."""

    @property
    def sizes(self) -> pd.Series:
        """The true area of each stratum, m², by name."""
        return self.strata.set_index("stratum")["area_m2"]

    @property
    def pixels(self) -> pd.Series:
        """How many pixels each stratum holds, by name."""
        return self.strata.set_index("stratum")["pixels"]

    def to_record(self) -> dict[str, Any]:
        """What is written to the design's file."""
        return {
            "format": _FORMAT,
            "note": "Not for the interpreters: the strata tell what the map says.",
            "settings": self.settings,
            "probability": "in each stratum, in proportion to the true area of a pixel; without replacement",
            "strata": self.strata.to_dict(orient="records"),
            "expected": self.expected.to_dict(orient="records"),
            "units": {column: self.units[column].tolist() for column in ("id", "stratum")},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SampleDesign:
        """The design that a record holds; raises `OptionError` where it is none."""
        try:
            if record["format"] != _FORMAT:
                raise KeyError("format")
            strata = pd.DataFrame(record["strata"])[["stratum", "pixels", "area_m2", "units"]]
            units = pd.DataFrame({name: record["units"][name] for name in ("id", "stratum")})
            expected = pd.DataFrame(record["expected"], columns=["measure", "class", "expected", "se"])
            return cls(dict(record["settings"]), strata, expected, units)
        except (KeyError, TypeError, ValueError) as error:
            raise OptionError(
                f"A design is what geoseg sample writes beside a sample, but this is none ({error}). Give the file "
                "that ends in _design.json."
            ) from error


def read_design(path: str | os.PathLike[str]) -> SampleDesign:
    """Read the design of a sample.

    Raises
    ------
    OptionError
        The file is missing or holds no design.

    Examples
    --------
    >>> read_design("none.json")
    Traceback (most recent call last):
    geoseg.errors.OptionError: A design is read from the JSON file beside a sample, but none.json cannot be read: ...
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(
            f"A design is read from the JSON file beside a sample, but {path} cannot be read: {error}. Check the path."
        ) from error
    if not isinstance(record, dict):
        raise OptionError(f"A design is what geoseg sample writes beside a sample, but {path} holds none.")
    return SampleDesign.from_record(record)
