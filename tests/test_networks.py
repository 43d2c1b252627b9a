"""From a package to predictions: what is loaded is checked, and a prediction does not depend on threads or batch."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import random_scene
from packages import TINY, write_package
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError, OptionError
from geoseg.model import Model, NumpyModel, read_spec
from geoseg.networks import TorchModel, build_network, load_model
from geoseg.semantic import make_plan
from geoseg.tiling import Block


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def tiles():
    return np.random.default_rng(0).integers(0, 256, (3, 3, 128, 128), dtype=np.uint8)


def rgb_scene(shape=(200, 300)):
    scene = random_scene(2, shape)
    return replace(scene, values=np.repeat(scene.values, 3, axis=0), bands=TINY.bands, resolution_m=0.5)


def predict(model, tiles, valid=None):
    valid = np.ones((len(tiles), 128, 128), bool) if valid is None else valid
    found = list(model.predict((index, tiles[index], valid[index]) for index in range(len(tiles))))
    assert [key for key, _, _ in found] == list(range(len(tiles)))
    return np.stack([probabilities.numpy() for _, _, probabilities in found])


def test_a_loaded_model_predicts_probabilities(package, tiles) -> None:
    model = load_model(package, device="cpu")
    assert isinstance(model, Model)
    out = predict(model, tiles)
    assert out.shape == (3, 4, 128, 128)
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)
    assert out.std() > 0.05  # random weights, but not the same everywhere
    assert list(model.predict([])) == []


def test_a_prediction_does_not_depend_on_threads_or_order(package, tiles) -> None:
    with_one = predict(load_model(package, device="cpu", threads=1), tiles)
    for threads in (2, 4):
        np.testing.assert_array_equal(predict(load_model(package, device="cpu", threads=threads), tiles), with_one)
    turned = predict(load_model(package, device="cpu", threads=2), tiles[::-1])
    np.testing.assert_array_equal(turned[::-1], with_one)


def test_an_error_while_reading_ends_the_prediction(package, tiles) -> None:
    def broken():
        yield 0, tiles[0], np.ones((128, 128), bool)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(load_model(package, device="cpu").predict(broken()))


def test_invalid_pixels_are_zero_after_scaling(package, tiles) -> None:
    model = load_model(package, device="cpu")
    valid = np.ones((3, 128, 128), bool)
    valid[:, 40:] = False
    other = tiles.copy()
    other[:, :, 40:] = 7
    np.testing.assert_array_equal(predict(model, tiles, valid), predict(model, other, valid))


def test_torch_and_numpy_blend_alike(package) -> None:
    model = load_model(package, device="cpu")
    scene = rgb_scene()
    same = NumpyModel(model.spec, lambda scaled: model.network(torch.from_numpy(scaled)).softmax(1).detach().numpy())
    plans = [make_plan(scene, m) for m in (model, same)]
    whole = Block(0, 0, (0, 200), (0, 300))
    (classes, percent), (expected, expected_percent) = (plan.block(whole) for plan in plans)
    assert len(np.unique(classes)) > 2
    np.testing.assert_array_equal(classes, expected)
    np.testing.assert_array_equal(percent, expected_percent)


def test_a_network_that_gives_nan_stops_the_run(package) -> None:
    model = load_model(package, device="cpu")
    sums = torch.full((4, 2, 2), float("nan"))
    with pytest.raises(ModelError, match="not a number"):
        model.decide(sums)
    with pytest.raises(ModelError, match="not a number"):
        NumpyModel(model.spec, None).decide(sums.numpy())


def test_keeping_memory_is_done_once_where_it_can_be() -> None:
    import platform

    from geoseg.allocator import keep_memory

    assert keep_memory() is keep_memory()
    assert keep_memory() == (platform.libc_ver()[0] == "glibc")


def test_a_model_travels_by_its_package(package) -> None:
    model = load_model(package, device="cpu", threads=1)
    data = pickle.dumps(model)
    assert len(data) < 1000
    assert pickle.loads(data).spec == model.spec
    with pytest.raises(ModelError, match="package"):
        pickle.dumps(TorchModel(TINY, build_network(TINY)))


def test_packages_at_fault(package, tmp_path) -> None:
    spec = read_spec(package)
    weights = tmp_path / spec.weights
    state = load_file(package / spec.weights)

    spec.write(tmp_path)
    with pytest.raises(ModelError, match="is not there"):
        load_model(tmp_path)

    data = (package / spec.weights).read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match=f"SHA-256.*{spec.sha256}.*damaged"):
        load_model(tmp_path)

    weights.write_bytes(data[:1000])
    spec.with_file(weights).write(tmp_path)
    with pytest.raises(ModelError, match="must be a safetensors file"):
        load_model(tmp_path)

    first = next(name for name in state if name.endswith(".weight"))
    save_file({name: value for name, value in state.items() if name != first}, weights)
    spec.with_file(weights).write(tmp_path)
    with pytest.raises(ModelError, match="must fit the architecture Unet"):
        load_model(tmp_path)

    for change, message in (
        ({"architecture": "os.system"}, "must be one of .*Unet.*os.system"),
        ({"arguments": {"encoder_name": "no-such"}}, "does not take the arguments"),
        ({"arguments": {**spec.arguments, "colour": "red"}}, "does not take the arguments"),
    ):
        replace(spec, **change).with_file(weights).write(tmp_path)
        with pytest.raises(ModelError, match=message):
            load_model(tmp_path)


def test_impossible_devices_and_threads(package) -> None:
    with pytest.raises(OptionError, match=r"device must be one of cpu.*'warp-drive'"):
        load_model(package, device="warp-drive")
    with pytest.raises(OptionError, match="threads of at least 1"):
        load_model(package, threads=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_the_classes_of_the_cpu(package) -> None:
    scene = rgb_scene()
    whole = Block(0, 0, (0, 200), (0, 300))
    on_cpu, on_gpu = (make_plan(scene, load_model(package, device=d)).block(whole) for d in ("cpu", "cuda"))
    sure = on_cpu[1] > 55  # single precision differs in the last digits: only near ties may change
    assert (on_cpu[0] == on_gpu[0])[sure].all()
    again = make_plan(scene, load_model(package, device="cuda"), block_px=90)
    for block in again.tiling.blocks():
        np.testing.assert_array_equal(again.block(block), on_gpu[:, slice(*block.rows), slice(*block.cols)])
