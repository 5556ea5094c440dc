"""Imports run downward only, one file imports albumentations, and the help needs nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("augment", "classifiers", "pipelines")
ALLOWED = {  # what a package may import of ours
    "augment": {"augment"},
    "classifiers": {"classifiers", "augment.errors", "augment.images"},
    "pipelines": {"pipelines", "classifiers", "augment"},
}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_module_imports_only_from_its_own_package_and_those_below(path: Path) -> None:
    ours = {name for name in imports(path) if name.split(".")[0] in PACKAGES}
    allowed = ALLOWED[path.parent.name]
    assert all(any(name == a or name.startswith(f"{a}.") for a in allowed) for name in ours), ours


def test_no_import_goes_round_in_circles() -> None:
    graph = {f"{p.parent.name}.{p.stem}": imports(p) for p in FILES}
    while graph:
        free = [name for name, targets in graph.items() if not targets & graph.keys()]
        assert free, f"these import each other: {sorted(graph)}"
        for name in free:
            del graph[name]


def test_only_classical_imports_albumentations() -> None:
    assert [p.name for p in FILES if any(name.startswith("albumentations") for name in imports(p))] == ["classical.py"]


def test_only_the_command_line_exits() -> None:
    exiting = [p.name for p in FILES if "sys.exit" in p.read_text() or "SystemExit" in p.read_text()]
    assert exiting == ["cli.py"]


def test_the_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "albumentations", "matplotlib", "sklearn", "scipy", "pydantic"}
    code = (
        "import sys\nsys.argv = ['augment', '--help']\n"
        "from pipelines.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('HEAVY', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
