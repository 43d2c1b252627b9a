"""Instance models: known objects through a YOLO-like ONNX, Mask R-CNN as torchvision itself, packages at fault."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import random_scene
from packages import TINY
from packages import write_package as write_semantic
from safetensors.torch import save

import geoseg
from geoseg.classes import ClassInfo
from geoseg.cli import main
from geoseg.errors import MismatchError, ModelError
from geoseg.model import InstanceModel, ModelSpec
from geoseg.networks import build_network, load_model, load_together
from geoseg.networks.checking import check_package, sample_tiles
from geoseg.networks.exporting import export_onnx
from geoseg.networks.importing import import_model
from geoseg.networks.running import predict_in_batches
from geoseg.objects import Instances
from geoseg.packages import read_spec, write_package

YOLO = ModelSpec(
    "cells",
    bands=("red", "green", "blue"),
    mean=(0.0,) * 3,
    std=(255.0,) * 3,
    classes=(ClassInfo(5, "building"), ClassInfo(7, "pool")),
    tile_px=64,
    overlap_px=16,
    task="instance-segmentation",
    decoding="yolo-seg",
    architecture="any",
)
MASK_RCNN = replace(
    YOLO,
    name="rcnn",
    bands=("red", "nir"),
    mean=(127.5,) * 2,
    std=(50.0,) * 2,
    classes=YOLO.classes[:1],
    decoding="maskrcnn",
    architecture="MaskRCNN",
    arguments={"backbone": "resnet18", "detections": 12},
    min_score=0.0,  # of random weights
)


class Cells(torch.nn.Module):
    """The outputs of YOLO-seg, of a network so simple that its objects are known.

    Each cell of 8 × 8 pixels is a candidate whose box is the cell. Its scores are the cell's mean red and green; its
    mask is where red or green are above a fifth.
    """

    def __init__(self, classes: int = 2, prototypes: int = 32) -> None:
        super().__init__()
        centre = torch.arange(8) * 8.0 + 4
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        boxes = torch.stack([x, y, torch.full_like(x, 8), torch.full_like(x, 8)]).reshape(1, 4, 64)
        self.register_buffer("boxes", boxes)
        self.register_buffer("coefficients", torch.eye(prototypes)[:1].T[None].repeat(1, 1, 64))
        self.classes = classes

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pool = torch.nn.functional.avg_pool2d
        scores = pool(tiles, 8)[:, : self.classes].flatten(2)
        once = torch.ones_like(scores[:, :1])
        predictions = torch.cat([self.boxes * once, scores, self.coefficients * once], dim=1)
        prototypes = pool(tiles, 4)[:, :2].amax(dim=1, keepdim=True) - 0.2
        return predictions, prototypes * self.coefficients[:, :, :1, None]


def to_onnx(network: torch.nn.Module, path: Path, outputs: int = 2, **options: object) -> Path:
    names = ["output0", "output1"][:outputs]
    tiles = torch.rand(1, 3, 64, 64)
    torch.onnx.export(
        network.eval(), (tiles,), path, input_names=["images"], output_names=names, dynamo=False, **options
    )
    return path


@pytest.fixture(scope="module")
def yolo(tmp_path_factory) -> Path:
    """A package of the network above, made on the command line."""
    folder = tmp_path_factory.mktemp("yolo")
    to_onnx(Cells(), folder / "yolo.onnx")
    run(
        *("models", "import", folder / "yolo.onnx", "--out", folder / "cells", "--decoding", "yolo-seg"),
        *("--name", "cells", "--bands", "red,green,blue", "--classes", "5=building,7=pool", "--tile", "64"),
    )
    return folder / "cells"


@pytest.fixture(scope="module")
def rcnn(tmp_path_factory) -> Path:
    """A package of Mask R-CNN with random weights, from a state dict on the command line."""
    folder = tmp_path_factory.mktemp("rcnn")
    torch.manual_seed(0)
    torch.save(build_network(MASK_RCNN).state_dict(), folder / "w.pt")
    run(
        *("models", "import", folder / "w.pt", "--out", folder / "rcnn.zip", "--architecture", "MaskRCNN"),
        *("--arguments", json.dumps(MASK_RCNN.arguments), "--name", "rcnn", "--bands", "red,nir", "--tile", "64"),
        *("--classes", "5=building", "--mean", "127.5", "--std", "50", "--min-score", "0"),
    )
    return folder / "rcnn.zip"


def run(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert int(stop.value.code or 0) == code


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """A tile with a red cell, a dimmer green one, and a blue one; and where it is valid."""
    pixels = np.zeros((3, 64, 64), np.uint8)
    pixels[0, 8:16, 16:24] = 255
    pixels[1, 40:48, 0:8] = 240
    pixels[2, 32:40, 32:40] = 255
    return pixels, np.ones((64, 64), bool)


def random_tiles(bands: int, count: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (count, bands, 64, 64), dtype=np.uint8)
    return [(i, tile, rng.random((64, 64)) > 0.05) for i, tile in enumerate(pixels)]


def as_lists(found: Instances) -> list[list[float]]:
    return [getattr(found, name).tolist() for name in ("rows", "starts", "stops", "first", "channel", "score")]


def test_known_objects_come_out(yolo: Path) -> None:
    spec = read_spec(yolo)
    assert (spec.task, spec.decoding, spec.std, spec.divisor) == ("instance-segmentation", "yolo-seg", (255.0,) * 3, 64)
    assert [output["name"] for output in spec.to_item()["properties"]["mlm:output"]] == ["objects"]
    model = load_model(yolo, device="cpu", threads=2)
    assert isinstance(model, InstanceModel)
    assert model.in_flight == 3
    pixels, valid = drawn()
    half = valid.copy()
    half[:, :20] = False  # half of the first object, and all of the second
    dark = np.zeros_like(pixels)
    found = dict(model.find([("all", pixels, valid), ("half", pixels, half), ("none", dark, valid)]))
    assert list(found) == ["all", "half", "none"]
    assert found["all"].channel.tolist() == [0, 1]
    np.testing.assert_allclose(found["all"].score, [1, 240 / 255], atol=1e-6)
    # Prototypes are 0.8 (or 0.74) inside and -0.2 outside: enlarged, even the corner pixels inside are above zero.
    expected = np.zeros((2, 64, 64), bool)
    expected[0, 8:16, 16:24] = expected[1, 40:48, 0:8] = True
    assert (found["all"].masks((64, 64)) == expected).all()
    assert (found["half"].masks((64, 64)) == (expected[:1] & half)).all()
    assert len(found["none"]) == 0


def test_thresholds_are_the_package_s(yolo: Path, tmp_path: Path) -> None:
    sure = write_package(
        tmp_path / "sure", replace(read_spec(yolo), min_score=0.97), (yolo / "weights.onnx").read_bytes()
    )
    ((_, found),) = load_model(sure, device="cpu").find([(0, *drawn())])
    assert found.channel.tolist() == [0]


@pytest.mark.parametrize("free", [False, True])
def test_batches_of_any_size(free: bool, tmp_path: Path) -> None:
    axes = {name: {0: "tile"} for name in ("images", "output0", "output1")} if free else None
    made = import_model(to_onnx(Cells(), tmp_path / "y.onnx", dynamic_axes=axes), YOLO, tmp_path / "made")
    model = load_model(made, device="cpu", threads=1)
    tiles = random_tiles(3, 3)
    alone = [as_lists(found) for _, found in model.find(tiles)]
    together = predict_in_batches(tiles, model._forward, 2)  # as on a GPU
    assert [as_lists(found) for _, _, found in together] == alone


def test_mask_rcnn_finds_what_torchvision_s_own_pasting_gives(rcnn: Path) -> None:
    model = load_model(rcnn, device="cpu", threads=1)
    assert isinstance(model, InstanceModel)
    assert model.spec.parameters == sum(p.numel() for p in model.network.parameters())
    tiles = random_tiles(2, 2)
    found = [instances for _, instances in model.find(tiles)]
    assert [as_lists(f) for _, f in load_model(rcnn, device="cpu", threads=3).find(tiles)] == [
        as_lists(f) for f in found
    ]
    for (_, _, one), other in zip(predict_in_batches(tiles, model._forward, 2), found, strict=True):
        np.testing.assert_allclose(one.score, other.score, atol=1e-4)
        np.testing.assert_allclose(one.pixels, other.pixels, atol=3)
    for (_, pixels, valid), instances in zip(tiles, found, strict=True):
        scaled = torch.from_numpy(np.where(valid, (pixels.astype(np.float32) - 127.5) / 50, 0).astype(np.float32))
        with torch.inference_mode():
            torch.set_num_threads(1)
            (own,) = model.network(scaled[None])  # with masks of the tile's size
        soft = own["masks"][:, 0].numpy()
        there = ((soft > 0.5) & valid).any(axis=(1, 2))
        assert len(instances) == there.sum() > 3
        np.testing.assert_allclose(instances.score, own["scores"].numpy()[there], atol=1e-6)
        clear = (abs(soft[there] - 0.5) > 1e-4) & valid
        masks = instances.masks((64, 64))
        assert (masks == (soft[there] > 0.5))[clear].all()
        assert clear[:, valid].mean() > 0.9
        assert not masks[:, ~valid].any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_a_tile_s_objects_depend_on_the_tile_alone(rcnn: Path) -> None:
    tiles = random_tiles(2, 5)
    model = load_model(rcnn, device="cuda", batch=2)
    together = {key: as_lists(found) for key, found in model.find(tiles)}
    for tile in tiles:
        ((key, found),) = model.find([tile])
        assert as_lists(found) == together[key]


def test_the_same_in_a_fresh_process_and_after_travelling(yolo: Path, rcnn: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from test_instance_models import as_lists, random_tiles; from geoseg.networks import load_model; import json\n"
        "for path, bands in ((sys.argv[1], 3), (sys.argv[2], 2)):\n"
        "    model = load_model(path, device='cpu', threads=2)\n"
        "    print(json.dumps([as_lists(found) for _, found in model.find(random_tiles(bands, 2))]))"
    )
    command = [sys.executable, "-c", code, str(yolo), str(rcnn), str(Path(__file__).parent)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for line, path, bands in zip(lines, (yolo, rcnn), (3, 2), strict=True):
        model = pickle.loads(pickle.dumps(load_model(path, device="cpu", threads=1)))
        here = [as_lists(found) for _, found in model.find(random_tiles(bands, 2))]
        assert json.loads(line) == here
        assert sum(len(lists[-1]) for lists in here) > 3


def test_packages_are_checked_and_shown(yolo: Path, rcnn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in (yolo, rcnn):
        checks = check_package(package)
        assert [check.passed for check in checks] == [True] * 5
        assert "objects with a score of" in checks[-1].found
    assert check_package(rcnn)[-1].found.startswith("12 objects")
    run("models", "check", yolo)
    run("models", "show", rcnn)
    assert "geoseg:decoding: maskrcnn" in capsys.readouterr().out


def test_damaged_weights_are_found_out(rcnn: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build_network(MASK_RCNN).state_dict()
    state["network.roi_heads.box_predictor.cls_score.bias"][:] = float("nan")
    nan = check_package(write_package(tmp_path / "nan", MASK_RCNN, save(state)))[-1]
    assert (nan.what, nan.passed) == ("weights", False)
    assert "cls_score.bias of rcnn is not" in nan.found
    # Numbers too large for the network: torchvision alone would find nothing.
    model = load_model(rcnn, device="cpu", threads=1)
    with pytest.raises(ModelError, match=r"must see finite numbers.*--value-range"):
        list(model.find([(0, np.full((2, 64, 64), np.inf, np.float32), np.ones((64, 64), bool))]))
    broken = Cells()
    broken.boxes[:] = float("nan")
    with pytest.raises(ModelError, match=r"y\.onnx does not make a model.*boxes and coefficients must be finite"):
        import_model(to_onnx(broken, tmp_path / "y.onnx"), YOLO, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Selected(torch.nn.Module):
    """What an export with non-maximum suppression inside gives."""

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return tiles.mean() * torch.ones(1, 300, 38), tiles.mean() * torch.ones(1, 32, 16, 16)


def test_other_networks_than_the_metadata_say(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = to_onnx(Cells(), tmp_path / "yolo.onnx")
    with pytest.raises(ModelError, match=r"1 classes must give.*Correct the classes"):
        import_model(path, replace(YOLO, classes=YOLO.classes[:1]), out)
    with pytest.raises(ModelError, match=r"tiles of 128 pixels, but that of cells takes \[1, 3, 64, 64\]"):
        import_model(path, replace(YOLO, tile_px=128), out)
    with pytest.raises(ModelError, match=r"one float32 input .* and 1 output, but"):
        import_model(path, replace(TINY, tile_px=64), out)
    with pytest.raises(ModelError, match="export the network without non-maximum suppression"):
        import_model(to_onnx(Selected(), tmp_path / "selected.onnx"), YOLO, out)
    one = to_onnx(torch.nn.Conv2d(3, 2, 1), tmp_path / "one.onnx", outputs=1)
    with pytest.raises(ModelError, match=r"one float32 input .* and 2 outputs, but"):
        import_model(one, YOLO, out)
    with pytest.raises(ModelError, match="maskrcnn goes with the architecture MaskRCNN, as a state dict, but"):
        import_model(one, replace(YOLO, decoding="maskrcnn", architecture="MaskRCNN"), out)
    torch.save(build_network(MASK_RCNN).state_dict(), tmp_path / "w.pt")
    semantic = replace(MASK_RCNN, task=TINY.task, decoding="classes", classes=TINY.classes)
    with pytest.raises(ModelError, match=r"must fit the architecture|goes with the architecture MaskRCNN"):
        import_model(tmp_path / "w.pt", semantic, out)
    with pytest.raises(ModelError, match="yolo-seg goes with ONNX"):
        import_model(tmp_path / "w.pt", replace(MASK_RCNN, decoding="yolo-seg"), out)
    assert not out.exists()


def test_one_class_is_enough(tmp_path: Path) -> None:
    spec = replace(YOLO, classes=YOLO.classes[:1])
    made = import_model(to_onnx(Cells(classes=1), tmp_path / "y.onnx"), spec, tmp_path / "one.zip")
    ((_, found),) = load_model(made, device="cpu").find([(0, *drawn())])
    assert found.channel.tolist() == [0]


def test_objects_are_no_land_cover(yolo: Path, rcnn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = random_scene(1, (50, 50))
    with pytest.raises(MismatchError, match="is for instance-segmentation"):
        geoseg.classify(scene, load_model(yolo, device="cpu"))
    for package, tta in ((yolo, None), (rcnn, "d4"), (f"{yolo},{yolo}", None)):
        with pytest.raises(MismatchError, match="it finds objects"):
            load_together(package, tta=tta, device="cpu")
    for package in (yolo, rcnn):
        with pytest.raises(ModelError, match=r"each pixel a class are exported.*finds objects"):
            export_onnx(package, tmp_path / "exported")
    write_semantic(tmp_path / "semantic")
    assert not isinstance(load_model(tmp_path / "semantic", device="cpu"), InstanceModel)


def test_geoseg_map_finds_objects(yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from geoseg.synthetic import write_scene

    raster = write_scene(tmp_path / "scene.tif", shape=(150, 200))
    run("map", raster, "--model", yolo, "--out", tmp_path / "map", "--resolution", "0.5", "--quiet")
    names = {path.name for path in (tmp_path / "map").iterdir()}
    assert names == {
        "objects.tif",
        "objects.qml",
        "objects.csv",
        "polygons.gpkg",
        "preview.png",
        "report.html",
        "run.json",
    }
    options = json.loads((tmp_path / "map" / "run.json").read_text())["options"]
    assert options["block_px"] == 4096
    run("map", raster, "--model", yolo, "--out", tmp_path / "blocks", "--resolution", "0.5", "--block", "5000", "-q")
    assert json.loads((tmp_path / "blocks" / "run.json").read_text())["options"]["block_px"] == 5000
    run("map", raster, "--model", yolo, "--out", tmp_path / "other", "--tta", "d4", "--connectivity", "8", code=2)
    assert "--connectivity, --tta: for models that give classes only" in capsys.readouterr().err
    run("map", raster, "--out", tmp_path / "other", "--regularize", code=2)
    assert "--regularize is for models that find objects" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_sample_tiles_give_objects(yolo: Path) -> None:
    tiles = sample_tiles(read_spec(yolo))
    found = dict(load_model(yolo, device="cpu").find((k, t, np.ones((64, 64), bool)) for k, t in tiles.items()))
    assert len(found["zero"]) == 0
    assert len(found["random"]) > 0
