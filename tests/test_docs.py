"""The documentation site can be built, and its notebook runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "pipelines" / "index.html").read_text()
    assert "AugmentClassifier" in page
    assert "https://fonts." not in (tmp_path / "site" / "index.html").read_text()


def test_the_notebook_runs() -> None:
    notebook = nbformat.read(ROOT / "docs" / "imbalanced.ipynb", as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "95 % interval" in printed
    assert "accuracy on the test images" in printed
