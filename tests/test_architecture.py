"""Imports run downward only, files can be seen whole, and tests mirror the packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("augment", "classifiers", "pipelines")
ROOMS = (  # from the lowest to the highest: a module imports from its own room and from those above it in this list
    "augment.errors",
    "augment.words",
    "augment.progress",
    "augment.fields",
    "augment.seeds",
    "augment.runtime",
    "augment.files",
    "augment.yaml_text",
    "augment.identity",
    "augment.markers",
    "augment.output_folders",
    "augment.tensor_files",
    "augment.devices",
    "augment.versions",
    "augment.dataset",
    "augment.gan",
    "augment.generators",
    "augment.filtering",
    "augment.fidelity",
    "classifiers",
    "pipelines.metric_specs",
    "pipelines.record_names",
    "pipelines.process",
    "pipelines.trackers",
    "pipelines.config",
    "pipelines.experiment",
    "pipelines.results",
    "pipelines.model",
    "pipelines.evaluation",
    "pipelines.choosing",
    "pipelines.tuning_search",
    "pipelines.tuning",
    "pipelines.fitting",
    "pipelines.stage_file",
    "pipelines.pipeline_folds",
    "pipelines.stages",
    "pipelines.auto",
    "pipelines.drafting",
    "pipelines.runner",
    "pipelines.json_schemas",
    "pipelines.output_listing",
    "pipelines.cli",
    "pipelines.__main__",
)
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 40  # lines
MAX_WORDS = 12  # in the name of a test
OF_CLASSIFIERS = ("augment.errors", "augment.dataset.images", "augment.words")  # all that they may know of ours
TESTS, BENCHMARKS = (sorted((ROOT / folder).rglob("*.py")) for folder in ("tests", "benchmarks"))
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__init__.py"]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def room(module: str) -> int:
    return next(i for i, name in enumerate(ROOMS) if module == name or module.startswith(f"{name}."))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def imported_modules(path: Path) -> set[str]:
    """Those of ours; `from package import module` counts as the module."""
    modules = {module_name(p) for p in FILES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= within or {node.module or ""}
    return {name for name in found if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_module_imports_from_its_room_and_those_below(path: Path) -> None:
    own = room(module_name(path))
    assert not [name for name in imported_modules(path) if room(name) > own]


@pytest.mark.parametrize("path", sorted((ROOT / "classifiers").glob("*.py")), ids=module_name)
def test_classifiers_know_only_images_errors_and_words_of_augment(path: Path) -> None:
    assert not [n for n in imported_modules(path) if not n.startswith("classifiers.") and n not in OF_CLASSIFIERS]


def test_no_import_goes_round_in_circles() -> None:
    graph = {module_name(path): imported_modules(path) for path in FILES}
    while graph:
        free = [name for name, targets in graph.items() if not targets & graph.keys()]
        assert free, f"these import each other: {sorted(graph)}"
        for name in free:
            del graph[name]


def test_only_the_policies_import_albumentations() -> None:
    assert [p.name for p in FILES if any(name.startswith("albumentations") for name in imports(p))] == ["policies.py"]


def test_only_the_command_line_exits() -> None:
    exiting = [p.name for p in FILES if "sys.exit" in p.read_text() or "SystemExit" in p.read_text()]
    assert exiting == ["app.py"]


def test_the_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "albumentations", "matplotlib", "sklearn", "scipy", "pydantic"}
    code = (
        "import sys\nsys.argv = ['augment', '--help']\n"
        "from pipelines.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('HEAVY', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_the_architecture_page_lists_the_modules_that_there_are() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The modules")[2]
    rows = re.findall(r"^\| (`.*?) \|", page, re.M)
    modules = {path.stem for path in FILES}
    assert modules - set(re.findall(r"`(\w+)`", page)) == set()
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) - modules == set()


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def long_functions(path: Path) -> list[str]:
    return [f.name for f in functions(path) if (f.end_lineno or 0) - f.lineno >= MAX_FUNCTION_LINES]


def is_long(path: Path) -> bool:
    return len(path.read_text().splitlines()) > MAX_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_can_be_seen_whole(path: Path) -> None:
    assert not is_long(path)
    assert not long_functions(path)


def test_tests_and_benchmarks_can_be_seen_whole() -> None:
    assert not [path for path in TESTS + BENCHMARKS if is_long(path)]
    assert not [(path, name) for path in TESTS + BENCHMARKS for name in long_functions(path)]


def test_every_folder_of_tests_is_one_of_packages() -> None:
    folders = {path.relative_to(ROOT / "tests").parent for path in TESTS} - {Path("helpers")}
    assert not [folder for folder in folders if not (ROOT / folder).is_dir()]


def test_a_test_file_is_called_after_a_module_beside_it() -> None:
    assert not [path for path in TESTS if path.name.startswith("test_") and not mirrors_a_module(path)]


def mirrors_a_module(path: Path) -> bool:
    """Whether tests/a/test_b.py or tests/a/test_b_subject.py has a module a/b.py; those of tests/ itself need none."""
    folder, subject = path.relative_to(ROOT / "tests").parent, path.stem.removeprefix("test_")
    names = [module.stem for module in (ROOT / folder).glob("*.py")]
    return folder == Path() or any(subject == name or subject.startswith(f"{name}_") for name in names)


def test_the_name_of_a_test_has_at_most_a_dozen_words() -> None:
    names = [f.name.removeprefix("test_") for path in TESTS for f in functions(path) if f.name.startswith("test_")]
    assert not [name for name in names if len(name.split("_")) > MAX_WORDS]
