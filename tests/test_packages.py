"""Packages: item ↔ spec for any metadata, folder and zip alike, and clear, harmless errors for packages at fault."""

from __future__ import annotations

import json
import os
import pickle
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import TINY

from geoseg.classes import ClassInfo
from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.model import NumpyModel, to_probabilities
from geoseg.packages import ModelSpec, find_package, list_models, read_spec, read_weights, write_package
from geoseg.packages.spec import BORDERS, DECODINGS, INSTANCE_DECODINGS, TASKS

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    bands = draw(st.lists(WORDS, min_size=1, max_size=5))
    decoding = draw(st.sampled_from(DECODINGS))
    objects = decoding in INSTANCE_DECODINGS
    least, most = (3, 3) if decoding == "boundary" else (1 if objects else 2, 5)
    values = draw(st.lists(st.integers(0, 254), min_size=least, max_size=most, unique=True))
    divisor = draw(st.integers(1, 64))
    low = draw(st.floats(0.01, 100))
    artifact = draw(st.sampled_from(("safetensors", "onnx", "torch.export")))
    return ModelSpec(
        draw(WORDS),
        bands=tuple(bands),
        mean=tuple(draw(st.lists(NUMBERS, min_size=len(bands), max_size=len(bands)))),
        std=tuple(draw(st.lists(NUMBERS.filter(bool), min_size=len(bands), max_size=len(bands)))),
        classes=tuple(ClassInfo(value, f"class {value}") for value in values),
        dtype=draw(st.sampled_from(("uint8", "uint16", "float32"))),
        resolution_m=low,
        resolution_range_m=(low, low * draw(st.floats(1, 10))),
        divisor=divisor,
        tile_px=divisor * draw(st.integers(1, 9)),
        overlap_px=draw(st.integers(0, 99)),
        margin_px=draw(st.integers(0, 99)),
        activation=draw(st.sampled_from(("softmax", "none", *["sigmoid"] * (len(values) == 2)))),
        task=TASKS[objects],
        decoding=decoding,
        min_score=draw(st.floats(0, 1)),
        max_overlap=draw(st.floats(0, 1)),
        grow_px=draw(st.integers(0, 100)),
        borders=draw(st.sampled_from(BORDERS)),
        architecture=draw(st.text(max_size=5)),
        arguments=draw(st.dictionaries(WORDS, st.integers() | WORDS, max_size=2)),
        parameters=draw(st.integers(0, 10**9)),
        weights=f"w.{artifact}",
        sha256=draw(st.sampled_from(("", "ab" * 32))),
        description=draw(st.text(max_size=9)),
        artifact=artifact,
        temperature=draw(st.floats(0.1, 10)),
        receptive_field_px=draw(st.none() | st.integers(1, 999)),
        sources=tuple(draw(st.lists(WORDS, max_size=2))),
        citation=draw(st.text(max_size=5)),
    )


@given(specs())
@settings(deadline=None, max_examples=60)
def test_any_metadata_survive_the_round_trip(spec: ModelSpec) -> None:
    assert ModelSpec.from_item(json.loads(spec.to_json())) == spec


def scaled_item(scaling: object) -> dict:
    item = TINY.to_item()
    item["properties"]["mlm:input"][0]["value_scaling"] = scaling
    return item


@pytest.mark.parametrize(
    ("scaling", "mean", "std"),
    [
        ([{"type": "z-score", "mean": 3, "stddev": 2}] * 3, 3, 2),
        ([{"type": "z-score", "mean": 3, "stddev": 2}], 3, 2),
        ({"type": "min-max", "minimum": 10, "maximum": 30}, 10, 20),  # (x − 10) / (30 − 10)
        ([{"type": "offset", "value": 7}], 7, 1),  # x − 7
        ([{"type": "scale", "value": 255}], 0, 255),  # x / 255
        (None, 0, 1),
    ],
)
def test_scaling_that_is_linear_becomes_mean_and_std(scaling: object, mean: float, std: float) -> None:
    spec = ModelSpec.from_item(scaled_item(scaling))
    assert (spec.mean, spec.std) == ((mean,) * 3, (std,) * 3)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ([{"type": "clip-max", "maximum": 9}], "'clip-max' cannot be written as"),
        ([{"type": "processing", "format": "python", "expression": "os"}], "'processing' cannot be written"),
        ([{"type": "z-score", "mean": 3}], r"value_scaling is of a wrong kind.*requires properties.*stddev"),
        ([{"type": "scale", "value": 2}] * 2, "one for each of 3 bands, but has 2"),
        ([{"type": "scale", "value": 0}], "no std may be zero"),
        ([{"type": "min-max", "minimum": "low", "maximum": 3}], "value_scaling is of a wrong kind"),
        ([{}], "value_scaling is missing or lacks 'type'"),
    ],
)
def test_other_scaling_is_named(scaling: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_item(scaled_item(scaling))


FAULTS = [
    (("properties", "mlm:name"), None, "mlm:name is missing"),
    (("properties", "mlm:architecture"), None, "mlm:architecture is missing"),
    (("properties", "mlm:tasks"), None, "mlm:tasks is missing"),
    (("properties", "mlm:tasks"), ["regression"], "task must be one of semantic-segmentation.*regression"),
    (("properties", "mlm:tasks"), 3, "mlm:tasks is of a wrong kind"),
    (("properties", "mlm:input"), None, "mlm:input is missing"),
    (("properties", "mlm:input"), [], "mlm:input has 0 entries"),
    (("properties", "mlm:output"), [{}], r"mlm:output\[0\].name is missing"),
    (("properties", "mlm:input", 0, "bands"), 7, r"mlm:input\[0\].bands is of a wrong kind"),
    (("properties", "mlm:input", 0, "input"), None, "mlm:input"),
    (("properties", "mlm:input", 0, "input", "shape"), [1, 3, 9], "dim_order must be batch, bands, height, width"),
    (("properties", "mlm:input", 0, "input", "shape"), [1, 3, 64, 32], "tiles must be squares"),
    (("properties", "mlm:input", 0, "input", "dim_order"), ["batch", "height", "width", "bands"], "dim_order must be"),
    (("properties", "mlm:input", 0, "input", "data_type"), "uint8", "data_type must be float32"),
    (("properties", "mlm:output", 0, "classification:classes"), None, "classes is missing or lacks"),
    (("properties", "mlm:output", 0, "classification:classes", 0, "value"), 300, "classes is of a wrong kind.*0..254"),
    (("properties", "gsd"), "near", "gsd is of a wrong kind"),
    (("properties", "gsd"), None, "gsd is missing"),
    (("properties", "geoseg:activation"), "relu", "activation must be softmax, sigmoid or none"),
    (("properties", "geoseg:temperature"), 0, "temperature must be a positive number"),
    (("properties", "geoseg:overlap_px"), "wide", "geoseg:overlap_px is of a wrong kind"),
    (("properties", "geoseg:resolution_range_m"), [1], "geoseg:resolution_range_m is of a wrong kind"),
    (("properties", "datetime"), "yesterday", "pystac finds"),
    (("properties",), None, "pystac finds: .*Invalid Item"),
    (("type",), "Collection", "pystac finds"),
    (("stac_extensions",), [], "pystac finds: ExtensionNotImplemented"),
    (("assets",), {}, "0 assets have the role mlm:model"),
    (("assets", "weights", "href"), "../other.safetensors", "must lie beside model.json"),
    (("assets", "weights", "href"), "https://example.org/w.onnx", "must lie beside model.json"),
    (("assets", "weights", "mlm:artifact_type"), "pickle", "kind of weights must be one of safetensors, onnx"),
    (("assets", "weights", "file:checksum"), "d41d8cd9", "must be a SHA-256 multihash"),
]


@pytest.mark.parametrize(("where", "value", "message"), FAULTS)
def test_a_missing_or_wrong_field_is_named(where: tuple, value: object, message: str, tmp_path: Path) -> None:
    item = TINY.to_item()
    parent = item
    for key in where[:-1]:
        parent = parent[key]
    if value is None:
        del parent[where[-1]]
    else:
        parent[where[-1]] = value
    (tmp_path / "model.json").write_text(json.dumps(item))
    with pytest.raises(ModelError, match=message) as caught:
        read_spec(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '"x"', "[" * 100_000, "\xff"])
def test_model_json_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"model\.json must be"):
        read_spec(tmp_path)


def test_the_shipped_item_is_read_as_before() -> None:
    spec = list_models()["landcover-aerial"]
    assert (spec.artifact, spec.temperature, spec.receptive_field_px, spec.sources) == ("safetensors", 1.0, None, ())


def test_impossible_new_fields() -> None:
    for change, message in (
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"activation": "sigmoid"}, "sigmoid is for two classes"),
        ({"artifact": "pickle"}, "kind of weights"),
        ({"weights": "../w"}, "without folders"),
        ({"mean": (float("inf"),) * 3}, "finite"),
    ):
        with pytest.raises(OptionError, match=message):
            replace(TINY, **change)


def test_folder_and_zip_hold_the_same(tmp_path: Path) -> None:
    folder, packed = (write_package(tmp_path / "a" / name, TINY, b"weights") for name in ("tiny", "tiny.zip"))
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "weights.safetensors"]
    assert find_package(packed) == packed
    assert read_spec(folder) == read_spec(packed)
    assert read_weights(packed, read_spec(packed)) == read_weights(folder, read_spec(folder)) == b"weights"
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:  # as packing a folder makes it
        for file in folder.iterdir():
            archive.write(file, f"tiny/{file.name}")
    assert read_spec(tmp_path / "nested.zip") == read_spec(folder)
    before = sorted(tmp_path.rglob("*"))
    for taken in (folder, packed):
        with pytest.raises(OutputError, match="Nothing is overwritten"):
            write_package(taken, TINY, b"other")
    with pytest.raises(OutputError):
        write_package(packed / "inside", TINY, b"other")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_wrong_hash_and_missing_weights(tmp_path: Path) -> None:
    for name in ("tiny", "tiny.zip"):
        package = write_package(tmp_path / name, TINY, b"weights")
        spec = read_spec(package)
        with pytest.raises(ModelError, match=r"SHA-256.*damaged"):
            read_weights(package, replace(spec, sha256="00" * 32))
        with pytest.raises(ModelError, match="is not there"):
            read_weights(package, replace(spec, weights="other"))


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "C:/evil", "a\\b", "x/..", "link"]
)
def test_a_zip_that_reaches_outside_is_refused(name: str, tmp_path: Path) -> None:
    path = write_package(tmp_path / "in" / "bad.zip", TINY, b"weights")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        if name == "link":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, b"/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match="must lie inside it and be no links"):
        read_spec(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_zips_that_are_damaged(tmp_path: Path) -> None:
    whole = write_package(tmp_path / "whole.zip", TINY, os.urandom(5000)).read_bytes()
    path = tmp_path / "bad.zip"
    for data in (b"", b"PK\x03\x04", whole[:-30], whole[:200] + bytes(300) + whole[500:]):
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"must be a zip|must hold model\.json|SHA-256"):
            read_weights(path, read_spec(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", b" " * (1 << 24) + b"{}", zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="at most 16,777,216 bytes"):
        read_spec(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", TINY.to_json())
        archive.writestr(TINY.weights, bytes(1 << 25))
    with pytest.raises(ModelError, match=r"unpacks to 33,554,432 bytes"):
        read_weights(path, read_spec(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", TINY.to_json())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("model.json", "{}")
    with pytest.raises(ModelError, match="holds one twice"):
        read_spec(path)


class Evil:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_a_pickle_as_weights_runs_nothing(tmp_path: Path) -> None:
    from geoseg.networks import load_model

    mark = tmp_path / "mark"
    evil = pickle.dumps(Evil(mark))
    for artifact, name in (("safetensors", "w.safetensors"), ("onnx", "w.onnx"), ("torch.export", "w.pt2")):
        if artifact == "onnx":
            pytest.importorskip("onnxruntime")
        package = write_package(tmp_path / artifact, replace(TINY, artifact=artifact, weights=name), evil)
        with pytest.raises(ModelError, match=r"safetensors file|ONNX model|not accepted"):
            load_model(package, device="cpu")
    assert not mark.exists()
    pickle.loads(evil)
    assert mark.exists()  # the pickle does harm where it is read as one


def test_probabilities_by_hand() -> None:
    logits = np.log(np.array([1.0, 3.0], np.float32)).reshape(1, 2, 1, 1)
    classes = (ClassInfo(0, "a"), ClassInfo(1, "b"))
    base = replace(TINY, classes=classes)
    assert to_probabilities(base, logits).ravel() == pytest.approx([0.25, 0.75])
    # exp(log 3 / 0.5) = 9
    assert to_probabilities(replace(base, temperature=0.5), logits).ravel() == pytest.approx([0.1, 0.9])
    one = replace(base, activation="sigmoid", temperature=2.0)
    assert to_probabilities(one, np.full((1, 1, 1, 1), 1e4, np.float32)).ravel() == pytest.approx([0, 1])
    assert to_probabilities(one, 2 * logits[:, 1:]).ravel() == pytest.approx([0.25, 0.75])
    model = NumpyModel(one, lambda scaled: to_probabilities(one, scaled[:, :1]))
    ((_, _, out),) = model.predict([("k", np.zeros((3, 2, 2), np.uint8), np.zeros((2, 2), bool))])
    assert out.shape == (2, 2, 2)
    assert (out == 0.5).all()  # invalid pixels are zero after scaling


OBJECTS = replace(TINY, task="instance-segmentation", decoding="yolo-seg", classes=TINY.classes[:1])


def test_fields_of_objects_are_written_for_objects_only() -> None:
    own = {"geoseg:decoding", "geoseg:min_score", "geoseg:max_overlap", "geoseg:grow_px", "geoseg:borders"}
    assert not own & set(TINY.to_item()["properties"])
    of_boundary = {"geoseg:grow_px", "geoseg:borders"}
    assert own - of_boundary == own & set(OBJECTS.to_item()["properties"])
    third = replace(TINY.classes[0], value=77, name="edge")
    boundary = replace(TINY, decoding="boundary", classes=(*TINY.classes[:2], third))
    assert of_boundary | {"geoseg:decoding"} == own & set(boundary.to_item()["properties"])
    for spec in list_models().values():
        assert (spec.decoding != "classes") == bool(own & set(spec.to_item()["properties"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoding": "classes"}, "decodings of instance-segmentation, and of no other task, are maskrcnn"),
        ({"decoding": "boundary"}, "and of no other task"),
        ({"task": "semantic-segmentation"}, "and of no other task.*at least two|at least two.*and of no other task"),
        ({"decoding": "guess"}, "the decoding must be one of classes, maskrcnn, yolo-seg, boundary"),
        ({"min_score": 1.5}, "from 0 to 1"),
        ({"max_overlap": float("nan")}, "from 0 to 1"),
        ({"grow_px": 101}, "grow_px must be from 0 to 100"),
        ({"borders": "open"}, "borders must be shared or gap"),
        ({"classes": ()}, "at least two classes, or one of objects"),
    ],
)
def test_task_and_decoding_go_together(change: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(OBJECTS, **change)
    with pytest.raises(OptionError, match="background, object and boundary"):
        replace(TINY, decoding="boundary")
    assert replace(TINY, decoding="boundary", classes=TINY.classes[:3]).decoding == "boundary"
