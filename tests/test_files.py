"""Write beside, then rename: whole or not at all, whatever goes wrong and whoever fails."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from geoseg import files
from geoseg.errors import OutputError, SceneError
from geoseg.files import check_folder, remove_leftovers, replacing


def write(path: Path, action: Callable[[Path], object]) -> None:
    with replacing(path) as beside:
        action(beside)


def fail(error: BaseException) -> Callable[[Path], None]:
    def action(beside: Path) -> None:
        beside.write_text("half")
        beside.with_suffix(".dbf").write_text("half")
        raise error

    return action


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_the_target_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as beside:
        assert beside.name == "a.txt"
        assert beside.parent.parent == tmp_path  # the same disk, so that renaming is atomic
        assert not beside.exists()
        beside.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SceneError("no CRS")])
def test_a_failure_leaves_what_was_there_and_passes_through(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.shp"
    target.write_text("old")
    with pytest.raises(type(error)) as caught:
        write(target, fail(error))
    assert caught.value is error
    assert names(tmp_path) == ["a.shp"]
    assert target.read_text() == "old"


def test_files_beside_move_along_and_old_ones_go(tmp_path: Path) -> None:
    for name in ("a.shp", "a.dbf", "a.qix", "a.shp.aux.xml", "b.dbf", "a.qml"):
        (tmp_path / name).write_text("old")
    with replacing(tmp_path / "a.shp") as beside:
        beside.write_text("new")
        beside.with_suffix(".dbf").write_text("new")
    assert {item.name: item.read_text() for item in tmp_path.iterdir()} == {
        "a.shp": "new",
        "a.dbf": "new",
        "b.dbf": "old",  # another layer's
        "a.qml": "old",  # a person's style
    }


def test_an_old_write_ahead_log_never_meets_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_bytes(b"old")
    (tmp_path / "a.gpkg-wal").write_bytes(b"old")
    with replacing(tmp_path / "a.gpkg") as beside:
        beside.write_bytes(b"new")
    assert names(tmp_path) == ["a.gpkg"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*a\.txt"), replacing(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_a_missing_folder_and_a_folder_in_the_way(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"none/a\.txt: No such file or directory\. Create the folder"),
        replacing(tmp_path / "none" / "a.txt"),
    ):
        pytest.fail("the block must not run")
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match="A folder of this name"), replacing(tmp_path / "a.txt"):
        pytest.fail("the block must not run")


def test_no_space_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.tif: No space left on device\. Free some space"):
        write(tmp_path / "a.tif", fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert names(tmp_path) == []


def test_a_driver_that_fails_on_a_full_disk_without_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FULL_BYTES", 1 << 62)
    with pytest.raises(OutputError, match=r"No space left on device \(write error\)"):
        write(tmp_path / "a.tif", fail(RuntimeError("write error")))


def test_errors_of_reading_are_not_called_errors_of_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        (tmp_path / "input.tif").read_bytes()
    with pytest.raises(OutputError, match="Permission denied"), replacing(tmp_path / "a.txt") as beside:
        raise PermissionError(errno.EACCES, "Permission denied", str(beside))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.5 MiB, where the system lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=1536k", "tmpfs", disk], check=False)
    if not done or done.returncode:
        pytest.skip("mounting a small disk needs the superuser")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill_database(beside: Path) -> None:
    with closing(sqlite3.connect(beside)) as database:
        database.execute("create table t as select zeroblob(3000000) as x")


def test_a_disk_that_is_really_full(tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.txt: No space left on device.*Free some space"):
        write(tiny_disk / "a.txt", lambda beside: beside.write_bytes(bytes(3 << 20)))
    with pytest.raises(OutputError, match=r"a\.db: No space left on device .*full.*Free some space"):
        write(tiny_disk / "a.db", fill_database)
    assert names(tiny_disk) == []
    with pytest.raises(OutputError, match=r"need about 0\.0 GiB, but .* free"):
        check_folder(tiny_disk, needed_bytes=2 << 20)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"Permission denied\. Choose a folder"):
            check_folder(tmp_path)
        with pytest.raises(OutputError, match="Permission denied"), replacing(tmp_path / "a.txt"):
            pytest.fail("the block must not run")
    finally:
        tmp_path.chmod(0o700)


def test_check_folder(tmp_path: Path) -> None:
    assert check_folder(tmp_path) == tmp_path
    assert names(tmp_path) == []
    with pytest.raises(OutputError, match="Create the folder first"):
        check_folder(tmp_path / "a" / "b")
    assert check_folder(tmp_path / "a" / "b", create=True).is_dir()
    (tmp_path / "file").write_text("x")
    for create in (False, True):
        with pytest.raises(OutputError, match="is a file"):
            check_folder(tmp_path / "file", create=create)
        with pytest.raises(OutputError, match="is a file"):
            check_folder(tmp_path / "file" / "b", create=create)


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    script = (
        "import os, sys; from geoseg.files import replacing\n"
        "with replacing(sys.argv[1]) as beside:\n    beside.write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "a.txt"], check=False)
    (tmp_path / "b.part").write_text("a person's file")
    assert len(names(tmp_path)) == 2
    assert remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == ["b.part"]
