"""After the results, the commands that follow are printed, and they work when they are pasted."""

from __future__ import annotations

from pathlib import Path

import pytest
from reported import results_of
from toy import GAIN

from pipelines.cli.output import print_commands_after
from pipelines.config.sections import DataConfig


@pytest.mark.parametrize(
    ("gain", "holds_generator", "keeps"), [(GAIN, False, False), (GAIN, True, True), ([0.0] * 6, False, True)]
)
def test_train_is_offered_where_the_folder_has_what_it_needs(
    gain: list[float], holds_generator: bool, keeps: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    results = results_of(gain=gain).model_copy(update={"keep": "Keep this."})
    assert results.recommendation.augment == (gain is GAIN)
    data = DataConfig(source="photos", resize="crop")
    print_commands_after(data, results, Path("out"), Path("out/report.html"), holds_generator=holds_generator)
    command = "to keep a classifier: augment train photos --resize crop --run out --out out-model\n"
    assert (command in capsys.readouterr().out) == keeps
