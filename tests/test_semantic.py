"""Tiled equals whole, and one answer whatever the blocks: with models whose receptive field is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import CLASSES, MemoryScene, box_model, random_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import MismatchError, OptionError
from geoseg.semantic import classify, fit_scene, make_plan
from geoseg.tiling import Block

shapes = st.tuples(st.integers(1, 150), st.integers(1, 150))


def whole(plan):  # the map in one block
    rows, cols = plan.tiling.shape
    return plan.block(Block(0, 0, (0, rows), (0, cols)))


@given(st.integers(0, 10_000), shapes, st.integers(9, 170), st.integers(0, 2))
@settings(deadline=None, max_examples=40)
def test_the_map_does_not_depend_on_blocks(seed, shape, block, radius) -> None:
    scene = random_scene(seed, shape)
    plan = make_plan(scene, box_model(radius), tile_px=32, overlap_px=12, block_px=block)
    expected = whole(plan)
    got = np.empty_like(expected)
    for part in plan.tiling.blocks():
        got[:, slice(*part.rows), slice(*part.cols)] = plan.block(part)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(expected[0] == 255, ~scene.valid)
    np.testing.assert_array_equal(expected[1] == 255, ~scene.valid)


@given(st.integers(0, 10_000), shapes, st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_tiled_equals_whole_where_the_margin_covers_the_receptive_field(seed, shape, radius) -> None:
    scene = random_scene(seed, shape)
    model = box_model(radius, margin_px=radius)
    tiled = make_plan(scene, model, tile_px=32, overlap_px=8)
    side = max(shape) + 4 * radius
    one_tile = make_plan(scene, model, tile_px=side, overlap_px=2 * radius)
    assert one_tile.tiling.lattice == (1, 1)
    (classes, percent), (expected_classes, expected_percent) = whole(tiled), whole(one_tile)
    # Blending adds p w + p (1 - w), which may differ from p in the last bit: only a tie or a rounding can show it.
    np.testing.assert_array_equal(classes[expected_percent > 50], expected_classes[expected_percent > 50])
    valid = scene.valid
    assert np.abs(percent[valid].astype(int) - expected_percent[valid].astype(int)).max(initial=0) <= 1


def test_a_blend_worked_by_hand() -> None:
    # Three pixels, tiles of two that share one: the middle pixel is half of each tile.
    scene = MemoryScene(np.array([[[0, 0, 0]]], np.uint8), np.ones((1, 3), bool))
    model = box_model(0)
    seen = []

    def by_position(scaled: np.ndarray) -> np.ndarray:
        seen.append(scaled.shape)
        bright = np.full((len(scaled), 2, 2), 0.2 if len(seen) == 1 else 0.8, np.float32)
        return np.stack([1 - bright, bright], axis=1)

    model.function = by_position
    plan = make_plan(scene, model, tile_px=2, overlap_px=1)
    classes, percent = whole(plan)
    assert plan.tiling.lattice == (1, 2)
    assert classes.tolist() == [[0, 0, 3]]  # the tie in the middle goes to the first class
    assert percent.tolist() == [[80, 50, 80]]


def test_a_tile_without_a_valid_pixel_never_reaches_the_model() -> None:
    scene = random_scene(0, (64, 64), holes=0)
    scene.valid[:, 20:] = False
    model = box_model(0)
    calls = []
    predict = model.function
    model.function = lambda x: calls.append(1) or predict(x)
    plan = make_plan(scene, model, tile_px=16, overlap_px=0)
    whole(plan)
    assert len(calls) == 4 * 2  # of the 16 tiles, those of the first 20 columns
    scene.valid[:] = False
    calls.clear()
    assert (whole(plan) == 255).all()
    assert not calls


def test_invalid_pixels_are_zero_to_the_model_whatever_they_hold() -> None:
    scene = random_scene(3, (40, 40), holes=0.3)
    other = replace(scene, values=np.where(scene.valid, scene.values, 199).astype(np.uint8))
    first, second = (whole(make_plan(s, box_model(2), tile_px=16, overlap_px=4)) for s in (scene, other))
    np.testing.assert_array_equal(first, second)


def test_classify_is_lazy_and_equals_the_plan() -> None:
    scene = random_scene(1, (70, 90))
    model = box_model(1)
    calls = []
    predict = model.function
    model.function = lambda x: calls.append(1) or predict(x)
    cover = classify(scene, model, tile_px=32, overlap_px=8, block_px=40)
    assert not calls
    assert cover["class"].chunks == ((40, 30), (40, 40, 10))
    expected = whole(make_plan(scene, model, tile_px=32, overlap_px=8))
    for workers in (1, 3):
        got = cover.compute(scheduler="threads", num_workers=workers)
        np.testing.assert_array_equal(got["class"], expected[0])
        np.testing.assert_array_equal(got["confidence"], expected[1])
    assert list(cover["class"].attrs["flag_values"]) == [info.value for info in CLASSES]


def test_a_misfit_names_both_sides_and_the_option() -> None:
    scene, spec = random_scene(0, (9, 9)), box_model(0).spec

    class NoBand(MemoryScene):
        def select(self, bands: tuple[str, ...]) -> MemoryScene:
            from geoseg.errors import SceneError

            raise SceneError("no")

    with pytest.raises(MismatchError, match=r"box needs the bands gray, but memory has red.*--bands gray=1"):
        fit_scene(NoBand(scene.values, scene.valid, bands=("red",)), spec)
    with pytest.raises(MismatchError, match=r"uint8 pixels, but memory has uint16.*--value-range"):
        fit_scene(replace(scene, values=scene.values.astype(np.uint16)), spec)
    with pytest.raises(MismatchError, match=r"0\.3 to 1 m, but those of memory are 10 m.*--resolution"):
        fit_scene(replace(scene, resolution_m=10.0), spec)
    with pytest.raises(OptionError, match="multiple of 32, but it is 100"):
        make_plan(scene, box_model(0, divisor=32), tile_px=100)
    with pytest.raises(OptionError, match="rising"):
        fit_scene(scene, spec, value_range=(5, 5))
    with pytest.raises(OptionError, match="positive"):
        fit_scene(scene, spec, resolution=0)


def test_the_grid_asked_of_the_scene() -> None:
    spec = box_model(0).spec  # 0.3 to 1 m, nominally 0.5 m
    scene = random_scene(0, (9, 9))
    for here, expected in ((0.15, 0.5), (0.4, 0.4), (1.0, 1.0)):
        assert fit_scene(replace(scene, resolution_m=here), spec).resolution_m == expected
    assert fit_scene(replace(scene, resolution_m=10.0), spec, resolution=2.0).resolution_m == 2.0


def test_value_range_rescales_by_constants() -> None:
    values = np.array([[[0, 1000, 2000, 3000, 9000]]], np.uint16)
    scene = MemoryScene(values, np.ones((1, 5), bool))
    plan = make_plan(scene, box_model(0), value_range=(1000, 3000))
    classes, percent = whole(plan)
    assert classes.tolist() == [[0, 0, 3, 3, 3]]  # 2000 becomes 128 of 255
    assert percent.tolist() == [[100, 100, 50, 100, 100]]
