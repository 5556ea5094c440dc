"""The command line in this process, and what its commands read."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from command_line import TINY_GAN, Augment, CommandResult

from augment.dataset.sources import read_source
from augment.generators.base import TrainingData
from augment.generators.cgan import CganConfig
from augment.generators.registry import fit
from pipelines.cli.app import main


@pytest.fixture
def augment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Augment:
    """Run `augment` with arguments in this process."""
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")

    def call(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["augment", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            main()
        return CommandResult(int(exit.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def photos(image_folder: Path, tmp_path: Path) -> Path:
    """A copy of the user's folder that may be changed, without the splits: 12 images of 3 classes."""
    return Path(shutil.copytree(image_folder / "train", tmp_path / "photos"))


@pytest.fixture(scope="session")
def gan(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished RUN of 3 classes: the first has 5 images and the others have 12. It is only read."""
    folder = tmp_path_factory.mktemp("gan")
    shutil.copytree(image_folder / "train", folder / "photos")
    for file in sorted(min((folder / "photos").iterdir()).iterdir())[5:]:
        file.unlink()
    fit(TrainingData(read_source(folder / "photos", image_size=12).train), CganConfig(**TINY_GAN), folder / "run")
    return folder / "run"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A file for --config."""
    (tmp_path / "tiny.yaml").write_text(json.dumps(TINY_GAN))
    return tmp_path / "tiny.yaml"
