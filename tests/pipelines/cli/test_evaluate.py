"""`augment evaluate` compares arms on test images from the source or from elsewhere."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import PIPELINE, QUICK, Augment, check_refused, next_command


def test_fit_generate_and_evaluate_follow_each_other(
    image_folder: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    run = tmp_path / "my run"
    result = augment(
        "fit", image_folder, "--out", run, "--config", tiny, "--image-size", "12", "--steps", "3", "--quiet"
    )
    assert (result.status, result.err) == (0, "")
    assert f"{run} is finished" in result.out
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 3
    command = next_command(result)
    assert command == ["augment", "generate", str(run), "--out", f"{run}-images", "--per-class", "200"]
    result = augment(*command[1:-1], "12")
    assert (result.status, result.err) == (0, "")
    command = next_command(result)
    source = [str(image_folder), "--image-size", "12"]
    images, answer = f"{run}-images", f"{run}-images-evaluation"
    assert command == ["augment", "evaluate", *source, "--synthetic", images, "--out", answer]
    result = augment(*command[1:], *QUICK[2:])
    assert (result.status, result.err) == (0, "")
    assert next_command(result)[1:] == ["-m", "webbrowser", "-t", f"{answer}/report.html"]
    (keep,) = [line for line in result.out.splitlines() if line.startswith("to keep a classifier: ")]
    trained = ["augment", "train", str(image_folder), "--run", answer, "--out", f"{answer}-model"]
    assert shlex.split(keep.removeprefix("to keep a classifier: ")) == trained
    results = json.loads((tmp_path / "my run-images-evaluation" / "results.json").read_text())
    assert len(results["arms"]) == 5
    assert results["recommendation"]["sentence"] in result.out.replace("\n", " ")


def test_evaluate_takes_test_images_from_elsewhere(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    options = ("--test", image_folder / "test", "--arms", "none, classical", "--out", tmp_path / "out")
    result = augment("evaluate", image_folder / "train", *options, *QUICK)
    assert (result.status, result.err) == (0, "")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (list(results["arms"]), results["dataset"]["test_size"]) == (["none", "classical"], 18)


@pytest.mark.parametrize(("option", "seed"), [((), 7), (("--seed", "3"), 3)])
def test_the_seed_of_the_config_holds_unless_another_is_given(
    option: tuple[str, ...], seed: int, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    (tmp_path / "best.yaml").write_text("seed: 7\narms: [none]\n")
    options = ("--config", tmp_path / "best.yaml", *option, "--out", tmp_path / "out", *QUICK)
    assert augment("evaluate", image_folder, *options).status == 0
    marker = json.loads((tmp_path / "out" / ".augment.json").read_text())
    assert marker["identity"]["settings"]["evaluate"]["seed"] == seed


@pytest.mark.parametrize("count", [1, 2])
def test_a_test_set_of_one_image_is_refused_before_anything_is_trained(
    count: int, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    photos = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    first, *others = sorted((photos / "test").iterdir())
    for file in [file for folder in others for file in folder.iterdir()] + sorted(first.iterdir())[count:]:
        file.unlink()
    (tmp_path / "mine.yaml").write_text(PIPELINE.format(source="photos"))
    evaluating = ("evaluate", photos, "--arms", "none,classical", *QUICK, "--out", tmp_path / "out")
    for command in (evaluating, ("run", tmp_path / "mine.yaml", "--out", tmp_path / "plan", "--dry-run")):
        result = augment(*command)
        if count == 1:
            *notes, sentence, _ = result.err.split("\n")
            assert all(note.startswith("note: the test set has no image of ") for note in notes)
            check_refused(result._replace(err=f"{sentence}\n"), "the test set has 1 image: at least 2 are needed")
            assert not (tmp_path / "out").exists()
        else:
            assert result.status == 0


def test_a_folder_that_fills_up_the_classes_is_evaluated_as_that(
    image_folder: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    source = shutil.copytree(image_folder, tmp_path / "source")
    for path in sorted(next((source / "train").iterdir()).iterdir())[4:]:
        path.unlink()
    options = ("--image-size", "12", "--quiet")
    assert augment("fit", source, "--out", tmp_path / "run", "--config", tiny, *options).status == 0
    result = augment("generate", tmp_path / "run", "--out", tmp_path / "images", "--balance", "--quiet")
    result = augment(*next_command(result)[1:], *QUICK[:-1])
    assert result.status == 0
    assert "the synthetic images fill up the small classes" in result.err
    results = json.loads((tmp_path / "images-evaluation" / "results.json").read_text())
    assert "which fill up the small classes" in results["protocol"]["mix"]
    assert "one set of synthetic images if any" in results["protocol"]["note"]
