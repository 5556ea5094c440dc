"""The printed results of a command contain each figure, in 80 columns."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from augment.gan import step_benchmark
from augment.gan.benchmark_plot import format_ms
from augment.gan.config import GanConfig
from augment.gan.step_benchmark import Bench, Preset, measure
from augment.runtime import Runtime
from pipelines.cli.tables import print_bench

TINY = Preset(GanConfig(width=4, latent_dim=8, batch_size=6), num_classes=3, channels=2, image_size=12, repeats=3)


@pytest.fixture(scope="module")
def bench() -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(step_benchmark.PRESETS, "tiny", TINY)
        return measure("tiny", Runtime(torch.device("cpu")), repeats=5)


@pytest.mark.parametrize(("value", "said"), [(0.044, "0.04"), (9.87, "9.87"), (54.32, "54.3"), (4547.8, "4548")])
def test_milliseconds_have_as_many_digits_as_they_need(value: float, said: str) -> None:
    assert format_ms(value) == said


def test_the_table_of_bench_contains_medians_spread_memory_and_splits(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = {"one_stage": 1234.4, "two_stage_fair": 2345.4, "two_stage_published": None}
    slow = {**bench.milliseconds, "two_stage_published": 98765.4}
    print_bench(dataclasses.replace(bench, peak_memory_mib=peaks, milliseconds=slow))
    said = capsys.readouterr().out
    low, high = bench.spread.milliseconds["two_stage_fair"]
    ratios = bench.spread.speedup["published"]
    for figure in (
        f"{format_ms(bench.milliseconds['one_stage'])} ",
        f"{format_ms(low)} to {format_ms(high)}",
        f"{ratios[0]:.3f} to {ratios[1]:.3f}",
        "1234 ",
        "2345 ",
        "?",
        "98765 ",
        f"{format_ms(bench.splits['two_stage_fair']['activation_gradients'])} ",
        f"EMA {format_ms(bench.splits['parts']['ema'])} ms",
    ):
        assert figure in said
    assert max(map(len, said.splitlines()[:-1])) <= 80
