"""Objects: each thing on the ground once, whatever the tiles; proved on known objects seen by a perfect model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objects_truth import all_tiles, draw_truth, instances_in, quality, see, whole

from geoseg.objects import Instances
from geoseg.objects.join import Nodes, join
from geoseg.objects.match import links_between, overlaps
from geoseg.objects.paint import describe
from geoseg.objects.parts import Parts, Runs, core_of, parts_of, trusted_of
from geoseg.objects.whole import Numbers, count, finish, link, needed, number, own_tiles, paint_block, tabulate, total
from geoseg.tiling import Block, Tiling


def objects_of(truth: np.ndarray, tiling: Tiling, how: str) -> tuple[np.ndarray, Numbers]:
    """The whole way, block by block: ids (0 = none), and what is known of them."""
    blocks = {(block.row, block.col): block for block in tiling.blocks()}
    parts = {}
    for place, block in blocks.items():
        rows, cols = own_tiles(tiling, block)
        tiles = [tiling.tile(row, col) for row in rows for col in cols]
        parts[place] = Parts.concatenate([parts_of(tiling, tile, see(truth, tiling, tile, how=how)) for tile in tiles])
    outlooks = [
        link(tiling, block, [parts[one] for one in needed(tiling, *own_tiles(tiling, block))])
        for block in blocks.values()
    ]
    first = number(outlooks)

    def painted(block: Block, numbers: Numbers) -> np.ndarray:
        near = needed(tiling, tiling.tile_rows(block), tiling.tile_cols(block))
        return paint_block(tiling, block, [parts[one] for one in near], numbers)

    numbers = finish(first, (count(painted(block, first)) for block in blocks.values()))
    out = np.zeros(truth.shape, np.int64)
    for block in blocks.values():
        out[slice(*block.rows), slice(*block.cols)] = painted(block, numbers) + 1
    return out, numbers


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return draw_truth(1500, want=800)


@pytest.mark.parametrize("overlap", [64, 128, 256])
@pytest.mark.parametrize("how", ["cut", "jitter", "pieces"])
def test_each_object_is_found_once(truth: np.ndarray, overlap: int, how: str) -> None:
    tiling = Tiling(truth.shape, tile_px=512, overlap_px=overlap, block_px=4096)
    found, numbers = objects_of(truth, tiling, how)
    extra, pq = quality(truth, found)
    assert extra == 0
    assert pq >= 0.99
    assert len(numbers.found) == found.max()


def test_objects_that_are_a_pixel_off_in_each_tile_are_found_once(truth: np.ndarray) -> None:
    found, _ = objects_of(truth, Tiling(truth.shape, tile_px=256, overlap_px=64), "shift")
    extra, pq = quality(truth, found)
    assert abs(extra) <= 2  # something tiny may lie under a neighbour that moved
    assert pq > 0.8


@pytest.mark.parametrize("block", [100, 333, 1000])
def test_blocks_change_nothing(truth: np.ndarray, block: int) -> None:
    small = truth[:700, :900]
    one = objects_of(small, Tiling(small.shape, tile_px=256, overlap_px=64, margin_px=8), "pieces")
    other = objects_of(small, Tiling(small.shape, tile_px=256, overlap_px=64, margin_px=8, block_px=block), "pieces")
    assert np.array_equal(one[0], other[0])
    for name in ("channel", "score", "pixels", "tiles", "edge"):
        assert np.array_equal(getattr(one[1].found, name), getattr(other[1].found, name))


def test_the_rules_that_others_use_fail_where_this_one_does_not(truth: np.ndarray) -> None:
    """What docs/objects.md shows as a table."""
    from objects_naive import box_suppression, centre_owner, union_of_touching

    tiling = Tiling(truth.shape, tile_px=512, overlap_px=64)
    pieces = [(tile, see(truth, tiling, tile, how="jitter")) for tile in all_tiles(tiling)]
    for rule in (box_suppression, centre_owner, union_of_touching):
        extra, pq = quality(truth, rule(tiling, pieces))
        assert extra != 0 or pq < 0.97, rule.__name__


# --------------------------------------------------------------------------------------------------------- pieces
def test_cores_fill_the_scene_and_lie_in_what_is_trusted() -> None:
    tiling = Tiling((300, 517), tile_px=96, overlap_px=24, margin_px=5)
    seen = np.zeros(tiling.shape, int)
    for tile in all_tiles(tiling):
        rows, cols = core_of(tiling, tile.row, tile.col)
        seen[slice(*rows), slice(*cols)] += 1
        (top, bottom), (left, right) = trusted_of(tiling, tile.row, tile.col)
        assert top <= rows[0] <= rows[1] <= bottom
        assert left <= cols[0] <= cols[1] <= right
    assert (seen == 1).all()


masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((3, 6, 7)) < 0.4)


@given(masks, masks)
@settings(max_examples=60, deadline=None)
def test_overlaps_count_shared_pixels(a: np.ndarray, b: np.ndarray) -> None:
    def runs(stack: np.ndarray) -> Runs:
        found = Instances.from_masks(stack, channel=[0] * len(stack), score=[1] * len(stack))
        kept = np.flatnonzero(stack.any((1, 2)))
        owner = kept[np.repeat(np.arange(len(found)), np.diff(found.first))]
        return Runs(owner, *(x.astype(np.int64) for x in (found.rows, found.starts, found.stops)))

    i, j, shared = overlaps(runs(a), runs(b))
    table = np.zeros((3, 3), int)
    table[i, j] = shared
    assert np.array_equal(table, np.einsum("irc,jrc->ij", a.astype(int), b.astype(int)))


def test_a_street_of_houses_is_not_chained() -> None:
    """Each tile takes two neighbours of the other for one, all along the street: links alone make one object of it."""
    tile = np.repeat(np.arange(10), 2)  # two parts a tile
    nodes = Nodes(tile, np.zeros(20, bool), np.zeros((0, 2), int))
    a = np.arange(2, 20)
    b = a - 1  # the second part of a tile agrees with the first of the next, and with the second, too
    links = np.concatenate([b, np.arange(1, 19)]), np.concatenate([a, np.arange(1, 19) + 1])
    objects = join(nodes, *links, np.full(len(links[0]), 0.5))
    for one in range(0, 20, 2):
        assert objects[one] != objects[one + 1]


def test_arms_are_joined_by_what_holds_them_together() -> None:
    nodes = Nodes(np.array([0, 0, 1]), np.array([True, True, True]), np.zeros((0, 2), int))
    ends = np.array([0, 1]), np.array([2, 2])
    assert join(nodes, *ends, np.array([0.4, 0.4])).tolist() == [0, 0, 0]
    touching = Nodes(nodes.tile, nodes.cut, np.array([[0, 1]]))
    assert join(touching, *ends, np.array([0.4, 0.6])).tolist() == [0, 1, 1]


def test_no_links_no_parts() -> None:
    none = np.zeros(0, np.int64)
    assert join(Nodes(none, none.astype(bool), np.zeros((0, 2), int)), none, none, np.zeros(0)).tolist() == []
    tiling = Tiling((50, 50), tile_px=64, overlap_px=8)
    empty = Instances.from_masks(np.zeros((0, 64, 64), bool), channel=[], score=[])
    parts = parts_of(tiling, tiling.tile(0, 0), empty)
    assert len(parts) == 0
    assert len(links_between(tiling, parts, parts).a) == 0
    numbers = number([link(tiling, whole(tiling), [parts])])
    assert (paint_block(tiling, whole(tiling), [parts], numbers) == -1).all()
    assert len(tabulate(finish(numbers, []), np.zeros(0), ())) == 0


def by_hand(shape: tuple[int, int], tiling: Tiling, per_tile: dict[tuple[int, int], Any]) -> tuple[np.ndarray, Numbers]:
    """Objects of tiles that are given as {(row, col): [(mask of the scene, channel, score), ...]}."""
    parts = []
    for tile in all_tiles(tiling):
        stack = np.zeros((0, tiling.tile_px, tiling.tile_px), bool)
        given_ = per_tile.get((tile.row, tile.col), [])
        for mask, _, _ in given_:
            one = np.zeros((tiling.tile_px, tiling.tile_px), bool)
            part = mask[tile.top_px : tile.top_px + tiling.tile_px, tile.left_px : tile.left_px + tiling.tile_px]
            one[: part.shape[0], : part.shape[1]] = part
            stack = np.concatenate([stack, one[None]])
        found = Instances.from_masks(stack, channel=[c for _, c, _ in given_], score=[s for _, _, s in given_])
        parts.append(parts_of(tiling, tile, found))
    around = [Parts.concatenate(parts)]
    first = number([link(tiling, whole(tiling), around)])
    numbers = finish(first, [count(paint_block(tiling, whole(tiling), around, first))])
    return paint_block(tiling, whole(tiling), around, numbers) + 1, numbers


def box(shape: tuple[int, int], rows: tuple[int, int], cols: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*cols)] = True
    return mask


def test_class_and_score_are_voted_by_pixels() -> None:
    shape, tiling = (20, 36), Tiling((20, 36), tile_px=20, overlap_px=4)
    mask = box(shape, (5, 10), (10, 24))  # 8 columns in the core of the first tile, 6 in that of the second
    found, numbers = by_hand(shape, tiling, {(0, 0): [(mask, 0, 0.9)], (0, 1): [(mask, 1, 0.2)]})
    assert np.array_equal(found, mask.astype(int))
    assert numbers.found.channel.tolist() == [0]
    assert numbers.found.score[0] == pytest.approx((8 * 0.9 + 6 * 0.2) / 14)
    assert numbers.found.tiles.tolist() == [2]
    assert numbers.found.edge.tolist() == [False]


def test_what_one_tile_missed_is_not_cut_along_its_core() -> None:
    shape, tiling = (20, 36), Tiling((20, 36), tile_px=20, overlap_px=4)
    mask = box(shape, (5, 10), (10, 20))
    found, _ = by_hand(shape, tiling, {(0, 0): [(mask, 0, 0.9)]})
    assert np.array_equal(found, mask.astype(int))


def test_what_lies_mostly_under_another_is_a_duplicate() -> None:
    shape, tiling = (20, 20), Tiling((20, 20), tile_px=20, overlap_px=4)
    large, small = box(shape, (2, 12), (2, 12)), box(shape, (10, 14), (4, 10))
    found, numbers = by_hand(shape, tiling, {(0, 0): [(large, 0, 0.9), (small, 0, 0.5)]})
    assert len(numbers.found) == 2  # half of the small one is left: not less
    assert (found == 2).sum() == 12
    found, numbers = by_hand(shape, tiling, {(0, 0): [(large, 0, 0.9), (box(shape, (9, 13), (4, 10)), 0, 0.5)]})
    assert len(numbers.found) == 1
    assert np.array_equal(found, large.astype(int))


def test_the_table_counts_the_map(truth: np.ndarray) -> None:
    from geoseg.classes import ClassInfo

    tiling = Tiling((600, 600), tile_px=256, overlap_px=64)
    found, numbers = objects_of(truth[:600, :600], tiling, "shift")
    table = tabulate(numbers, total([count(found - 1)], len(numbers)), [ClassInfo(7, "building")])
    assert table["object_id"].tolist() == list(range(1, len(table) + 1))
    assert np.array_equal(table["pixels"], np.bincount(found.ravel())[1:])
    assert set(table["class"]) == {7}
    assert table["edge"].any()
    assert not table["edge"].all()


def test_a_hundred_thousand_objects_in_a_tile() -> None:
    tiling = Tiling((700, 700), tile_px=700, overlap_px=0)
    rows, cols = np.divmod(np.arange(100_000), 340)
    lines = (rows * 2).astype(np.int32), (cols * 2).astype(np.int32), (cols * 2 + 1).astype(np.int32)
    many = Instances(*lines, np.arange(100_001), np.zeros(100_000, np.uint8), np.ones(100_000, np.float32))
    parts = parts_of(tiling, tiling.tile(0, 0), many)
    numbers = number([link(tiling, whole(tiling), [parts])])
    painted = paint_block(tiling, whole(tiling), [parts], numbers)
    assert len(np.unique(painted)) == 100_001


def test_describe_needs_no_pixels(truth: np.ndarray, tmp_path: Path) -> None:
    tiling = Tiling((512, 512), tile_px=256, overlap_px=64)
    parts = Parts.concatenate(
        [parts_of(tiling, tile, instances_in(truth[:256, :256], tiling, tile, how="cut")) for tile in all_tiles(tiling)]
    )
    objects = np.arange(len(parts))
    assert describe(parts.take(objects, runs=False), objects).pixels.tolist() == parts.core_px.tolist()
