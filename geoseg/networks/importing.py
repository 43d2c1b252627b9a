"""Make a package of weights that others trained: a state dict, an ONNX file or an exported torch network."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from geoseg.errors import GeosegError, ModelError, OptionError
from geoseg.model import ModelSpec
from geoseg.networks.architectures import build_network
from geoseg.networks.checking import check_tiles
from geoseg.networks.exported import refuse_torchscript
from geoseg.networks.instance_models import MaskRCNNModel
from geoseg.networks.loading import build_model
from geoseg.networks.torch_model import TorchModel
from geoseg.packages import write_package

__all__ = ["import_model"]

_WHOLE = {".onnx": "onnx", ".pt2": "torch.export"}
_STATES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")
_NESTED = ("state_dict", "model_state_dict", "model")


def import_model(weights: str | Path, spec: ModelSpec, out: str | Path) -> Path:
    """Write a package from weights and what is known about them, after predicting a tile with it.

    Parameters
    ----------
    weights
        ``.onnx``, ``.pt2`` (`torch.export.save`), ``.safetensors``, or a state dict or Lightning checkpoint in a
        ``.pt``, ``.pth`` or ``.ckpt``. State dicts need `spec.architecture`, and may have a prefix in front of all
        names (``model.``).
    spec
        The metadata; kind, file name, hash and number of parameters are filled in.
    out
        The folder or ``.zip`` to make; it appears whole or not at all.

    Returns
    -------
    Path
        The package.

    Raises
    ------
    ModelError
        The weights cannot be read safely, do not fit, or a tile does not give probabilities or
        objects.
    OutputError
        `out` is there, or cannot be written.
    """
    path = Path(weights)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Weights must be a file, but {path} cannot be read: {error.strerror}.") from error
    suffix = path.suffix.lower()
    if suffix in _WHOLE:
        spec = replace(
            spec, artifact=_WHOLE[suffix], weights=f"weights{suffix}", architecture=spec.architecture or "any"
        )
    elif suffix in _STATES:
        spec, data = _from_state(spec, data, path)
    else:
        raise OptionError(
            f"Weights must end in {', '.join((*_WHOLE, *_STATES))}, but the file is {path.name}. Rename it."
        )
    try:
        model = build_model(spec, data)
        check_tiles(model)
        fixed = getattr(model.network, "shape", None)
        if fixed is not None and fixed[2] is not None:
            spec = replace(spec, divisor=spec.tile_px)  # no other tile side will do
    except GeosegError as error:
        raise type(error)(f"{path} does not make a model: {error}") from error
    if isinstance(model, TorchModel | MaskRCNNModel):
        spec = replace(spec, parameters=sum(parameter.numel() for parameter in model.network.parameters()))
    return write_package(out, spec, data)


def _from_state(spec: ModelSpec, data: bytes, path: Path) -> tuple[ModelSpec, bytes]:
    """The metadata and the bytes of a safetensors file, of a state dict in any kind of file."""
    from safetensors.torch import save

    if not spec.architecture:
        raise OptionError(
            f"A state dict is numbers only and needs its network's name, but {path.name} came without one. Give "
            "--architecture and --arguments, or export the network to ONNX and import that."
        )
    state = _read_state(data, path)
    spec = replace(spec, artifact="safetensors", weights="weights.safetensors")
    network = build_network(spec)
    wanted = network.state_dict()
    prefix = _prefix(state, wanted)
    fitting = {name: state[prefix + name] for name in wanted if prefix + name in state}
    if len(fitting) < len(wanted):
        lacking = sorted(set(wanted) - set(fitting))
        raise ModelError(
            f"The weights must fit the architecture {spec.architecture}, but {path} lacks {len(lacking)} of "
            f"{len(wanted)} tensors, {lacking[0]} first. Change --architecture or --arguments."
        )
    return spec, save({name: value.detach().clone().contiguous() for name, value in fitting.items()})


def _prefix(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What stands in front of all names in a state dict, ``model.`` in Lightning checkpoints, say.

    >>> _prefix({"loss.weight": 0, "model.head.weight": 1, "model.head.bias": 2}, {"head.weight": 0, "head.bias": 0})
    'model.'
    """
    first = next(iter(wanted))
    prefixes = {name.removesuffix(first) for name in state if name.endswith(first)} | {""}
    return max(sorted(prefixes), key=lambda prefix: sum(prefix + name in state for name in wanted))


def _read_state(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file or of a checkpoint, by name; nothing but tensors is unpickled."""
    if path.suffix.lower() == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(data)
        except (SafetensorError, ValueError, KeyError) as error:
            raise ModelError(f"{path} must be a safetensors file, but is not: {error}. Restore it.") from error
    if _is_torchscript(data):
        raise refuse_torchscript(str(path))
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"A checkpoint must hold tensors and plain values only, but {path} holds more, which could run any program "
            "when it is read, or is damaged. Save the state dict alone: torch.save(network.state_dict(), FILE)."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        what = f"{type(error).__name__} {str(error)[:200]}"
        raise ModelError(f"{path} must be a file of torch.save, but: {what}. Restore it.") from error
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {k: v for k, v in found.items() if isinstance(v, torch.Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise ModelError(
            f"A checkpoint must hold a state dict (tensors by name), but {path} holds {type(found).__name__}. Save "
            "network.state_dict()."
        )
    return tensors


def _is_torchscript(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError):
        return False
