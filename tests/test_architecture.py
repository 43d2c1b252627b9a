"""docs/design.md is true: rooms import only what its table lets them, and the walls stand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "geoseg"
FRAMEWORKS = {"torch", "torchvision", "torchgeo", "timm", "segmentation_models_pytorch", "safetensors", "onnxruntime"}
WALLS = {
    # what may be imported in which rooms only
    **dict.fromkeys(FRAMEWORKS, ("networks", "training")),
    **dict.fromkeys(("lightning", "kornia"), ("training",)),
    "distributed": ("blocks",),
}
OPENERS = {"rasterio", "pyogrio", "fiona"}
MAY_OPEN = {"scene", "classmap", "export", "synthetic"}
MAY_OPEN_FILES = {PACKAGE / "training/labels.py"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if room_of(path) not in ("__init__", "__main__"):
            found.setdefault(room_of(path), []).append(path)
    return found


def imports_of(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def table() -> dict[str, set[str]]:
    """Room → rooms that it may import, as docs/design.md says."""
    allowed: dict[str, set[str]] = {}
    for name, may in re.findall(
        r"^\| `(\w+)(?:\.py|/)` \|.*\| ([^|]*) \|$", (ROOT / "docs/design.md").read_text(), re.M
    ):
        listed = {part.strip() for part in may.split(",")} - {"–"}
        if "everything above" in listed:
            listed = (listed - {"everything above"}) | set(allowed)
        allowed[name] = listed
    return allowed


def test_every_room_is_in_the_table() -> None:
    assert set(table()) - {"zoo"} == set(rooms())


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    used = set()
    for path in rooms()[room]:
        used |= {name.split(".")[1] for name in imports_of(path) if name.startswith("geoseg.") and name.count(".")}
    public = {"__version__"}  # `from geoseg import x` may name a room or the version
    forbidden = used - table()[room] - {room} - public
    if room == "cli":
        forbidden -= set(rooms())  # each verb's room
    assert not forbidden, f"{room} imports {sorted(forbidden)}, which docs/design.md does not allow"


def test_the_walls_stand() -> None:
    for room, paths in rooms().items():
        for path in paths:
            roots = {name.split(".")[0] for name in imports_of(path)}
            for guarded in roots & set(WALLS):
                assert room in WALLS[guarded], f"{path} imports {guarded}, which only {WALLS[guarded]} may"


def test_only_four_rooms_and_the_label_reader_open_rasters_and_vector_files() -> None:
    opening = re.compile(r"\b(rasterio\.(open|shutil)|read_dataframe|write_dataframe|read_file|write_arrow)\b")
    for room, paths in rooms().items():
        for path in paths:
            if room not in MAY_OPEN and path not in MAY_OPEN_FILES:
                assert not opening.search(path.read_text(encoding="utf-8")), f"{path} opens a file"
                assert not {n.split(".")[0] for n in imports_of(path)} & {"pyogrio", "fiona"}, path


def test_importing_geoseg_loads_no_framework() -> None:
    code = "import sys, geoseg; print(sorted(set(sys.modules) & {'torch', 'rasterio', 'numba', 'dask', 'geopandas'}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    import geoseg

    for name in geoseg.__all__:
        assert getattr(geoseg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'classifly'"):
        _ = geoseg.classifly


def test_files_stay_readable() -> None:
    for path in PACKAGE.rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 450, f"{path} has {lines} lines: two rooms in one?"
