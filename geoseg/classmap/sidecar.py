"""What stands beside a map's GeoTIFF: GDAL's ``.aux.xml`` with names and table, QGIS's ``.qml`` with the style.

GDAL keeps category names and the raster attribute table in ``.aux.xml``; QGIS loads ``.qml`` by itself, and only
from version 3.30 on reads the attribute table. Both are written as text, so they do not depend on a version.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from geoseg.classes import ClassInfo

__all__ = ["class_aux_xml", "class_qml", "confidence_qml", "object_qml"]

_INTEGER, _REAL, _TEXT = 0, 1, 2  # GDALRATFieldType
_GENERIC, _PIXEL_COUNT, _NAME, _MIN_MAX, _RED, _GREEN, _BLUE = 0, 1, 2, 5, 6, 7, 8  # GDALRATFieldUsage

_CONFIDENCE_RAMP = (
    (0, "#b2182b"),
    (50, "#ef8a62"),
    (70, "#fddbc7"),
    (85, "#d1e5f0"),
    (95, "#67a9cf"),
    (100, "#2166ac"),
)

_GOLDEN = (5**0.5 - 1) / 2
_MOST_OBJECTS = 4096
"""With more colours of their own QGIS takes long to open a map, and nobody can tell them apart."""


def class_aux_xml(
    classes: Sequence[ClassInfo],
    *,
    pixels: Mapping[int, int],
    areas_m2: Mapping[int, float] | None = None,
) -> str:
    """Category names and raster attribute table: value, name, colour, pixels and, where given, area.

    >>> "<Category>water</Category>" in class_aux_xml([ClassInfo(0, "water")], pixels={})
    True
    """
    fields = [
        ("Value", _INTEGER, _MIN_MAX),
        ("class_name", _TEXT, _NAME),
        ("Red", _INTEGER, _RED),
        ("Green", _INTEGER, _GREEN),
        ("Blue", _INTEGER, _BLUE),
        ("Count", _REAL, _PIXEL_COUNT),  # real: a big map has more pixels than GDAL's integer holds
    ]
    if areas_m2 is not None:
        fields += [("area_m2", _REAL, _GENERIC), ("area_ha", _REAL, _GENERIC)]
    root = ElementTree.Element("PAMDataset")
    band = _add(root, "PAMRasterBand", band=1)
    _add(band, "Description").text = "class"
    names = {info.value: info.name for info in classes}
    categories = _add(band, "CategoryNames")
    for value in range(max(names, default=-1) + 1):
        _add(categories, "Category").text = names.get(value, "")
    table = _add(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(fields):
        field = _add(table, "FieldDefn", index=index)
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            _add(field, tag).text = str(text)
    for index, info in enumerate(classes):
        row = _add(table, "Row", index=index)
        cells: list[Any] = [info.value, info.name, *info.rgb, pixels.get(info.value, 0)]
        if areas_m2 is not None:
            area = areas_m2.get(info.value, 0.0)
            cells += [repr(area), repr(area / 1e4)]
        for cell in cells:
            _add(row, "F").text = str(cell)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def class_qml(classes: Sequence[ClassInfo]) -> str:
    """A palette with names.

    >>> 'label="water"' in class_qml([ClassInfo(0, "water")])
    True
    """
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = _renderer(root, "paletted")
    palette = _add(renderer, "colorPalette")
    for info in classes:
        _add(palette, "paletteEntry", value=info.value, color=info.color, label=info.name, alpha=255)
    return _document(root)


def confidence_qml() -> str:
    """A ramp from red (0 %) through white (below 80 %) to blue (100 %): where to look first is red.

    >>> 'label="100 %"' in confidence_qml()
    True
    """
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = _renderer(root, "singlebandpseudocolor", classificationMin=0, classificationMax=100)
    ramp = _add(
        _add(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode=1,
        clip=0,
        minimumValue=0,
        maximumValue=100,
    )
    for value, color in _CONFIDENCE_RAMP:
        _add(ramp, "item", value=value, color=color, label=f"{value} %", alpha=255)
    return _document(root)


def object_qml(count: int) -> str | None:
    """A colour for each object, so that neighbours can be told apart; None where there are too many for a palette.

    >>> object_qml(2).count("<paletteEntry"), object_qml(100_000)
    (2, None)
    """
    if count > _MOST_OBJECTS:
        return None
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    palette = _add(_renderer(root, "paletted"), "colorPalette")
    for number in range(1, count + 1):
        # Steps of the golden angle: numbers near each other, which are neighbours, have hues far apart.
        color = colorsys.hls_to_rgb(number * _GOLDEN % 1, (0.45, 0.6, 0.75)[number % 3], 0.65)
        text = "#" + "".join(f"{round(255 * part):02x}" for part in color)
        _add(palette, "paletteEntry", value=number, color=text, label=number, alpha=255)
    return _document(root)


def _renderer(root: ElementTree.Element, kind: str, **attributes: object) -> ElementTree.Element:
    renderer = _add(
        _add(root, "pipe"), "rasterrenderer", type=kind, band=1, opacity=1, alphaBand=-1, nodataColor="", **attributes
    )
    _add(renderer, "rasterTransparency")
    return renderer


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})


def _document(root: ElementTree.Element) -> str:
    _add(root, "blendMode").text = "0"
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}\n"
