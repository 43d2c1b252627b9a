"""The lattice is a partition of unity, and blocks need just the tiles that touch them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.tiling import Tiling, reflect


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    tile = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, tile // 2))
    margin = draw(st.integers(0, overlap // 2))
    shape = draw(st.tuples(st.integers(1, 200), st.integers(1, 200)))
    return Tiling(shape, tile, overlap, margin, block_px=draw(st.integers(15, 250)))


@given(tilings())
@settings(deadline=None, max_examples=60)
def test_the_weights_sum_to_one_at_every_pixel(tiling: Tiling) -> None:
    for count, side in zip(tiling.lattice, tiling.shape, strict=True):
        margin = tiling.margin_px
        total = np.zeros(count * tiling.stride_px + tiling.overlap_px, np.float32)  # begins at -margin
        for index in range(count):
            start = index * tiling.stride_px
            total[start : start + tiling.tile_px] += tiling.weights(index, count)
        assert len(total) >= side + margin
        np.testing.assert_array_equal(total[margin : margin + side], 1)


@given(tilings())
@settings(deadline=None, max_examples=60)
def test_the_blocks_tile_the_scene(tiling: Tiling) -> None:
    seen = np.zeros(tiling.shape, int)
    for block in tiling.blocks():
        seen[slice(*block.rows), slice(*block.cols)] += 1
        assert block.pixels == block.shape[0] * block.shape[1] > 0
    assert (seen == 1).all()


@given(tilings())
@settings(deadline=None, max_examples=60)
def test_a_block_gets_every_tile_that_has_a_weight_in_it_and_no_other(tiling: Tiling) -> None:
    count = tiling.lattice[0]
    for block in tiling.blocks():
        needed = []
        for index in range(count):
            start = tiling.tile(index, 0).top_px
            used = np.flatnonzero(tiling.weights(index, count)) + start
            if np.any((used >= block.rows[0]) & (used < block.rows[1])):
                needed.append(index)
        assert list(tiling.tile_rows(block)) == needed
        rows, _ = tiling.window(block)
        assert rows.start <= block.rows[0]
        assert rows.stop >= block.rows[1]


@given(st.integers(0, 20), st.integers(0, 40), st.integers(1, 60))
def test_reflection_stays_inside_the_tile_and_mirrors_like_numpy(before: int, after: int, inside: int) -> None:
    index = reflect(-before, before + inside + after, inside)
    expected = np.pad(np.arange(inside), (before, after), mode="reflect" if inside > 1 else "edge")
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(reflect(5, inside, 5 + inside), np.arange(5, 5 + inside))


@pytest.mark.parametrize(
    "options",
    [
        {"tile_px": 0},
        {"tile_px": 10, "overlap_px": 6},
        {"tile_px": 10, "overlap_px": 4, "margin_px": 3},
        {"block_px": 0},
        {"shape": (0, 3)},
    ],
)
def test_an_impossible_tiling_says_the_rule_the_value_and_the_option(options: dict) -> None:
    with pytest.raises(OptionError, match=r"must be.*Received.*--tile"):
        Tiling(**{"shape": (10, 10), "tile_px": 8, "overlap_px": 2, **options})


def test_projected_bytes_do_not_depend_on_the_scene() -> None:
    small, large = (Tiling((side, side)).block_bytes(bands=3, itemsize=1, classes=5) for side in (20_000, 100_000))
    assert small == large
