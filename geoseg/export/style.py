"""QGIS styles: class names and colours, so that nobody has to click them together.

Written in the form that QGIS 3.22 and newer read. One category or palette entry for each class, in the order
of the class values.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from geoseg.classes import ClassInfo, check_classes

__all__ = ["document", "polygon_qml", "sub"]

_VERSION = "3.22.0"
_OTHER_RGB = (190, 190, 190)
_HORIZONTAL = 4  # QGIS's number for this way of placing labels


def polygon_qml(
    classes: Iterable[ClassInfo],
    others: bool = False,
    *,
    column: str = "class",
    other: str = "other",
    outline: str | None = None,
    label: str | None = None,
) -> str:
    """The style of a polygon layer: one colour for each class.

    Outlines are hair-thin and of the fill's own colour: without them, the smoothed edges of neighbours would
    let the background shine through; with dark ones, many small polygons would turn into one dark patch.

    Parameters
    ----------
    classes
        The classes of the map.
    others
        Add a category for all other values, grey.
    column
        The column that holds the class values.
    other
        What the category for all other values is called.
    outline
        ``#rrggbb``: a line of this colour around each polygon, where neighbours of one class must be told apart.
    label
        The column that holds the text to write onto each polygon.

    Returns
    -------
    str
        A QML document.

    Examples
    --------
    >>> qml = polygon_qml([ClassInfo(3, "open water", "#1f6fb4")])
    >>> 'label="open water"' in qml and "31,111,180,255" in qml
    True
    """
    root = _root()
    renderer = sub(root, "renderer-v2", type="categorizedSymbol", attr=column, symbollevels=0)
    renderer.set("enableorderby", "0")
    renderer.set("forceraster", "0")
    categories, symbols = sub(renderer, "categories"), sub(renderer, "symbols")
    entries = [(str(info.value), info.name, info.rgb) for info in check_classes(classes)]
    if others:
        entries.append(("", other, _OTHER_RGB))  # an empty value is QGIS's sign for all others
    for number, (value, name, rgb) in enumerate(entries):
        category = sub(categories, "category", symbol=number, value=value, label=name, render="true")
        category.set("type", "integer" if value else "string")
        symbol = sub(symbols, "symbol", type="fill", name=number, alpha=1, clip_to_extent=1, force_rhr=0)
        fill = sub(symbol, "layer", enabled=1, locked=0)
        fill.set("class", "SimpleFill")
        fill.set("pass", "0")
        line = rgb if outline is None else ClassInfo(0, "line", outline).rgb
        options = {
            "color": _rgba(rgb),
            "joinstyle": "round",
            "outline_color": _rgba(line),
            "outline_style": "solid",
            "outline_width": "0.1" if outline is None else "0.3",
            "outline_width_unit": "MM",
            "style": "solid",
        }
        values = sub(fill, "Option", type="Map")
        for name, value in options.items():
            sub(values, "Option", name=name, type="QString", value=value)
    if label is not None:
        _add_labels(root, label)
    sub(root, "layerGeometryType").text = "2"
    return document(root)


def _add_labels(root: ElementTree.Element, column: str) -> None:
    """Dark text in a light halo, in the middle of each polygon that has room for it."""
    root.set("styleCategories", "Symbology|Labeling")
    root.set("labelsEnabled", "1")
    settings = sub(sub(root, "labeling", type="simple"), "settings")
    text = sub(settings, "text-style", fieldName=column, isExpression=0, fontSize=9, fontSizeUnit="Point")
    text.set("textColor", _rgba((20, 20, 20)))
    text.set("fontWeight", "75")  # bold: thin letters drown in their halo
    halo = sub(text, "text-buffer", bufferDraw=1, bufferSize=0.7, bufferSizeUnits="MM", bufferOpacity=1)
    halo.set("bufferColor", _rgba((255, 255, 255)))
    sub(settings, "placement", placement=_HORIZONTAL, centroidInside=1)


def _rgba(rgb: tuple[int, int, int]) -> str:
    return ",".join(str(part) for part in (*rgb, 255))


def _root() -> ElementTree.Element:
    return ElementTree.Element("qgis", {"version": _VERSION, "styleCategories": "Symbology"})


def sub(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    """A new element below another one."""
    return ElementTree.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})


def document(root: ElementTree.Element) -> str:
    """A style as text, as QGIS writes it."""
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}\n"
