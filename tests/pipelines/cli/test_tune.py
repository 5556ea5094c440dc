"""`augment tune` writes settings that `augment evaluate` accepts."""

from __future__ import annotations

import re
from pathlib import Path

from command_line import Augment, check_refused, next_command


def test_tune_finds_settings_that_evaluate_takes(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    images = ["--samples-per-class", "5", "--image-size", "12", "--resize", "crop", "--skip-broken"]
    budget = ("--trials", "2", "--splits", "1", "--steps", "2", *images, "--jobs", "1")
    result = augment("tune", image_folder, "--out", tmp_path / "tuned", "--horizontal-flip", *budget)
    assert result.status == 0
    assert re.match(
        r"policy [a-z-]+, lr 0\.\d+, weight decay 0\.\d+, mixup [01]\.\d+, plain sampling, "
        r"long-tail method logit-adjustment\n",
        result.out,
    )
    best = tmp_path / "tuned" / "best.yaml"
    command, arguments = next_command(result)[1], next_command(result)[2:]
    assert (command, arguments) == (
        "evaluate",
        [str(image_folder), *images, "--config", str(best), "--out", f"{tmp_path}/tuned-evaluation"],
    )
    best.write_text(best.read_text() + "views: 3\n")
    result = augment(command, *arguments, "--repeats", "2", "--jobs", "1", "--quiet")
    assert result.status == 0
    settings = (tmp_path / "tuned-evaluation" / ".augment.json").read_text()
    assert '"views":3' in settings
    assert '"horizontal_flip":true' in settings
    assert '"steps":2' in settings
    budget = ("--trials", "1", *budget[2:])
    result = augment("tune", image_folder, "--out", tmp_path / "one", "--horizontal-flip", *budget)
    assert re.search(
        r"\ninitial settings kept, score 0\.\d{3} on validation images: no others were tried\n", result.out
    )
    result = augment("evaluate", image_folder, "--config", tmp_path / "none.yaml", "--out", tmp_path / "x")
    check_refused(result, "none.yaml cannot be read")
