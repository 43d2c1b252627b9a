"""Each network the whole way: trained on polygons, exported, loaded in a fresh process, a scene mapped by both."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torchgeo.models
from safetensors.torch import load_file
from serving import serving
from test_torchgeo_weights import saved
from test_training import TINY, two_colours, write_image  # noqa: F401  # a fixture

import geoseg
from geoseg.errors import GeosegError, OptionError
from geoseg.model import read_spec
from geoseg.networks.exporting import TOLERANCE, export_onnx

RESNET = {"encoder": "resnet18", "tile_px": 64, "device": "cpu"}
SMALL = {"tile_px": 32, "device": "cpu"}
NETWORKS = {
    "FCN": {**SMALL, "arguments": {"num_filters": 16}},
    "Unet": TINY,
    "DeepLabV3Plus": {**RESNET, "arguments": {"decoder_channels": 32}},
    "FPN": {**RESNET, "arguments": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}},
    "Segformer": {**RESNET, "arguments": {"decoder_segmentation_channels": 32}},
    "UPerNet": {**RESNET, "arguments": {"decoder_channels": 32}},
}
BANDS = "coastal,blue,green,red,rededge071,rededge075,rededge078,nir,nir08,nir09,cirrus,swir16,swir22"
MAP = """
import json, sys
import geoseg
scene, folder, names = sys.argv[1], sys.argv[2], sys.argv[3:]
for name in names:
    for kind in ("torch", "onnx"):
        geoseg.map_scene(scene, f"{folder}/{name}-{kind}", f"{folder}/map-{name}-{kind}", device="cpu")
"""


def test_every_network_goes_the_whole_way(two_colours, tmp_path):  # noqa: F811
    image, labels, _ = two_colours
    for name, options in NETWORKS.items():
        result = geoseg.train(image, labels, tmp_path / f"{name}-torch", architecture=name, epochs=2, **options)
        _, difference = export_onnx(result.folder, tmp_path / f"{name}-onnx")
        assert difference <= TOLERANCE
    command = [sys.executable, "-c", MAP, image, tmp_path, *NETWORKS]
    subprocess.run([str(part) for part in command], check=True, timeout=300)
    for name in NETWORKS:
        maps = {}
        for kind in ("torch", "onnx"):
            folder = tmp_path / f"map-{name}-{kind}"
            assert json.loads((folder / "run.json").read_text())["model"]["name"] == f"{name}-torch"
            with rasterio.open(folder / "classes.tif") as classes, rasterio.open(folder / "confidence.tif") as percent:
                maps[kind] = classes.read(1), percent.read(1).astype(int)
        # Probabilities agree within the tolerance, so classes do wherever they do not stand at the edge.
        assert np.abs(maps["torch"][1] - maps["onnx"][1]).max() <= 1, name
        unequal = maps["torch"][0] != maps["onnx"][0]
        assert (maps["torch"][1][unequal] <= 51).all(), name
        assert unequal.mean() < 1e-3, name
        assert set(np.unique(maps["torch"][0])) <= {0, 1}, name


@pytest.fixture
def backbone(monkeypatch, tmp_path):
    """Random weights of the true architecture, under a name that torchgeo publishes, from 127.0.0.1."""
    state = torchgeo.models.resnet18(None, in_chans=13).state_dict()
    weights = torchgeo.models.ResNet18_Weights.SENTINEL2_ALL_MOCO
    data = saved(state)
    digest = hashlib.sha256(data).hexdigest()
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    with serving() as server:
        server.files[f"/backbone-{digest[:8]}.pth"] = data
        monkeypatch.setattr(weights.value, "url", f"{server.url}/backbone-{digest[:8]}.pth")
        yield "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", state


def test_training_starts_from_torchgeos_backbones(backbone, two_colours, tmp_path):  # noqa: F811
    name, state = backbone
    _, labels, truth = two_colours
    rng = np.random.default_rng(0)
    pixels = rng.integers(200, 400, (13, *truth.shape)) + truth * rng.integers(500, 1500, (13, 1, 1))
    bands = BANDS.split(",")
    image = write_image(tmp_path / "sentinel.tif", pixels.astype(np.uint16))
    named = ",".join(f"{band}={number}" for number, band in enumerate(bands, 1))
    options = {"tile_px": 32, "device": "cpu", "epochs": 1, "rate": 1e-12, "bands": named}
    result = geoseg.train(image, labels, tmp_path / "model", start=name, **options)
    spec = read_spec(result.folder)
    assert spec.arguments["encoder_name"] == "resnet18"
    assert len(spec.bands) == 13
    assert spec.std[0] > 100  # torchgeo's own scaling, in units of the stored values
    kept = load_file(result.folder / spec.weights)
    np.testing.assert_allclose(kept["encoder.layer1.0.conv1.weight"], state["layer1.0.conv1.weight"], atol=1e-6)
    with pytest.raises(OptionError, match="has weights for the encoder resnet18, but --encoder is resnet50"):
        geoseg.train(image, labels, tmp_path / "other", start=name, encoder="resnet50", **options)
    with pytest.raises(GeosegError, match="nir09"):
        geoseg.train(two_colours[0], labels, tmp_path / "other", start=name, tile_px=32)
    assert not (tmp_path / "other").exists()


def test_packages_to_start_from(two_colours, tmp_path):  # noqa: F811
    image, labels, _ = two_colours
    first = geoseg.train(image, labels, tmp_path / "first", architecture="FCN", epochs=1, **NETWORKS["FCN"])
    zipped = Path(shutil.make_archive(str(tmp_path / "first"), "zip", first.folder))
    again = [
        geoseg.train(image, labels, tmp_path / name, start=start, epochs=1, tile_px=32, device="cpu")
        for name, start in (("a", first.folder), ("b", zipped))
    ]
    states = [load_file(result.folder / "weights.safetensors") for result in again]
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    exported, _ = export_onnx(first.folder, tmp_path / "onnx")
    with pytest.raises(OptionError, match=r"must hold a state dict, but .* holds onnx"):
        geoseg.train(image, labels, tmp_path / "c", start=exported, tile_px=32)
