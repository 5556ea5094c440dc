"""The efficiency analysis tells what the contract says, of one pair of networks, and its parts add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from augment import networks
from augment.config import GanConfig
from augment.efficiency import ARMS, PRESETS, Bench, Preset, measure, write_bench
from augment.errors import ConfigError
from augment.networks import Pair, Shape

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
        return measure("tiny", device=CPU, repeats=5)


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


def test_the_file_has_exactly_the_keys_of_the_contract(bench: Bench, tmp_path: Path) -> None:
    write_bench(bench, tmp_path)
    told = json.loads((tmp_path / "bench.json").read_text())
    assert list(told) == [
        "preset", "device", "batch_size", "milliseconds", "speedup", "bound", "splits", "repeats",
    ]  # fmt: skip
    assert told["milliseconds"].keys() == {"one_stage", "two_stage_fair", "two_stage_published"}
    assert told["speedup"].keys() == told["bound"].keys() == {"fair", "published"}
    assert told["splits"].keys() == {*told["milliseconds"], "parts"}
    assert (told["preset"], told["device"], told["batch_size"], told["repeats"]) == ("tiny", "cpu", 6, 5)
    with Image.open(tmp_path / "bench.png") as plot:
        assert plot.width > 500


def test_times_are_positive(bench: Bench) -> None:
    assert all(time > 0 for time in (*bench.milliseconds.values(), *bench.splits["parts"].values()))
    assert bench.splits["parts"].keys() >= {"optimisers", "ema", "augmentation"}  # told apart from the passes


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
    bench = measure("tiny", device=CPU, repeats=1)
    times = bench.milliseconds
    assert bench.speedup["fair"] == pytest.approx(times["two_stage_fair"] / times["one_stage"])
    assert bench.speedup["published"] == pytest.approx(times["two_stage_published"] / times["one_stage"])


def test_all_arms_and_parts_take_turns_on_one_pair_of_networks_with_equal_batches(
    calls: dict[str, list[Call]],
) -> None:
    measure("watched", device=CPU, repeats=2)
    assert len(calls["pairs"]) == 1
    seen = calls["calls"]
    one_round = seen[: len(seen) // 3]
    assert seen == one_round * 3  # one to warm up, and two
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


def test_the_networks_are_left_as_trainable_as_they_were(calls: dict[str, list[Pair]]) -> None:
    measure("watched", device=CPU, repeats=1)
    assert all(p.requires_grad for player in calls["pairs"][0] for p in player.parameters())


def test_an_unknown_preset_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'large'; expected one of quickstart, dcgan-64"):
        measure("large", device=CPU, repeats=1)


def test_the_published_preset_is_dcgan_at_64_px() -> None:
    preset = PRESETS["dcgan-64"]
    assert (preset.config.network, preset.image_size, preset.config.batch_size) == ("dcgan", 64, 128)
    assert PRESETS["quickstart"].config == GanConfig()
