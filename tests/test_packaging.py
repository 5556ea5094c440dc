"""A wheel holds all that the program needs and runs outside the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("augment", "classifiers", "pipelines", "data", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the clone stays clean."""
    copy = tmp_path_factory.mktemp("clone")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / part)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_code_definitions_template_images_and_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    modules = [path for part in ("augment", "classifiers", "pipelines") for path in (ROOT / part).rglob("*.py")]
    for needed in (
        *(path.relative_to(ROOT).as_posix() for path in modules),
        "pipelines/quickstart.yaml",
        "pipelines/fashion-50.yaml",
        "pipelines/results/templates/report.html",
        "augment/data/fashion.npz",
        "augment/data/LICENSE-fashion-mnist",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith("tests")]
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith("dist-info")} == {
        "augment",
        "classifiers",
        "pipelines",
    }


def test_the_installed_wheel_finds_its_pipelines_and_its_images(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = "import sys; sys.argv[0] = 'augment'; from pipelines.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "quickstart", "--dry-run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("fit has to run: it has not been run here")
    probe = "import augment.data, pipelines; print(pipelines.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
