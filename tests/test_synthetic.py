"""Drawn scenes: the same world in every window, process and file, and a truth that can be trusted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.classes import NODATA, check_classes
from geoseg.errors import OptionError, OutputError
from geoseg.synthetic import CLASSES, STYLES, SyntheticScene, render, render_objects, write_scene
from geoseg.synthetic.draw import draw_window

BUILDING, ROAD, GREEN, WATER, BARE = range(5)
WHOLE = slice(-60, 240), slice(-40, 280)
_wholes: dict[SyntheticScene, tuple[np.ndarray, ...]] = {}


def whole(spec: SyntheticScene) -> tuple[np.ndarray, ...]:
    if spec not in _wholes:
        _wholes[spec] = draw_window(spec, *WHOLE)
    return _wholes[spec]


specs = st.builds(
    SyntheticScene,
    seed=st.just(7),
    resolution_m=st.sampled_from([0.33, 2.0]),
    date=st.sampled_from([0, 1]),
    style=st.sampled_from(STYLES),
    origin_m=st.just((500_123.4, 5_400_567.8)),
)


def spans(limits: slice) -> st.SearchStrategy[slice]:
    ends = st.integers(limits.start, limits.stop)
    return st.tuples(ends, ends).map(lambda pair: slice(min(pair), max(pair)))


@given(spec=specs, rows=spans(WHOLE[0]), cols=spans(WHOLE[1]))
@settings(max_examples=50, deadline=None)
def test_a_window_is_a_part_of_the_whole(spec: SyntheticScene, rows: slice, cols: slice) -> None:
    rgb, truth, ids = draw_window(spec, rows, cols)
    here = tuple(
        slice(part.start - limits.start, part.stop - limits.start)
        for part, limits in zip((rows, cols), WHOLE, strict=True)
    )
    all_rgb, all_truth, all_ids = whole(spec)
    np.testing.assert_array_equal(rgb, all_rgb[:, *here])
    np.testing.assert_array_equal(truth, all_truth[here])
    np.testing.assert_array_equal(ids, all_ids[here])


def test_parts_of_a_large_window_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window larger than the parts that `render` cuts it into is the same as parts cut elsewhere."""
    spec = SyntheticScene(seed=2)
    rgb, truth = render(spec, slice(0, 300), slice(0, 280))
    monkeypatch.setattr("geoseg.synthetic.draw._PART_PX", 128)
    cut_rgb, cut_truth = render(spec, slice(0, 300), slice(0, 280))
    np.testing.assert_array_equal(rgb, cut_rgb)
    np.testing.assert_array_equal(truth, cut_truth)


@pytest.mark.parametrize("resolution_m", [0.5, 60.0])
def test_the_far_corner_of_a_large_scene(resolution_m: float) -> None:
    """Nothing needs what lies between the origin and the window, nor tables that grow with the ground it covers."""
    spec = SyntheticScene(seed=2, resolution_m=resolution_m, origin_m=(500_000.0, 5_400_000.0))
    rgb, truth = render(spec, slice(99_970, 100_000), slice(99_970, 100_000))
    part_rgb, part_truth = render(spec, slice(99_975, 99_990), slice(99_980, 100_000))
    np.testing.assert_array_equal(part_rgb, rgb[:, 5:20, 10:])
    np.testing.assert_array_equal(part_truth, truth[5:20, 10:])


def test_another_process_draws_the_same() -> None:
    script = (
        "import hashlib; from geoseg.synthetic import SyntheticScene, render;"
        "rgb, truth = render(SyntheticScene(seed=5, style='tropical'), slice(10, 90), slice(20, 150));"
        "print(hashlib.sha256(rgb.tobytes() + truth.tobytes()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "3"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=env,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    rgb, truth = render(SyntheticScene(seed=5, style="tropical"), slice(10, 90), slice(20, 150))
    assert run.stdout.strip() == hashlib.sha256(rgb.tobytes() + truth.tobytes()).hexdigest()


def test_seeds_and_styles_are_other_worlds() -> None:
    window = slice(0, 150), slice(0, 150)
    truths = [
        render(SyntheticScene(seed=seed, style=style, resolution_m=4.0), *window)[1]
        for seed in (0, 1, 2)
        for style in STYLES
    ]
    assert len({truth.tobytes() for truth in truths}) == len(truths)


@pytest.mark.parametrize("style", STYLES)
def test_every_class_is_there(style: str) -> None:
    _, truth = render(SyntheticScene(seed=0, style=style, resolution_m=6.0), slice(0, 500), slice(0, 500))
    share = np.bincount(truth.ravel(), minlength=5) / truth.size
    assert share.size == 5
    assert (share > 0.01).all(), share
    assert check_classes(CLASSES) == CLASSES
    assert [info.value for info in CLASSES] == [BUILDING, ROAD, GREEN, WATER, BARE]


@pytest.mark.parametrize("style", STYLES)
def test_between_the_dates_forest_is_cleared_and_houses_are_built(style: str) -> None:
    seen: dict[tuple[int, int], int] = {}
    for seed in range(2):
        window = slice(0, 750), slice(0, 750)
        before = render(SyntheticScene(seed=seed, style=style, resolution_m=2.0), *window)[1]
        after = render(SyntheticScene(seed=seed, style=style, resolution_m=2.0, date=1), *window)[1]
        changed = before != after
        pairs, counts = np.unique(np.stack([before[changed], after[changed]]), axis=1, return_counts=True)
        for (old, new), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            seen[old, new] = seen.get((old, new), 0) + count
        assert changed.mean() < 0.15
    assert set(seen) <= {(GREEN, BARE), (BARE, BUILDING), (GREEN, BUILDING)}
    assert seen[GREEN, BARE] > 100
    assert seen[BARE, BUILDING] > 100


def test_building_numbers_are_one_number_for_one_building() -> None:
    spec = SyntheticScene(seed=1, style="temperate")
    window = slice(0, 1200), slice(0, 1200)
    ids = render_objects(spec, *window)
    truth = render(spec, *window)[1]
    np.testing.assert_array_equal(ids > 0, truth == BUILDING)
    numbers, pixels = np.unique(ids[ids > 0], return_counts=True)
    assert numbers.size > 50
    assert np.median(pixels) * 0.25 > 40  # m²: houses, not crumbs
    for rows, cols in ndimage.find_objects(np.searchsorted(numbers, ids) + (ids > 0)):
        # A number is used in one place: no building is longer than the longest lot.
        assert max(rows.stop - rows.start, cols.stop - cols.start) * 0.5 < 120
    # The numbers of buildings that stand at both dates are the same at both.
    later = render_objects(SyntheticScene(seed=1, style="temperate", date=1), *window)
    both = (ids > 0) & (later > 0)
    np.testing.assert_array_equal(ids[both], later[both])
    assert set(np.unique(ids)) <= set(np.unique(later))


def test_shadows_fall_and_classes_differ_in_colour() -> None:
    """Pictures carry information: water is darker than bare land, vegetation is green."""
    rgb, truth = render(SyntheticScene(seed=0, style="temperate", resolution_m=2.0), slice(0, 1000), slice(0, 1000))
    mean = {info.name: rgb[:, truth == info.value].mean(axis=1) for info in CLASSES}
    assert mean["water"].sum() < mean["bare land"].sum() - 60
    assert mean["vegetation"][1] > mean["vegetation"][0]
    assert mean["vegetation"][1] > mean["vegetation"][2]
    assert rgb.std() > 20
    assert np.mean((rgb == 0) | (rgb == 255)) < 0.05


@pytest.mark.parametrize(
    ("crs", "origin"),
    [("EPSG:32633", (512_345.0, 5_412_345.0)), ("EPSG:4326", (15.2, 48.7)), ("EPSG:3857", (1_700_000.0, 6_200_000.0))],
)
def test_georeference(tmp_path: Path, crs: str, origin: tuple[float, float]) -> None:
    rows, cols, resolution = 200, 300, 0.5
    path = write_scene(tmp_path / "a.tif", shape=(rows, cols), resolution_m=resolution, crs=crs, origin=origin)
    with rasterio.open(path) as file:
        assert pyproj.CRS.from_user_input(file.crs.to_wkt()) == pyproj.CRS.from_user_input(crs)
        assert (file.transform * (0, 0)) == pytest.approx(origin, abs=1e-12)
        assert file.shape == (rows, cols)
        assert file.descriptions == ("red", "green", "blue")
        assert [c.name for c in file.colorinterp] == ["red", "green", "blue"]
        corners = [file.transform * xy for xy in ((0, 0), (cols, 0), (0, rows))]
    if crs == "EPSG:4326":
        (x0, y0), (x1, _), (_, y1) = corners
        geod = pyproj.Geod(ellps="WGS84")
        assert geod.line_length([x0, x1], [y0, y0]) == pytest.approx(cols * resolution, rel=1e-4)
        assert geod.line_length([x0, x0], [y0, y1]) == pytest.approx(rows * resolution, rel=1e-4)
    else:
        assert corners[1][0] - corners[0][0] == pytest.approx(cols * resolution)
        assert corners[0][1] - corners[2][1] == pytest.approx(rows * resolution)


def test_feet(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "feet.tif", shape=(20, 20), resolution_m=0.5, crs="EPSG:2263")
    with rasterio.open(path) as file:
        assert file.res[0] * 1200 / 3937 == pytest.approx(0.5)


@given(
    rows=st.integers(1, 1100),
    cols=st.integers(1, 1100),
    block_px=st.sampled_from([512, 1024]),
    workers=st.sampled_from([1, 2]),
    hole=st.booleans(),
)
@settings(max_examples=8, deadline=None)
def test_what_is_written_is_what_is_drawn(
    tmp_path_factory: pytest.TempPathFactory, rows: int, cols: int, block_px: int, workers: int, hole: bool
) -> None:
    folder = tmp_path_factory.mktemp("scene")
    calls: list[tuple[int, int]] = []
    path = write_scene(
        folder / "rgb.tif",
        shape=(rows, cols),
        seed=3,
        origin=(600_000.0, 5_000_000.0),
        style="farmland",
        nodata_hole=hole,
        truth_path=folder / "truth.tif",
        objects_path=folder / "objects.tif",
        block_px=block_px,
        workers=workers,
        progress=lambda done, total: calls.append((done, total)),
    )
    spec = SyntheticScene(seed=3, style="farmland", origin_m=(600_000.0, 5_000_000.0))
    rgb, truth, ids = draw_window(spec, slice(0, rows), slice(0, cols))
    with rasterio.open(path) as a, rasterio.open(folder / "truth.tif") as b, rasterio.open(folder / "objects.tif") as c:
        got, got_truth, got_ids = a.read(), b.read(1), c.read(1)
        valid = a.dataset_mask() > 0
        assert (a.nodata, b.nodata) == (0 if hole else None, NODATA)
        assert b.colormap(1)[WATER][:3] == CLASSES[WATER].rgb
        assert a.transform == b.transform == c.transform
    np.testing.assert_array_equal(got_truth != NODATA, valid)
    np.testing.assert_array_equal(got_truth[valid], truth[valid])
    np.testing.assert_array_equal(got_ids, np.where(valid, ids, 0))
    np.testing.assert_array_equal(got[:, valid], np.maximum(rgb, 1)[:, valid] if hole else rgb[:, valid])
    assert valid.all() or hole
    if hole and min(rows, cols) > 50:
        assert 0.02 < 1.0 - valid.mean() < 0.5
    assert calls[-1][0] == calls[-1][1] == len(calls)
    assert sorted(p.name for p in folder.iterdir()) == ["objects.tif", "rgb.tif", "truth.tif"]


def test_scenes_that_overlap_show_the_same_place(tmp_path: Path) -> None:
    options = {"seed": 4, "resolution_m": 0.5, "crs": "EPSG:32633"}
    one = write_scene(tmp_path / "1.tif", shape=(100, 100), origin=(500_000, 5_400_000), **options)
    two = write_scene(
        tmp_path / "2.tif", shape=(100, 100), origin=(500_020, 5_399_990), truth_path=tmp_path / "t2.tif", **options
    )
    spec = SyntheticScene(seed=4, origin_m=(500_000.0, 5_400_000.0))
    truth = render(spec, slice(20, 100), slice(40, 100))[1]
    with rasterio.open(tmp_path / "t2.tif") as file:
        np.testing.assert_array_equal(file.read(1)[:80, :60], truth)
    assert one != two


def test_memory_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    peaks = []
    for n, rows in enumerate((512, 512, 3072)):  # the first run loads what is loaded once
        tracemalloc.start()
        write_scene(tmp_path / f"{n}.tif", shape=(rows, 512), block_px=512, truth_path=tmp_path / f"t{n}.tif")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1] + 1e6


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scene(path, shape=(600, 600), block_px=512, truth_path=tmp_path / "t.tif", progress=stop)
    assert list(tmp_path.iterdir()) == []
    write_scene(path, shape=(20, 20))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="overwrite=True"):
        write_scene(path, shape=(30, 30))
    assert path.read_bytes() == before
    write_scene(path, shape=(30, 30), overwrite=True)
    with rasterio.open(path) as file:
        assert file.shape == (30, 30)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="needs a folder"):
        write_scene(tmp_path / "file" / "scene.tif", shape=(10, 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (0, 5)}, "at least one pixel"),
        ({"block_px": 700}, "multiple of 512"),
        ({"workers": 0}, "workers"),
        ({"crs": "EPSG:nonsense"}, "coordinate system"),
        ({"crs": "EPSG:4978"}, "projected or in degrees"),
        ({"crs": "EPSG:4326", "origin": (0.0, 90.0)}, "latitudes"),
        ({"resolution_m": 0.0}, "resolution_m"),
        ({"resolution_m": float("nan")}, "resolution_m"),
        ({"date": 2}, "date"),
        ({"style": "lunar"}, "temperate, farmland"),
        ({"seed": -1}, "seed"),
        ({"origin": (float("inf"), 0.0)}, "origin"),
        ({"truth_path": "SAME"}, "a file each"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict, message: str) -> None:
    path = tmp_path / "a.tif"
    if options.get("truth_path") == "SAME":
        options = {"truth_path": path}
    with pytest.raises(OptionError, match=message):
        write_scene(path, **{"shape": (10, 10), **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [slice(None, 5), slice(5, 3), slice(0, 10, 2)])
def test_wrong_windows(rows: slice) -> None:
    with pytest.raises(OptionError, match="rows must be slice"):
        render(SyntheticScene(), rows, slice(0, 5))


def test_an_empty_window_is_empty() -> None:
    rgb, truth = render(SyntheticScene(), slice(7, 7), slice(0, 5))
    assert rgb.shape == (3, 0, 5)
    assert truth.shape == (0, 5)
