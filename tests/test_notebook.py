"""The notebook runs from top to bottom in a clean kernel, leaves nothing behind, and is kept with what it shows."""

import re

import nbformat
import pytest
from conftest import ROOT, environment
from nbclient import NotebookClient

PATH = ROOT / "notebooks" / "tour.ipynb"


def kinds(notebook):
    """What each cell shows, as types."""
    shown = [[output.get("data", {"text": ""}) for output in cell.get("outputs", [])] for cell in notebook.cells]
    return [[sorted(data) for data in outputs] for outputs in shown]


@pytest.mark.slow
def test_tour():
    kept = nbformat.read(PATH, 4)
    size, folder = PATH.stat().st_size, sorted(PATH.parent.iterdir())
    fresh = nbformat.read(PATH, 4)
    for cell in fresh.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(fresh, timeout=200, kernel_name="python3", coalesce_streams=True)
    client.execute(cwd=PATH.parent, env={**environment(), "PYTHONPATH": str(ROOT)})

    assert kinds(fresh) == kinds(kept) and sum(map(bool, kinds(kept))) >= 9
    *_, distances = [
        [float(value) for value in re.findall(r"\d+\.\d\d$", output.text, re.MULTILINE)]
        for cell in fresh.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    ]
    floor, start, *_, end = distances
    assert floor < end < start / 10  # it learnt
    assert sorted(PATH.parent.iterdir()) == folder and PATH.stat().st_size == size < 1_000_000
    assert not re.search(r"/(home|root|tmp|opt|Users|usr|work)/", PATH.read_text())
