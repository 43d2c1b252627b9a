"""From a package on disk to a model in memory; nothing in a package is unpickled or imported."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import torch

from geoseg.allocator import keep_memory
from geoseg.errors import ModelError, OptionError
from geoseg.model import find_package, read_spec, sha256_of
from geoseg.networks.torch_model import TorchModel, build_network
from geoseg.progress import Progress

__all__ = ["choose_device", "load_model"]


def load_model(
    package: str | Path,
    *,
    device: str | None = None,
    threads: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> TorchModel:
    """Load a model by the name of a shipped package, from a package folder, or by the name of published weights.

    Parameters
    ----------
    package
        A name that `geoseg.list_models` lists, or a folder with ``model.json`` and weights; or ``torchgeo:`` and the
        name of weights that torchgeo publishes, which are downloaded on first use.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; by default the best one there is.
    threads
        Tiles predicted at the same time on a processor, by one thread each; by default one for each core. The result
        does not depend on it.
    batch
        Tiles in one prediction on a GPU; by default 16.
    progress
        Told of a download.

    Raises
    ------
    ModelError
        The package is unknown, its weights are missing, damaged, of another SHA-256 than ``model.json`` says, or do
        not fit the architecture; or published weights cannot be had.
    OptionError
        There is no such device here.

    Examples
    --------
    >>> import geoseg
    >>> model = geoseg.load_model("landcover-aerial", device="cpu")
    >>> model.spec.bands
    ('red', 'green', 'blue')
    """
    device = choose_device(device)
    for name, value in (("threads", threads), ("batch", batch)):
        if value is not None and value < 1:
            raise OptionError(f"A model needs {name} of at least 1, but {name}={value}. Give 1 or more.")
    if device == "cpu":
        keep_memory()
    if str(package).startswith("torchgeo:"):
        from geoseg.networks.torchgeo_weights import load_weights

        threads, batch = threads or os.cpu_count() or 1, batch or 16
        return load_weights(str(package), device=device, threads=threads, batch=batch, progress=progress)
    folder = find_package(package).resolve()
    # The times of change are part of the key: a package that was written anew is read anew.
    changed = tuple(path.stat().st_mtime_ns for path in sorted(folder.iterdir()))
    return _load(folder, changed, device, threads or os.cpu_count() or 1, batch or 16)


@lru_cache(maxsize=4)
def _load(folder: Path, changed: tuple[int, ...], device: str, threads: int, batch: int) -> TorchModel:
    # Cached, because a model that travels to another process is loaded again there, once per process and not per block.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    spec = read_spec(folder)
    path = folder / spec.weights
    if not path.is_file():
        raise ModelError(f"The weights must lie beside model.json, but {path} is not there. Restore the package.")
    found = sha256_of(path)
    if found != spec.sha256:
        raise ModelError(
            f"The weights must have the SHA-256 that model.json gives, {spec.sha256 or '(none)'}, but {path} "
            f"has {found}. The file is damaged or was exchanged: restore the package."
        )
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"The weights must be a safetensors file, but {path} is not: {error}.") from error
    network = build_network(spec)
    # Weights are stored in half precision to be small; they are computed with in single precision.
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(
            f"The weights must fit the architecture {spec.architecture} of model.json, but {path} does not: {first}"
        ) from error
    return TorchModel(spec, network, device=device, threads=threads, batch=batch, package=folder)


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
