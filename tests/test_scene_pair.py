"""Two dates as one scene: each date's pixels are those that it has alone, on the first's grid."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.errors import OptionError, SceneError
from geoseg.scene import open_scene, pair
from geoseg.scene.nodes import onto


def write(path, *, bands=2, shape=(40, 50), x=500_000.0, y=5_300_000.0, pixel=10.0, crs="EPSG:32633", seed=0, **more):
    values = np.random.default_rng(seed).integers(1, 200, (bands, *shape)).astype(more.pop("dtype", "uint16"))
    values[:, 10:14, 20:25] = 0  # a hole
    like = {
        "driver": "GTiff",
        "count": bands,
        "height": shape[0],
        "width": shape[1],
        "dtype": values.dtype,
        "nodata": 0,
    }
    with rasterio.open(path, "w", transform=rasterio.Affine(pixel, 0, x, 0, -pixel, y), crs=crs, **like) as file:
        file.write(values)
        for i, name in enumerate(("red", "nir", "blue")[:bands], 1):
            file.set_band_description(i, name)
    return path


def whole(scene):
    return scene.read(slice(0, scene.geobox.shape[0]), slice(0, scene.geobox.shape[1]))


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    """A first date, and a second: shifted, coarser, in the neighbouring UTM zone."""
    folder = tmp_path_factory.mktemp("dates")
    first = write(folder / "first.tif")
    edge = GeoBox((40, 50), rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000), "EPSG:32633").extent.to_crs(
        "EPSG:32632"
    )
    left, _, _, top = edge.boundingbox
    second = write(folder / "second.tif", x=left + 60, y=top - 33, pixel=12, crs="EPSG:32632", seed=1)
    return first, second


def test_two_dates_on_one_grid_are_their_stack(tmp_path) -> None:
    first, second = write(tmp_path / "a.tif"), write(tmp_path / "b.tif", seed=3)
    scene = pair(first, second)
    assert scene.bands == ("red", "nir", "red_2", "nir_2")
    assert scene.geobox == open_scene(first).geobox
    one, two, both = whole(open_scene(first)), whole(open_scene(second)), whole(scene)
    np.testing.assert_array_equal(both.values, np.concatenate([one.values, two.values]))
    np.testing.assert_array_equal(both.valid, one.valid & two.valid)


def test_the_second_comes_onto_the_firsts_grid(dates) -> None:
    one, two = map(open_scene, dates)
    both = whole(pair(*dates))
    values, valid = onto(two.native, one.geobox).read(slice(0, 40), slice(0, 50))
    expected = valid & whole(one).valid
    np.testing.assert_array_equal(both.valid, expected)
    assert 0.2 < expected.mean() < 0.95
    np.testing.assert_array_equal(both.values[2:], np.where(expected, values, 0))
    np.testing.assert_array_equal(both.values[:2], np.where(expected, whole(one).values, 0))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_pair_has_the_same_bits_in_every_window(dates, data) -> None:
    scene = data.draw(st.sampled_from([pair(*dates), pair(*dates).on_grid(17.0), pair(*dates[::-1])]))
    complete, (height, width) = whole(scene), scene.geobox.shape
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows = slice(top, data.draw(st.integers(top, height)))
    cols = slice(left, data.draw(st.integers(left, width)))
    part = pickle.loads(pickle.dumps(scene)).read(rows, cols)
    np.testing.assert_array_equal(part.values, complete.values[:, rows, cols])
    np.testing.assert_array_equal(part.valid, complete.valid[rows, cols])


def test_bands_are_meant_for_both_or_for_each(dates) -> None:
    assert pair(*dates, bands="nir").bands == ("nir", "nir_2")
    swapped = pair(*dates, bands="a=1,b=2,a_2=2,b_2=1")
    assert swapped.bands == ("a", "b", "a_2", "b_2")
    both = whole(pair(*dates))
    np.testing.assert_array_equal(whole(swapped).values, both.values[[0, 1, 3, 2]])
    chosen = pair(*dates).select(["nir_2", "red"])
    np.testing.assert_array_equal(whole(chosen).values[0], np.where(whole(chosen).valid, both.values[3], 0))
    scenes = pair(open_scene(dates[0]), open_scene(dates[1], bands="nir"))
    assert scenes.bands == ("red", "nir", "nir_2")
    assert scenes.fingerprint() != pair(*dates).fingerprint() != pair(dates[0], dates[0]).fingerprint()
    assert len(pair(*dates).describe()["files"]) == 2


def test_dates_may_be_mosaics_stac_items_or_a_file_for_each_band(tmp_path) -> None:
    expected, dates, files = [], [], {}
    for seed, ending in ((5, ""), (6, "_2")):
        assets = {}
        for number, name in enumerate(("red", "nir")):
            path = write(tmp_path / f"{name}{seed}.tif", bands=1, seed=10 * seed + number)
            files[name + ending] = path
            expected.append(whole(open_scene(path)).values[0])
            band = {"name": name, "eo:common_name": name}
            assets[name] = {"href": path.name, "type": "image/tiff; application=geotiff", "bands": [band]}
        item = {
            "type": "Feature", "stac_version": "1.1.0", "id": f"date{seed}", "geometry": None, "links": [],
            "properties": {"datetime": "2023-05-01T00:00:00Z"}, "assets": assets, "stac_extensions": [],
        }  # fmt: skip
        dates.append(tmp_path / f"date{seed}.json")
        dates[-1].write_text(json.dumps(item))
    for scene in (pair(*dates), open_scene(files)):
        assert scene.bands == ("red", "nir", "red_2", "nir_2")
        np.testing.assert_array_equal(whole(scene).values, expected)

    west, east = write(tmp_path / "west.tif"), write(tmp_path / "east.tif", x=500_500.0, seed=8)
    scene = pair([west, east], west)
    assert scene.geobox.shape == (40, 100)
    valid = whole(scene).valid
    assert valid[:, :50].mean() > 0.9
    assert not valid[:, 50:].any()  # the second date does not reach there


def test_a_resampled_first_is_resampled_once(dates) -> None:
    coarse = pair(open_scene(dates[0], resolution=20), open_scene(dates[1]))
    assert coarse.resolution_m == 20
    np.testing.assert_array_equal(whole(coarse).values, whole(pair(*dates).on_grid(20)).values)


def test_pairs_at_fault(dates, tmp_path) -> None:
    far = write(tmp_path / "far.tif", x=700_000.0)
    deep = write(tmp_path / "deep.tif", dtype="float32")
    for second, options, error, message in (
        (far, {}, SceneError, "lie apart"),
        (deep, {}, SceneError, "uint16 and deep has float32"),
        (dates[1], {"bands": "red_2=1"}, OptionError, "name bands of the first too"),
        (tmp_path / "none.tif", {}, SceneError, "none.tif"),
        (open_scene(dates[1]), {"bands": "red"}, OptionError, "open already"),
    ):
        with pytest.raises(error, match=message):
            pair(dates[0], second, **options)
    named = open_scene(dates[0], bands="red_2=1,red=2")
    with pytest.raises(SceneError, match="must not end in _2"):
        pair(named, dates[1])
