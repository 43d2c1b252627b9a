"""`ModelSpec` ↔ STAC Item with the MLM extension, checked by pystac's own classes for Item and extension.

Nothing is fetched: pystac's classes know the required fields, and the rest is checked here, field by field.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any

from geoseg.classes import ClassInfo
from geoseg.errors import ModelError, OptionError
from geoseg.packages.spec import TASKS, ModelSpec

__all__ = ["item_of", "spec_of"]

_SCHEMAS = "https://stac-extensions.github.io"
MLM_SCHEMA = f"{_SCHEMAS}/mlm/v1.4.0/schema.json"
FILE_SCHEMA = f"{_SCHEMAS}/file/v2.1.0/schema.json"
CLASSIFICATION_SCHEMA = f"{_SCHEMAS}/classification/v2.0.0/schema.json"
SCIENTIFIC_SCHEMA = f"{_SCHEMAS}/scientific/v1.0.0/schema.json"

_SHA256_MULTIHASH = "1220"  # 0x12 says SHA-256, 0x20 its length in bytes (STAC file extension)
_ARTIFACT_TYPES = {
    "safetensors": "safetensors",
    "onnx": "onnx",
    "torch.export": "torch.export.save",
    "torchscript": "torch.jit.save",
}
_ALIASES = {**{value: key for key, value in _ARTIFACT_TYPES.items()}, "torch.jit.script": "torchscript"}
_SUFFIXES = {".safetensors": "safetensors", ".onnx": "onnx", ".pt2": "torch.export"}
_OF_OBJECTS = ("decoding", "min_score", "max_overlap")
_OF_BOUNDARY = ("grow_px", "borders")
_REMEDY = "Correct model.json, or write it anew with ModelSpec.write or `geoseg models import`"


def item_of(spec: ModelSpec) -> dict[str, Any]:
    """The STAC Item of a model's metadata."""
    asset = {
        "href": f"./{spec.weights}",
        "type": "application/octet-stream",
        "title": "weights",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": _ARTIFACT_TYPES[spec.artifact],
        "file:checksum": f"{_SHA256_MULTIHASH}{spec.sha256}",
    }
    schemas = [MLM_SCHEMA, FILE_SCHEMA, CLASSIFICATION_SCHEMA] + [SCIENTIFIC_SCHEMA] * bool(spec.citation)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": schemas,
        "id": spec.name,
        "geometry": None,
        "properties": _properties_of(spec),
        "links": [],
        "assets": {"weights": asset},
    }


def _properties_of(spec: ModelSpec) -> dict[str, Any]:
    properties = {
        "datetime": "2026-01-01T00:00:00Z",
        "description": spec.description,
        "license": spec.license,
        "gsd": spec.resolution_m,
        "mlm:name": spec.name,
        "mlm:architecture": spec.architecture,
        "mlm:tasks": [spec.task],
        "mlm:framework": "ONNX" if spec.artifact == "onnx" else "pytorch",
        "mlm:total_parameters": spec.parameters,
        "mlm:hyperparameters": dict(spec.arguments),
        "mlm:input": [_input_of(spec)],
        "mlm:output": [_output_of(spec)],
        "geoseg:dtype": spec.dtype,
        "geoseg:resolution_range_m": list(spec.resolution_range_m),
        "geoseg:overlap_px": spec.overlap_px,
        "geoseg:margin_px": spec.margin_px,
        "geoseg:divisor": spec.divisor,
        "geoseg:activation": spec.activation,
        "geoseg:temperature": spec.temperature,
        "geoseg:accuracy": dict(spec.accuracy),
    }
    optional = {
        **{f"geoseg:{name}": getattr(spec, name) for name in (*_OF_OBJECTS, *_OF_BOUNDARY) if _matters(spec, name)},
        "geoseg:receptive_field_px": spec.receptive_field_px,
        "geoseg:sources": list(spec.sources) or None,
        "sci:citation": spec.citation or None,
    }
    return properties | {key: value for key, value in optional.items() if value is not None}


def _input_of(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": "tiles",
        "bands": list(spec.bands),
        "input": {
            "shape": [-1, len(spec.bands), spec.tile_px, spec.tile_px],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std} for mean, std in zip(spec.mean, spec.std, strict=True)
        ],
        "resize_type": None,
    }


def _matters(spec: ModelSpec, name: str) -> bool:
    """Whether a field of some decodings only is to be written: other packages read as they did before."""
    needs = spec.decoding == "boundary" if name in _OF_BOUNDARY else spec.finds_objects
    return needs or getattr(spec, name) != getattr(ModelSpec, name)


def _output_of(spec: ModelSpec) -> dict[str, Any]:
    shape, order = [-1, spec.channels, spec.tile_px, spec.tile_px], ["batch", "class", "height", "width"]
    if spec.finds_objects:  # each with a box, scores and a mask: how these are stored is what the decoding says
        shape, order = [-1, -1], ["batch", "object"]
    return {
        "name": "objects" if spec.finds_objects else "classes",
        "tasks": [spec.task],
        "result": {"shape": shape, "dim_order": order, "data_type": "float32"},
        "classification:classes": [
            {"value": info.value, "name": info.name, "color_hint": info.color[1:].upper()} for info in spec.classes
        ],
    }


def spec_of(item: Mapping[str, Any]) -> ModelSpec:
    """The metadata in a STAC Item.

    Raises
    ------
    ModelError
        A field is missing, of a wrong kind, or asks for what geoseg cannot do; the message names the field.
    """
    source, result = _check_item(item)
    given = item["properties"]
    fields: dict[str, Any] = {}

    def read(name: str, where: str, make: Callable[[], Any]) -> None:
        with _field(where):
            fields[name] = make()

    gsd = _number(given, "gsd")
    read("name", "mlm:name", lambda: _text(given["mlm:name"]))
    read("architecture", "mlm:architecture", lambda: _text(given["mlm:architecture"]))
    read("task", "mlm:tasks", lambda: next(task for task in [*given["mlm:tasks"], None] if task in (*TASKS, None)))
    read("bands", "mlm:input[0].bands", lambda: _bands(source["bands"]))
    read("classes", "mlm:output[0].classification:classes", lambda: _classes(result))
    read("tile_px", "mlm:input[0].input", lambda: _tile_px(source["input"]))
    read("arguments", "mlm:hyperparameters", lambda: dict(given.get("mlm:hyperparameters") or {}))
    read("parameters", "mlm:total_parameters", lambda: int(given.get("mlm:total_parameters") or 0))
    read("accuracy", "geoseg:accuracy", lambda: dict(given.get("geoseg:accuracy", {})))
    read("sources", "geoseg:sources", lambda: tuple(_text(line) for line in given.get("geoseg:sources", ())))
    mean, std = _scaling(source.get("value_scaling"), len(fields["bands"]))
    low, high = gsd / 2, gsd * 2
    if "geoseg:resolution_range_m" in given:
        with _field("geoseg:resolution_range_m"):
            low, high = (float(value) for value in given["geoseg:resolution_range_m"])
    for name, kind in _OWN_FIELDS.items():
        if given.get(f"geoseg:{name}") is not None:
            read(name, f"geoseg:{name}", partial(kind, given[f"geoseg:{name}"]))
    if fields["task"] is None:
        raise ModelError(
            f"A model's task must be one of {', '.join(TASKS)}, but mlm:tasks is {given['mlm:tasks']}. geoseg cannot "
            "run other tasks."
        )
    try:
        return ModelSpec(
            **fields,
            **_weights(item["assets"]),
            mean=mean,
            std=std,
            resolution_m=gsd,
            resolution_range_m=(low, high),
            license=str(given.get("license", "other")),
            description=str(given.get("description", "")),
            citation=str(given.get("sci:citation", "")),
        )
    except OptionError as error:
        raise ModelError(str(error)) from error


def _check_item(item: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The one input and the one output of an Item that pystac takes for one with the MLM extension."""
    import pystac
    from pystac.errors import ExtensionNotImplemented, STACError, STACTypeError
    from pystac.extensions.mlm import MLMExtension

    try:
        parsed = pystac.Item.from_dict(copy.deepcopy(dict(item)), migrate=False)
        mlm = MLMExtension.ext(parsed)
    except (
        STACError,
        STACTypeError,
        ExtensionNotImplemented,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise _wrong(f"pystac finds: {type(error).__name__} {error}") from error
    for name, attribute in (("name", "mlm_name"), ("architecture", "architecture"), ("tasks", "tasks")):
        with _field(f"mlm:{name}"):
            getattr(mlm, attribute)
    found = {}
    for name in ("input", "output"):
        with _field(f"mlm:{name}"):
            found[name] = getattr(mlm, name)
        if len(found[name]) != 1:
            raise _wrong(f"mlm:{name} has {len(found[name])} entries; a model must have one")
    for where, attributes in (
        ("input", ("name", "bands", "input", "input.shape", "input.dim_order", "input.data_type")),
        ("output", ("name", "tasks", "result")),
    ):
        for attribute in attributes:
            with _field(f"mlm:{where}[0].{attribute}"):
                attrgetter(attribute)(found[where][0])
    return item["properties"]["mlm:input"][0], item["properties"]["mlm:output"][0]


@contextmanager
def _field(name: str) -> Iterator[None]:
    """Errors in this block are errors of the field `name`."""
    from pystac.errors import RequiredPropertyMissing, STACError

    try:
        yield
    except RequiredPropertyMissing as error:
        raise _wrong(f"{name} is missing") from error
    except KeyError as error:
        raise _wrong(f"{name} is missing or lacks {error}") from error
    except (STACError, OptionError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise _wrong(f"{name} is of a wrong kind: {error}") from error


def _wrong(what: str) -> ModelError:
    return ModelError(f"model.json must be a STAC Item with the MLM extension, but {what.rstrip('.')}. {_REMEDY}.")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"it must be text, but is {value!r}")
    return value


def _number(given: Mapping[str, Any], key: str) -> float:
    with _field(key):
        return float(given[key])


_OWN_FIELDS: dict[str, Callable[[Any], Any]] = {
    "dtype": _text,
    "overlap_px": int,
    "margin_px": int,
    "divisor": int,
    "activation": _text,
    "temperature": float,
    "decoding": _text,
    "min_score": float,
    "max_overlap": float,
    "grow_px": int,
    "borders": _text,
    "receptive_field_px": int,
}


def _bands(bands: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_text(band if isinstance(band, str) else band["name"]) for band in bands)


def _classes(result: Mapping[str, Any]) -> tuple[ClassInfo, ...]:
    entries = result["classification:classes"]
    return tuple(
        ClassInfo(entry["value"], entry["name"], f"#{entry['color_hint']}" if "color_hint" in entry else "")
        for entry in entries
    )


def _tile_px(structure: Mapping[str, Any]) -> int:
    order, shape = list(structure["dim_order"]), list(structure["shape"])
    names = [{"channel": "bands", "band": "bands"}.get(name, name) for name in order]
    if names != ["batch", "bands", "height", "width"] or len(shape) != 4:
        raise ValueError(f"dim_order must be batch, bands, height, width, but is {order} with the shape {shape}")
    if structure["data_type"] != "float32":
        raise ValueError(f"data_type must be float32, but is {structure['data_type']!r}")
    if shape[2] != shape[3] or int(shape[3]) < 1:
        raise ValueError(f"tiles must be squares of a known side, but the shape is {shape}")
    return int(shape[3])


def _scaling(scaling: Any, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of every band, out of MLM's value scaling: one object for all bands, or one for each."""
    steps = [scaling] if isinstance(scaling, Mapping) else list(scaling or [{"type": "scale", "value": 1}])
    with _field("mlm:input[0].value_scaling"):
        pairs = [_z_score(step) for step in steps]
        if len(pairs) not in (1, bands):
            raise ValueError(f"it needs one entry, or one for each of {bands} bands, but has {len(pairs)}")
    mean, std = zip(*(pairs * bands if len(pairs) == 1 else pairs), strict=True)
    return mean, std


def _z_score(step: Mapping[str, Any]) -> tuple[float, float]:
    """(mean, std) so that (pixel − mean) / std is what this value scaling does."""
    from pystac.extensions.mlm import ValueScaling

    kind = step["type"]
    if kind not in ("z-score", "min-max", "offset", "scale"):
        raise ValueError(
            f"the type {kind!r} cannot be written as (pixel - mean) / stddev, which z-score, min-max, offset and "
            "scale can"
        )
    ValueScaling.validate_property_dict(kind, dict(step))
    if kind == "z-score":
        return float(step["mean"]), float(step["stddev"])
    if kind == "min-max":
        return float(step["minimum"]), float(step["maximum"]) - float(step["minimum"])
    value = float(step["value"])
    return (value, 1.0) if kind == "offset" else (0.0, value)


def _weights(assets: Mapping[str, Any]) -> dict[str, Any]:
    """File name, kind and SHA-256 of the weights."""
    models = [asset for asset in assets.values() if "mlm:model" in (asset.get("roles") or ())]
    if len(models) != 1:
        raise _wrong(f"{len(models)} assets have the role mlm:model; one must have it")
    (asset,) = models
    with _field("assets"):
        href = _text(asset["href"]).removeprefix("./")
        kind = asset.get("mlm:artifact_type", _SUFFIXES.get(PurePosixPath(href).suffix, ""))
        checksum = _text(asset.get("file:checksum", _SHA256_MULTIHASH))
        if not checksum.startswith(_SHA256_MULTIHASH):
            raise ValueError(f"file:checksum must be a SHA-256 multihash (1220...), but is {checksum!r}")
    if href != PurePosixPath(href).name or "\\" in href or not href:
        raise _wrong(f"the weights must lie beside model.json, and their href is {asset['href']!r}")
    return {
        "weights": href,
        "artifact": _ALIASES.get(kind, kind),
        "sha256": checksum.removeprefix(_SHA256_MULTIHASH),
    }
