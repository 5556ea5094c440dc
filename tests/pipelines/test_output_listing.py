"""`augment runs` lists the outputs below a folder with their state and what they say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fitting import TINY, fit
from small_model import recipe

from augment.dataset.images import LabelledImages
from augment.runtime import Runtime
from pipelines.config.sections import DataConfig
from pipelines.model.training import train
from pipelines.output_listing import list_outputs


@pytest.fixture
def outputs(done: Path, image_folder: Path, shoes: LabelledImages, tmp_path: Path) -> Path:
    """A pipeline's folder, a generator and, one folder deeper, a classifier."""
    shutil.copytree(done, tmp_path / "a-run")
    fit(shoes, TINY, tmp_path / "b-gan")
    train(DataConfig(source=str(image_folder), image_size=12), recipe(), tmp_path / "c" / "model", Runtime(), members=1)
    return tmp_path


def test_outputs_are_listed_once_with_what_they_say(outputs: Path) -> None:
    run, gan, model = list_outputs(outputs)
    assert [(o.path.name, o.command, o.state) for o in (run, gan, model)] == [
        ("a-run", "run", "finished"),
        ("b-gan", "fit", "finished"),
        ("model", "train", "finished"),
    ]
    results = json.loads((outputs / "a-run" / "evaluation" / "results.json").read_text())
    assert run.headline == results["recommendation"]["sentence"]
    assert gan.headline.startswith("cgan of 3 classes, 19 images of")
    assert model.headline.startswith("classifier of 3 classes, cross-validated accuracy")


def test_unfinished_and_damaged_outputs_are_called_so(outputs: Path) -> None:
    marker = outputs / "b-gan" / ".augment.json"
    marker.write_text(marker.read_text().replace('"finished":true', '"finished":false'))
    (outputs / "a-run" / "evaluation" / "results.json").unlink()
    run, gan, _ = list_outputs(outputs)
    assert (run.state, gan.state, gan.headline) == ("damaged", "unfinished", "")
    (outputs / "a-run" / ".augment.json").write_text("{")
    assert list_outputs(outputs)[0].state == "damaged"


def test_a_folder_without_outputs_gives_none(image_folder: Path) -> None:
    assert list_outputs(image_folder) == []
