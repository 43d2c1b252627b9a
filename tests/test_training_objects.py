"""Objects: each drawn polygon is one, its boundary is where it says, and both kinds of network learn from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
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
from geoseg.errors import GeosegError, OptionError
from geoseg.model import read_spec
from geoseg.networks.architectures import build_network
from geoseg.progress import Progress
from geoseg.scene import Scene, open_scene
from geoseg.training.object_lesson import targets_of
from geoseg.training.object_scores import Found, count_matches, f1_of
from geoseg.training.objects import read_objects
from geoseg.training.samples import Ground, Window

CRS, X0, Y0 = "EPSG:32632", 500_000.0, 5_400_000.0
TINY = {
    "encoder": "tu-mobilenetv3_small_050",
    "arguments": {"encoder_depth": 4, "decoder_channels": [32, 16, 16, 8]},
    "tile_px": 32,
    "device": "cpu",
}


def write_image(path: Path, values: np.ndarray) -> Path:
    bands, rows, cols = values.shape
    like = {"driver": "GTiff", "width": cols, "height": rows, "count": bands, "dtype": values.dtype, "crs": CRS}
    with rasterio.open(path, "w", transform=Affine(1, 0, X0, 0, -1, Y0), **like) as file:
        file.write(values)
    return path


def cell(row0: float, col0: float, row1: float, col1: float) -> shapely.Polygon:
    return shapely.box(X0 + col0, Y0 - row1, X0 + col1, Y0 - row0)


def table(shapes: list[Any], **columns: Any) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=CRS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return open_scene(write_image(tmp_path_factory.mktemp("plain") / "plain.tif", np.ones((1, 40, 40), np.uint8)))


def drawing(scene: Scene, shapes: list[Any], width: float, **options: Any) -> str:
    """The upper left 8 x 8 pixels: dot, number or x for background, interior and boundary, space for unlabelled."""
    (labels,) = read_objects([table(shapes)], [scene], boundary_px=width, **options)
    signs = np.array([".", *"1234"[: len(labels.classes) - 2], "x"])
    burnt = labels.burn(scene.geobox[:8, :8])
    shown = np.where(burnt == 255, " ", signs[np.minimum(burnt, len(signs) - 1)])
    return "\n".join("".join(row) for row in shown)


def lines(text: str) -> str:
    return "\n".join(line[4:] for line in text.strip("\n").splitlines())


# ------------------------------------------------------------------------------------------------- drawn by hand
@pytest.mark.parametrize("width", [1.0, 1.5])
def test_a_square_has_a_ring(plain: Scene, width: float) -> None:
    expected = """
    ........
    .xxxxxx.
    .x1111x.
    .x1111x.
    .x1111x.
    .x1111x.
    .xxxxxx.
    ........"""
    assert drawing(plain, [cell(1, 1, 7, 7)], width) == lines(expected)  # 1.5 px inside is inside


def test_touching_houses_are_apart(plain: Scene) -> None:
    expected = """
    ........
    xxxxxxxx
    x11xx11x
    x11xx11x
    x11xx11x
    x11xx11x
    xxxxxxxx
    ........"""
    assert drawing(plain, [cell(1, 0, 7, 4), cell(1, 4, 7, 8)], 1.0) == lines(expected)


def test_narrow_gaps_are_boundary_and_wide_ones_are_not(plain: Scene) -> None:
    expected = """
    xxxxxxxx
    x11xxx11
    x11xxx11
    x11xxx11
    x11xxx11
    x11xxx11
    x11xxx11
    x11xxx11"""
    narrow = [cell(0, 0, 12, 4), cell(0, 5, 12, 12)]
    assert drawing(plain, narrow, 1.0) == lines(expected)
    expected = """
    xxx..xxx
    x1x..x11
    x1x..x11
    x1x..x11
    x1x..x11
    x1x..x11
    x1x..x11
    x1x..x11"""
    wide = [cell(0, 0, 12, 3), cell(0, 5, 12, 12)]
    assert drawing(plain, wide, 1.0) == lines(expected)
    assert drawing(plain, wide, 1.2).splitlines()[4] == "x1xxxx11"


def test_the_smaller_one_lies_on_top(plain: Scene) -> None:
    expected = """
    xxxxxxxx
    xxxxxxxx
    xxxxxxxx
    xxx11xxx
    xxx11xxx
    xxxxxxxx
    xxxxxxxx
    xxxxxxxx"""
    small, large = cell(2, 2, 6, 6), cell(0, 0, 8, 8)
    # The yard around the small one is nowhere 1 px away from both; its one interior pixel is the first of the deepest.
    drawn = drawing(plain, [small, large], 1.0).splitlines()
    assert sum(line.count("1") for line in drawn) == 5
    assert [line[2:6] for line in drawn[2:6]] == [line[2:6] for line in lines(expected).splitlines()[2:6]]


def test_distances_are_those_of_the_polygon(plain: Scene) -> None:
    for left, expected in ((0.4, "x1"), (0.75, ".x1"), (1.25, ".x1"), (1.45, ".x1"), (1.55, "..x1")):
        assert drawing(plain, [cell(-9, left, 9, 20)], 1.0).splitlines()[4].startswith(expected), left


def test_what_is_tiny_keeps_one_pixel(plain: Scene) -> None:
    expected = """
    ........
    .1x...1.
    .xx.....
    ........
    ........
    ........
    ....1...
    ........"""
    two_by_two, one, crumb = cell(1, 1, 3, 3), cell(1, 6, 2, 7), cell(6.1, 4.1, 6.3, 4.3)
    assert drawing(plain, [two_by_two, one, crumb], 1.5) == lines(expected)


def test_outside_of_the_labelled_area_nothing_is_known(plain: Scene) -> None:
    expected = """
        ....
        xxx.
        11x.
        11x.
        11x.
        11x.
        xxx.
        ....""".replace("        ", "        ")
    area = [table([cell(0, 4, 8, 40), cell(20, 0, 30, 30)])]
    drawn = drawing(plain, [cell(1, 1, 7, 7)], 1.0, areas=area).splitlines()
    assert [line[4:] for line in drawn] == [line[-4:] for line in expected.strip("\n").splitlines()]
    assert all(line[:4] == "    " for line in drawn)
    (labels,) = read_objects([table([cell(1, 1, 7, 7)])], [plain], areas=area)
    numbers, _ = labels.number(plain.geobox[:8, :8])
    assert (numbers == 256).sum() == 18  # the part in the area counts
    with pytest.raises(OptionError, match="none lies in --labelled"):
        read_objects([table([cell(1, 1, 7, 7)])], [plain], areas=[table([cell(20, 20, 30, 30)])])


def test_an_image_without_objects_is_background_where_all_was_drawn(plain: Scene, tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "east.tif", "w", driver="GTiff", width=40, height=40, count=1, dtype="uint8", crs=CRS,
                       transform=Affine(1, 0, X0 + 40, 0, -1, Y0)) as file:  # fmt: skip
        file.write(np.ones((1, 40, 40), np.uint8))
    east = open_scene(tmp_path / "east.tif")
    drawn = table([cell(1, 1, 7, 7)])
    for width in (None, 1.0):
        west, other = read_objects([drawn, drawn], [plain, east], boundary_px=width)
        assert west.burn(plain.geobox).any()
        assert not other.burn(east.geobox).any()
        assert other.classes == west.classes
    assert not other.number(east.geobox)[0].any()
    area = table([cell(0, 0, 20, 20)])
    assert read_objects([drawn, drawn], [plain, east], areas=[area, area])[1] is None  # nothing is known there
    with pytest.raises(OptionError, match="must lie on the image"):  # this file is for this image
        read_objects([drawn, drawn.copy()], [plain, east])
    with pytest.raises(OptionError, match="must lie on the image"):
        read_objects([table([cell(900, 900, 907, 907)])] * 2, [plain, east])


def test_several_classes_share_one_boundary(plain: Scene) -> None:
    drawn = table([cell(0, 0, 8, 4), cell(0, 4, 8, 8)], kind=["shed", "barn"])
    (labels,) = read_objects([drawn], [plain], column="kind", boundary_px=1.0)
    assert [info.name for info in labels.classes] == ["background", "barn", "shed", "boundary"]
    assert labels.burn(plain.geobox[:8, :8])[3].tolist() == [3, 2, 2, 3, 3, 1, 1, 3]


# ------------------------------------------------------------------------------------------------------ properties
places = st.floats(-3, 38).map(lambda v: round(v, 2))
sides = st.floats(0.3, 14).map(lambda v: round(v, 2))
houses = st.lists(st.tuples(places, places, sides, sides, st.floats(0, 90)), min_size=1, max_size=12)


@settings(max_examples=15, deadline=None)
@given(houses, st.sampled_from([0.8, 1.5, 2.3]), st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_interior_boundary_and_background_share_the_ground(
    plain: Scene, boxes: list[Any], width: float, corner: tuple[int, int]
) -> None:
    shapes = [
        shapely.affinity.rotate(cell(row, col, row + height, col + breadth), turn)
        for row, col, height, breadth, turn in boxes
    ]
    shapes = [shape for shape in shapes if shape.intersects(plain.geobox.extent.geom)]
    if not shapes:
        return
    (labels,) = read_objects([table(shapes)], [plain], boundary_px=width)
    (objects,) = read_objects([table(shapes)], [plain])
    burnt, (numbers, _) = labels.burn(plain.geobox), objects.number(plain.geobox)
    assert set(np.unique(burnt)) <= {0, 1, 2}
    row, col = corner
    window = slice(row, row + 10), slice(col, col + 10)
    np.testing.assert_array_equal(labels.burn(plain.geobox[window]), burnt[window])
    seeds = [~plain.geobox.affine * tuple(xy) for xy in labels.seeds if not np.isnan(xy[0])]
    seeded = {(int(np.floor(y)), int(np.floor(x))) for x, y in seeds}
    for at, number in np.ndenumerate(numbers):
        if at in seeded:
            assert burnt[at] == 1
            continue
        point = shapely.Point(plain.geobox.affine * (at[1] + 0.5, at[0] + 0.5))
        if number == 0:
            ways = [shapely.shortest_line(point, shape) for shape in labels.frame.geometry]
            near = sorted(ways, key=lambda way: way.length)[:2]
            if len(near) < 2:
                assert burnt[at] == 0
                continue
            one, other = (np.diff(shapely.get_coordinates(way), axis=0)[0] for way in near)
            total, angle = near[0].length + near[1].length, float(one @ other)
            if abs(total - 2 * width) > 3e-3 and abs(angle) > 1e-3:
                assert burnt[at] == (2 if total < 2 * width and angle < 0 else 0), at
        else:
            depth = point.distance(labels.frame.geometry.iloc[number - 256].boundary)
            if abs(depth - width) > 3e-3:
                assert burnt[at] == (1 if depth > width else 2), at
    for number in np.unique(numbers[numbers > 255]):
        assert (burnt[numbers == number] == 1).any() or _seed_inside(labels, number - 256, plain)


def _seed_inside(labels: Any, index: int, scene: Scene) -> bool:
    """Its one pixel is beyond the scene."""
    col, row = ~scene.geobox.affine * tuple(labels.seeds[index])
    return not (0 <= col < 40 and 0 <= row < 40)


def test_numbers_become_boxes_and_masks(plain: Scene) -> None:
    shapes = [cell(1, 1, 4, 6), cell(2, 4, 4, 6), cell(10, 10, 11, 13), cell(30, 30, 36, 50)]
    drawn = table(shapes, kind=["a", "b", "b", "a"])
    (labels,) = read_objects([drawn], [plain], column="kind")
    lookup = np.arange(256, dtype=np.uint8)
    ground = Ground((plain,), (labels,), (lookup,), ("background", "a", "b"))
    _, valid, numbers = ground.read(Window(0, 0, 0), 48, numbered=True)
    assert valid.all()
    assert (numbers[40:] == 255).all()
    found = targets_of(torch.from_numpy(numbers), 3)
    assert found["labels"].tolist() == [1, 2, 1]  # three pixels are too few
    assert found["boxes"].tolist() == [[1, 1, 6, 4], [4, 2, 6, 4], [30, 30, 40, 36]]
    assert found["masks"].sum(dim=(1, 2)).tolist() == [15 - 4, 4, 60]
    empty = targets_of(torch.zeros(8, 8, dtype=torch.int32), 2)
    assert (empty["boxes"].shape, empty["masks"].shape) == ((0, 4), (0, 8, 8))


def test_objects_are_counted_as_by_hand() -> None:
    masks = np.zeros((3, 1, 10), bool)
    masks[0, 0, :4], masks[1, 0, 4:8], masks[2, 0, 8:] = True, True, True
    drawn = Found(masks, np.array([1, 2, 2]), np.ones(3))
    found = np.zeros((4, 1, 10), bool)
    found[0, 0, :3] = found[1, 0, :4] = found[2, 0, 4:8] = found[3, 0, 9:] = True
    # Both first are the first one: the surer takes it. The third has another class. The last agrees by one half.
    other = Found(found, np.array([1, 1, 1, 2]), np.array([0.7, 0.9, 0.9, 0.6]))
    counts = count_matches(other, drawn, 2)
    assert counts.tolist() == [[1, 2, 0], [1, 0, 1]]
    assert f1_of(counts).tolist() == [0.5, pytest.approx(2 / 3)]
    none = Found(np.zeros((0, 1, 10), bool), np.zeros(0, int), np.zeros(0))
    assert count_matches(none, drawn, 2).tolist() == [[0, 0, 1], [0, 0, 2]]
    assert count_matches(other, none, 2).tolist() == [[0, 3, 0], [0, 1, 0]]


# ------------------------------------------------------------------------------------------------------- the whole
def town(folder: Path, rows: int, cols: int) -> tuple[Path, gpd.GeoDataFrame]:
    """Light houses in pairs that touch, on dark ground, with noise."""
    rng = np.random.default_rng(1)
    image, shapes = np.full((3, rows, cols), 60.0), []
    for row in range(4, rows - 12, 20):
        for col in range(3, cols - 20, 24):
            for left, light in ((col, 150), (col + 9, 200)):
                image[:, row : row + 12, left : left + 9] = light
                shapes.append(cell(row, left, row + 12, left + 9))
    image += rng.normal(0, 6, image.shape)
    return write_image(folder / "town.tif", np.clip(image, 1, 255).astype(np.uint8)), table(shapes)


class Teller(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str, total: int | None = None, unit: str = "px") -> None:
        self.said.append(name)


def test_a_boundary_network_learns_houses(tmp_path: Path) -> None:
    image, drawn = town(tmp_path, 192, 192)
    drawn.to_file(tmp_path / "houses.gpkg")
    options: dict[str, Any] = {**TINY, "epochs": 5, "rate": 5e-3}
    told = Teller()
    options |= {"objects": "boundary", "class_name": "house", "progress": told}
    result: Any = geoseg.train(image, tmp_path / "houses.gpkg", tmp_path / "houses", **options)
    best = max(row["miou"] for row in result.history[:-1])
    assert told.said[-3] == f"epoch 5 of 5, mIoU {result.history[-2]['miou']:.3f}, best {best:.3f}"
    assert [info.name for info in result.spec.classes] == ["background", "house", "house boundary"]
    assert (result.spec.task, result.spec.decoding) == ("semantic-segmentation", "boundary")
    assert read_spec(result.folder).decoding == "boundary"
    assert result.miou > 0.6
    cover = geoseg.classify(open_scene(image), geoseg.load_model(result.folder, device="cpu"))
    (labels,) = read_objects([drawn], [open_scene(image)], boundary_px=1.5)
    assert (cover["class"].values == labels.burn(open_scene(image).geobox)).mean() > 0.8
    record = json.loads((result.folder / "training.json").read_text())
    assert "as a whole" in record["drawn_completely"]
    assert record["options"]["boundary_px"] == 1.5


@pytest.fixture(scope="module")
def short() -> Iterator[None]:
    """Epochs of a few steps, in which Mask R-CNN looks at fewer boxes than usual: it has the same weights."""
    from torchvision.models import detection

    fewer = {"box_batch_size_per_image": 24, "rpn_post_nms_top_n_train": 60, "rpn_post_nms_top_n_test": 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.training.learn._MIN_BATCHES", 1)
        patch.setattr(detection, "MaskRCNN", partial(detection.MaskRCNN, **fewer))
        yield


class Killed(Exception):
    pass


class Killer(Teller):
    """Breaks a run off in its second epoch."""

    def advance(self, pixels: int) -> None:
        if self.said[-1].startswith("epoch 2"):
            raise Killed


MASKS: dict[str, Any] = {"objects": "maskrcnn", "class_name": "house", "tile_px": 64, "batch": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory, short: None) -> tuple[Path, gpd.GeoDataFrame, Any, Any]:
    """An image, its houses, where they were drawn, and what was learned of them in two rounds."""
    folder = tmp_path_factory.mktemp("houses")
    image, drawn = town(folder, 64, 192)
    area = table([cell(0, 0, 64, 180)])
    return image, drawn, area, geoseg.train(image, drawn, folder / "town", labelled=area, epochs=2, **MASKS)


def test_mask_rcnn_is_written_as_a_package(houses: tuple[Path, Any, Any, Any]) -> None:
    image, _, _, result = houses
    assert all(np.isfinite(row["loss"]) for row in result.history)
    spec = read_spec(result.folder)
    assert (spec.task, spec.decoding, spec.architecture) == ("instance-segmentation", "maskrcnn", "MaskRCNN")
    assert [info.name for info in spec.classes] == ["house"]
    network = build_network(spec)
    network.load_state_dict(load_file(result.folder / "weights.safetensors"))
    assert "masks" in network.eval()(torch.zeros(1, 3, 64, 64))[0]
    model: Any = geoseg.load_model(result.folder, device="cpu")
    assert model.spec.min_score == 0.5
    found = geoseg.detect(open_scene(image), model)
    assert found.map["object"].shape == (64, 192)
    assert len(found.table.compute()) == found.map["object"].values.max()
    assert (result.folder / "report.html").read_text().count("data:image/png;base64,") > 1
    assert "F1" in (result.folder / "README.md").read_text()
    record = json.loads((result.folder / "training.json").read_text())
    assert record["drawn_completely"] == "inside of 1 polygons"
    assert sum(record["objects"]["house"][key] for key in ("right", "missed")) > 0


def test_mask_rcnn_goes_on_where_it_was_broken_off(houses: tuple[Path, Any, Any, Any], tmp_path: Path) -> None:
    image, drawn, area, whole = houses
    options = {**MASKS, "labelled": area, "epochs": 2}
    killer = Killer()
    with pytest.raises(Killed):
        geoseg.train(image, drawn, tmp_path / "town", progress=killer, **options)
    assert killer.said[-1] == "epoch 2 of 2, F1 0.000, best 0.000"
    resumed: Any = geoseg.train(image, drawn, tmp_path / "town", **options)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    first, second = (load_file(result.folder / "weights.safetensors") for result in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_mask_rcnn_is_taught_on(houses: tuple[Path, Any, Any, Any], tmp_path: Path) -> None:
    from dataclasses import replace

    from geoseg.training.starting import start_network

    image, drawn, area, old = houses
    options = {**MASKS, "labelled": area, "class_name": "House", "epochs": 1}
    on: Any = geoseg.train(image, drawn, tmp_path / "on", start=old.folder, **options)
    assert [row["epoch"] for row in on.history] == [0, 1]
    before = load_file(old.folder / "weights.safetensors")
    after = load_file(on.folder / "weights.safetensors")
    norms = [name for name in before if name.endswith("running_mean")]
    assert norms
    assert all(torch.equal(after[name], before[name]) for name in norms)
    other = replace(old.spec, classes=(geoseg.ClassInfo(0, "barn"), geoseg.ClassInfo(1, "shed")))
    state = start_network(other, str(old.folder)).state_dict()
    changed = {name for name in before if not torch.equal(state[name], before[name])}
    heads = ("network.roi_heads.box_predictor", "network.roi_heads.mask_predictor.mask_fcn_logits")
    assert changed
    assert all(name.startswith(heads) for name in changed)


def test_mask_rcnn_is_told_of_no_object_where_nothing_is_known(tmp_path: Path) -> None:
    from geoseg.model import ModelSpec
    from geoseg.training.object_lesson import ObjectWindows

    image, drawn = town(tmp_path, 64, 64)
    scene = open_scene(image)
    labels = read_objects([drawn], [scene], areas=[table([cell(0, 0, 64, 20)])])
    ground = Ground((scene,), labels, (np.arange(256, dtype=np.uint8),), ("background", "object"))
    spec = ModelSpec(
        "x", scene.bands, (9.0,) * 3, (1.0,) * 3, classes=(geoseg.ClassInfo(0, "a"), geoseg.ClassInfo(1, "b"))
    )
    pixels, numbers = ObjectWindows(ground, (Window(0, 0, 0),), 64, spec)[0]
    assert (pixels[:, :, 20:] == 0).all()
    assert (numbers[:, 20:] == 255).all()
    boxes = targets_of(numbers, 2)["boxes"]
    assert len(boxes)
    assert boxes[:, 2].max() <= 20


# ---------------------------------------------------------------------------------------------- options and errors
def test_what_objects_cannot_be_learned_from(tmp_path: Path) -> None:
    image, drawn = town(tmp_path, 64, 96)

    def refused(kind: type[GeosegError], message: str, labels: Any = drawn, **options: Any) -> None:
        with pytest.raises(kind, match=message):
            geoseg.train(image, labels, tmp_path / "no", **{"device": "cpu", "tile_px": 32, **options})
        assert not list(tmp_path.glob("no*"))

    with rasterio.open(image) as file:
        write_image(tmp_path / "raster.tif", file.read(1)[None] // 100)
    refused(OptionError, "--objects must be one of boundary, maskrcnn", objects="yolo")
    refused(OptionError, "from polygons.*is a raster", tmp_path / "raster.tif", objects="boundary")
    refused(OptionError, "area where .*is a raster", objects="boundary", labelled=tmp_path / "raster.tif")
    refused(OptionError, "one class, 'a', or a column", objects="boundary", class_name="a", column="b")
    refused(OptionError, "cannot be called 'Background'", objects="boundary", class_name="Background")
    refused(OptionError, "are for objects: give --objects", labelled=table([cell(0, 0, 9, 9)]))
    refused(OptionError, "--objects boundary only", objects="maskrcnn", boundary_px=3.0)
    refused(OptionError, "--boundary-width must be 0.5 to 20", objects="boundary", boundary_px=0.0)
    refused(OptionError, "losses of its own", objects="maskrcnn", loss="dice")
    refused(OptionError, "has weights for the encoder", objects="maskrcnn", start="imagenet")
    refused(
        OptionError,
        "from chance, imagenet or",
        objects="maskrcnn",
        start="torchgeo:ResNet18_Weights.LANDSAT_TM_TOA_MOCO",
    )
    refused(OptionError, "network is Unet", objects="maskrcnn", start="landcover-aerial")
    refused(OptionError, "network is MaskRCNN", objects="boundary", architecture="MaskRCNN")
    refused(OptionError, "must be one of resnet18", objects="maskrcnn", encoder="vgg")
    kinds = drawn.assign(kind=["barn", "shed"] * (len(drawn) // 2))
    refused(OptionError, "one class of objects.* 2: barn, shed", kinds, objects="boundary", column="kind")
    refused(OptionError, "fp16 needs a GPU", precision="fp16")
    refused(OptionError, "--precision must be one of 32, bf16, fp16", precision="8")
    refused(OptionError, "must lie on the image", table([shapely.box(0, 0, 9, 9)]), objects="boundary")
    refused(OptionError, "one file of labelled areas", objects="boundary", labelled=[drawn, drawn])


def test_what_is_taught_on_is_decoded_as_it_is_taught(plain: Scene) -> None:
    from dataclasses import replace

    from geoseg.training.course import Course
    from geoseg.training.drafting import draft

    def made(base: Any, labels: Any, objects: str | None) -> Any:
        given = {"architecture": None, "encoder": None, "arguments": None}
        return draft("new", [plain], labels.classes, base, Course(objects=objects), **given)

    (labels,) = read_objects([table([cell(1, 1, 7, 7)])], [plain], name="Shed", boundary_px=1.5)
    cover = read_spec("landcover-aerial")
    first = made(cover, labels, "boundary")
    assert (first.decoding, first.task, first.architecture) == ("boundary", cover.task, cover.architecture)
    assert [info.name for info in first.classes] == ["background", "Shed", "Shed boundary"]
    own = tuple(replace(info, name=info.name.lower()) for info in first.classes)
    again = made(replace(first, classes=own), labels, "boundary")
    assert again.classes == own
    turned = made(
        replace(first, classes=(own[0], *(replace(o, value=3 - o.value) for o in own[:0:-1]))), labels, "boundary"
    )
    assert turned.classes == labels.classes  # the order says which is the boundary
    assert made(first, labels, None).decoding == "classes"


def test_a_folder_and_a_stac_item_are_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    image, drawn = town(tmp_path / "images", 96, 96)
    options: dict[str, Any] = {**TINY, "objects": "boundary", "epochs": 1}
    folder: Any = geoseg.train(tmp_path / "images", drawn, tmp_path / "one", **options)
    three = [{"name": name, "eo:common_name": name} for name in ("red", "green", "blue")]
    asset = {"href": str(image), "type": "image/tiff; application=geotiff", "bands": three}
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "town",
        "geometry": None,
        "links": [],
        "properties": {"datetime": "2023-05-01T00:00:00Z"},
        "assets": {"visual": asset},
        "stac_extensions": [],
    }
    (tmp_path / "item.json").write_text(json.dumps(item))
    stac: Any = geoseg.train(tmp_path / "item.json", drawn, tmp_path / "two", **options)
    assert stac.spec.bands == ("red", "green", "blue")
    assert stac.history[0]["loss"] == folder.history[0]["loss"]
    half: Any = geoseg.train(image, drawn, tmp_path / "half", precision="bf16", **options)
    assert half.history[0]["loss"] == pytest.approx(folder.history[0]["loss"], rel=0.05)
    assert half.history[0]["loss"] != folder.history[0]["loss"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="must hold rasters"):
        geoseg.train(tmp_path / "empty", drawn, tmp_path / "no")


def test_the_command_trains_objects_and_says_how_to_go_on(
    tmp_path: Path, short: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.cli import main

    image, drawn = town(tmp_path, 64, 192)
    drawn.to_file(tmp_path / "houses.gpkg")
    command = ["train", str(image), "--labels", str(tmp_path / "houses.gpkg"), "--out", str(tmp_path / "model")]
    command += ["--objects", "maskrcnn", "--tile", "64", "--epochs", "1", "--batch", "2", "--device", "cpu"]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    printed = capfd.readouterr()
    assert stopped.value.code == 0, printed.err
    assert "F1 of objects" in printed.out
    assert "too much" in printed.out
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--few"])
    assert "leave out --objects, --tile" in capfd.readouterr().err

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt  # what Ctrl-C becomes

    monkeypatch.setattr(geoseg, "train", interrupt)
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 1
    assert "up to the last whole epoch is kept beside the package" in capfd.readouterr().err
