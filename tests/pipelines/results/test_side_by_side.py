"""Evaluations on the same test images are shown side by side; others are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from augment.errors import ConfigError
from pipelines.results.side_by_side import read_evaluations, rows, write_page


@pytest.fixture
def both(done: Path, tmp_path: Path) -> list[Path]:
    """A run, and a copy of its evaluation in which one arm is better by ten points."""
    other = Path(shutil.copytree(done / "evaluation", tmp_path / "other"))
    results = json.loads((other / "results.json").read_text())
    values = results["arms"]["none"]["accuracy"]
    values["mean"] = max(arm["accuracy"]["mean"] for arm in results["arms"].values()) + 0.1
    (other / "results.json").write_text(json.dumps(results))
    return [done, other]


def test_there_is_a_row_for_each_arm_and_the_best_is_marked(both: list[Path]) -> None:
    evaluations = read_evaluations(both)
    found = rows(evaluations)
    assert [(row.evaluation, row.arm) for row in found] == [
        (folder.name, arm) for folder in both for arm in evaluations[0].results.arms
    ]
    assert [(row.evaluation, row.arm) for row in found if row.best] == [("other", "none")]
    accuracy = evaluations[0].results.arms["none"]["accuracy"]
    assert found[0].metrics["accuracy"] == f"{100 * accuracy.mean:.1f} ± {100 * accuracy.std:.1f}"


def test_the_page_escapes_names_and_has_every_answer(both: list[Path], tmp_path: Path) -> None:
    odd = Path(shutil.copytree(both[1], tmp_path / "<b>odd"))
    write_page(read_evaluations([both[0], odd]), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<b>odd" not in page
    assert page.count('<tr class="best">') == 1
    assert page.count("<dd>") == 2
    assert "Content-Security-Policy" in page


def test_other_test_images_are_refused(both: list[Path]) -> None:
    marker = both[1] / ".augment.json"
    content = json.loads(marker.read_text())
    name = next(name for name in content["identity"]["data"] if name.endswith("test images"))
    content["identity"]["data"][name] = "0123456789abcdef"
    marker.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="were tested on different images, so their metrics cannot be compared"):
        read_evaluations(both)


def test_other_sizes_of_images_are_refused(both: list[Path]) -> None:
    results = json.loads((both[1] / "results.json").read_text())
    results["dataset"]["image_size"] = 16
    (both[1] / "results.json").write_text(json.dumps(results))
    with pytest.raises(
        ConfigError, match="was tested at 12 px and other at 16 px, so their metrics cannot be compared"
    ):
        read_evaluations(both)


def test_a_folder_without_an_evaluation_is_refused(image_folder: Path) -> None:
    with pytest.raises(ConfigError, match="holds no finished evaluation"):
        read_evaluations([image_folder])
