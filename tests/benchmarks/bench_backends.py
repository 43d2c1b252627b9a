"""One model on several backends: tiles a second of `landcover-aerial` on this machine's processor, in one run.

    python tests/benchmarks/bench_backends.py [--tiles 24] [--rounds 3]

Each backend predicts the same tiles through `Model.predict`, by turns, and its best round counts. Agreement is that of
the winning class with torch in single precision, over all pixels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from geoseg.model import Model
from geoseg.networks import TorchModel, load_model
from geoseg.networks.exporting import export_onnx

NAME = "landcover-aerial"


class _Halves(torch.nn.Module):
    """A network in bfloat16 where autocast thinks it safe."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(tiles).float()


@contextmanager
def backends() -> Iterator[dict[str, Model]]:
    """Name → model."""
    plain = load_model(NAME, device="cpu")
    assert isinstance(plain, TorchModel)

    def variant(change: Callable[[torch.nn.Module], torch.nn.Module]) -> TorchModel:
        return TorchModel(plain.spec, change(plain.network), threads=plain.threads)

    with tempfile.TemporaryDirectory() as folder:
        exported, _ = export_onnx(NAME, Path(folder) / "onnx")
        yield {
            "torch, single precision": plain,
            "torch, bfloat16 by autocast": variant(_Halves),
            "torch.compile, single precision": variant(torch.compile),
            "ONNX Runtime": load_model(exported, device="cpu"),
        }


def predict(model: Model, tiles: np.ndarray) -> tuple[float, np.ndarray]:
    """Seconds, and the classes (tile, row, col)."""
    valid = np.ones(tiles.shape[2:], bool)
    start = time.perf_counter()
    outputs = [np.asarray(out) for _, _, out in model.predict((k, tile, valid) for k, tile in enumerate(tiles))]
    return time.perf_counter() - start, np.stack([out.argmax(axis=0) for out in outputs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    from geoseg.synthetic import write_scene

    with backends() as models, tempfile.TemporaryDirectory() as folder:
        import rasterio

        side = models["torch, single precision"].spec.tile_px
        path = write_scene(Path(folder) / "scene.tif", shape=(side, side * given.tiles), seed=1)
        with rasterio.open(path) as file:
            strip = file.read([1, 2, 3])
        tiles = np.stack(np.split(strip, given.tiles, axis=2))
        best: dict[str, float] = {}
        classes: dict[str, np.ndarray] = {}
        for model in models.values():
            predict(model, tiles[:2])  # compilation, memory
        for _ in range(given.rounds):
            for name, model in models.items():
                seconds, classes[name] = predict(model, tiles)
                best[name] = min(best.get(name, seconds), seconds)
        first = next(iter(models))
        print(f"{given.tiles} tiles of {side} px, {os.cpu_count()} cores\n")
        for name, seconds in best.items():
            same = (classes[name] == classes[first]).mean()
            print(f"{name:34} {given.tiles / seconds:6.2f} tiles/s {best[first] / seconds:5.2f} × {same:9.4%} equal")


if __name__ == "__main__":
    main()
