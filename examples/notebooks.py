"""The examples as notebooks: one cell for each ``# %%``, made from the scripts so that both are the same.

python examples/notebooks.py            # writes the notebooks beside the scripts
python examples/notebooks.py --run      # runs them, each in a fresh kernel; stops at the first error
"""

import argparse
from pathlib import Path

FOLDER = Path(__file__).parent
SCRIPTS = ("map_builtin", "publish_numbers", "few_labels", "train_own_polygons", "bring_onnx", "torchgeo_fields")


def notebook_of(script: str) -> str:
    """The text of a notebook with the cells of a script and no output."""
    import nbformat

    cells = []
    for number, part in enumerate(script.split("# %%")[1:]):
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            cell = nbformat.v4.new_markdown_cell("\n".join(lines))
        else:
            cell = nbformat.v4.new_code_cell(body.strip())
        cell["id"] = f"cell-{number}"  # otherwise it is drawn at random
        cells.append(cell)
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=metadata), indent=1) + "\n"


def run(path: Path) -> None:
    """Run a notebook in a fresh kernel; raises where a cell does."""
    import nbformat
    from nbclient import NotebookClient

    NotebookClient(nbformat.read(path, as_version=4), timeout=600, resources={"metadata": {"path": FOLDER}}).execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true")
    given = parser.parse_args()
    for name in SCRIPTS:
        path = FOLDER / f"{name}.ipynb"
        if given.run:
            run(path)
            print(f"{path.name} ran")
        else:
            path.write_text(notebook_of((FOLDER / f"{name}.py").read_text()))


if __name__ == "__main__":
    main()
