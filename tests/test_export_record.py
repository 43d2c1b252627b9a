"""Tables and the run record: read back, they are what was written."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import OptionError, OutputError
from geoseg.export import peak_memory_bytes, versions, write_areas_csv, write_record

finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 254), st.text("aé水,\"'\n <&", min_size=1), finite), max_size=6))
def test_areas_come_back_exactly(tmp_path: Path, rows: list[tuple[int, str, float]]) -> None:
    table = pd.DataFrame(rows, columns=["class", "class_name", "area_m2"]).astype({"area_m2": float})
    file = write_areas_csv(table, tmp_path / "areas.csv")
    options = {"float_precision": "round_trip", "keep_default_na": False, "encoding": "utf-8"}
    found = pd.read_csv(file, **options) if rows else pd.read_csv(file)
    assert found.columns.tolist() == table.columns.tolist()
    assert found.values.tolist() == table.values.tolist()


def test_csv_is_plain(tmp_path: Path) -> None:
    table = pd.DataFrame({"class_name": ["zone boisée"], "area_m2": [1234567.1], "share": [0.1 + 0.2]})
    file = write_areas_csv(table, tmp_path / "areas.csv")
    assert file.read_bytes() == "class_name,area_m2,share\nzone boisée,1234567.1,0.30000000000000004\n".encode()


@dataclass
class Options:
    tile_px: int
    folder: Path


def test_a_record_takes_what_programs_have(tmp_path: Path) -> None:
    record = {
        "z first": Path("a/b.tif"),
        "options": Options(512, Path("out")),
        "counts": {np.int64(3): np.uint8(4), "mean": np.float32(0.5)},
        "array": np.arange(4).reshape(2, 2),
        "bands": ("red", "grün"),
        "set": {"b", "a"},
        "when": datetime(2024, 5, 6, 7, 8, tzinfo=UTC),
        "nothing": None,
        "flag": np.bool_(True),
        "nan": float("nan"),
        "inf": [math.inf, np.float64("nan")],
    }
    file = write_record(tmp_path / "run.json", record)
    text = file.read_text(encoding="utf-8")
    assert "grün" in text
    assert text.endswith("}\n")
    found = json.loads(text)
    assert list(found) == list(record)
    assert found == {
        "z first": str(Path("a/b.tif")),
        "options": {"tile_px": 512, "folder": "out"},
        "counts": {"3": 4, "mean": 0.5},
        "array": [[0, 1], [2, 3]],
        "bands": ["red", "grün"],
        "set": ["a", "b"],
        "when": "2024-05-06T07:08:00+00:00",
        "nothing": None,
        "flag": True,
        "nan": None,
        "inf": [None, None],
    }


def test_a_record_that_json_cannot_hold_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"record\['a'\]\[1\] is a object"):
        write_record(tmp_path / "run.json", {"a": [1, object()]})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for write in (
        lambda: write_record(tmp_path / "no" / "run.json", {}),
        lambda: write_areas_csv(pd.DataFrame({"class": [1]}), tmp_path / "no" / "areas.csv"),
    ):
        with pytest.raises(OutputError, match="Create the folder first"):
            write()


def test_versions_do_not_load_a_network_framework() -> None:
    script = (
        "import sys, json; from geoseg.export.record import versions; found = versions();"
        "print(json.dumps([found, [name for name in ('torch', 'timm', 'torchgeo') if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found, loaded = json.loads(done.stdout)
    assert loaded == []
    assert found["numpy"] == np.__version__
    assert {"geoseg", "python", "gdal (rasterio)", "gdal (pyogrio)", "proj", "torch"} <= set(found)
    assert found == {name: version for name, version in versions().items() if name in found}


def test_peak_memory_sees_what_was_held() -> None:
    held = np.ones(100_000_000, np.uint8)
    grown = peak_memory_bytes()
    assert grown > held.nbytes
    del held
    # A peak, not what is held now. (Linux counts in batches of pages, so two readings differ a little.)
    assert peak_memory_bytes() > grown - 10_000_000
