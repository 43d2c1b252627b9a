"""An ONNX network as a `geoseg.model.Model`, run by ONNX Runtime: scaling, probabilities and decision are numpy's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import ModelError, OptionError
from geoseg.model import Key, ModelSpec, NumpyModel, to_probabilities
from geoseg.networks.running import predict_in_batches, predict_on_threads

__all__ = ["OnnxModel", "OnnxNetwork", "choose_provider"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxNetwork:
    """A network in ONNX with one input (tile, band, row, col), run by the thread that calls it.

    Raises
    ------
    ModelError
        The bytes are no such network, or it takes other tiles than the metadata say.
    """

    def __init__(self, spec: ModelSpec, weights: bytes, device: str, *, outputs: int = 1) -> None:
        self.spec = spec
        self._session = _open_session(weights, device, spec.name)
        inputs, given = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(given) != outputs or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise ModelError(
                f"An ONNX model of this kind must have one float32 input (tile, band, row, col) and {outputs} "
                f"output{'s' if outputs > 1 else ''}, but that of {spec.name} has "
                f"{[(i.name, i.type, i.shape) for i in inputs]} and {[o.name for o in given]}. Export it with these."
            )
        self._input, self.shape = inputs[0].name, [side if isinstance(side, int) else None for side in inputs[0].shape]
        wanted = [None, len(spec.bands), spec.tile_px, spec.tile_px]
        if any(None not in (has, want) and has != want for has, want in zip(self.shape, wanted, strict=True)):
            raise ModelError(
                f"An ONNX model must take what model.json says, {len(spec.bands)} bands and tiles of {spec.tile_px} "
                f"pixels, but that of {spec.name} takes {inputs[0].shape} (tile, band, row, col). Correct model.json."
            )

    def run(self, scaled: np.ndarray) -> list[np.ndarray]:
        """The outputs for scaled tiles (tile, band, row, col), run in batches of the size that the network takes."""
        size = self.shape[0] or len(scaled)
        if len(scaled) % size or scaled.shape[2] != (self.shape[2] or scaled.shape[2]):
            raise OptionError(
                f"{self.spec.name} takes only batches of {size} and tiles of {self.shape[2]} pixels, but received "
                f"{scaled.shape} (tile, band, row, col). Leave out --tile and --batch."
            )
        parts = [self._run_once(scaled[start : start + size]) for start in range(0, len(scaled), size)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]

    def _run_once(self, scaled: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(None, {self._input: np.ascontiguousarray(scaled)})
        except Exception as error:  # ONNX Runtime has an exception class for every status, and no common parent
            raise ModelError(
                f"The ONNX model of {self.spec.name} failed on tiles of the shape {scaled.shape}: "
                f"{str(error).splitlines()[0]}. Check bands and tile side of model.json, or leave out --tile."
            ) from error


class OnnxModel(NumpyModel):
    """A semantic segmentation network in ONNX, with one input (tile, band, row, col) and one output of that rank.

    As in `geoseg.networks.TorchModel`, on a processor each tile is predicted by one thread.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: bytes,
        *,
        device: str = "cpu",
        threads: int = 1,
        batch: int = 16,
        package: Path | None = None,
    ) -> None:
        super().__init__(spec, self._run)
        self.device, self.threads, self.batch, self.package = device, threads, batch, package
        self.network = OnnxNetwork(spec, weights, device)

    @property
    def in_flight(self) -> int:  # type: ignore[override]
        """See `geoseg.model.Model.in_flight`."""
        return self.threads + 1 if self.device == "cpu" else 2 * self.batch

    def __reduce__(self) -> tuple[Any, ...]:
        from geoseg.networks.loading import travel

        return travel(self.package, self.device, self.threads, self.batch)

    def predict(
        self, tiles: Iterable[tuple[Key, np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[Key, np.ndarray, np.ndarray]]:
        """See `geoseg.model.Model.predict`."""
        if self.device == "cpu":
            return predict_on_threads(tiles, self.forward, self.threads)
        return predict_in_batches(tiles, self.forward, self.batch)

    def _run(self, scaled: np.ndarray) -> np.ndarray:
        (output,) = self.network.run(scaled)
        wanted = (len(scaled), self.spec.channels, *scaled.shape[2:])
        if output.shape != wanted:
            raise ModelError(
                f"A model of {len(self.spec.classes)} classes with the activation {self.spec.activation} must give "
                f"{wanted} (tile, channel, row, col), but {self.spec.name} gives {output.shape}. Correct model.json."
            )
        return to_probabilities(self.spec, output)


def choose_provider(device: str | None) -> str:
    """``cpu`` or ``cuda``: the device asked for, or the best one that ONNX Runtime has here.

    >>> choose_provider("cpu")
    'cpu'
    """
    there = _runtime().get_available_providers()
    known = [name for name, provider in _PROVIDERS.items() if provider in there]
    if device is None:
        return known[-1]
    if device.partition(":")[0] not in known:
        raise OptionError(
            f"ONNX Runtime must run on one of {', '.join(known)} here, but the device is {device!r}. Change --device, "
            "or install onnxruntime-gpu for cuda."
        )
    return device


def _open_session(weights: bytes, device: str, name: str) -> Any:
    """A session that never uses more than the thread it is called from."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    kind, _, index = device.partition(":")
    provider = (_PROVIDERS[kind], {"device_id": index or "0"} if kind == "cuda" else {})
    try:
        # From memory, so that it cannot name other files, and what runs is what was hashed.
        return runtime.InferenceSession(weights, sess_options=options, providers=[provider])
    except Exception as error:  # see above
        raise ModelError(
            f"The weights of {name} must be an ONNX model that ONNX Runtime {runtime.__version__} can run, in one "
            f"file, but: {str(error).splitlines()[0]}. Restore the package, or export the model anew."
        ) from error


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            "ONNX models are run by ONNX Runtime, which is not installed. Run: pip install 'geoseg[onnx]'"
        ) from error
    return onnxruntime
