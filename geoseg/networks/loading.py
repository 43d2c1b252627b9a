"""From a package on disk to a model in memory; nothing in a package is unpickled or imported."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import torch

from geoseg.allocator import keep_memory
from geoseg.errors import ModelError, OptionError
from geoseg.networks.architectures import INSTANCE, MaskRCNN, build_network
from geoseg.networks.exported import load_exported, refuse_torchscript
from geoseg.networks.instance_models import MaskRCNNModel, YoloSegModel
from geoseg.networks.onnx_model import OnnxModel, choose_provider
from geoseg.networks.torch_model import TorchModel
from geoseg.packages import ModelSpec, find_package, read_spec, read_weights
from geoseg.progress import Progress

__all__ = ["PRECISIONS", "LoadedModel", "build_model", "choose_device", "load_model", "travel"]

PRECISIONS = ("32", "bf16", "fp16")
"""Numbers that a network may compute with: single precision, or half where torch's autocast thinks it safe."""

LoadedModel: TypeAlias = TorchModel | OnnxModel | MaskRCNNModel | YoloSegModel
"""The last two find objects: they are `geoseg.model.InstanceModel`, the others `geoseg.model.Model`."""


def load_model(
    package: str | Path,
    *,
    device: str | None = None,
    threads: int | None = None,
    batch: int | None = None,
    precision: str = "32",
    compiled: bool = False,
    progress: Progress | None = None,
) -> LoadedModel:
    """Load a model by the name of a shipped package, from a package folder or zip, or by the name of published weights.

    Parameters
    ----------
    package
        A name that `geoseg.list_models` lists, or a folder or zip with ``model.json`` and weights; or ``torchgeo:`` and
        the name of weights that torchgeo publishes, which are downloaded on first use.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; by default the best one there is.
    threads
        Tiles predicted at the same time on a processor, by one thread each; by default one for each core. The result
        does not depend on it.
    batch
        Tiles in one prediction on a GPU; by default 16.
    precision
        ``32``, or ``bf16`` and ``fp16`` (autocast), for torch networks that give classes: faster on GPUs that have it,
        and the map differs a little. fp16 is not for processors.
    compiled
        Whether torch compiles the network first, which takes about half a minute and needs a C++ compiler.
    progress
        Told of a download.

    Raises
    ------
    ModelError
        The package is unknown, its weights are missing, damaged, of another SHA-256 than ``model.json`` says, or do
        not fit the architecture; or published weights cannot be had.
    OptionError
        There is no such device here, or the model does not run in this precision.

    Examples
    --------
    >>> import geoseg
    >>> model = geoseg.load_model("landcover-aerial", device="cpu")
    >>> model.spec.bands
    ('red', 'green', 'blue')
    """
    for name, value in (("threads", threads), ("batch", batch)):
        if value is not None and value < 1:
            raise OptionError(f"A model needs {name} of at least 1, but {name}={value}. Give 1 or more.")
    threads, batch = threads or os.cpu_count() or 1, batch or 16
    how = {"precision": _precision(precision, device), "compiled": compiled}
    if str(package).startswith("torchgeo:"):
        from geoseg.networks.torchgeo_weights import load_weights

        device = _chosen(choose_device(device))
        return load_weights(str(package), device=device, threads=threads, batch=batch, progress=progress, **how)
    path = find_package(package).resolve()
    spec = read_spec(path)
    device = _chosen(choose_provider(device) if spec.artifact == "onnx" else choose_device(device))
    # The times of change are part of the key: a package that was written anew is read anew.
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    changed = tuple(file.stat().st_mtime_ns for file in files)
    return _load(path, changed, device, threads, batch, **how)


def _precision(precision: str, device: str | None) -> str:
    if precision not in PRECISIONS:
        raise OptionError(f"--precision must be one of {', '.join(PRECISIONS)}, but is {precision!r}. Change it.")
    if precision == "fp16" and choose_device(device) == "cpu":
        raise OptionError("--precision fp16 is for GPUs, but the device is cpu. Use bf16 or 32, or change --device.")
    return precision


def _chosen(device: str) -> str:
    """The device, after what is to be set for it."""
    if device == "cpu":
        keep_memory()
    return device


@lru_cache(maxsize=4)
def _load(path: Path, changed: tuple[int, ...], device: str, threads: int, batch: int, **how: Any) -> LoadedModel:
    # Cached, because a model that travels to another process is loaded again there, once per process and not per block.
    spec = read_spec(path)
    weights = read_weights(path, spec)
    return build_model(spec, weights, device=device, threads=threads, batch=batch, package=path, **how)


def build_model(
    spec: ModelSpec,
    weights: bytes,
    *,
    device: str = "cpu",
    threads: int = 1,
    batch: int = 16,
    package: Path | None = None,
    precision: str = "32",
    compiled: bool = False,
) -> LoadedModel:
    """A model in memory from its metadata and the bytes of its weights; see `load_model`."""
    run: dict[str, Any] = {"device": device, "threads": threads, "batch": batch, "package": package}
    if spec.artifact == "torchscript":
        raise refuse_torchscript(spec.weights)
    _check_decoding(spec)
    if (precision != "32" or compiled) and (spec.artifact == "onnx" or spec.finds_objects):
        raise OptionError(
            f"--precision and --compile are for torch networks that give classes, but {spec.name} is "
            f"{spec.artifact}, for {spec.task}. Leave them out."
        )
    if spec.decoding == "yolo-seg":
        return YoloSegModel(spec, weights, **run)
    if spec.artifact == "onnx":
        return OnnxModel(spec, weights, **run)
    network = load_exported(spec, weights) if spec.artifact == "torch.export" else _load_state(spec, weights)
    if isinstance(network, MaskRCNN):
        return MaskRCNNModel(spec, network, **run)
    return TorchModel(spec, network, **run, precision=precision, compiled=compiled)


def _check_decoding(spec: ModelSpec) -> None:
    """Each decoding of objects has its one kind of weights."""
    is_mask_rcnn = spec.artifact == "safetensors" and spec.architecture in INSTANCE
    rules = {
        "the decoding maskrcnn goes with the architecture MaskRCNN, as a state dict": (
            (spec.decoding == "maskrcnn") == is_mask_rcnn
        ),
        "the decoding yolo-seg goes with ONNX": spec.decoding != "yolo-seg" or spec.artifact == "onnx",
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ModelError(
            f"In a package {'; '.join(broken)}, but {spec.name} has the decoding {spec.decoding}, "
            f"{spec.artifact} weights and the architecture {spec.architecture!r}. Change --decoding, or model.json."
        )


def _load_state(spec: ModelSpec, weights: bytes) -> torch.nn.Module:
    """The network that the metadata name, with the weights of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(weights)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"The weights must be a safetensors file, but {spec.weights} is not: {error}.") from error
    network = build_network(spec)
    # Weights are stored in half precision to be small; they are computed with in single precision.
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(
            f"The weights must fit the architecture {spec.architecture} of model.json, but {spec.weights} does not: "
            f"{first}"
        ) from error
    return network


def travel(
    package: Path | None, device: str, threads: int, batch: int, precision: str = "32", compiled: bool = False
) -> tuple[Any, ...]:
    """How a model goes to another process (`__reduce__`): by the path of its package, never as pickled weights."""
    if package is None:
        raise ModelError(
            "A model can only travel to another process by its package, but this one was not loaded from any. "
            "Write it as a package and use load_model."
        )
    return _reload, (str(package), device, threads, batch, precision, compiled)


def _reload(package: str, device: str, threads: int, batch: int, precision: str, compiled: bool) -> LoadedModel:
    return load_model(package, device=device, threads=threads, batch=batch, precision=precision, compiled=compiled)


def choose_device(device: str | None) -> str:
    """The device asked for, or the best one there is; raises `OptionError` where it is not there.

    >>> choose_device("cpu")
    'cpu'
    """
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise OptionError(
            f"The device must be one of {', '.join(name for name, ok in there.items() if ok)} here, but is {device!r}. "
            "Change --device, or leave it out to have the best one chosen."
        )
    return device
