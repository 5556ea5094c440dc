"""The efficiency analysis has the keys of the contract, times one pair of networks, and its parts add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from augment.errors import ConfigError
from augment.gan import networks
from augment.gan.config import GanConfig
from augment.gan.networks import Pair, Shape
from augment.gan.step_benchmark import ARMS, PRESETS, Bench, Preset, measure, write_bench
from augment.gan.steps import STEPS, GanSetup, Step, StepLosses
from augment.output_folders import open_output
from augment.runtime import Observer, Runtime, Task

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
TINY = Preset(GanConfig(width=4, latent_dim=8, batch_size=6), num_classes=3, channels=2, image_size=12, repeats=3)
Call = tuple[str, int, bool]  # the player, its batch, and whether the call was recorded for a backward pass


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)


@pytest.fixture(scope="module")
def bench() -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        return measure("tiny", Runtime(CPU), repeats=5)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Call] | list[Pair]]:
    """What happens to the networks of the preset "watched": the pairs that were built and every call of a player."""
    seen: dict[str, list] = {"pairs": [], "calls": []}

    def watch(name: str) -> object:
        def look(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen["calls"].append((name, len(inputs[0]), output.requires_grad))

        return look

    def watched(shape: Shape) -> Pair:
        pair = networks.NETWORKS["projection"](shape)
        for name, player in zip("gd", pair, strict=True):
            player.register_forward_hook(watch(name))
        seen["pairs"].append(pair)
        return pair

    monkeypatch.setitem(networks.NETWORKS, "watched", watched)
    config = GanConfig(**{**TINY.config.model_dump(), "network": "watched"})
    monkeypatch.setitem(PRESETS, "watched", Preset(config, num_classes=3, channels=2, image_size=12, repeats=3))
    return seen


def test_the_file_keeps_the_keys_of_the_contract_and_adds_its_own(bench: Bench, tmp_path: Path) -> None:
    with open_output(tmp_path, "bench", files=("bench.json", "bench.png")) as output:
        write_bench(bench, output)
    told = json.loads((tmp_path / "bench.json").read_text())
    assert list(told) == [
        "preset", "device", "batch_size", "milliseconds", "speedup", "bound", "splits", "repeats",
        "spread", "peak_memory_mib", "hardware", "versions",
    ]  # fmt: skip
    assert told["milliseconds"].keys() == {"one_stage", "two_stage_fair", "two_stage_published"}
    assert told["speedup"].keys() == told["bound"].keys() == {"fair", "published"}
    assert told["splits"].keys() == {*told["milliseconds"], "parts"}
    assert told["spread"]["milliseconds"].keys() == told["peak_memory_mib"].keys() == told["milliseconds"].keys()
    assert told["spread"]["speedup"].keys() == told["speedup"].keys()
    assert told["hardware"]["threads"] == torch.get_num_threads()
    assert told["versions"].keys() >= {"python", "torch"}
    assert (told["preset"], told["device"], told["batch_size"], told["repeats"]) == ("tiny", "cpu", 6, 5)
    with Image.open(tmp_path / "bench.png") as plot:
        assert plot.width > 500


def test_times_are_positive(bench: Bench) -> None:
    assert all(time > 0 for time in (*bench.milliseconds.values(), *bench.splits["parts"].values()))
    assert bench.splits["parts"].keys() >= {"optimisers", "ema", "augmentation"}  # timed apart


@pytest.mark.parametrize("arm", ARMS)
def test_each_split_adds_up_to_the_same_whole(arm: str, bench: Bench) -> None:
    split = bench.splits[arm]
    assert list(split) == ["real", "generated", "forward", "backward", "parameter_gradients", "activation_gradients"]
    whole = split["real"] + split["generated"]
    assert split["forward"] + split["backward"] == pytest.approx(whole)
    assert split["parameter_gradients"] + split["activation_gradients"] == pytest.approx(split["backward"])


@pytest.mark.parametrize(  # how often G runs forward, and which passes D makes over the generated images
    ("arm", "g", "passes"),
    [
        ("one_stage", 1, ["d_forward_backward"]),
        ("two_stage_fair", 1, ["d_forward_backward_parameters", "d_forward_backward_activations"]),
        ("two_stage_published", 2, ["d_forward_backward_parameters", "d_forward_backward"]),
    ],
)
def test_splits_are_composed_of_the_measured_parts(arm: str, g: int, passes: list[str], bench: Bench) -> None:
    part, split = bench.splits["parts"], bench.splits[arm]
    assert split["real"] == pytest.approx(part["d_forward_backward_parameters"])  # no gradient of real pixels
    generated = (g - 1) * part["g_forward"] + part["g_forward_backward"] + sum(part[name] for name in passes)
    assert split["generated"] == pytest.approx(generated)
    assert split["forward"] == pytest.approx(g * part["g_forward"] + (1 + len(passes)) * part["d_forward"])
    updates = 1 + len([name for name in passes if "activations" not in name])  # passes with D's parameter gradients
    of_parameters = part["d_forward_backward"] - part["d_forward_backward_activations"]
    of_g = (part["g_forward_backward"] - part["g_forward"]) / 2
    assert split["parameter_gradients"] == pytest.approx(of_g + updates * of_parameters)


def test_bounds_count_passes(bench: Bench) -> None:
    g, d = bench.splits["parts"]["g_forward"], bench.splits["parts"]["d_forward"]
    assert bench.bound["fair"] == pytest.approx((3 * g + 8 * d) / (3 * g + 6 * d))
    assert bench.bound["published"] == pytest.approx((4 * g + 9 * d) / (3 * g + 6 * d))
    assert 1 < bench.bound["fair"] < 4 / 3 < bench.bound["published"] < 3 / 2


def test_one_round_gives_the_speedups_of_its_own_times() -> None:
    bench = measure("tiny", Runtime(CPU), repeats=1)
    times = bench.milliseconds
    assert bench.speedup["fair"] == pytest.approx(times["two_stage_fair"] / times["one_stage"])
    assert bench.speedup["published"] == pytest.approx(times["two_stage_published"] / times["one_stage"])


def test_the_spread_holds_quartiles_of_times_and_of_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([9, 9, 9, 1, 2, 4, 2, 6, 6, 4, 20, 16, 8, 24, 40, 16, 16, 96])  # ms of A, B, C; the first warms up

    def timed(function: object, _: torch.device) -> float:
        return next(rounds) / 1000 if getattr(function, "func", None) in STEPS.values() else 0.001

    monkeypatch.setattr("augment.gan.step_benchmark.seconds_of", timed)
    bench = measure("tiny", Runtime(CPU), repeats=5)
    assert bench.milliseconds == {"one_stage": 4, "two_stage_fair": 16, "two_stage_published": 16}
    assert bench.spread.milliseconds == {
        "one_stage": (2, 8), "two_stage_fair": (6, 20), "two_stage_published": (6, 40),
    }  # fmt: skip
    assert bench.speedup == {"fair": 3, "published": 4}  # of 2, 3, 5, 3, 1 and of 4, 3, 4, 5, 6
    assert bench.spread.speedup == {"fair": (2, 3), "published": (4, 5)}


class Rounds(Observer):
    """Calls a function after each round."""

    def __init__(self, after: Callable[[], object]) -> None:
        self.after = after

    def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
        self.after()


def test_all_arms_and_parts_take_turns_on_one_pair_of_networks(
    calls: dict[str, list[Call]],
) -> None:
    ends: list[int] = []
    measure("watched", Runtime(CPU, observer=Rounds(lambda: ends.append(len(calls["calls"])))), repeats=2)
    assert len(calls["pairs"]) == 1
    seen = calls["calls"]
    one_round, another = (seen[began:ended] for began, ended in pairwise(ends))
    assert one_round == another
    assert seen[: ends[0]][-len(one_round) :] == one_round  # the warm-up
    samples = {(name, recorded): 0 for name in "gd" for recorded in (True, False)}
    for name, batch, recorded in one_round:
        assert batch in (6, 12)
        samples[name, recorded] += batch
    assert samples == {  # in batches of 6: one-stage, fair, published and the parts
        ("g", True): (1 + 1 + 1 + 1) * 6,
        ("g", False): (0 + 0 + 1 + 1) * 6,
        ("d", True): (2 + 3 + 3 + 3) * 6,
        ("d", False): (0 + 0 + 0 + 1) * 6,
    }
    assert len(seen) - ends[-1] < len(one_round)  # memory takes less than a round


def test_the_observer_receives_the_rounds() -> None:
    told: list[tuple[str, int, int]] = []

    class Rows(Observer):
        def on_start(self, task: Task) -> None:
            told.append((task.name, task.total, 0))

        def on_progress(self, task: Task, done: int, metrics: Mapping[str, float], label: str = "") -> None:
            told.append((task.name, task.total, done))

    measure("tiny", Runtime(CPU, observer=Rows()), repeats=2)
    assert told == [("bench", 2, 0), ("bench", 2, 0), ("bench", 2, 1), ("bench", 2, 2)]  # with the warm-up


@dataclass
class Given:
    """All that a step is given, and what of it could be changed between two steps of a round."""

    arm: str
    setup: GanSetup
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    values: list[torch.Tensor]
    settings: list[dict[str, object]]  # of both optimisers, the weights aside
    parts: list[object]  # of the setup
    training: bool


def test_the_arms_differ_in_the_step_and_in_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Given] = []

    def recorded(arm: str, step: Step) -> Step:
        def run(setup: GanSetup, *tensors: torch.Tensor) -> StepLosses:
            groups = [group for o in (setup.optimizer_g, setup.optimizer_d) for group in o.param_groups]
            settings = [{key: value for key, value in group.items() if key != "params"} for group in groups]
            values = [tensor.clone() for tensor in tensors]
            parts = [getattr(setup, field.name) for field in fields(setup)]
            given.append(Given(arm, setup, tensors, values, settings, parts, setup.discriminator.training))
            return step(setup, *tensors)

        return run

    for arm, step in list(STEPS.items()):
        monkeypatch.setitem(STEPS, arm, recorded(arm, step))
    measure("tiny", Runtime(CPU), repeats=2)
    assert [t.arm for t in given] == ["one-stage", "two-stage", "two-stage-published"] * 4  # warm-up, 2 rounds, memory
    first = given[0]
    for other in given[1:]:
        assert other.setup is first.setup
        assert all(a is b for a, b in zip(other.parts, first.parts, strict=True))
        assert all(a is b for a, b in zip(other.tensors, first.tensors, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(other.values, first.values, strict=True))
        assert other.settings == first.settings
        assert other.training


def test_the_networks_are_left_as_trainable_as_they_were(calls: dict[str, list[Pair]]) -> None:
    measure("watched", Runtime(CPU), repeats=1)
    assert all(p.requires_grad for player in calls["pairs"][0] for p in player.parameters())


def test_an_unknown_preset_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'large'; expected one of quickstart, dcgan-64"):
        measure("large", Runtime(CPU), repeats=1)


def test_the_published_preset_is_dcgan_at_64_px() -> None:
    preset = PRESETS["dcgan-64"]
    assert (preset.config.network, preset.image_size, preset.config.batch_size) == ("dcgan", 64, 128)
    assert PRESETS["quickstart"].config == GanConfig()


def test_memory_is_measured_of_each_step_from_the_same_state() -> None:
    peaks = [measure("tiny", Runtime(CPU), repeats=1).peak_memory_mib for _ in range(2)]
    assert peaks[0] == peaks[1]


def test_measuring_prints_nothing() -> None:
    code = (  # in a process of its own: the profiler complains once, and past Python
        "import torch\nfrom augment.gan.step_benchmark import PRESETS, measure\n"
        "from tests.augment.gan.test_step_benchmark import CPU, TINY, Runtime\n"
        "PRESETS['tiny'] = TINY\nmeasure('tiny', Runtime(CPU), repeats=1)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KINETO_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_the_published_step_needs_less_memory_since_it_generates_twice(bench: Bench) -> None:
    peaks = bench.peak_memory_mib
    assert peaks["two_stage_published"] < peaks["one_stage"]
