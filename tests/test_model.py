"""The model contract: metadata there and back, valid STAC for others, and clear errors for packages at fault."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pystac.extensions.mlm import MLMExtension

from geoseg.classes import ClassInfo, check_classes
from geoseg.errors import ModelError, OptionError
from geoseg.model import Model, ModelSpec, NumpyModel, find_package, list_models, read_spec, sha256_of

SPEC = ModelSpec(
    "tiny",
    bands=("red", "nir"),
    mean=(100.5, 3.0),
    std=(50.0, 2.0),
    classes=(ClassInfo(4, "open water", "#0000ff"), ClassInfo(2, "land")),
    arguments={"encoder_name": "x"},
    accuracy={"mIoU": 0.5},
)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
    st.integers(1, 64).map(lambda n: n * 32),
    st.lists(st.integers(0, 254), min_size=2, max_size=9, unique=True),
)
@settings(deadline=None, max_examples=50)
def test_metadata_survive_the_round_trip(mean: list[float], tile: int, values: list[int]) -> None:
    spec = replace(
        SPEC,
        bands=tuple(f"b{i}" for i in range(len(mean))),
        mean=tuple(mean),
        std=(1.0,) * len(mean),
        tile_px=tile,
        classes=tuple(ClassInfo(value, f"class {value}") for value in values),
    )
    assert ModelSpec.from_item(json.loads(json.dumps(spec.to_item()))) == spec
    assert spec.values.tolist() == values


def test_others_read_our_item() -> None:
    item = pystac.Item.from_dict(SPEC.to_item())
    mlm = MLMExtension.ext(item)
    assert mlm.mlm_name == "tiny"
    assert mlm.input[0].input.shape == [-1, 2, 512, 512]
    assert [entry.name for entry in mlm.output[0].classes] == ["open water", "land"]
    assert mlm.output[0].classes[0].color_hint == "0000FF"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"std": (0.0, 1.0)}, "no std may be zero"),
        ({"mean": (1.0,)}, "one mean and one std per band"),
        ({"classes": (ClassInfo(0, "only"),)}, "at least two classes"),
        ({"resolution_range_m": (2.0, 1.0)}, "resolution range"),
        ({"divisor": 32, "tile_px": 100}, "multiple of the divisor"),
        ({"activation": "magic"}, "softmax, sigmoid or none"),
        ({"classes": (ClassInfo(1, "a"), ClassInfo(1, "b"))}, "1 stands twice"),
    ],
)
def test_contradicting_metadata_are_refused(change: dict, rule: str) -> None:
    with pytest.raises(OptionError, match=rule):
        replace(SPEC, **change)


def test_an_incomplete_item_is_an_error() -> None:
    item = SPEC.to_item()
    del item["properties"]["mlm:output"]
    with pytest.raises(ModelError, match=r"STAC Item with the MLM extension.*mlm:output is missing"):
        ModelSpec.from_item(item)
    item = SPEC.to_item()
    item["properties"]["mlm:input"][0]["value_scaling"][0]["type"] = "min-max"
    with pytest.raises(ModelError, match=r"min-max.*requires properties.*minimum"):
        ModelSpec.from_item(item)


def test_packages_are_found_by_name_and_by_folder(tmp_path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"abc")
    spec = SPEC.with_file(weights)
    assert spec.sha256 == sha256_of(weights) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    spec.write(tmp_path)
    assert read_spec(tmp_path) == spec
    with pytest.raises(ModelError, match=r"ships with geoseg \(.*landcover-aerial.*'landcover-arial' is none of these"):
        find_package("landcover-arial")
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ModelError, match="must be JSON"):
        read_spec(tmp_path)


def test_the_shipped_models_are_complete() -> None:
    for name, spec in list_models().items():
        folder = find_package(name)
        assert spec.name == name
        assert sha256_of(folder / spec.weights) == spec.sha256
        assert (folder / spec.weights).stat().st_size <= 12e6
        assert (folder / "README.md").is_file()
        assert spec.description
        assert spec.license
        assert 0 < spec.accuracy["F1" if spec.maps_objects else "mIoU"] <= 1


def test_numpy_model_follows_the_protocol() -> None:
    spec = replace(SPEC, bands=("red",), mean=(10.0,), std=(2.0,))
    model = NumpyModel(spec, lambda x: np.concatenate([x, 1 - x], axis=1))
    assert isinstance(model, Model)
    ((key, valid, got),) = model.predict([("key", np.array([[[12, 200]]], np.uint8), np.array([[True, False]]))])
    assert (key, valid.tolist()) == ("key", [[True, False]])
    assert got.tolist() == [[[1, 0]], [[0, 1]]]
    channel, percent = model.decide(np.array([[[0.2, 0.5]], [[0.799, 0.5]]], np.float32))
    assert channel.tolist() == [[1, 0]]
    assert percent.tolist() == [[80, 50]]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [((255, "x"), "0..254"), ((-1, "x"), "0..254"), ((1, " "), "needs a name"), ((1, "x", "red"), "#rrggbb")],
)
def test_impossible_classes_are_refused(arguments: tuple, rule: str) -> None:
    with pytest.raises(OptionError, match=rule):
        ClassInfo(*arguments)


def test_names_that_people_know_have_their_usual_colors() -> None:
    assert ClassInfo(9, "Water").color == ClassInfo(0, "water").color == "#1f6fb4"
    assert ClassInfo(9, "water", "#000000").color == "#000000"
    assert ClassInfo(9, "watering hole").color == ClassInfo(9, "other").color


def test_default_colors_are_distinct() -> None:
    assert len({ClassInfo(value, "x").color for value in range(64)}) == 64
    with pytest.raises(OptionError, match="name"):
        check_classes([ClassInfo(0, "a"), ClassInfo(1, "a")])
