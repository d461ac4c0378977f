import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from model.bundle import open_bundle

NOTEBOOK = Path(__file__).parents[2] / "model" / "train.ipynb"


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code() -> list[nbformat.NotebookNode]:
    return [cell for cell in read().cells if cell.cell_type == "code"]


def test_notebook_is_valid_and_stripped() -> None:
    """No outputs, no counts and no traces of the machine it was written on."""
    notebook = read()
    nbformat.validate(notebook)
    for cell in code():
        assert (cell.outputs, cell.execution_count, dict(cell.metadata)) == ([], None, {})
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_notebook_defines_nothing() -> None:
    """Functions and classes live in modules, where they are tested."""
    for cell in code():
        assert not any(word in cell.source for word in ("def ", "class ", "lambda"))


@pytest.mark.parametrize("start", [".", "model"])
def test_notebook_runs_headless_and_makes_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """Started from a repository's root or from model/, it writes below the root's build/."""
    home, repository = tmp_path / "home", tmp_path / "repository"
    folder = repository / start
    folder.mkdir(parents=True)
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(home))
    # This environment's own kernel, whatever the user has installed under the same name.
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    notebook = read()
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=120,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    built = repository / "build" / "notebook"
    for version in ("1.0.0", "1.1.0"):
        bundle = open_bundle(built / f"wine-{version}")
        assert (bundle.manifest.version, bundle.replay()) == (version, [])
        bundle.close()
    images = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(images) == 2
    shutil.rmtree(repository / "build")
    assert [path for path in repository.rglob("*") if path.is_file()] == []
