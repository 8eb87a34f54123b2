"""The notebooks of `analysis/notebooks` run from their first cell to their last on the sample database."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from hemiec.settings import Settings

NOTEBOOKS = sorted((Path(__file__).parent.parent / "analysis" / "notebooks").glob("*.ipynb"))


def test_there_is_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["leaderboard.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.store
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_an_empty_store_to_a_figure(
    path: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the user's profile nor a kernel of another environment takes part.
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, kernel_name="python3", timeout=120, resources={"metadata": {"path": tmp_path}})
    client.create_kernel_manager()
    assert client.km is not None and client.km.kernel_spec is not None
    client.km.kernel_spec.argv[0] = sys.executable
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"], printed
    shown = [output.data for output in outputs if output.output_type == "execute_result"]
    assert int(shown[0]["text/plain"]) >= 24  # candidates of the sample
    tables = [data["text/html"] for data in shown if "text/html" in data]
    assert len(tables) == 4 and all("<td>" in table for table in tables)
    assert sum("image/png" in data for data in shown) == 2
    assert "migration_barrier: weight 1" in printed
