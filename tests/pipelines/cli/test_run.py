"""`augment run` prints its plan, and then runs each stage once."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from command_line import PIPELINE, Augment, next_command
from folders import contents


def test_run_prints_its_protocol_before_it_begins(photos: Path, tmp_path: Path, augment: Augment) -> None:
    text = PIPELINE.format(source="photos").replace("protocol: {kind: holdout, redraw_generator: false}\n", "")
    (tmp_path / "mine.yaml").write_text(text)
    result = augment("run", tmp_path / "mine.yaml", "--out", tmp_path / "out", "--dry-run")
    first, second = result.err.splitlines()
    assert first == "note: kfold: the source has no test split, so every image is tested once in each round of folds"
    assert re.fullmatch(
        r"note: 2 generators of 4 steps and 6 classifiers \(networks of 3 steps\), at 12 px on \d+ process(es)?: "
        r"(about .+|a few seconds) \(fit .+, generate .+, evaluate .+\) and at most \d+\.\d GB of memory, "
        r"estimated by a short probe",
        second,
    )


def test_run_plans_then_does_all_of_it_once(photos: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "mine.yaml").write_text(PIPELINE.format(source="photos"))
    command = ("run", tmp_path / "mine.yaml", "--set", "data.seed=2", "--out", tmp_path / "out")
    before = contents(tmp_path)
    result = augment(*command, "--dry-run")
    assert result.out.splitlines()[:-1] == [
        f"{s} has to run: it has not been run here" for s in ("fit", "generate", "evaluate")
    ]
    assert contents(tmp_path) == before
    assert next_command(result)[1:] == [str(part) for part in command]
    result = augment(*command, "--jobs", "1", "--quiet")
    assert result.status == 0
    assert next_command(result)[1:] == ["-m", "webbrowser", "-t", f"{tmp_path}/out/evaluation/report.html"]
    keep = shlex.split(result.out.splitlines()[-3].removeprefix("to keep a classifier: "))
    assert keep == ["augment", "train", str(photos), "--run", f"{tmp_path}/out", "--out", f"{tmp_path}/out-model"]
    assert result.out.splitlines()[-2] == f"report: {tmp_path}/out/evaluation/report.html"
    assert augment(*keep[1:], "--members", "1", "--jobs", "1", "--quiet").status == 0
    results = json.loads((tmp_path / "out" / "evaluation" / "results.json").read_text())
    assert "held out" in results["warnings"][0]
    result = augment(*command, "--jobs", "1")
    assert result.err.count("is up to date: nothing that it depends on has changed") == 3


def test_own_images_are_all_used_by_a_shipped_pipeline(photos: Path, augment: Augment, tmp_path: Path) -> None:
    result = augment("run", "quickstart", photos, "--out", tmp_path / "out", "--dry-run")
    assert result.status == 0
    assert "are used" not in result.err
    assert next_command(result)[1:4] == ["run", "quickstart", str(photos)]
    capped = augment(*next_command(result)[1:], "--samples-per-class", "4", "--dry-run")
    assert "at most 4 images of each class are used" in capped.err


def test_run_takes_the_options_of_the_other_commands(photos: Path, augment: Augment, tmp_path: Path) -> None:
    options = ("--resize", "crop", "--skip-broken", "--horizontal-flip", "--jobs", "1", "--threads", "1")
    result = augment(
        "run", "quickstart", "--set", f"data.source={photos}", *options, "--out", tmp_path / "out", "--dry-run"
    )
    assert result.status == 0
    assert "on 1 process:" in result.err
    again = next_command(result)
    assert {"data.resize=crop", "data.skip_broken=True", "--horizontal-flip", "--threads"} <= set(again)
    assert augment(*again[1:], "--dry-run").out == result.out


def test_auto_without_a_folder_says_whose_images_it_takes(augment: Augment, tmp_path: Path) -> None:
    (tmp_path / "foreign.txt").touch()
    result = augment("run", "auto", "--out", tmp_path, "--dry-run")  # refused after the note, so nothing is probed
    assert result.err.startswith("note: these are images of clothes that come with the package; for your own: augment")
    assert result.status == 2
