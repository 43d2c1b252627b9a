"""Whole networks of torch: ``.pt2`` files of `torch.export`, taken apart and checked before torch loads them.

`torch.export.load` by itself is not safe with files of strangers: it unpickles example inputs and some tensors, takes
sizes as Python expressions, and makes Python code of the names in the graph. So the archive is read here as the zip it
is: only tensors stored as plain bytes and a graph of torch's own operators are let through, every word in it has to
be a plain one, and torch then gets a new archive that holds nothing but what was checked.

TorchScript is a program rather than data, and is run in part while it is loaded: it is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from typing import Any

import torch

from geoseg.errors import ModelError, OptionError
from geoseg.model import ModelSpec

__all__ = ["ExportedNetwork", "load_exported", "refuse_torchscript"]

_TENSORS = re.compile(r"data/(weights/weight_\d+|constants/tensor_\d+)")
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_GRAPH = "models/model.json"
_MARKS = ("archive_format", "archive_version", ".data/version", "byteorder", ".data/serialization_id")
_INPUTS = "data/sample_inputs/model.pt"  # a pickle, and not needed
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|")
_WORD = re.compile(r"[A-Za-z0-9_.+]*")
_TEXT = re.compile(r"[A-Za-z0-9_.,> -]*")  # "reflect", "bij,bjk->bik"
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!__|from_file|set_\.)\w+\.(?!_)\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc)|torch\.sym_(max|min|int|float|not|ite|sum)",
    re.ASCII,
)
_EXPRESSION = re.compile(
    r"(?:Symbol\('[a-z]\d+'(?:, (?:positive|integer|nonnegative|nonzero)=True)*\)"
    r"|(?:Mul|Add|Pow|Mod|Max|Min|Integer|Float|Rational|FloorDiv|CleanDiv|CeilDiv|PythonMod|TruncToInt|ToFloat|IntTrueDiv"
    r"|Eq|Ne|Equality|Unequality|GreaterThan|LessThan|StrictGreaterThan|StrictLessThan)(?=\()"
    r"|-?\d{1,12}|-?int_oo|true|false|[(), ])+"
)


class ExportedNetwork(torch.nn.Module):
    """An exported program with one input and one output; tiles go through in the batches it was exported for."""

    def __init__(self, spec: ModelSpec, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.name = spec.name
        self.program = program.module()
        inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        if len(inputs) != 1 or len(program.graph_signature.user_outputs) != 1:
            raise ModelError(f"An exported network must have one input and one output, but {spec.name} has others.")
        self.shape = [side if isinstance(side, int) else None for side in inputs[0].meta["val"].shape]
        wanted = [None, len(spec.bands), spec.tile_px, spec.tile_px]
        if len(self.shape) != 4 or any(
            None not in (has, want) and has != want for has, want in zip(self.shape, wanted, strict=True)
        ):
            raise ModelError(
                f"A network must take what model.json says, {len(spec.bands)} bands and tiles of {spec.tile_px} "
                f"pixels, but that of {spec.name} takes {self.shape} (tile, band, row, col; None: any)."
            )

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Exported programs are what they were exported as, and refuse to be asked."""
        return self

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """The output (tile, channel, row, col) of scaled tiles (tile, band, row, col)."""
        size = self.shape[0] or len(tiles)
        if len(tiles) % size or tiles.shape[3] != (self.shape[3] or tiles.shape[3]):
            raise OptionError(
                f"{self.name} takes only batches of {size} and tiles of {self.shape[3]} pixels, but received "
                f"{tuple(tiles.shape)} (tile, band, row, col). Leave out --tile and --batch."
            )
        # Exported for memory in the usual order: operators like view would fail in another one.
        parts = [self.program(part.contiguous()) for part in tiles.split(size)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def load_exported(spec: ModelSpec, weights: bytes) -> ExportedNetwork:
    """The network in a ``.pt2`` file of `torch.export.save`.

    Raises
    ------
    ModelError
        It is no such file, is damaged, or holds anything but tensors and a graph of torch's operators.
    """
    checked = _checked_archive(weights, spec.weights)
    try:
        program = torch.export.load(io.BytesIO(checked))
    except Exception as error:  # torch raises whatever its reader meets, from AssertionError to KeyError
        raise _refuse(
            spec.weights, f"torch {torch.__version__} cannot read it: {str(error).splitlines()[:1]}"
        ) from error
    return ExportedNetwork(spec, program)


def refuse_torchscript(name: str) -> ModelError:
    """The error for a TorchScript file, which tells the way to ONNX."""
    return ModelError(
        f"Weights must be data, but {name} is TorchScript, a program that runs in part while it is loaded. "
        "If you trust who made it, convert it to ONNX yourself, torch.onnx.export(torch.jit.load(FILE), "
        "(torch.zeros(1, BANDS, TILE, TILE),), 'model.onnx', dynamo=False), and import that."
    )


def _checked_archive(data: bytes, name: str) -> bytes:
    """A new archive with the checked parts of a ``.pt2``."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            tops = {member.partition("/")[0] for member in names}
            if any(member.endswith("/constants.pkl") or "/code/" in member for member in names):
                raise refuse_torchscript(name)
            if len(tops) != 1 or len(set(names)) != len(names):
                raise _refuse(name, "it is no archive of torch.export.save")
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise _refuse(name, "it is compressed, which torch never does")
            top = tops.pop()
            parts = {member.partition("/")[2]: archive.read(member) for member in names}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _refuse(name, f"it is no zip: {error}") from error
    known = {part for part in parts if _TENSORS.fullmatch(part)} | {*_CONFIGS, _GRAPH, *_MARKS, _INPUTS}
    strange = sorted(part for part in parts if part not in known and not part.startswith("extra/"))
    missing = sorted({*_CONFIGS, _GRAPH} - set(parts))
    if strange or missing:
        what = f"holds {strange[0]!r}" if strange else f"lacks {missing[0]!r}"
        raise _refuse(name, f"it {what}. Files of torch before 2.8 are pickles; compiled ones are programs")
    parts = {part: content for part, content in parts.items() if part in known}
    for config in _CONFIGS:
        _check_tensors(_json(parts[config], name), name)
    parts[_GRAPH] = json.dumps(_checked_graph(_json(parts[_GRAPH], name), name)).encode()
    parts[_INPUTS] = b""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for part, content in parts.items():
            archive.writestr(f"{top if _WORD.fullmatch(top) else 'model'}/{part}", content)
    return buffer.getvalue()


def _json(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refuse(name, f"its graph is no JSON: {error}") from error


def _check_tensors(config: Any, name: str) -> None:
    """Every tensor is stored as plain bytes, not as a pickle."""
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise _refuse(name, "its list of tensors is damaged")
    for key, entry in entries.items():
        plain = re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name")))
        if entry.get("use_pickle") is not False or not plain:
            raise _refuse(name, f"its tensor {key!r} is stored as a pickle, which could run any program")
    _check_words(config, "", name)


def _checked_graph(program: Any, name: str) -> Any:
    """The graph without notes for people and without code for guards, of plain words and torch's operators only."""
    try:
        module = program["graph_module"]
        for node in module["graph"]["nodes"]:
            node["metadata"] = {}
            if not _OPERATOR.fullmatch(node["target"]):
                raise _refuse(name, f"its graph uses {node['target']!r}, which is none of torch's plain operators")
        module["metadata"], program["guards_code"] = {}, []
        # What calls went in and out of submodules is told for rebuilding them; the first entry is the whole network.
        module["module_call_graph"] = module["module_call_graph"][:1]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise _refuse(name, f"its graph is damaged ({type(error).__name__} {error})") from error
    _check_words(program, "", name)
    return program


def _check_words(value: Any, key: str, name: str) -> None:
    """Every text below `value` is of the plain kind that belongs under its key."""
    if isinstance(value, dict):
        for inner, item in value.items():
            _check_words(inner, "", name)
            _check_words(item, inner, name)
    elif isinstance(value, list):
        for item in value:
            _check_words(item, key, name)
    elif isinstance(value, str):
        if key == "expr_str":
            plain = _EXPRESSION.fullmatch(value) is not None
        elif key in ("in_spec", "out_spec"):
            plain = _is_plain_tree(_json(value.encode(), name))
        elif key in ("name", "forward_arg_names"):
            plain = _NAME.fullmatch(value) is not None
        else:
            plain = (_TEXT if key in ("as_string", "as_strings") else _WORD).fullmatch(value) is not None
        if not plain:
            raise _refuse(name, f"its graph holds the text {value[:80]!r}, where torch writes plain words only")


def _is_plain_tree(tree: Any) -> bool:
    """Whether a description of arguments knows tuples, lists and dicts only."""
    if isinstance(tree, dict):
        return set(tree) <= {"type", "context", "children_spec"} and all(_is_plain_tree(item) for item in tree.values())
    if isinstance(tree, list):
        return all(_is_plain_tree(item) for item in tree)
    return not isinstance(tree, str) or tree in ("builtins.tuple", "builtins.list", "builtins.dict", "null", "[]")


def _refuse(name: str, why: str) -> ModelError:
    return ModelError(
        f"Weights must be data that cannot run anything, but {name} is not accepted: {why}. Export the network anew "
        "with torch.export.save of torch 2.8 or newer, or to ONNX."
    )
