"""The efficiency analysis, `augment bench`: one-stage against two-stage training, on equal networks, batch and weights.

Two baselines: the fair two-stage step reuses its fakes and freezes D in G's turn; the published one draws fresh fakes
and computes gradients for a D that drops them, as official scripts do. With backward = 2 x forward, half of it for
parameters, counting passes gives 3g + 6d for one-stage, 3g + 8d for the fair and 4g + 9d for the published baseline,
where g and d are forward times per batch: the bounds on the gain. Everything is timed in turn, A B C A B C, so that a
drift of the machine cancels; medians and quartiles are told. Memory is measured in steps of its own, after all others.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile

from augment.errors import ConfigError
from augment.gan.benchmark_plot import plot
from augment.gan.config import GanConfig
from augment.gan.networks import Shape
from augment.gan.steps import STEPS, GanSetup
from augment.gan.training import make_setup, update_ema
from augment.gan.training_state import State, start
from augment.output_folders import OutputFolder
from augment.runtime import Runtime, Task
from augment.versions import versions

ARMS = {"one_stage": "one-stage", "two_stage_fair": "two-stage", "two_stage_published": "two-stage-published"}
BASELINES = {"fair": "two_stage_fair", "published": "two_stage_published"}
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


Quartiles = tuple[float, float]  # a quarter of the repeats lies below the first, a quarter above the second


@dataclass(frozen=True)
class Spread:
    """How far the repeats scatter."""

    milliseconds: dict[str, Quartiles]  # of whole steps
    speedup: dict[str, Quartiles]  # of the ratios within a round


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
    spread: Spread
    peak_memory_mib: dict[str, float | None]  # of a step, beyond what is held before it; None if the device hides it
    hardware: dict[str, str | int]
    versions: dict[str, str]


def measure(preset: str, runtime: Runtime, *, repeats: int | None = None) -> Bench:
    """Time the three steps and the parts of which they consist, round by round, then measure their memory.

    repeats: rounds; None: as many as the preset says. Raises `ConfigError` for an unknown preset.
    """
    chosen, device = find_preset(preset), runtime.device
    repeats = repeats or chosen.repeats
    task = Task("bench", repeats)
    runtime.observer.on_start(task)
    state, setup, real, y = set_up(chosen, device)
    steps = {arm: partial(STEPS[name], setup, real, y, y) for arm, name in ARMS.items()}
    timed: dict[str, Callable[[], Any]] = {**steps, **_passes(state, setup, real, y)}
    times = _times(timed, device, repeats, lambda n: runtime.observer.on_progress(task, n, {}))
    medians = {name: _quantile(values, 0.5) for name, values in times.items()}
    bounds = {arm: g * medians["g_forward"] + d * medians["d_forward"] for arm, (g, d) in PASSES.items()}
    ratios = {
        kind: [b / a for a, b in zip(times["one_stage"], times[arm], strict=True)] for kind, arm in BASELINES.items()
    }
    bench = Bench(
        preset=preset,
        device=str(device),
        batch_size=chosen.config.batch_size,
        milliseconds={arm: medians[arm] for arm in ARMS},
        speedup={kind: _quantile(values, 0.5) for kind, values in ratios.items()},
        bound={kind: bounds[arm] / bounds["one_stage"] for kind, arm in BASELINES.items()},
        splits=_splits({name: value for name, value in medians.items() if name not in ARMS}),
        repeats=repeats,
        spread=Spread(
            milliseconds={arm: _quartiles(times[arm]) for arm in ARMS},
            speedup={kind: _quartiles(values) for kind, values in ratios.items()},
        ),
        peak_memory_mib={arm: _peak_of_step(setup, step, device) for arm, step in steps.items()},
        hardware=_hardware(device),
        versions=versions(),
    )
    runtime.observer.on_end(task, bench.milliseconds)
    return bench


def set_up(preset: Preset, device: torch.device) -> tuple[State, GanSetup, Tensor, Tensor]:
    """Fresh networks, their setup, and what a step is given: noise for images (B, C, H, W) in [-1, 1], labels (B,)."""
    config, random = preset.config, torch.Generator(device).manual_seed(1)
    shape = Shape(preset.num_classes, preset.channels, preset.image_size, config.width, config.latent_dim)
    state = start(config, shape, device)
    size = (config.batch_size, preset.channels, preset.image_size, preset.image_size)
    real = torch.rand(size, generator=random, device=device) * 2 - 1
    y = torch.randint(preset.num_classes, size[:1], generator=random, device=device)
    return state, make_setup(state, config), real.contiguous(memory_format=torch.channels_last), y


def write_bench(bench: Bench, output: OutputFolder) -> None:
    """bench.json and bench.png in `output`."""
    content = asdict(bench)
    output.write("bench.json", json.dumps(content, indent=1))
    output.write("bench.png", plot(content))
    output.finish()


def peak_memory(function: Callable[[], Any], device: torch.device) -> float | None:
    """MiB that tensors take while `function` runs, at the most, beyond what they took before; None on other devices.

    It may free nothing that was allocated before: on a CPU, that would not be counted.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if device.type != "cpu":
        return None
    # a build for CUDA complains on standard error where there is no driver, unless its profiler is told not to
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    with profile(profile_memory=True) as profiler:
        function()
    assert profiler.kineto_results is not None
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]  # < 0: freed
    return float(np.cumsum(changes).max(initial=0)) / 2**20


def _peak_of_step(setup: GanSetup, step: Callable[[], Any], device: torch.device) -> float | None:
    for optimizer in (setup.optimizer_d, setup.optimizer_g):
        optimizer.zero_grad(set_to_none=True)  # gradients are what the step itself holds, not the one before it
    return peak_memory(step, device)


def _times(
    timed: dict[str, Callable[[], Any]], device: torch.device, repeats: int, on_round: Callable[[int], None]
) -> dict[str, list[float]]:
    """Milliseconds of each function, in turn and `repeats` times."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    for round_ in range(repeats + 1):  # the first one warms up
        for name, function in timed.items():
            elapsed = _milliseconds(function, device)
            if round_:
                times[name].append(elapsed)
        on_round(round_)
    return times


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share))


def _quartiles(values: Sequence[float]) -> Quartiles:
    return _quantile(values, 0.25), _quantile(values, 0.75)


def _hardware(device: torch.device) -> dict[str, str | int]:
    about: dict[str, str | int] = {
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
    return {**about, "gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else about


def _passes(state: State, setup: GanSetup, real: Tensor, y: Tensor) -> dict[str, Callable[[], Any]]:
    leaf = real.clone().requires_grad_()
    return {
        "g_forward": _no_grad(lambda: setup.generate(y)),
        "d_forward": _no_grad(lambda: setup.discriminate(real, y)),
        "g_forward_backward": lambda: torch.autograd.backward(setup.generate(y).sum()),
        "d_forward_backward": lambda: torch.autograd.backward(setup.discriminate(leaf, y).sum()),
        "d_forward_backward_parameters": lambda: torch.autograd.backward(setup.discriminate(real, y).sum()),
        "d_forward_backward_activations": _frozen(setup.discriminator, lambda: setup.discriminate(leaf, y).sum()),
        "optimisers": lambda: (setup.optimizer_d.step(), setup.optimizer_g.step()),
        "ema": lambda: update_ema(state.ema, state.generator, 0.99, 1000),
        "augmentation": _no_grad(lambda: setup.augment(torch.cat([real, real]))),
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
