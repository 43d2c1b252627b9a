"""Write a package's network as ONNX, and prove that both give the same."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from geoseg.errors import ModelError
from geoseg.model import ModelSpec
from geoseg.networks.checking import sample_tiles
from geoseg.networks.exported import ExportedNetwork
from geoseg.networks.loading import build_model
from geoseg.networks.onnx_model import OnnxModel
from geoseg.networks.torch_model import TorchModel
from geoseg.packages import read_spec, read_weights, write_package

__all__ = ["OPSET", "TOLERANCE", "export_onnx"]

OPSET = 17
"""The ONNX operator set that tracing writes: ONNX Runtime reads it from 1.12 on. (torch.export's is torch's newest.)"""
TOLERANCE = 1e-4
"""Largest difference of a probability between the network and its ONNX form."""


def export_onnx(package: str | Path, out: str | Path) -> tuple[Path, float]:
    """Make an ONNX package of a torch package, with the same metadata.

    Batch size and tile side stay free, where the network gives the same for another side than the one it was traced
    with; else the side is fixed.

    Parameters
    ----------
    package
        A shipped package's name, a folder or a zip, with torch weights.
    out
        The folder or zip to make; it appears whole or not at all.

    Returns
    -------
    Path
        The new package.
    float
        The largest difference of a probability on sample tiles; at most `TOLERANCE`.

    Raises
    ------
    ModelError
        The network cannot be written as ONNX, or gives something else there.
    """
    if not _is_installed("onnx"):
        raise ModelError("Exporting needs the package onnx, which is not installed. Run: pip install 'geoseg[onnx]'")
    spec = read_spec(package)
    if spec.finds_objects:
        raise ModelError(
            f"Only networks that give each pixel a class are exported to ONNX, but {spec.name} finds objects "
            f"({spec.decoding}). Use the package as it is."
        )
    model = build_model(spec, read_weights(package, spec))
    if not isinstance(model, TorchModel):
        raise ModelError(f"Only torch models are exported to ONNX, but {package} is ONNX already. Use it as it is.")
    spec = replace(spec, artifact="onnx", weights="weights.onnx", arguments={})
    # A layer that pools to a fixed size, say, can only be traced for one tile side: then that side is fixed. What
    # cannot be traced at all (UPerNet pools to sizes that do not divide the tile) may still pass through torch.export.
    one_side = replace(spec, divisor=spec.tile_px)
    attempts = [(spec, True, _trace), (one_side, False, _trace), (one_side, False, _export)]
    for index, (written, any_side, write) in enumerate(attempts):
        try:
            data = _onnx_of(model, any_side, write)
            found = _difference(model, written, data, any_side)
            return write_package(out, written, data), found
        except _UnequalError:
            if index + 1 == len(attempts):
                raise
    raise AssertionError("the last attempt returns or raises")


class _UnequalError(ModelError):
    """The ONNX form of a network cannot be made, or gives something else."""


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # it was looked for before, and set to None
        return False


def _fixed(model: TorchModel) -> list[int | None]:
    """The sides (tile, band, row, col) that a network was made for; None where any will do."""
    return model.network.shape if isinstance(model.network, ExportedNetwork) else [None] * 4


def _onnx_of(model: TorchModel, any_side: bool, write: Callable[..., None]) -> bytes:
    spec, fixed = model.spec, _fixed(model)
    names = {0: "tile", 2: "row", 3: "col"} if any_side else {0: "tile"}
    axes = {axis: name for axis, name in names.items() if fixed[axis] is None}
    # Two tiles, where any number will do: torch.export takes a size of one for a constant.
    tiles = torch.zeros(fixed[0] or 2, len(spec.bands), spec.tile_px, spec.tile_px)
    try:
        # Tracing warns of every size that it takes for a constant: whether that matters is tested.
        with TemporaryDirectory() as room, warnings.catch_warnings(), torch.inference_mode(), _silence():
            warnings.simplefilter("ignore")
            path = Path(room) / "weights.onnx"
            write(model.network.to(memory_format=torch.contiguous_format), tiles, path, axes)
            return path.read_bytes()
    except Exception as error:  # torch's exporters have no common exception class
        raise _UnequalError(
            f"{spec.name} cannot be written as ONNX: {type(error).__name__} {str(error)[:300]}. Keep the torch package."
        ) from error


def _trace(network: torch.nn.Module, tiles: torch.Tensor, path: Path, axes: dict[int, str]) -> None:
    torch.onnx.export(
        network,
        (tiles,),
        path,
        input_names=["tiles"],
        output_names=["logits"],
        dynamic_axes={"tiles": axes, "logits": axes} if axes else None,
        opset_version=OPSET,
        dynamo=False,
    )


def _export(network: torch.nn.Module, tiles: torch.Tensor, path: Path, axes: dict[int, str]) -> None:
    torch.onnx.export(
        network,
        (tiles,),
        path,
        input_names=["tiles"],
        output_names=["logits"],
        dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in axes.items()},) if axes else None,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


@contextmanager
def _silence() -> Iterator[None]:
    """What exporters print of a network that they cannot write is for torch's own developers."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def _difference(model: TorchModel, spec: ModelSpec, data: bytes, any_side: bool) -> float:
    """The largest difference of a probability, on tiles of one side or two, alone and in a batch of two."""
    other = build_model(spec, data)
    assert isinstance(other, OnnxModel)
    another = spec.tile_px + spec.divisor * max(1, 32 // spec.divisor)
    worst = 0.0
    for side in (spec.tile_px, another) if any_side and _fixed(model)[2] is None else (spec.tile_px,):
        tiles = np.stack(list(sample_tiles(spec, side).values()))
        valid = np.ones((len(tiles), side, side), bool)
        stream = ((index, tile, valid[index]) for index, tile in enumerate(tiles))
        expected = np.stack([np.asarray(out) for _, _, out in model.predict(stream)])
        try:
            worst = max(worst, float(abs(other.forward(tiles, valid) - expected).max()))
        except ModelError as error:
            raise _UnequalError(str(error)) from error
    if not worst <= TOLERANCE:
        raise _UnequalError(
            f"An exported model must give probabilities within {TOLERANCE:g} of its own, but those of {spec.name} "
            f"differ by {worst:.2g}. Keep the torch package."
        )
    return worst
