"""The notebook that ships with the recipes runs from its first cell to its last."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path("recipes/digits/from_python.ipynb")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The executed notebook, with one epoch instead of twelve, in another folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("epochs=12", "epochs=1")
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.getcwd())
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def printed(notebook) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_every_notebook_cell_runs(executed):
    said = printed(executed)
    assert "notebook/kd: KD, finished, top-1" in said and "2 rows of 2 runs" in said


def test_each_run_shows_one_progress_bar_until_it_ends(executed):
    shown = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    bars = [output for output in shown if output.output_type == "display_data"]
    assert len(bars) == 3 and {bar.data["text/html"] for bar in bars} == {""}
    assert printed(executed).count("epoch    1") == 3


def test_the_stored_outputs_are_complete():
    stored = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.outputs for cell in stored.cells if cell.cell_type == "code" and "print(" in cell.source)
    assert "epoch   12" in printed(stored) and "Traceback" not in printed(stored)
