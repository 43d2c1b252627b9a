"""What is downloaded is whole, has the right hash, and is fetched once; every failure says how to go on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from serving import serving

from geoseg.download import cache_folder, download
from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.progress import Progress

DATA = np.random.default_rng(0).bytes(3_000_001)
DIGEST = hashlib.sha256(DATA).hexdigest()


class Recorder(Progress):
    def __init__(self) -> None:
        self.told: list[tuple] = []

    def stage(self, name, total=None, unit="px") -> None:
        self.told.append((name, total, unit))

    def advance(self, pixels) -> None:
        self.told.append((pixels,))


@pytest.fixture
def server():
    with serving() as state:
        state.files["/weights.pth"] = DATA
        yield state


def fetch(server, folder, **given):
    return download(
        given.pop("url", f"{server.url}/weights.pth"),
        **{"sha256": DIGEST, "name": "w.pth", "folder": folder, **given},
    )


def test_a_file_is_fetched_once_and_used_with_the_server_off(tmp_path) -> None:
    recorder = Recorder()
    with serving() as server:
        server.files["/weights.pth"] = DATA
        path = fetch(server, tmp_path / "new" / "cache", progress=recorder)
        assert path == tmp_path / "new" / "cache" / "w.pth"
        assert path.read_bytes() == DATA
        assert fetch(server, path.parent) == path
        assert server.asked == ["/weights.pth"]
    assert fetch(server, path.parent, sha256=DIGEST[:8].upper()) == path
    assert [item.name for item in path.parent.iterdir()] == ["w.pth"]
    assert recorder.told[0] == ("download", len(DATA), "B")
    assert sum(told[0] for told in recorder.told[1:]) == len(DATA)


def test_the_unit_is_told(monkeypatch, capsys) -> None:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TextColumn

    from geoseg import progress

    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    lines = progress._LineProgress()
    with Bar(TextColumn("{task.fields[speed]}"), console=Console(stderr=True)) as bar:
        for told in (lines, progress._BarProgress(bar)):
            for stage, unit, expected in (("download", "B", "MB/s"), ("classify", "px", "Mpx/s")):
                told.stage(stage, 10, *([] if unit == "px" else [unit]))
                told.advance(5)
                shown = capsys.readouterr().err if told is lines else bar.tasks[-1].fields["speed"]
                assert expected in shown


def test_redirects_are_followed_and_a_length_is_not_needed(server, tmp_path) -> None:
    server.moved["/first"] = f"{server.url}/weights.pth"
    server.chunked = True
    assert fetch(server, tmp_path, url=f"{server.url}/first", sha256=DIGEST[:12]).read_bytes() == DATA


def test_every_failure_says_url_place_and_hash_and_leaves_nothing(server, tmp_path) -> None:
    place = str(tmp_path / "w.pth")

    def refused(*patterns, **given):
        with pytest.raises(ModelError) as caught:
            fetch(server, tmp_path, **given)
        message = str(caught.value)
        for pattern in (server.url, place, "by hand", *patterns):
            assert pattern in message
        assert list(tmp_path.iterdir()) == []

    refused(DIGEST, "404", url=f"{server.url}/other.pth")
    refused("f" * 64, DIGEST, "exchanged", sha256="f" * 64)
    refused("ffffffff... (its beginning)", sha256="f" * 8)
    server.cut["/weights.pth"] = 1_000_000
    refused(DIGEST, "1,000,000 of 3,000,001 bytes")
    server.chunked = True  # without a length the hash tells
    refused(hashlib.sha256(DATA[:1_000_000]).hexdigest())


def test_without_a_network(tmp_path) -> None:
    with serving() as server:
        pass
    with pytest.raises(ModelError, match=r"no connection.*by hand.*w\.pth"):
        fetch(server, tmp_path)


def test_a_damaged_file_in_the_cache_is_fetched_anew(tmp_path) -> None:
    path = tmp_path / "w.pth"
    with serving() as server:
        server.files["/weights.pth"] = DATA
        path.write_bytes(DATA[:-1])
        assert fetch(server, tmp_path).read_bytes() == DATA
    path.write_bytes(b"something else")
    with pytest.raises(ModelError, match=hashlib.sha256(b"something else").hexdigest()):
        fetch(server, tmp_path)
    assert path.read_bytes() == b"something else"


def test_processes_at_once_do_not_harm_each_other(server, tmp_path) -> None:
    code = (
        "import sys; from geoseg.download import download; "
        "print(download(sys.argv[1], sha256=sys.argv[2], name='w.pth', folder=sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, f"{server.url}/weights.pth", DIGEST, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    assert {process.communicate()[0].strip() for process in running} == {str(tmp_path / "w.pth")}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert [item.name for item in tmp_path.iterdir()] == ["w.pth"]
    assert (tmp_path / "w.pth").read_bytes() == DATA


def test_where_downloads_are_kept(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("GEOSEG_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "geoseg"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "geoseg"
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_impossible_requests(server, tmp_path) -> None:
    for given, message in (
        ({"url": "file:///etc/hostname"}, "https://"),
        ({"sha256": "abc"}, "64 hex digits"),
        ({"sha256": "not a hash"}, "64 hex digits"),
        ({"name": "../w.pth"}, "plain file name"),
    ):
        with pytest.raises(OptionError, match=message):
            fetch(server, tmp_path, **given)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="GEOSEG_CACHE"):
        fetch(server, tmp_path / "file")
    assert server.asked == []
