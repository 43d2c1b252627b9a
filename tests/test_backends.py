"""ONNX, torch.export and imported state dicts give what torch gives, and strangers' files run nothing."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from packages import TINY, write_package
from safetensors.torch import load_file

import geoseg
from geoseg.classes import ClassInfo
from geoseg.cli import main
from geoseg.cli_models import parse_classes
from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.model import Model
from geoseg.networks import build_network, load_model
from geoseg.networks.checking import check_package
from geoseg.networks.exported import load_exported
from geoseg.networks.exporting import TOLERANCE, export_onnx
from geoseg.networks.importing import import_model
from geoseg.packages import read_spec
from geoseg.packages import write_package as write_bytes

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install 'geoseg[onnx]'")
SPEC = replace(TINY, tile_px=64, overlap_px=16)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return write_package(tmp_path_factory.mktemp("models") / "tiny", SPEC)


@pytest.fixture(scope="module")
def network(package) -> torch.nn.Module:
    built = build_network(SPEC)
    built.load_state_dict({k: v.float() for k, v in load_file(package / SPEC.weights).items()})
    return built.eval()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "tiny.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 64, 64),)), path)
    return path


@pytest.fixture(scope="module")
def onnx_package(package, tmp_path_factory) -> Path:
    made, found = export_onnx(package, tmp_path_factory.mktemp("onnx") / "tiny.zip")
    assert found <= TOLERANCE
    return made


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)


def predict(model: Model, tiles: np.ndarray) -> np.ndarray:
    valid = np.ones((len(tiles), *tiles.shape[2:]), bool)
    valid[:, :5, :7] = False
    found = list(model.predict((index, tiles[index], valid[index]) for index in range(len(tiles))))
    assert [key for key, _, _ in found] == list(range(len(tiles)))
    return np.stack([np.asarray(out) for _, _, out in found])


def assert_equal(got: np.ndarray, expected: np.ndarray) -> None:
    """Probabilities within the tolerance; classes equal where the margin between the best two is larger."""
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    best = np.sort(expected, axis=1)
    sure = best[:, -1] - best[:, -2] > 2 * TOLERANCE
    assert sure.mean() > 0.9
    assert (got.argmax(1) == expected.argmax(1))[sure].all()


def test_onnx_gives_what_torch_gives(package, onnx_package, tiles) -> None:
    torch_model, model = load_model(package, device="cpu"), load_model(onnx_package, device="cpu")
    assert isinstance(model, Model)
    assert (
        replace(model.spec, artifact="safetensors", weights=SPEC.weights, arguments=SPEC.arguments, sha256="") == SPEC
    )
    assert_equal(predict(model, tiles), predict(torch_model, tiles))
    larger = np.tile(tiles, (1, 1, 2, 2))[:, :, :96, :96]  # tile side and batch are free
    assert_equal(predict(model, larger), predict(torch_model, larger))
    both = model.forward(tiles, np.ones((3, 64, 64), bool))
    assert both.shape == (3, 4, 64, 64)


def test_onnx_does_not_depend_on_threads_and_travels(onnx_package, tiles) -> None:
    with_one = predict(load_model(onnx_package, device="cpu", threads=1), tiles)
    model = load_model(onnx_package, device="cpu", threads=3)
    np.testing.assert_array_equal(predict(model, tiles), with_one)
    data = pickle.dumps(model)
    assert len(data) < 1000
    np.testing.assert_array_equal(predict(pickle.loads(data), tiles), with_one)


def test_onnx_is_refused_where_it_does_not_fit(onnx_package, tmp_path) -> None:
    spec = read_spec(onnx_package)
    data = zipfile.ZipFile(onnx_package).read("weights.onnx")
    made = write_bytes(tmp_path / "bands", replace(spec, bands=("a", "b"), mean=(0, 0), std=(1, 1)), data)
    with pytest.raises(ModelError, match="2 bands and tiles of 64"):
        load_model(made)
    five = (*SPEC.classes, ClassInfo(9, "more"))
    made = write_bytes(tmp_path / "classes", replace(spec, classes=five), data)
    with pytest.raises(ModelError, match="model of 5 classes"):
        predict(load_model(made), np.zeros((1, 3, 64, 64), np.uint8))
    made = write_bytes(tmp_path / "cut", spec, data[: len(data) // 2])
    with pytest.raises(ModelError, match="must be an ONNX model"):
        load_model(made)
    with pytest.raises(OptionError, match="ONNX Runtime must run on one of cpu"):
        load_model(onnx_package, device="warp-drive")
    with pytest.raises(ModelError, match="is ONNX already"):
        export_onnx(onnx_package, tmp_path / "again")


def test_what_is_not_installed_is_named_with_its_extra(package, onnx_package, monkeypatch, tmp_path) -> None:
    for name in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelError, match=r"pip install 'geoseg\[onnx\]'"):
        load_model(onnx_package, threads=5)
    with pytest.raises(ModelError, match=r"pip install 'geoseg\[onnx\]'"):
        export_onnx(package, tmp_path / "out")


def test_every_kind_of_weights_maps_alike(package, network, exported, onnx_package, tmp_path) -> None:
    """Imported from a Lightning checkpoint, ONNX and .pt2, a scene gets the classes of the package they came from."""
    from geoseg.synthetic import write_scene

    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": {**state, "criterion.weight": torch.ones(2)}}, tmp_path / "last.ckpt")
    (tmp_path / "w.onnx").write_bytes(zipfile.ZipFile(onnx_package).read("weights.onnx"))
    imported = {
        kind: import_model(weights, replace(SPEC, sha256="", architecture=name), tmp_path / f"{kind}.zip")
        for kind, weights, name in (
            ("state", tmp_path / "last.ckpt", "Unet"),
            ("onnx", tmp_path / "w.onnx", ""),
            ("pt2", exported, "Unet"),
        )
    }
    assert read_spec(imported["state"]).parameters == sum(p.numel() for p in network.parameters())
    scene = geoseg.open_scene(write_scene(tmp_path / "scene.tif", shape=(150, 170)))
    expected = geoseg.classify(scene, load_model(package, device="cpu")).compute()
    assert len(np.unique(expected["class"])) > 2
    for kind, made in imported.items():
        got = geoseg.classify(scene, load_model(made, device="cpu")).compute()
        assert abs(got["confidence"].astype(int) - expected["confidence"].astype(int)).max() <= 1, kind
        differ = (got["class"] != expected["class"]).values
        assert differ.mean() < 1e-3, kind  # near ties only
        assert not differ.any() or expected["confidence"].values[differ].max() <= 51, kind
    result = geoseg.map_scene(tmp_path / "scene.tif", imported["onnx"], tmp_path / "out", device="cpu")
    assert json.loads((result.folder / "run.json").read_text())["model"]["sha256"] == read_spec(imported["onnx"]).sha256


def test_a_sigmoid_is_the_probability_of_the_second_class(tmp_path, tiles) -> None:
    class Bright(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(1, keepdim=True) * 8

    spec = replace(SPEC, classes=SPEC.classes[:2], activation="sigmoid", temperature=2.0)
    path = tmp_path / "bright.pt2"
    torch.export.save(torch.export.export(Bright(), (torch.zeros(1, 3, 64, 64),)), path)
    made = import_model(path, spec, tmp_path / "bright")
    out = predict(load_model(made, device="cpu"), tiles)
    scaled = (tiles.astype(float) - 127.5) / 127.5
    scaled[:, :, :5, :7] = 0
    bright = 1 / (1 + np.exp(-scaled.mean(1) * 8 / 2))
    np.testing.assert_allclose(out, np.stack([1 - bright, bright], 1), atol=1e-5)
    again, _ = export_onnx(made, tmp_path / "bright-onnx")
    assert_equal(predict(load_model(again, device="cpu"), tiles), out)


def rewrite(path: Path, out: Path, change) -> bytes:
    """A copy of a .pt2 whose members went through `change(name, data)`; None leaves one out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            inner = name.partition("/")[2]
            data = change(inner, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return out.read_bytes()


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_a_pt2_runs_nothing_of_its_author(exported, tmp_path) -> None:
    spec = replace(SPEC, artifact="torch.export", weights="w.pt2")
    mark, out = tmp_path / "mark", tmp_path / "evil.pt2"
    buffer = io.BytesIO()
    torch.save(Evil(mark), buffer)

    # Example inputs are a pickle that torch itself would run; here they are left out.
    data = rewrite(exported, out, lambda name, old: buffer.getvalue() if "sample_inputs" in name else old)
    assert load_exported(spec, data)(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 64, 64)
    assert not mark.exists()

    def with_json(part: str, change) -> bytes:
        def edit(name: str, old: bytes) -> bytes:
            if name != part:
                return old if name != "data/weights/weight_0" else buffer.getvalue()
            content = json.loads(old)
            change(content)
            return json.dumps(content).encode()

        return rewrite(exported, out, edit)

    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def pickled(config: dict) -> None:
        next(iter(config["config"].values()))["use_pickle"] = True

    def constant(config: dict) -> None:
        config["config"]["c"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False}

    def size(program: dict) -> None:
        value = {"as_expr": {"expr_str": code, "hint": {"as_int": 64}}}
        next(iter(program["graph_module"]["graph"]["tensor_values"].values()))["sizes"][0] = value

    def operator(program: dict) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"

    def node(program: dict) -> None:
        program["graph_module"]["graph"]["nodes"][0]["name"] = f"x = {code}\n    y"

    def tree(program: dict) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["in_spec"] = signature["in_spec"].replace("builtins.tuple", "os.system")

    graph = "models/model.json"
    for part, change, message in (
        ("data/weights/model_weights_config.json", pickled, "stored as a pickle"),
        ("data/constants/model_constants_config.json", constant, "stored as a pickle"),
        (graph, size, "plain words only"),
        (graph, operator, "none of torch's plain operators"),
        (graph, node, "plain words only"),
        (graph, tree, "plain words only"),
        (graph, lambda program: program.pop("graph_module"), "graph is damaged"),
    ):
        with pytest.raises(ModelError, match=message):
            load_exported(spec, with_json(part, change))
    whole = exported.read_bytes()
    for data, message in (
        (buffer.getvalue(), "not accepted"),
        (whole[: len(whole) // 2], "no zip"),
        (rewrite(exported, out, lambda name, old: None if name == graph else old), "lacks"),
        (rewrite(exported, out, lambda name, old: old if name != "byteorder" else b"\xff"), None),
    ):
        if message:
            with pytest.raises(ModelError, match=message):
                load_exported(spec, data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(archive.namelist()[0].partition("/")[0] + "/data/aotinductor/model/evil.so", b"")
    with pytest.raises(ModelError, match=r"holds 'data/aotinductor"):
        load_exported(spec, out.read_bytes())
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused_with_the_way_to_onnx(tmp_path) -> None:
    for name in ("net.pt", "net.pt2"):
        path = tmp_path / name
        torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8)), path)
        with pytest.raises(ModelError, match=r"TorchScript, a program.*torch\.onnx\.export"):
            import_model(path, SPEC, tmp_path / "out")
    made = write_bytes(tmp_path / "script", replace(SPEC, artifact="torchscript", weights="w.pt"), b"x")
    with pytest.raises(ModelError, match="TorchScript"):
        load_model(made)


def test_imports_at_fault_leave_nothing(network, tmp_path) -> None:
    mark, path, out = tmp_path / "mark", tmp_path / "w.pth", tmp_path / "out"
    torch.save({"state_dict": network.state_dict(), "hook": Evil(mark)}, path)
    with pytest.raises(ModelError, match="could run any program"):
        import_model(path, SPEC, out)
    assert not mark.exists()
    for content, message in (
        (torch.ones(3), "must hold a state dict"),
        ({"a": torch.ones(3)}, r"lacks \d+ of \d+ tensors"),
    ):
        torch.save(content, path)
        with pytest.raises(ModelError, match=message):
            import_model(path, SPEC, out)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=r"w\.pth"):
        import_model(path, SPEC, out)
    with pytest.raises(OptionError, match="--architecture"):
        import_model(path, replace(SPEC, architecture=""), out)
    with pytest.raises(ModelError, match="cannot be read"):
        import_model(tmp_path / "none.onnx", SPEC, out)
    with pytest.raises(OptionError, match="must end in"):
        import_model(Path(__file__), SPEC, out)
    torch.save(network.state_dict(), path)
    with pytest.raises(ModelError, match=r"sum to 1.*activation softmax"):
        import_model(path, replace(SPEC, activation="none"), out)
    with pytest.raises(ModelError, match="must fit the architecture"):
        import_model(path, replace(SPEC, classes=SPEC.classes[:2]), out)
    assert [item.name for item in tmp_path.iterdir()] == ["w.pth"]
    import_model(path, SPEC, out)
    with pytest.raises(OutputError, match="Nothing is overwritten"):
        import_model(path, SPEC, out)


def test_checks_stop_at_the_fault(package, tmp_path) -> None:
    assert [check.passed for check in check_package(package)] == [True] * 5
    data = (package / SPEC.weights).read_bytes()
    spec = read_spec(package)
    cut = write_bytes(tmp_path / "cut", spec, data[:-100])
    assert [(c.what, c.passed) for c in check_package(cut)][1:] == [("SHA-256", True), ("weights", False)]
    (cut / SPEC.weights).write_bytes(data[:-99])
    assert check_package(cut)[-1].what == "SHA-256"
    broken = load_file(package / SPEC.weights)
    broken["segmentation_head.0.bias"][:] = float("nan")
    from safetensors.torch import save

    nan = write_bytes(tmp_path / "nan", spec, save(broken))
    assert check_package(nan)[-1].what == "zero tile"
    assert "must be finite" in check_package(nan)[-1].found


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_the_command_line(package, network, tmp_path, capsys) -> None:
    torch.save(network.state_dict(), tmp_path / "w.pt")
    options = ["--bands", "red,green,blue", "--mean", "127.5", "--std", "127.5,127.5,127.5", "--tile", "64"]
    options += ["--classes", "0=building:#ff0000,1=road,2=green,7=water", "--name", "mine", "--license", "MIT"]
    options += ["--architecture", "Unet", "--arguments", json.dumps(SPEC.arguments), "--source", "drawn, CC0-1.0"]
    assert run("models", "import", tmp_path / "w.pt", "--out", tmp_path / "mine.zip", *options) == 0
    spec = read_spec(tmp_path / "mine.zip")
    assert (spec.name, spec.license, spec.sources, spec.std) == ("mine", "MIT", ("drawn, CC0-1.0",), (127.5,) * 3)
    assert spec.values.tolist() == [0, 1, 2, 7]
    assert run("models", "check", tmp_path / "mine.zip") == 0
    assert run("models", "export", tmp_path / "mine.zip", "--onnx", tmp_path / "mine-onnx") == 0
    assert "opset 17" in capsys.readouterr().out
    assert run("models", tmp_path / "mine-onnx") == run("models", "show", tmp_path / "mine-onnx") == 0
    assert capsys.readouterr().out.count("mlm:framework: ONNX") == 2
    assert run("models") == run("models", "list") == 0
    assert capsys.readouterr().out.count("landcover-aerial") == 2
    (tmp_path / "mine-onnx" / "weights.onnx").write_bytes(b"x")
    assert run("models", "check", tmp_path / "mine-onnx") == 1
    assert "WRONG" in capsys.readouterr().out
    assert run("models", "import", tmp_path / "w.pt", "--out", tmp_path / "mine.zip", *options) == 1
    for change in (["--mean", "1,2"], ["--mean", "x"], ["--arguments", "{"], ["--arguments", "[]"], ["--classes", "a"]):
        assert run("models", "import", tmp_path / "w.pt", "--out", tmp_path / "no", *options, *change) == 2
    assert run("models", "no-such") == 1
    assert not (tmp_path / "no").exists()


def test_classes_as_people_write_them() -> None:
    assert parse_classes("3=open water:#00f0ff, 1=land") == (
        ClassInfo(3, "open water", "#00f0ff"),
        ClassInfo(1, "land"),
    )
    for text in ("", "land", "x=land", "1=", "1=land:#red"):
        with pytest.raises(OptionError):
            parse_classes(text)


@pytest.mark.skipif(
    importlib.util.find_spec("ukis_csmask") is None, reason="the cloud model is not there: pip install ukis-csmask"
)
def test_a_real_onnx_model_from_elsewhere(tmp_path) -> None:
    """The cloud mask of DLR's ukis-csmask (Apache-2.0), imported, gives what its own code gives by the same file."""
    (folder,) = importlib.util.find_spec("ukis_csmask").submodule_search_locations
    path = Path(folder) / "model_4b_l1c.onnx"
    mean, std = json.loads(path.with_suffix(".json").read_text())["data"]["dataset_statistics"]["img"]
    spec = cloud_spec(mean, std)
    made = import_model(path, spec, tmp_path / "clouds")
    assert all(check.passed for check in check_package(made))
    tile = np.random.default_rng(1).integers(0, 10_000, (4, 256, 256)).astype(np.uint16)
    ((_, _, out),) = load_model(made, device="cpu").predict([("k", tile, np.ones((256, 256), bool))])
    x = (tile / 10_000 - np.reshape(mean, (4, 1, 1))) / np.reshape(std, (4, 1, 1))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: x[None].astype(np.float32)})
    raised = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(out, (raised / raised.sum(1, keepdims=True))[0], atol=1e-3)
    assert read_spec(made).divisor == 256  # the only tile side it takes
    with pytest.raises(ModelError, match="4 bands and tiles of 128"):
        import_model(path, replace(spec, tile_px=128), tmp_path / "other")


def cloud_spec(mean: list, std: list):
    return replace(
        SPEC,
        name="clouds",
        bands=("blue", "green", "red", "nir"),
        mean=tuple(10_000 * value for value in mean),  # stored as reflectance times 10 000
        std=tuple(10_000 * value for value in std),
        classes=(ClassInfo(0, "clear"), ClassInfo(1, "cloud"), ClassInfo(2, "shadow")),
        dtype="uint16",
        resolution_m=30,
        resolution_range_m=(10, 60),
        tile_px=256,
        divisor=32,
        architecture="",
        arguments={},
    )


def test_half_precision_and_compiling_give_nearly_the_same_map(tmp_path: Path) -> None:
    from geoseg.networks.together import load_together

    plain = geoseg.load_model("landcover-aerial", device="cpu")
    tile = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    stream = [(0, tile, np.ones((64, 64), bool))]
    [(_, _, expected)] = plain.predict(stream)
    half = geoseg.load_model("landcover-aerial", device="cpu", precision="bf16")
    [(_, _, found)] = half.predict(stream)
    assert found.dtype == expected.dtype
    assert 0 < abs(found - expected).max() < 0.1
    assert pickle.loads(pickle.dumps(half)).precision == "bf16"
    assert load_together("landcover-aerial", tta="d4", device="cpu", precision="bf16").precision == "bf16"
    with pytest.raises(OptionError, match="fp16 is for GPUs, but the device is cpu"):
        geoseg.load_model("landcover-aerial", device="cpu", precision="fp16")
    with pytest.raises(OptionError, match="must be one of 32, bf16, fp16, but is '16'"):
        geoseg.load_model("landcover-aerial", precision="16")


def test_compiling_asks_torch_once_before_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from geoseg.networks.torch_model import TorchModel

    asked = []

    def compile(network: torch.nn.Module) -> torch.nn.Module:
        asked.append(network)
        return network

    monkeypatch.setattr(torch, "compile", compile)
    spec = replace(SPEC, tile_px=16, divisor=1)
    network = torch.nn.Conv2d(len(spec.bands), spec.channels, 3, padding=1)
    model = TorchModel(spec, network, compiled=True, threads=2)
    tile = np.ones((len(spec.bands), 16, 16), np.uint8)
    found = [np.asarray(out) for _, _, out in model.predict([(k, tile, tile[0] > 0) for k in range(4)])]
    assert len(asked) == 1
    assert all(np.array_equal(one, found[0]) for one in found)
