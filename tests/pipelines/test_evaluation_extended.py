"""An evaluation takes more arms and repeats, and loses nothing that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from augment.errors import OutputError
from pipelines.config.reading import parse
from pipelines.config.sections import DataConfig, EvaluateConfig
from pipelines.evaluation import evaluate

TINY = {"repeats": 2, "views": 2, "classifier": {"width": 4, "steps": 4, "batch_size": 6}}


def test_more_arms_and_repeats_are_added_to_an_evaluation(image_folder: Path, tmp_path: Path) -> None:
    data, folder = DataConfig(source=str(image_folder), image_size=12), tmp_path / "out"

    def evaluated(arms: list[str], **settings: int) -> list[str]:
        evaluate(data, parse(EvaluateConfig, {**TINY, **settings, "arms": arms}, "the test"), folder)
        return (folder / "records.jsonl").read_text().splitlines()

    first = evaluated(["none"])
    assert len(first) == 2
    more = evaluated(["none", "classical"], repeats=3)
    assert len(more) == 6
    assert more[:2] == first
    for arms, settings in (
        (["none"], {"repeats": 3}),
        (["none", "classical"], {}),
        (["none", "classical"], {"seed": 1}),
    ):
        with pytest.raises(OutputError, match=r"--overwrite"):
            evaluated(arms, **settings)
    assert evaluated(["none", "classical"], repeats=3) == more
