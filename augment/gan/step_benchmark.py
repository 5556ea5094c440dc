"""`augment bench`: the time of one-stage against two-stage steps, with equal networks, batch and initial weights.

There are two baselines. In the fair two-stage step, the update of G reuses the fakes and freezes D. In the published
one, as in official scripts, it generates new fakes and computes gradients of D's parameters, which are then discarded.

Counting passes predicts the gain. Let g and d be the forward times of G and D per batch, and let a backward pass take
twice as long as a forward pass, half of it for parameter gradients. Then one-stage training costs 3g + 6d, the fair
baseline 3g + 8d and the published one 4g + 9d. The gain is therefore at most 4/3 and 3/2, when D dominates.

All functions are timed in turn (A B C A B C), so that slow changes in the speed of the machine cancel; medians and
quartiles are reported. Peak memory is measured afterwards, in separate steps.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile

from augment.devices import seconds_of
from augment.errors import ConfigError
from augment.gan.benchmark_plot import plot
from augment.gan.config import GanConfig
from augment.gan.networks import Shape, build
from augment.gan.steps import STEPS, GanSetup
from augment.gan.training import generate_from_noise, make_setup, update_ema
from augment.gan.training_state import TrainingState, initial_state
from augment.output_folders import OutputFolder
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from augment.versions import versions

ARMS = {"one_stage": "one-stage", "two_stage_fair": "two-stage", "two_stage_published": "two-stage-published"}
BASELINES = {"fair": "two_stage_fair", "published": "two_stage_published"}
PASSES = {"one_stage": (3, 6), "two_stage_fair": (3, 8), "two_stage_published": (4, 9)}  # cost in (g, d)


@dataclass(frozen=True)
class Preset:
    """The networks and the batch of a benchmark."""

    config: GanConfig
    num_classes: int
    channels: int
    image_size: int
    repeats: int  # enough to average out the noise of a shared machine


PRESETS: dict[str, Preset] = {
    "quickstart": Preset(GanConfig(), num_classes=10, channels=1, image_size=28, repeats=60),
    "dcgan-64": Preset(  # d = 128 in the paper, which counts the channels after the first halving
        GanConfig(network="dcgan", width=64, latent_dim=128, loss="non-saturating", batch_size=128, augment=()),
        num_classes=10,
        channels=3,
        image_size=64,
        repeats=5,
    ),
}


def find_preset(name: str) -> Preset:
    """Return the preset called `name`. Raises `ConfigError` with the known names if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


Quartiles = tuple[float, float]  # lower, upper


@dataclass(frozen=True)
class Spread:
    """Quartiles over the repeats."""

    milliseconds: dict[str, Quartiles]  # of whole steps
    speedup: dict[str, Quartiles]  # of the ratios within each round


@dataclass(frozen=True)
class Bench:
    """Results of a benchmark, the content of bench.json. Times are medians of `repeats` interleaved runs, in ms."""

    preset: str
    device: str
    batch_size: int
    milliseconds: dict[str, float]  # whole steps: one_stage, two_stage_fair, two_stage_published
    speedup: dict[str, float]  # of one-stage over "fair" and "published": medians of the ratios within each round
    bound: dict[str, float]  # the same ratios, predicted by counting passes
    splits: dict[str, dict[str, float]]  # by arm, computed from the measured parts, which are under the key "parts"
    repeats: int
    spread: Spread
    peak_memory_mib: dict[str, float | None]  # of a step, above the memory in use before it; None if unknown
    hardware: dict[str, str | int]
    versions: dict[str, str]


def measure(preset: str, runtime: Runtime, *, repeats: int | None = None) -> Bench:
    """Time the three steps and their parts in interleaved rounds, then measure the memory of the steps.

    repeats: number of rounds; None: that of the preset. Raises `ConfigError` for an unknown preset.
    """
    selected, device = find_preset(preset), runtime.device
    repeats = repeats or selected.repeats
    task = Task("bench", repeats)
    runtime.observer.on_start(task)
    state, setup, real, y = set_up(selected, device)
    steps = {arm: partial(STEPS[name], setup, real, y, y) for arm, name in ARMS.items()}
    timed: dict[str, Callable[[], Any]] = {**steps, **_passes(state, setup, real, y)}
    times = _times(timed, device, repeats, lambda rounds: runtime.observer.on_progress(task, rounds, {}))
    medians = {name: _quantile(values, 0.5) for name, values in times.items()}
    bounds = {arm: g * medians["g_forward"] + d * medians["d_forward"] for arm, (g, d) in PASSES.items()}
    ratios = {
        kind: [b / a for a, b in zip(times["one_stage"], times[arm], strict=True)] for kind, arm in BASELINES.items()
    }
    bench = Bench(
        preset=preset,
        device=str(device),
        batch_size=selected.config.batch_size,
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


def set_up(preset: Preset, device: torch.device) -> tuple[TrainingState, GanSetup, Tensor, Tensor]:
    """Return new networks, their setup and a batch: random images (B, C, H, W) in [-1, 1] and labels (B,)."""
    config, rng = preset.config, torch.Generator(device).manual_seed(1)
    shape = Shape(preset.num_classes, preset.channels, preset.image_size, config.width, config.latent_dim)
    state = initial_state(config, build(config.network, shape, seed=derive_seed(config.seed, "weights")), shape, device)
    size = (config.batch_size, preset.channels, preset.image_size, preset.image_size)
    real = torch.rand(size, generator=rng, device=device) * 2 - 1
    y = torch.randint(preset.num_classes, size[:1], generator=rng, device=device)
    setup = make_setup(state, config, generate_from_noise(state, config))
    return state, setup, real.contiguous(memory_format=torch.channels_last), y


def write_bench(bench: Bench, output: OutputFolder) -> None:
    """Write bench.json and bench.png to `output`."""
    content = asdict(bench)
    output.write("bench.json", json.dumps(content, indent=1))
    output.write("bench.png", plot(content))
    output.finish()


def peak_memory(function: Callable[[], Any], device: torch.device) -> float | None:
    """Return the peak memory of tensors while `function` runs, in MiB above the memory in use before.

    Returns None on devices other than CUDA and CPU. `function` must not free memory that was allocated before the call.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if device.type != "cpu":
        return None
    # without this, the profiler of a CUDA build prints warnings to stderr on machines without a driver
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    with profile(profile_memory=True) as profiler:
        function()
    assert profiler.kineto_results is not None
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]  # negative if freed
    return float(np.cumsum(changes).max(initial=0)) / 2**20


def _peak_of_step(setup: GanSetup, step: Callable[[], Any], device: torch.device) -> float | None:
    for optimizer in (setup.optimizer_d, setup.optimizer_g):
        optimizer.zero_grad(set_to_none=True)  # frees the gradients of the previous step
    return peak_memory(step, device)


def _times(
    functions: dict[str, Callable[[], Any]], device: torch.device, repeats: int, on_round: Callable[[int], None]
) -> dict[str, list[float]]:
    """Time each function `repeats` times, all functions in turn. Returns milliseconds by name."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(repeats + 1):  # the first round is a warm-up
        for name, function in functions.items():
            elapsed = 1000 * seconds_of(function, device)
            if round_:
                times[name].append(elapsed)
        on_round(round_)
    return times


def _quantile(values: Sequence[float], fraction: float) -> float:
    return float(np.quantile(values, fraction))


def _quartiles(values: Sequence[float]) -> Quartiles:
    return _quantile(values, 0.25), _quantile(values, 0.75)


def _hardware(device: torch.device) -> dict[str, str | int]:
    hardware: dict[str, str | int] = {
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
    return {**hardware, "gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else hardware


def _passes(state: TrainingState, setup: GanSetup, real: Tensor, y: Tensor) -> dict[str, Callable[[], Any]]:
    """Return the parts of a step to be timed: passes through G and D, optimisers, EMA and augmentation."""
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


def _splits(parts: dict[str, float]) -> dict[str, dict[str, float]]:
    """Split each step in three ways: by real and generated samples, by direction, and by type of gradient."""
    g_forward, d_forward = parts["g_forward"], parts["d_forward"]
    g_half = (parts["g_forward_backward"] - g_forward) / 2
    activations = parts["d_forward_backward_activations"] - d_forward
    parameters = parts["d_forward_backward"] - d_forward - activations
    hidden = parts["d_forward_backward_parameters"] - d_forward - parameters  # activations without the pixels
    detached, frozen, full = (parameters, hidden), (0.0, activations), (parameters, activations)
    passes = {  # G's forward passes, and D's backward passes on generated images: (for parameters, for activations)
        "one_stage": (1, [full]),
        "two_stage_fair": (1, [detached, frozen]),
        "two_stage_published": (2, [detached, full]),
    }
    splits: dict[str, dict[str, float]] = {}
    for arm, (g_passes, d_backward) in passes.items():
        forward = g_passes * g_forward + (1 + len(d_backward)) * d_forward
        parameter_gradients = g_half + parameters + sum(p for p, _ in d_backward)
        activation_gradients = g_half + hidden + sum(a for _, a in d_backward)
        real = d_forward + parameters + hidden
        splits[arm] = {
            "real": real,
            "generated": forward + parameter_gradients + activation_gradients - real,
            "forward": forward,
            "backward": parameter_gradients + activation_gradients,
            "parameter_gradients": parameter_gradients,
            "activation_gradients": activation_gradients,
        }
    return {**splits, "parts": parts}
