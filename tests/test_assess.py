"""The verb assess: what a person types, what comes back, and what bad input leads to."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import box
from test_cli import fails, run

import geoseg
from geoseg import export
from geoseg.cli_assess import FILES

HOUSES = [box(x, 0, x + 10, 12) for x in (0, 20, 40)]


def write(path: Path, shapes, **columns) -> Path:
    shifted = shapely.transform(np.array(shapes, dtype=object), lambda at: at + np.array([500_000, 5_000_000]))
    gpd.GeoDataFrame(columns, geometry=shifted, crs="EPSG:32632").to_file(path)
    return path


@pytest.fixture
def sides(tmp_path) -> tuple[Path, Path]:
    found = [HOUSES[0], box(20, 0, 28, 12), box(70, 0, 80, 9)]
    return (
        write(tmp_path / "found.gpkg", found, score=[0.9, 0.8, 0.7], kind=["house", "house", "shed"]),
        write(tmp_path / "truth.geojson", HOUSES, kind=["house", "house", "shed"]),
    )


def test_assess_prints_and_writes(sides, tmp_path, capsys) -> None:
    out = tmp_path / "new" / "out"
    assert run("assess", *sides, "--out", out, "--score-column", "score", "--class-column", "kind") == 0
    printed = capsys.readouterr().out
    for word in (
        "found",
        "missed",
        "false",
        "tiny (< 50 m²)",
        "shed",
        "0.667",
        "verage precision",
        "PoLiS",
        "matches.gpkg",
    ):
        assert word in printed
    assert sorted(item.name for item in out.iterdir()) == sorted(FILES)

    accuracy = geoseg.assess_objects(*map(export.read_objects, sides), class_column="kind", score_column="score")
    table = pd.read_csv(out / FILES[0], float_precision="round_trip")
    pd.testing.assert_frame_equal(table, accuracy.table, check_dtype=False)
    record = json.loads((out / FILES[1]).read_text())
    assert record["accuracy"][0]["found"] == 2
    assert record["accuracy"][0]["f1"] == accuracy.overall["f1"]
    assert record["settings"]["classes"] == ["house", "shed"]
    assert record["inputs"]["within"] is None

    matches = gpd.read_file(out / FILES[2], layer="matches")
    assert matches["class_name"].tolist() == ["found", "found", "false", "missed"]
    assert matches["iou"].round(3).tolist()[:2] == [1.0, 0.8]
    assert matches["iou"].isna().tolist() == [False, False, True, True]
    assert matches["reference_row"].tolist()[:2] == [0, 1]
    assert matches.crs == gpd.read_file(sides[1]).crs
    with closing(sqlite3.connect(out / FILES[2])) as database:
        [(style,)] = database.execute("SELECT styleQML FROM layer_styles WHERE useAsDefault").fetchall()
    assert 'label="missed"' in style


def test_assess_only_prints(sides, tmp_path, capsys) -> None:
    before = sorted(tmp_path.iterdir())
    assert run("assess", *sides) == 0
    assert "verage precision" not in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before


def test_assess_within_an_area(sides, tmp_path, capsys) -> None:
    area = write(tmp_path / "area.gpkg", [box(-5, -5, 44, 20)])
    assert run("assess", *sides, "--within", area, "--out", tmp_path / "out", "--quiet") == 0
    assert capsys.readouterr().out == ""
    record = json.loads((tmp_path / "out" / FILES[1]).read_text())
    assert [record["accuracy"][0][name] for name in ("found", "missed", "false")] == [2, 0, 0]
    assert record["left_out"]["objects"]["outside"] == 1


def test_assess_options_reach_the_function(sides, tmp_path) -> None:
    options = ("--iou", "0.9", "--boundary", "2", "--sizes", "10,20,30", "--out", tmp_path / "out")
    assert run("assess", *sides, *options, "--quiet") == 0
    record = json.loads((tmp_path / "out" / FILES[1]).read_text())
    assert record["settings"] == {"iou": 0.9, "boundary_m": 2.0, "sizes_m2": [10.0, 20.0, 30.0], "classes": []}
    assert record["accuracy"][0]["found"] == 1


def test_assess_without_any_object(tmp_path) -> None:
    nothing, truth = write(tmp_path / "nothing.gpkg", []), write(tmp_path / "truth.gpkg", HOUSES)
    assert run("assess", nothing, truth, "--out", tmp_path / "out") == 0
    assert run("assess", nothing, nothing, "--out", tmp_path / "none") == 0
    assert json.loads((tmp_path / "none" / FILES[1]).read_text())["accuracy"][0]["f1"] is None
    assert len(gpd.read_file(tmp_path / "none" / FILES[2], layer="matches")) == 0


def test_assess_overwrites_only_when_told_and_only_its_files(sides, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / FILES[1]).write_text("old")
    assert FILES[1] in fails(capsys, "assess", *sides, "--out", out)
    assert (out / FILES[1]).read_text() == "old"
    assert run("assess", *sides, "--out", out, "--overwrite") == 0
    assert sorted(item.name for item in out.iterdir()) == sorted([*FILES, "notes.txt"])


def test_assess_writes_all_files_or_none(sides, tmp_path, capsys, monkeypatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FILES[0]).write_text("old")
    monkeypatch.setattr(export, "write_polygons", broken)
    assert "No space left" in fails(capsys, "assess", *sides, "--out", tmp_path / "out", "--overwrite")
    assert [(item.name, item.read_text()) for item in (tmp_path / "out").iterdir()] == [(FILES[0], "old")]


def test_assess_says_what_is_wrong(sides, tmp_path, capsys) -> None:
    points = tmp_path / "points.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_file(points)
    text = tmp_path / "text.gpkg"
    text.write_text("no layer")
    assert "geoseg vectorize map.tif" in fails(capsys, "assess", sides[1], "map.tif", code=2)
    assert "--design: for class maps" in fails(capsys, "assess", *sides, "--design", "design.json", code=2)
    assert "is a Point" in fails(capsys, "assess", sides[0], points, code=2)
    assert "cannot be read" in fails(capsys, "assess", text, sides[1], code=2)
    assert "is not there" in fails(capsys, "assess", tmp_path / "none.gpkg", sides[1], code=2)
    assert "not 'sure'" in fails(capsys, "assess", *sides, "--score-column", "sure", code=2)
    assert "--sizes is three numbers" in fails(capsys, "assess", *sides, "--sizes", "50,many", code=2)
    assert "three rising" in fails(capsys, "assess", *sides, "--sizes", "50,20,10", code=2)
    assert "An IoU is above 0" in fails(capsys, "assess", *sides, "--iou", "2", code=2)
    assert "'other' is not among them" in fails(capsys, "assess", *sides, "--layer", "other", code=2)
