"""The style of a reference sample in QGIS: a form with a drop-down of classes, and colours for what is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

from geoseg.export.style import document, sub

__all__ = ["CONFIDENCE", "sample_qml"]

CONFIDENCE = ("high", "medium", "low")
"""How sure an interpreter may be."""

_VERSION = "3.22.0"  # of QGIS: the oldest that reads it
_NULL = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"  # what stands for NULL in QGIS's value maps
_STATES = (("0", "to interpret", "230,97,1,255", "4"), ("1", "done", "40,40,40,255", "2.6"))
_HALO = "255,255,255,200"
_LINE = {"color": "255,255,255,0", "outline_style": "solid", "outline_width_unit": "MM"}
_RING = {"name": "circle", "size_unit": "MM"}  # what is beneath can be seen
_SQUARE = {"style": "no", "joinstyle": "miter"}


def sample_qml(classes: Iterable[str], *, squares: bool = False) -> str:
    """The style of a layer with the columns ``id, reference, confidence, comment``.

    In the form, ``reference`` and ``confidence`` are drop-downs (QGIS's value maps), ``comment`` is a text, ``id``
    cannot be changed. Units without a reference are large and orange, the others small and grey.

    Parameters
    ----------
    classes
        Names of classes, in the order in which they are offered.
    squares
        Whether the layer has squares rather than points.

    Returns
    -------
    str
        A QML document.

    Examples
    --------
    >>> qml = sample_qml(["forest", "water"])
    >>> 'type="ValueMap"' in qml and 'value="water"' in qml
    True
    """
    root = ElementTree.Element("qgis", {"version": _VERSION, "styleCategories": "Symbology|Fields|Forms"})
    fields = sub(root, "fieldConfiguration")
    _field(fields, "id", "TextEdit", {"IsMultiline": "false"})
    _value_map(fields, "reference", classes)
    _value_map(fields, "confidence", CONFIDENCE)
    _field(fields, "comment", "TextEdit", {"IsMultiline": "true"})
    editable = sub(root, "editable")
    for name in ("id", "reference", "confidence", "comment"):
        sub(editable, "field", name=name, editable=int(name != "id"))
    renderer = sub(root, "renderer-v2", type="categorizedSymbol", symbollevels=0, enableorderby=0, forceraster=0)
    renderer.set("attr", "CASE WHEN coalesce(\"reference\", '') = '' THEN 0 ELSE 1 END")
    categories, symbols = sub(renderer, "categories"), sub(renderer, "symbols")
    for number, (value, label, color, size) in enumerate(_STATES):
        category = sub(categories, "category", symbol=number, value=value, label=label, render="true")
        category.set("type", "integer")
        symbol = sub(symbols, "symbol", type="fill" if squares else "marker", name=number, alpha=1, clip_to_extent=1)
        for ink, width in ((_HALO, 1.3), (color, 0.6)):  # a light rim beneath, so that it is seen on any ground
            layer = sub(symbol, "layer", enabled=1, locked=0)
            layer.set("class", "SimpleFill" if squares else "SimpleMarker")
            layer.set("pass", "0")
            shape = _SQUARE if squares else {**_RING, "size": size}
            _options(layer, {**shape, **_LINE, "outline_color": ink, "outline_width": str(width)})
    sub(root, "layerGeometryType").text = "2" if squares else "0"
    return document(root)


def _value_map(fields: ElementTree.Element, name: str, values: Iterable[str]) -> None:
    config = _field(fields, name, "ValueMap", {})
    listed = sub(config, "Option", type="List", name="map")
    for label, value in [("<NULL>", _NULL), *((value, value) for value in values)]:
        sub(sub(listed, "Option", type="Map"), "Option", name=label, type="QString", value=value)


def _field(fields: ElementTree.Element, name: str, widget: str, options: Mapping[str, str]) -> ElementTree.Element:
    field = sub(fields, "field", name=name, configurationFlags="None")
    config = sub(sub(field, "editWidget", type=widget), "config")
    return _options(config, options)


def _options(parent: ElementTree.Element, options: Mapping[str, str]) -> ElementTree.Element:
    values = sub(parent, "Option", type="Map")
    for name, value in options.items():
        sub(values, "Option", name=name, type="bool" if value in ("true", "false") else "QString", value=value)
    return values
