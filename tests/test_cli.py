"""The command line: what a person types, what comes back, and what bad input leads to."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from packages import write_package
from test_pipeline import write_scene

from geoseg.cli import main


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return write_package(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def scene(tmp_path) -> Path:
    return write_scene(tmp_path / "scene.tif", (90, 120))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def fails(capsys, *arguments: object, code: int = 1) -> str:
    """Run, expect failure with a message and no traceback, and give the message."""
    assert run(*arguments) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert "Traceback" not in printed.out
    return " ".join(printed.err.split())


def rewrite(path: Path, target: Path, **profile: object) -> Path:
    with rasterio.open(path) as source:
        values, given, names = source.read(), {**source.profile, **profile}, source.descriptions
    values = values.astype(given["dtype"])[: given["count"]]
    with rasterio.open(target, "w", **given) as out:
        out.write(values)
        out.descriptions = names[: given["count"]]
    return target


def test_map_tells_what_it_did_and_where(scene, package, tmp_path, capsys) -> None:
    assert run("map", scene, "--model", package, "--out", tmp_path / "out", "--format", "gpkg,parquet") == 0
    printed = capsys.readouterr()
    assert "hectares" in printed.out
    assert "report.html" in printed.out
    for stage in ("open", "classify", "areas", "rasters", "polygons", "preview"):
        assert f"{stage}: done in" in printed.err
    assert (tmp_path / "out" / "polygons.parquet").is_file()
    assert run("map", scene, "--model", package, "--out", tmp_path / "quiet", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_vectorize_and_areas_take_any_categorical_raster(tmp_path, capsys) -> None:
    values = np.array([[1, 1, 2], [1, 0, 2]], np.uint8)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 0, "crs": "EPSG:32633"}
    transform = rasterio.transform.from_origin(500_000, 20, 10, 10)
    with rasterio.open(tmp_path / "map.tif", "w", height=2, width=3, transform=transform, **profile) as out:
        out.write(values, 1)
    assert run("vectorize", tmp_path / "map.tif", "--out", tmp_path / "p.gpkg") == 0
    polygons = gpd.read_file(tmp_path / "p.gpkg", layer="polygons")
    assert sorted(zip(polygons["class"], polygons.pixels, strict=True)) == [(1, 3), (2, 2)]
    assert run("areas", tmp_path / "map.tif", "--out", tmp_path / "areas.csv") == 0
    table = pd.read_csv(tmp_path / "areas.csv").set_index("class")
    assert table.pixels.to_dict() == {1: 3, 2: 2, 255: 1}
    assert "no data" in capsys.readouterr().out
    assert "--overwrite" in fails(capsys, "areas", tmp_path / "map.tif", "--out", tmp_path / "areas.csv")
    assert "--overwrite" in fails(capsys, "vectorize", tmp_path / "map.tif", "--out", tmp_path / "p.gpkg")
    assert run("vectorize", tmp_path / "map.tif", "--out", tmp_path / "p.gpkg", "--overwrite", "--quiet") == 0
    message = fails(capsys, "vectorize", tmp_path / "map.tif", "--out", tmp_path / "p.dwg", code=2)
    assert ".gpkg" in message


def test_models_are_listed_and_shown(package, capsys) -> None:
    assert run("models") == 0
    assert "landcover-aerial" in capsys.readouterr().out
    assert run("models", package) == 0
    assert "mlm:architecture: Unet" in capsys.readouterr().out
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("geoseg ")


def test_wrong_use_exits_with_2(scene, capsys) -> None:
    assert run("map") == 2
    assert run("map", scene, "--no-such-option") == 2
    capsys.readouterr()
    assert "two numbers" in fails(capsys, "map", scene, "--value-range", "5", code=2)
    assert "connectivity" in fails(capsys, "map", scene, "--connectivity", 6, code=2)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"crs": None}, r"--crs"),
        ({"dtype": "uint16", "nodata": None}, r"made for uint8 pixels, but scene has uint16.*--value-range"),
        ({"count": 2}, r"needs the bands red, green, blue, but .* has red, green.*--bands"),
    ],
)
def test_scenes_that_do_not_fit(profile, message, scene, package, tmp_path, capsys) -> None:
    import re

    broken = rewrite(scene, tmp_path / "x" / "scene.tif" if (tmp_path / "x").mkdir() is None else scene, **profile)
    text = fails(capsys, "map", broken, "--model", package, "--out", tmp_path / "out")
    assert re.search(message, text), text
    assert not (tmp_path / "out").exists()


def test_options_resolve_what_the_messages_name(scene, package, tmp_path) -> None:
    no_crs = rewrite(scene, tmp_path / "a.tif", crs=None)
    assert run("map", no_crs, "-m", package, "-o", tmp_path / "a", "--crs", "EPSG:32633", "-q") == 0
    wide = rewrite(scene, tmp_path / "b.tif", dtype="uint16")
    assert run("map", wide, "-m", package, "-o", tmp_path / "b", "--value-range", "0,255", "-q") == 0
    assert run("map", scene, "-m", package, "-o", tmp_path / "c", "--bands", "red=1,green=2,blue=3", "-q") == 0
    for name in "abc":
        assert (tmp_path / name / "classes.tif").is_file()
    first, second = ((tmp_path / name / "areas.csv").read_bytes() for name in "ac")
    assert first == second


def test_bands_and_files_that_are_not_there(scene, package, tmp_path, capsys) -> None:
    message = fails(capsys, "map", scene, "-m", package, "-o", tmp_path / "o", "--bands", "red=9,green=2,blue=3")
    assert "9" in message
    assert "nosuch.tif" in fails(capsys, "map", tmp_path / "nosuch.tif", "-m", package, "-o", tmp_path / "o")
    (tmp_path / "text.tif").write_text("not a raster")
    assert "text.tif" in fails(capsys, "map", tmp_path / "text.tif", "-m", package, "-o", tmp_path / "o")


def test_a_coarse_scene_names_the_option(package, tmp_path, capsys) -> None:
    coarse = write_scene(tmp_path / "coarse.tif", (60, 60), resolution=10)
    message = fails(capsys, "map", coarse, "-m", package, "-o", tmp_path / "o")
    assert "0.3 to 1 m" in message
    assert "--resolution 1" in message


def test_models_at_fault(scene, package, tmp_path, capsys) -> None:
    message = fails(capsys, "map", scene, "--model", "landcover-arial", "--out", tmp_path / "o")
    assert "landcover-aerial" in message
    broken = tmp_path / "broken"
    shutil.copytree(package, broken)
    weights = broken / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "SHA-256" in fails(capsys, "map", scene, "--model", broken, "--out", tmp_path / "o")
    item = json.loads((broken / "model.json").read_text())
    item["assets"]["weights"]["file:checksum"] = "1220" + "0" * 64
    (broken / "model.json").write_text(json.dumps(item))
    assert "0000" in fails(capsys, "map", scene, "--model", broken, "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_output_folders_at_fault(scene, package, tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "file").write_text("mine")
    message = fails(capsys, "map", scene, "-m", package, "--out", tmp_path / "file" / "out")
    assert "file" in message
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    message = fails(capsys, "map", scene, "-m", package, "--out", tmp_path / "full")
    assert "free" in message.lower()
    assert not (tmp_path / "full").exists()


def test_nan_is_nodata(scene, package, tmp_path) -> None:
    path = rewrite(scene, tmp_path / "float.tif", dtype="float32", nodata=None)
    with rasterio.open(path, "r+") as target:
        values = target.read()
        values[:, 10:30, 10:40] = np.nan
        values[0, 50, 50] = np.inf
        target.write(values)
    assert run("map", path, "-m", package, "-o", tmp_path / "out", "--value-range", "0,255", "-q") == 0
    with rasterio.open(tmp_path / "out" / "classes.tif") as raster:
        invalid = raster.read(1) == 255
    expected = np.zeros((90, 120), bool)
    expected[10:30, 10:40] = expected[50, 50] = True
    np.testing.assert_array_equal(invalid, expected)


def test_an_unexpected_error_has_no_traceback_unless_asked(scene, package, tmp_path, capsys, monkeypatch) -> None:
    import geoseg

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(geoseg, "map_scene", broken)
    message = fails(capsys, "map", scene, "-o", tmp_path / "out")
    assert "RuntimeError: a fault" in message
    assert "--debug" in message
    assert run("map", scene, "-o", tmp_path / "out", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_says_that_the_run_can_go_on(scene, package, tmp_path, capsys, monkeypatch) -> None:
    import geoseg

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(geoseg, "map_scene", interrupted)
    assert "run the same command again" in fails(capsys, "map", scene, "-o", tmp_path / "out")
