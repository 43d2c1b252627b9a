"""Test-time augmentation and ensembles: models like any other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import box_model, random_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import TINY, write_package
from scipy.ndimage import convolve

from geoseg.errors import MismatchError, OptionError
from geoseg.model import NumpyModel
from geoseg.networks import Ensemble, Turned, load_model, load_together
from geoseg.networks.together import _turn, _turn_back
from geoseg.semantic import classify


def lopsided(weights: np.ndarray):
    """A model that looks at one side more than at the other."""

    def predict(scaled: np.ndarray) -> np.ndarray:
        bright = np.stack([convolve(tile, weights[None], mode="constant") for tile in scaled])[:, :1]
        return np.concatenate([1 - bright, bright], axis=1)

    return NumpyModel(replace(box_model(1).spec, mean=(0.0,), std=(255.0,)), predict)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 7))
def test_turns_are_undone(rows, cols, k):
    array = np.arange(2 * rows * cols, dtype=np.float32).reshape(2, rows, cols)
    np.testing.assert_array_equal(_turn_back(_turn(array, k), k), array)
    tensor = torch.from_numpy(array)
    np.testing.assert_array_equal(_turn(tensor, k).numpy(), _turn(array, k))
    assert torch.equal(_turn_back(_turn(tensor, k), k), tensor)


def test_the_eight_turns_differ():
    array = np.arange(4).reshape(1, 2, 2)
    assert len({_turn(array, k).tobytes() for k in range(8)}) == 8


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(0, 7))
def test_a_turned_model_knows_no_direction(seed, k):
    """Turning the scene turns the answer; and the answer is that of the kernel averaged over its turns (an oracle)."""
    rng = np.random.default_rng(seed)
    weights = rng.random((3, 3))
    weights /= weights.sum()
    pixels = rng.integers(0, 256, (1, 12, 12)).astype(np.uint8)
    valid = rng.random((12, 12)) < 0.9

    def bright(model, pixels, valid):
        [(_, _, probabilities)] = model.predict([(0, pixels, valid)])
        return probabilities[1]

    model = Turned(lopsided(weights))
    straight = bright(model, pixels, valid)
    turned = bright(model, _turn(pixels, k), _turn(valid, k))
    np.testing.assert_allclose(_turn_back(turned, k), straight, atol=1e-6)
    mean = np.mean([_turn(weights, k) for k in range(8)], axis=0)
    np.testing.assert_allclose(straight, bright(lopsided(mean), pixels, valid), atol=1e-6)


def test_maps_of_turned_models_and_ensembles_do_not_depend_on_blocks():
    scene = random_scene(3, (90, 110))
    options = {"tile_px": 32, "overlap_px": 16}
    for model in (Turned(box_model(2)), Ensemble([box_model(1), box_model(3)])):
        whole = classify(scene, model, block_px=200, **options).compute()
        cut = classify(scene, model, block_px=37, **options).compute()
        assert (whole["class"] == cut["class"]).all()
        assert (whole["confidence"] == cut["confidence"]).all()


def test_networks_together(tmp_path):
    one, other = (load_model(write_package(tmp_path / str(seed), seed=seed), device="cpu") for seed in (0, 1))
    rng = np.random.default_rng(0)
    tiles = [(k, rng.integers(0, 256, (3, 128, 128)).astype(np.uint8), np.ones((128, 128), bool)) for k in range(3)]
    alone = [[result for _, _, result in model.predict(tiles)] for model in (one, other)]
    both = list(Ensemble([one, other]).predict(tiles))
    assert [key for key, _, _ in both] == [0, 1, 2]
    for (_, _, mean), first, second in zip(both, *alone, strict=True):
        torch.testing.assert_close(mean, (first + second) / 2)
    turned = next(iter(Turned(one).predict(tiles[:1])))[2]
    torch.testing.assert_close(turned.sum(dim=0), torch.ones(128, 128))
    assert not torch.equal(turned, alone[0][0])


def test_runs_can_be_told_apart():
    spec = replace(box_model(1).spec, sha256="a" * 64)
    model = NumpyModel(spec, None)
    hashes = {model.spec.sha256, Turned(model).spec.sha256, Ensemble([model, model]).spec.sha256}
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": TINY.classes[:3]}, "same classes"),
        ({"bands": ("nir", "green", "blue")}, "same bands"),
        ({"dtype": "uint16"}, "same dtype"),
        ({"divisor": 96, "tile_px": 96}, "multiple of 96"),
    ],
)
def test_models_that_do_not_go_together(change, message):
    with pytest.raises(MismatchError, match=message):
        Ensemble([NumpyModel(TINY, None), NumpyModel(replace(TINY, **change), None)])


def test_an_ensemble_of_one():
    with pytest.raises(OptionError, match="at least two"):
        Ensemble([box_model(1)])


def test_the_command_line_maps_with_several_models_and_turns(tmp_path):
    from test_cli import run
    from test_pipeline import write_scene

    scene = write_scene(tmp_path / "scene.tif", shape=(140, 150))
    one, other = (write_package(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    assert run("map", scene, "--model", f"{one},{other}", "--tta", "d4", "--out", tmp_path / "out", "--quiet") == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["model"]["name"] == "tiny + tiny × d4"
    assert run("map", scene, "--model", one, "--tta", "mirror", "--out", tmp_path / "no", "--quiet") == 2
    assert not (tmp_path / "no").exists()


def test_an_ensemble_of_torch_and_onnx(tmp_path):
    from geoseg.networks.exporting import export_onnx

    one, other = write_package(tmp_path / "a"), write_package(tmp_path / "b", seed=1)
    exported, _ = export_onnx(other, tmp_path / "onnx")
    tile = 0, np.random.default_rng(1).integers(0, 256, (3, 128, 128)).astype(np.uint8), np.ones((128, 128), bool)
    expected = next(load_together(f"{one},{other}", device="cpu").predict([tile]))[2].numpy()
    for names in (f"{one},{exported}", f"{exported},{one}"):
        model = load_together(names, device="cpu")
        assert type(model.asarray(np.zeros(1, np.float32))) is type(next(model.predict([tile]))[2])
        np.testing.assert_allclose(np.asarray(next(model.predict([tile]))[2]), expected, atol=1e-4)
