"""The efficiency analysis, `augment bench`: one-stage against two-stage training, on equal networks, batch and weights.

Two baselines: the fair two-stage step reuses its fakes and freezes D in G's turn; the published one draws fresh fakes
and computes gradients for a D that drops them, as official scripts do. With backward = 2 x forward, half of it for
parameters, counting passes gives 3g + 6d for one-stage, 3g + 8d for the fair and 4g + 9d for the published baseline,
where g and d are forward times per batch: the bounds on the gain. Everything is timed in turn, A B C A B C, so that a
drift of the machine cancels, and medians are told.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augment.config import GanConfig
from augment.errors import ConfigError
from augment.networks import Shape
from augment.outputs import write_text
from augment.steps import STEPS, Game
from augment.training import State, make_game, start, update_ema

ARMS = {"one_stage": "one-stage", "two_stage_fair": "two-stage", "two_stage_published": "two-stage-published"}
PASSES = {"one_stage": (3, 6), "two_stage_fair": (3, 8), "two_stage_published": (4, 9)}  # of G and of D


@dataclass(frozen=True)
class Preset:
    """Networks and batch that are measured."""

    config: GanConfig
    num_classes: int
    channels: int
    image_size: int
    repeats: int  # enough for the noise of a shared machine


PRESETS: dict[str, Preset] = {
    "quickstart": Preset(GanConfig(), num_classes=10, channels=1, image_size=28, repeats=60),
    "dcgan-64": Preset(  # d = 128 in the paper's terms: the channels after the first halving
        GanConfig(network="dcgan", width=64, latent_dim=128, loss="non-saturating", batch_size=128, augment=()),
        num_classes=10,
        channels=3,
        image_size=64,
        repeats=5,
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises `ConfigError` that lists them if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class Bench:
    """What was measured; times are medians in milliseconds, of `repeats` interleaved runs."""

    preset: str
    device: str
    batch_size: int
    milliseconds: dict[str, float]  # whole steps: one_stage, two_stage_fair, two_stage_published
    speedup: dict[str, float]  # of one-stage over fair and published: median of the ratios within a round
    bound: dict[str, float]  # the same, predicted by counting passes
    splits: dict[str, dict[str, float]]  # parts of each step, composed of `parts`, and `parts` themselves
    repeats: int


def measure(
    preset: str, *, device: torch.device, repeats: int, on_round: Callable[[int], None] = lambda _: None
) -> Bench:
    """Time the three steps and the parts of which they consist, round by round.

    `on_round` is told after every round how many there were. Raises `ConfigError` for an unknown preset.
    """
    timed = _timed_parts(find_preset(preset), device)
    times: dict[str, list[float]] = {name: [] for name in timed}
    for round_ in range(repeats + 1):  # the first one warms up
        for name, part in timed.items():
            elapsed = _milliseconds(part, device)
            if round_:
                times[name].append(elapsed)
        on_round(round_)
    medians = {name: statistics.median(values) for name, values in times.items()}
    bounds = {arm: g * medians["g_forward"] + d * medians["d_forward"] for arm, (g, d) in PASSES.items()}
    kinds = {"fair": "two_stage_fair", "published": "two_stage_published"}
    return Bench(
        preset=preset,
        device=str(device),
        batch_size=PRESETS[preset].config.batch_size,
        milliseconds={arm: medians[arm] for arm in ARMS},
        speedup={
            kind: statistics.median(b / a for a, b in zip(times["one_stage"], times[arm], strict=True))
            for kind, arm in kinds.items()
        },
        bound={kind: bounds[arm] / bounds["one_stage"] for kind, arm in kinds.items()},
        splits=_splits({name: value for name, value in medians.items() if name not in ARMS}),
        repeats=repeats,
    )


def write_bench(bench: Bench, folder: Path) -> None:
    """bench.json and bench.png in `folder`."""
    write_text(folder / "bench.json", json.dumps(asdict(bench), indent=1))
    _plot(bench, folder / "bench.png")


def _timed_parts(preset: Preset, device: torch.device) -> dict[str, Callable[[], Any]]:
    """Functions to time: the three steps, and the passes, optimisers, EMA and augmentation on their own."""
    config = preset.config
    shape = Shape(preset.num_classes, preset.channels, preset.image_size, config.width, config.latent_dim)
    state = start(config, shape, device)
    game = make_game(state, config)
    random = torch.Generator(device).manual_seed(1)
    size = (config.batch_size, preset.channels, preset.image_size, preset.image_size)
    real = (torch.rand(size, generator=random, device=device) * 2 - 1).contiguous(memory_format=torch.channels_last)
    y = torch.randint(preset.num_classes, (config.batch_size,), generator=random, device=device)
    steps = {arm: lambda step=STEPS[name]: step(game, real, y, y) for arm, name in ARMS.items()}
    return {**steps, **_passes(state, game, real, y)}


def _passes(state: State, game: Game, real: Tensor, y: Tensor) -> dict[str, Callable[[], Any]]:
    leaf = real.clone().requires_grad_()
    return {
        "g_forward": _no_grad(lambda: game.generate(y)),
        "d_forward": _no_grad(lambda: game.discriminator(real, y)),
        "g_forward_backward": lambda: torch.autograd.backward(game.generate(y).sum()),
        "d_forward_backward": lambda: torch.autograd.backward(game.discriminator(leaf, y).sum()),
        "d_forward_backward_parameters": lambda: torch.autograd.backward(game.discriminator(real, y).sum()),
        "d_forward_backward_activations": _frozen(game.discriminator, lambda: game.discriminator(leaf, y).sum()),
        "optimisers": lambda: (game.optimizer_d.step(), game.optimizer_g.step()),
        "ema": lambda: update_ema(state.ema, state.generator, 0.99, 1000),
        "augmentation": _no_grad(lambda: game.augment(torch.cat([real, real]))),
    }


def _no_grad(function: Callable[[], Any]) -> Callable[[], Any]:
    return torch.no_grad()(function)


def _frozen(network: nn.Module, scalar: Callable[[], Tensor]) -> Callable[[], None]:
    def run() -> None:
        network.requires_grad_(False)
        torch.autograd.backward(scalar())
        network.requires_grad_(True)

    return run


def _milliseconds(function: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - began)


def _splits(parts: dict[str, float]) -> dict[str, dict[str, float]]:
    """Three ways to split each step: real and generated samples, forward and backward, and whose gradients."""
    g_forward, d_forward = parts["g_forward"], parts["d_forward"]
    g_half = (parts["g_forward_backward"] - g_forward) / 2
    activations = parts["d_forward_backward_activations"] - d_forward
    parameters = parts["d_forward_backward"] - d_forward - activations
    inner = parts["d_forward_backward_parameters"] - d_forward - parameters  # activations but for the pixels
    detached, frozen, whole = (parameters, inner), (0.0, activations), (parameters, activations)
    passes = {  # G's forward passes, and D's backward passes on generated images: (of parameters, of activations)
        "one_stage": (1, [whole]),
        "two_stage_fair": (1, [detached, frozen]),
        "two_stage_published": (2, [detached, whole]),
    }
    splits: dict[str, dict[str, float]] = {}
    for arm, (g, on_generated) in passes.items():
        forward = g * g_forward + (1 + len(on_generated)) * d_forward
        of_parameters = g_half + parameters + sum(p for p, _ in on_generated)
        of_activations = g_half + inner + sum(a for _, a in on_generated)
        real = d_forward + parameters + inner
        splits[arm] = {
            "real": real,
            "generated": forward + of_parameters + of_activations - real,
            "forward": forward,
            "backward": of_parameters + of_activations,
            "parameter_gradients": of_parameters,
            "activation_gradients": of_activations,
        }
    return {**splits, "parts": parts}


def _plot(bench: Bench, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = (("real", "generated"), ("forward", "backward"), ("parameter_gradients", "activation_gradients"))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, pair in zip(figure.subplots(1, 3, sharey=True), pairs, strict=True):
        bottom = [0.0] * len(ARMS)
        for part, colour, hatch in zip(pair, ("#33658a", "#f6ae2d"), ("", "//"), strict=True):
            heights = [bench.splits[arm][part] for arm in ARMS]
            label = part.replace("_", " ")
            axes.bar(["one-stage", "two-stage\nfair", "two-stage\npublished"], heights, 0.6, bottom, label=label,
                     color=colour, hatch=hatch, edgecolor="white")  # fmt: skip
            bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("ms a step")
    figure.savefig(path, dpi=150)
