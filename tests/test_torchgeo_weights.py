"""torchgeo's published weights: its metadata, transforms and constructors are the oracle; no file is from outside."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import segmentation_models_pytorch as smp
import torch
import torchgeo.models
from serving import serving
from torchgeo.models import ResNet18_Weights, ResNet50_Weights, Unet_Weights

import geoseg
from geoseg.errors import MismatchError, ModelError
from geoseg.networks import load_model
from geoseg.networks import torchgeo_weights as room
from geoseg.networks.torchgeo_weights import backbone_state, list_backbones, list_weights, weights_spec
from geoseg.scene import open_scene

FIELDS = "torchgeo:Unet_Weights.SENTINEL2_3CLASS_FTW"
EIGHT = "red=1,green=2,blue=3,nir=4,red_2=5,green_2=6,blue_2=7,nir_2=8"
SIDE = 96


def saved(state) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def fields_network() -> torch.nn.Module:
    """torchgeo's own network for the FTW weights, random, with logits so far apart that every class wins somewhere."""
    torch.manual_seed(0)
    network = torchgeo.models.unet(None, 3, in_channels=8, encoder_name="efficientnet-b3", encoder_weights=None).eval()
    with torch.no_grad():
        network.segmentation_head[0].weight.mul_(30)
    return network


@pytest.fixture(scope="module")
def network():
    return fields_network()


@pytest.fixture(scope="module")
def weights_file(network):
    return saved(network.state_dict())


@pytest.fixture
def server():
    with serving() as state:
        yield state


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own; and no address but this machine's is ever asked."""
    urlopen = urllib.request.urlopen

    def only_here(request, **options):
        assert request.full_url.startswith("http://127.0.0.1:"), request.full_url
        return urlopen(request, **options)

    monkeypatch.setattr(urllib.request, "urlopen", only_here)
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def publish(server, monkeypatch):
    """Serve a file as that of some weights; returns the name that it is published under."""

    def as_weights(member, data: bytes, *, digest: str | None = None, name: str | None = None) -> str:
        digest = hashlib.sha256(data).hexdigest() if digest is None else digest
        name = name or f"weights-{digest[:8]}.pth"
        server.files[f"/{name}"] = data
        monkeypatch.setattr(member.value, "url", f"{server.url}/{name}")
        return name

    return as_weights


def write_stack(path: Path, bands: int, seed: int = 0, shift_px: float = 0.0) -> Path:
    values = np.random.default_rng(seed).integers(100, 4000, (bands, SIDE // 8, SIDE // 8))
    values = np.repeat(np.repeat(values, 8, 1), 8, 2).astype("uint16")
    transform = rasterio.Affine(10, 0, 359_130 + 10 * shift_px, 0, -10, 5_352_340)
    like = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": bands, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=transform, **like) as file:
        file.write(values)
    return path


# What torchgeo says is what geoseg does.


def test_the_list_is_torchgeos_own() -> None:
    assert list(list_weights()) == [f"torchgeo:{weights!r}" for weights in Unet_Weights]
    assert FIELDS in list_weights()
    backbones = list_backbones()
    assert backbones["torchgeo:ResNet50_Weights.SENTINEL2_RGB_MOCO"] == ("red", "green", "blue")
    assert len(backbones) == sum(
        len(enum) for name, enum in vars(torchgeo.models).items() if name.startswith("ResNet") and name.endswith("ghts")
    )


@pytest.mark.parametrize("weights", list(Unet_Weights), ids=repr)
def test_a_spec_follows_the_metadata(weights) -> None:
    spec, meta = weights_spec(f"torchgeo:{weights!r}"), weights.meta
    assert spec.name == f"torchgeo:{weights!r}"
    assert len(spec.bands) == len(set(spec.bands)) == meta["in_chans"]
    assert [info.value for info in spec.classes] == list(range(meta["num_classes"]))
    assert spec.license == meta["license"]
    assert spec.arguments == {"encoder_name": meta["encoder"]}
    assert spec.weights == weights.url.rsplit("/", 1)[1]
    assert spec.resolution_m == meta.get("resolution", 10.0)
    assert spec.resolution_range_m[0] < spec.resolution_m < spec.resolution_range_m[1]
    if "classes" in meta:
        assert tuple(info.name for info in spec.classes) == tuple(meta["classes"])
    if meta["dataset"] == "FTW":
        assert spec.bands == ("red", "green", "blue", "nir", "red_2", "green_2", "blue_2", "nir_2")
        assert [info.name for info in spec.classes] == ["background", "field", "field boundary"][: meta["num_classes"]]
        assert (spec.dtype, spec.resolution_m) == ("uint16", 10.0)
    assert type(spec).from_item(spec.to_item()) == spec


@pytest.mark.parametrize("name", [*list_weights(), *list_backbones()])
def test_scaling_is_what_torchgeos_transforms_do(name) -> None:
    weights = torchgeo.models.get_weight(name.removeprefix("torchgeo:"))
    channels = weights.meta["in_chans"]
    values = torch.linspace(10, 5000, channels, dtype=torch.float64)
    image = values.float().view(1, -1, 1, 1).repeat(1, 1, 300, 300)  # the same everywhere: resizing does not matter
    out = weights.transforms(image.clone())
    middle = out[0, :, out.shape[-2] // 2, out.shape[-1] // 2].double()
    mean, std = (torch.tensor(numbers) for numbers in room._scaling(weights.transforms, channels, name))
    torch.testing.assert_close((values - mean) / std, middle, rtol=1e-4, atol=1e-3)


def test_kornias_transforms_are_understood() -> None:
    augmentation = pytest.importorskip("kornia.augmentation")
    image = torch.rand(1, 2, 8, 8) * 1000
    steps = torch.nn.Sequential(
        augmentation.Normalize(torch.tensor([5.0, 7.0]), torch.tensor([300.0, 400.0])),
        augmentation.Normalize(mean=0.5, std=0.25),
    )
    (mean, std) = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in room._scaling(steps, 2, "test"))
    torch.testing.assert_close(((image - mean) / std).float(), steps(image), rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match="have a RandomHorizontalFlip"):
        room._scaling(torch.nn.Sequential(augmentation.RandomHorizontalFlip()), 2, "test")


def test_weights_of_newer_versions(monkeypatch) -> None:
    from torchvision.transforms.v2 import Normalize

    newer = SimpleNamespace(  # as torchgeo describes them from 0.9 on
        name="NAIP_RGBN_RESNET18_CHESAPEAKERSC",
        url="https://example.org/unet-resnet18-829a85c5.pth",
        transforms=Normalize(mean=[0.0], std=[255.0], inplace=True),
        meta={
            "dataset": "ChesapeakeRSC",
            "in_chans": 4,
            "num_classes": 2,
            "encoder": "resnet18",
            "bands": ("R", "G", "B", "N"),
            "classes": ("background", "road"),
            "input_shape": (4, 512, 512),
            "resolution": 1.0,
            "license": "MIT",
        },
    )
    monkeypatch.setattr(room, "_find", lambda name: newer)
    spec = weights_spec("torchgeo:Unet_Weights.NAIP_RGBN_RESNET18_CHESAPEAKERSC")
    assert spec.bands == ("red", "green", "blue", "nir")
    assert (spec.mean, spec.std, spec.dtype) == ((0.0,) * 4, (255.0,) * 4, "uint8")
    assert [info.name for info in spec.classes] == ["background", "road"]
    assert (spec.resolution_m, spec.tile_px, spec.license) == (1.0, 512, "MIT")


def test_bands_have_common_names() -> None:
    assert room._band_names(ResNet50_Weights.SENTINEL2_MI_MS_SATLAS)[-3:] == ("nir", "swir16", "swir22")
    assert room._band_names(ResNet18_Weights.SENTINEL2_ALL_MOCO)[:4] == ("coastal", "blue", "green", "red")
    assert room._band_names(ResNet18_Weights.LANDSAT_ETM_SR_MOCO)[3:] == ("nir08", "swir16", "swir22")


def test_the_command_line_lists_and_shows(capsys, monkeypatch) -> None:
    from geoseg.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    for words, expected in (
        (["models"], ["landcover-aerial", "geoseg models torchgeo"]),
        (["models", "torchgeo"], [FIELDS, "CC-BY-4.0", "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", "nir_2"]),
        (
            ["models", FIELDS],
            ["license: CC-BY-4.0", "sentinel2_unet_effb3-5d591cbb.pth (SHA-256 known after download)"],
        ),
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        shown = capsys.readouterr().out
        assert end.value.code == 0
        assert all(text in shown for text in expected)


def test_the_plain_list_loads_no_framework() -> None:
    code = """
import sys
from geoseg.cli import main
try:
    main(["models"])
except SystemExit:
    print(sorted(set(sys.modules) & {"torch", "torchgeo"}))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[]"


# From a name to a map.


def test_from_the_name_to_a_map(network, weights_file, publish, server, tmp_path) -> None:
    name = publish(Unet_Weights.SENTINEL2_3CLASS_FTW, weights_file)
    path = write_stack(tmp_path / "stack.tif", 8)
    result = geoseg.map_scene(path, FIELDS, tmp_path / "out", bands=EIGHT, tile_px=SIDE, overlap_px=0, device="cpu")
    with rasterio.open(result.folder / "classes.tif") as file, rasterio.open(path) as source:
        classes, pixels = file.read(1), torch.from_numpy(source.read().astype("float32"))
    with torch.inference_mode():  # torchgeo's own transforms and network on the whole scene
        expected = network(Unet_Weights.SENTINEL2_3CLASS_FTW.transforms(pixels[None].clone()))[0].softmax(0)
    sure = (expected.max(0).values > 0.5).numpy()
    np.testing.assert_array_equal(classes[sure], expected.argmax(0).numpy()[sure])
    assert sure.mean() > 0.5
    assert len(np.unique(classes)) == 3
    model = load_model(FIELDS, device="cpu")
    assert model.spec.sha256 == hashlib.sha256(weights_file).hexdigest()
    assert model.spec.parameters == sum(value.numel() for value in network.parameters())
    assert pickle.loads(pickle.dumps(model)).spec == model.spec
    assert server.asked == [f"/{name}"]


def test_two_files_give_the_map_of_their_stack(weights_file, publish, tmp_path) -> None:
    publish(Unet_Weights.SENTINEL2_3CLASS_FTW, weights_file)
    one, two = write_stack(tmp_path / "one.tif", 4, 1), write_stack(tmp_path / "two.tif", 4, 2)
    with rasterio.open(one) as first, rasterio.open(two) as second:
        both, like = np.concatenate([first.read(), second.read()]), {**first.profile, "count": 8}
    with rasterio.open(tmp_path / "both.tif", "w", **like) as file:
        file.write(both)
    maps = []
    for source, options in (
        ("both.tif", {"bands": EIGHT}),
        ("one.tif", {"second": two, "bands": "red=1,green=2,blue=3,nir=4"}),
    ):
        result = geoseg.map_scene(
            tmp_path / source, FIELDS, tmp_path / f"map-{source}", tile_px=SIDE, device="cpu", **options
        )
        with rasterio.open(result.folder / "classes.tif") as file:
            maps.append(file.read(1))
    np.testing.assert_array_equal(*maps)
    with pytest.raises(MismatchError, match=r"looks at two dates.*--second second.tif.*red_2=5"):
        geoseg.map_scene(one, FIELDS, tmp_path / "no", bands="red=1,green=2,blue=3,nir=4", device="cpu")


def test_other_data_types_can_keep_their_numbers(weights_file, publish, tmp_path) -> None:
    publish(Unet_Weights.SENTINEL2_3CLASS_FTW, weights_file)
    model = load_model(FIELDS, device="cpu")
    path = write_stack(tmp_path / "stack.tif", 8)
    with rasterio.open(path) as file:
        values, like = file.read(), {**file.profile, "dtype": "int16"}
    with rasterio.open(tmp_path / "signed.tif", "w", **like) as file:
        file.write(values.astype("int16"))
    signed = open_scene(tmp_path / "signed.tif", bands=EIGHT)
    with pytest.raises(MismatchError, match="--value-range 0,65535"):
        geoseg.classify(signed, model)
    maps = [
        geoseg.classify(scene, model, tile_px=SIDE, value_range=value_range)["class"].compute()
        for scene, value_range in ((open_scene(path, bands=EIGHT), None), (signed, (0, 65535)))
    ]
    np.testing.assert_array_equal(*maps)


def test_another_process_maps_from_the_cache_with_the_server_off(weights_file, cache, tmp_path) -> None:
    digest = hashlib.sha256(weights_file).hexdigest()
    cache.mkdir()
    (cache / f"weights-{digest[:8]}.pth").write_bytes(weights_file)  # as put there by hand
    one, two = write_stack(tmp_path / "one.tif", 4, 1), write_stack(tmp_path / "two.tif", 4, 2, shift_px=8)
    code = f"""
from torchgeo.models import Unet_Weights
Unet_Weights.SENTINEL2_3CLASS_FTW.value.url = "http://127.0.0.1:9/weights-{digest[:8]}.pth"
from geoseg.cli import main
main(["map", {str(one)!r}, "--second", {str(two)!r}, "--bands", "red=1,green=2,blue=3,nir=4",
      "--model", {FIELDS!r}, "--tile", "{SIDE}", "--device", "cpu", "--out", {str(tmp_path / "out")!r}])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "field boundary" in done.stdout
    with rasterio.open(tmp_path / "out" / "classes.tif") as file:
        classes = file.read(1)
    assert (classes[:, :8] == 255).all()  # the second date begins 8 columns further east
    assert (classes[:, 8:] != 255).all()


@pytest.mark.data
def test_a_real_pair_of_sentinel_2(weights_file, publish, data_dir, tmp_path) -> None:
    publish(Unet_Weights.SENTINEL2_3CLASS_FTW, weights_file)
    scene = open_scene(data_dir / "ftw_inn" / "inference-img.tif", bands=EIGHT)
    cover = geoseg.classify(scene, load_model(FIELDS, device="cpu"), tile_px=128)
    window = cover["class"][100:200, 100:200].compute()
    assert set(np.unique(window)) <= {0, 1, 2}
    assert scene.resolution_m == 10


@pytest.mark.data
def test_fields_of_a_real_pair_become_objects_and_fiboa(weights_file, publish, data_dir, tmp_path) -> None:
    publish(Unet_Weights.SENTINEL2_3CLASS_FTW, weights_file)
    source = data_dir / "ftw_inn" / "inference-img.tif"
    options = {"bands": EIGHT, "objects": "field", "min_area": "500m2", "device": "cpu", "formats": ("gpkg", "fiboa")}
    result = geoseg.map_objects(source, FIELDS, tmp_path / "out", **options)
    fields = gpd.read_parquet(result.folder / "polygons.fiboa.parquet")
    with rasterio.open(result.folder / "objects.tif") as file:
        sizes = np.bincount(file.read(1).ravel())
    assert len(fields) == len(sizes) - 1 == result.table["objects"].sum() > 0
    places = fields["id"].astype(int).to_numpy()
    np.testing.assert_array_equal(fields["pixels"], sizes[places])
    assert fields["pixels"].min() >= 5
    np.testing.assert_allclose(fields["metrics:area"], fields["pixels"] * 100, rtol=2e-3)  # UTM's scale, near the edge
    assert fields.is_valid.all()
    assert set(fields["class_name"]) == {"field"}


# What cannot be had is refused.


def test_downloads_that_are_not_the_published_file(weights_file, publish, server, cache) -> None:
    name = publish(Unet_Weights.SENTINEL2_3CLASS_FTW, weights_file, digest="0" * 64)
    with pytest.raises(ModelError, match=rf"SHA-256.*00000000.*{hashlib.sha256(weights_file).hexdigest()}"):
        load_model(FIELDS, device="cpu")
    name = publish(Unet_Weights.SENTINEL2_3CLASS_FTW, weights_file)
    server.cut[f"/{name}"] = 1000
    with pytest.raises(ModelError, match=rf"ended after 1,000 of.*{cache / name}"):
        load_model(FIELDS, device="cpu")
    assert list(cache.iterdir()) == []


def test_weights_without_a_published_hash_need_one(weights_file, publish, server) -> None:
    prue = "torchgeo:Unet_Weights.SENTINEL2_FTW_PRUE_EFNETB3"
    digest = hashlib.sha256(weights_file).hexdigest()
    publish(Unet_Weights.SENTINEL2_FTW_PRUE_EFNETB3, weights_file, name="prue_efnet3.pth")
    for name in (prue, f"{prue}#{digest[:10]}"):
        with pytest.raises(ModelError, match=r"torchgeo gives none.*prue_efnet3.*#<sha256>"):
            load_model(name, device="cpu")
    assert server.asked == []
    model = load_model(f"{prue}#{digest}", device="cpu")
    assert (model.spec.name, model.spec.sha256) == (prue, digest)
    assert pickle.loads(pickle.dumps(model)).spec == model.spec
    with pytest.raises(ModelError, match="begins with 5d591cbb"):
        load_model(f"{FIELDS}#{digest}", device="cpu")


def test_files_that_are_no_state_dict_of_the_network(publish, tmp_path) -> None:
    class Harmful:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'harm'}",)

    for data, message in (
        (saved({"weight": Harmful()}), "must be a state dict"),
        (saved([1, 2]), "something else"),
        (b"no zip at all", "must be a state dict"),
        (saved(torch.nn.Conv2d(1, 1, 1).state_dict()), "must fit the network"),
    ):
        publish(Unet_Weights.SENTINEL2_3CLASS_FTW, data)
        with pytest.raises(ModelError, match=message):
            load_model(FIELDS, device="cpu")
    assert not (tmp_path / "harm").exists()


def test_names_that_torchgeo_does_not_have() -> None:
    for name, message in (
        ("torchgeo:Unet_Weights.SENTINEL2_3CLAS_FTW", "SENTINEL2_3CLASS_FTW"),
        ("torchgeo:", f"torchgeo installed here .{torchgeo.__version__}"),
        ("torchgeo:Nothing_Weights.AT_ALL", "geoseg models torchgeo"),
        ("torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO", "training starts from"),
        ("torchgeo:DOFABase16_Weights.DOFA_MAE", "segmentation network"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(name, device="cpu")
    newer = "Unet_Weights.NAIP_RGBN_RESNET18_CHESAPEAKERSC"
    if newer.partition(".")[2] not in Unet_Weights.__members__:
        with pytest.raises(ModelError, match=r"came with torchgeo 0\.9 .*Python 3\.12.*: update"):
            load_model(f"torchgeo:{newer}", device="cpu")


# Encoders that training starts from.


@pytest.mark.parametrize(
    ("member", "encoder", "channels"),
    [
        (ResNet50_Weights.SENTINEL2_ALL_MOCO, "resnet50", 13),
        (ResNet18_Weights.SENTINEL2_ALL_MOCO, "resnet18", 13),
        (ResNet50_Weights.SENTINEL2_MI_MS_SATLAS, "resnet50", 9),
        (ResNet50_Weights.LANDSAT_ETM_SR_MOCO, "resnet50", 6),
    ],
    ids=repr,
)
def test_a_backbone_is_the_encoder_of_a_unet(member, encoder, channels, publish) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchgeo.models, encoder)(None, in_chans=channels).eval()
    publish(member, saved(theirs.state_dict()))
    backbone = backbone_state(f"torchgeo:{member!r}")
    assert (backbone.encoder, len(backbone.bands)) == (encoder, channels)
    assert len(backbone.mean) == len(backbone.std) == channels
    unet = smp.Unet(backbone.encoder, encoder_weights=None, in_channels=channels, classes=2).eval()
    ours = dict(unet.encoder.state_dict())
    assert {key: value.shape for key, value in ours.items()} == {k: v.shape for k, v in backbone.state.items()}
    unet.encoder.load_state_dict(dict(backbone.state))
    image = torch.rand(1, channels, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(unet.encoder(image)[-1], theirs.forward_features(image))


def test_backbones_at_fault(publish) -> None:
    for name in (
        "DOFABase16_Weights.DOFA_MAE",
        "ViTSmall16_Weights.SENTINEL2_ALL_DINO",
        "Swin_V2_B_Weights.NAIP_RGB_SI_SATLAS",
    ):
        with pytest.raises(ModelError, match="no encoder of that kind"):
            backbone_state(f"torchgeo:{name}")
    publish(ResNet18_Weights.SENTINEL2_RGB_MOCO, saved(torchgeo.models.resnet18(None, in_chans=4).state_dict()))
    with pytest.raises(ModelError, match=r"must fit the network.*conv1"):
        backbone_state("torchgeo:ResNet18_Weights.SENTINEL2_RGB_MOCO")
