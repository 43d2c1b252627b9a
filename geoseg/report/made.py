"""How numbers were made, from the record of a run, and what a report cannot know."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from geoseg.report.page import Html, bullets, facts, section

__all__ = ["caveats", "how_made", "subtitle"]

_SHOWN_VERSIONS = ("geoseg", "python", "gdal (rasterio)", "proj", "numpy", "torch")


def subtitle(what: str) -> str:
    """What the report is of, and the day it was written (that of ``SOURCE_DATE_EPOCH`` where it is set)."""
    stamp = os.environ.get("SOURCE_DATE_EPOCH")
    day = datetime.now(UTC) if stamp is None else datetime.fromtimestamp(int(stamp), UTC)
    return f"{what} · {day:%Y-%m-%d}" if what else f"{day:%Y-%m-%d}"


def how_made(record: Mapping[str, Any], *, rules: Iterable[str] = ()) -> Html:
    """The section on inputs, model, options and versions.

    Parameters
    ----------
    record
        As it is written to ``run.json`` and the like: ``input`` or ``inputs``, ``model``, ``options`` or ``settings``,
        ``versions``; each where it is there. Times are left out, so that equal runs give equal reports.
    rules
        Sentences on how the numbers are defined.
    """
    items: dict[str, str] = {}
    for name, value in {**_mapping(record.get("input"), "source"), **_mapping(record.get("inputs"), "input")}.items():
        items[_words(name)] = _text(value)
    model = record.get("model")
    if isinstance(model, Mapping):
        items["model"] = ". ".join(
            _text(model[key]).rstrip(".") for key in ("name", "description", "license") if model.get(key)
        )
        items["model SHA-256"] = str(model.get("sha256", ""))
    elif model:
        items["model"] = _text(model)
    options = {**_mapping(record.get("options"), "options"), **_mapping(record.get("settings"), "settings")}
    items["options"] = ", ".join(f"{_words(key)} {_text(value)}" for key, value in options.items() if _text(value))
    versions = record.get("versions", {})
    items["versions"] = ", ".join(f"{name} {versions[name]}" for name in _SHOWN_VERSIONS if name in versions)
    said = bullets(rules)
    return section("How it was made", said if "<li>" in said else "", facts(items))


def caveats(texts: Iterable[str]) -> Html:
    """The section on what the numbers do not say."""
    return section("What these numbers do not say", bullets(texts))


def _mapping(part: Any, name: str) -> dict[str, Any]:
    if not part:
        return {}
    return dict(part) if isinstance(part, Mapping) else {name: part}


def _words(name: str) -> str:
    for suffix, unit in (("_px", " (pixels)"), ("_m2", " (m²)"), ("_m", " (m)")):
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " ") + unit
    return name.replace("_", " ")


def _text(value: Any) -> str:
    """A value in words; nothing for what was not given."""
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{_words(str(key))}: {_text(item)}" for key, item in value.items() if _text(item))
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)
