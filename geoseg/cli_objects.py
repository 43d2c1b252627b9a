"""What ``geoseg map`` does otherwise for models that find objects."""

from __future__ import annotations

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from geoseg.errors import OptionError
from geoseg.packages import read_spec

__all__ = ["block_of_objects", "finds_objects", "maps_objects", "print_objects", "refuse_for_objects"]

_BLOCK_PX = 4096
_NOT_FOR_OBJECTS = ("connectivity",)
_NOT_FOR_INSTANCES = ("tta", "precision", "compile")


def finds_objects(model: str) -> bool:
    """Whether a package by this name or path finds objects in tiles; ensembles and torchgeo's weights give classes.

    >>> finds_objects("landcover-aerial")
    False
    """
    if model.startswith("torchgeo:") or "," in model:
        return False
    return read_spec(model).finds_objects


def maps_objects(model: str, objects: str | None) -> bool:
    """Whether what comes of a model is a map of objects: it finds them, or maps them, or classes were chosen for it.

    >>> maps_objects("landcover-aerial", None), maps_objects("landcover-aerial", "building")
    (False, True)
    """
    if objects is not None:
        return True
    first = model.split(",")[0].strip()
    return not first.startswith("torchgeo:") and read_spec(first).maps_objects


def block_of_objects(ctx: typer.Context, block: int) -> int:
    """The side of a block that was asked for, or else the default for objects, smaller than that for classes."""
    return block if getattr(ctx.get_parameter_source("block"), "name", "") == "COMMANDLINE" else _BLOCK_PX


def refuse_for_objects(ctx: typer.Context, model: str) -> None:
    """No option is ignored in silence."""
    refused = (*_NOT_FOR_OBJECTS, *(_NOT_FOR_INSTANCES if finds_objects(model) else ()))
    given = [f"--{name}" for name in refused if getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if given:
        raise OptionError(
            f"{', '.join(given)}: for models that give classes only, but this one finds objects. Leave it out."
        )


def print_objects(table: pd.DataFrame) -> None:
    """How many objects of each class, and how much they cover."""
    shown = Table("class", "objects", "pixels", "ha", "share", box=None, header_style="bold")
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in table.itertuples():
        share = f"{row.share:.1%}"
        shown.add_row(str(row.class_name), f"{row.objects:,}", f"{row.pixels:,}", f"{row.area_ha:,.3f}", share)
    Console().print(shown)
