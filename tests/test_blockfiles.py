"""Block files, which are never half there."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import LEGEND, grid, patchy

from geoseg.classmap import (
    BlockWriter,
    classes_of,
    geobox_of,
    open_blocks,
    open_class_map,
    write_block,
    write_class_map,
)
from geoseg.errors import BlockError, OptionError, OutputError, SceneError


def write_blocks(folder: Path, classes: np.ndarray, confidence: np.ndarray, rows: list, cols: list) -> list:
    whole, blocks = grid(classes.shape), []
    for row0, row1 in zip(rows, [*rows[1:], classes.shape[0]], strict=True):
        for col0, col1 in zip(cols, [*cols[1:], classes.shape[1]], strict=True):
            window = slice(row0, row1), slice(col0, col1)
            path = folder / f"{row0}_{col0}.tif"
            write_block(path, np.stack([classes[window], confidence[window]]), whole[window])
            blocks.append((path, row0, col0))
    return blocks


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_blocks_make_up_the_map(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 700), st.integers(1, 60)))
    rows, cols = (sorted({0, *data.draw(st.lists(st.integers(0, size - 1), max_size=3))}) for size in shape)
    rng = np.random.default_rng(0)
    classes, confidence = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    blocks = write_blocks(tmp_path_factory.mktemp("blocks"), classes, confidence, rows, cols)
    cover = open_blocks(data.draw(st.permutations(blocks)), grid(shape), LEGEND)
    np.testing.assert_array_equal(cover["class"].values, classes)
    np.testing.assert_array_equal(cover["confidence"].values, confidence)
    assert geobox_of(cover["class"]) == geobox_of(cover["confidence"]) == grid(shape)
    assert classes_of(cover["class"]) == LEGEND
    assert cover["class"].data.chunks[1] == (shape[1],)


def test_rows_may_come_in_any_portions(tmp_path: Path) -> None:
    classes, confidence = np.random.default_rng(0).integers(0, 256, (2, 333, 70)).astype(np.uint8)
    with BlockWriter(tmp_path / "a.tif", grid((333, 70))) as writer:
        for start, stop in [(0, 1), (1, 100), (100, 164), (164, 333)]:
            writer.write(start, classes[start:stop], confidence[start:stop])
            assert not (tmp_path / "a.tif").exists()
    cover = open_blocks([(tmp_path / "a.tif", 0, 0)], grid((333, 70)), LEGEND)
    np.testing.assert_array_equal(cover["class"].values, classes)
    np.testing.assert_array_equal(cover["confidence"].values, confidence)


def test_a_block_is_never_half_there(tmp_path: Path) -> None:
    row = np.zeros((1, 5), np.uint8)
    path = tmp_path / "a.tif"
    with pytest.raises(BlockError, match="has 1 of 3 rows"), BlockWriter(path, grid((3, 5))) as writer:
        writer.write(0, row, row)
    with pytest.raises(ZeroDivisionError), BlockWriter(path, grid((3, 5))) as writer:
        writer.write(1 // 0, row, row)
    for offset, classes in [(1, row), (0, row[:, :4]), (0, row.astype(np.int16)), (0, np.zeros((4, 5), np.uint8))]:
        with pytest.raises(BlockError, match="top to bottom"), BlockWriter(path, grid((3, 5))) as writer:
            writer.write(offset, classes, classes)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="Create the folder"):
        write_block(tmp_path / "no" / "a.tif", np.zeros((2, 1, 5), np.uint8), grid((1, 5)))


def test_damaged_blocks_are_errors_never_zeros(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    classes, confidence = rng.integers(0, 8, (2, 300, 200)).astype(np.uint8)
    blocks = write_blocks(tmp_path, classes, confidence, [0, 150], [0])
    path = Path(blocks[1][0])
    whole = path.read_bytes()

    def read() -> None:
        for name in ("class", "confidence"):
            open_blocks(blocks, grid((300, 200)), LEGEND)[name].compute()

    read()
    for size in [0, 1, 100, *range(500, len(whole), len(whole) // 12), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(SceneError, match=r"150_0.tif cannot be read.*run again"):
            read()
    path.write_bytes(whole[:2000] + bytes(len(whole) - 4000) + whole[-2000:])  # as a crash of the machine leaves it
    with pytest.raises(SceneError, match="cannot be read"):
        read()
    write_block(path, np.zeros((2, 150, 199), np.uint8), grid((150, 199)))
    with pytest.raises(SceneError, match="150 × 200 pixels, but has 150 × 199"):
        read()
    cover = open_blocks(blocks, grid((300, 200)), LEGEND)
    path.unlink()
    with pytest.raises(SceneError, match="cannot be read"):
        cover["class"].compute()
    with pytest.raises(SceneError, match="1 are not"):
        open_blocks(blocks, grid((300, 200)), LEGEND)


def test_blocks_must_cover_the_map(tmp_path: Path) -> None:
    classes = np.zeros((30, 20), np.uint8)
    blocks = write_blocks(tmp_path, classes, classes, [0, 10], [0, 7])
    for wrong in (blocks[:3], blocks[2:], []):
        with pytest.raises(OptionError, match="cover the whole map"):
            open_blocks(wrong, grid((30, 20)), LEGEND)
    with pytest.raises(SceneError, match="30 × 20 pixels, but has 10 × 7"):
        open_blocks(blocks[:1], grid((30, 20)), LEGEND)["class"].compute()


def test_other_processes_can_read(tmp_path: Path) -> None:
    classes = patchy((600, 50))
    blocks = write_blocks(tmp_path, classes, classes, [0, 250], [0, 20])
    cover = open_blocks(blocks, grid((600, 50)), LEGEND)["class"]
    file = open_class_map(write_class_map(cover, tmp_path / "classes.tif"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for lazy in (cover, file):
            assert len(pickle.dumps(lazy.data)) < 20_000
            sums = pool.map(_sum, [pickle.dumps(lazy.data)])
            assert sums == [int(classes.sum(dtype=np.int64))]


def _sum(pickled: bytes) -> int:
    return int(pickle.loads(pickled).sum(dtype=np.int64).compute(scheduler="synchronous"))
