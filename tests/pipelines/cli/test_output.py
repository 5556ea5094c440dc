"""After the results, the commands that follow are printed, and they work when they are pasted."""

from __future__ import annotations

from pathlib import Path

import pytest
from reported import results_of
from toy import GAIN

from pipelines.cli.output import print_commands_after
from pipelines.config.sections import DataConfig


@pytest.mark.parametrize(
    ("gain", "of_run", "keeps"), [(GAIN, False, False), (GAIN, True, True), ([0.0] * 6, False, True)]
)
def test_train_is_offered_where_the_folder_has_what_it_needs(
    gain: list[float], of_run: bool, keeps: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    results = results_of(gain=gain).model_copy(update={"keep": "Keep this."})
    assert results.recommendation.augment == (gain is GAIN)
    data = DataConfig(source="photos", resize="crop")
    print_commands_after(data, results, Path("out"), of_run=of_run)
    output = capsys.readouterr().out
    command = "to keep a classifier: augment train photos --resize crop --run out --out out-model\n"
    assert (command in output) == keeps
    assert f"report: {Path('out/evaluation/report.html' if of_run else 'out/report.html')}\n" in output
