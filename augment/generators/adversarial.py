"""Fitting of adversarial generators: the training loop with its log, checkpoints, sample images and resumption.

A kind of generator provides a `TrainingParts`: the networks, the setup of its steps, and what is done with the finished
weights. A run can stop at any step and continue later with the same result. On a CPU the result is bit-identical
if the number of threads is the same; each checkpoint stores that number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor, nn

from augment.dataset.images import LabelledImages, check_size, to_uint8
from augment.errors import DivergedError, SourceError
from augment.gan.config import TrainingConfig
from augment.gan.networks import Pair, Shape
from augment.gan.step_times import TrainingStep, bfloat16_is_faster, seconds_per_step
from augment.gan.steps import GanSetup
from augment.gan.training import make_step, recalibrate_batch_norm, update_ema
from augment.gan.training_state import TrainingState, dump_state, restore
from augment.generators.base import Fitted, GeneratorConfig, GeneratorKind, Load, Outcome, TrainingData, describe_fit
from augment.generators.previews import tile
from augment.generators.runs import GeneratorMetadata, Run, RunLog, open_run
from augment.output_folders import Replace
from augment.runtime import Observer, Observers, Runtime, Task
from augment.seeds import derive_seed
from augment.tensor_files import load_network, prefixed, unprefixed

PREVIEW_COLUMNS, ROWS_AT_ONCE = 10, 20  # of a grid; all rows of many classes would not fit into memory
LOSS_NAMES = ("discriminator_loss", "generator_loss")  # in the order of `TrainingState.loss_sums`


class AdversarialConfig(TrainingConfig, GeneratorConfig):
    """The settings that all adversarial generators share."""

    @property
    def total(self) -> int:
        """Number of optimiser steps."""
        return self.steps

    @property
    def uses_unlabelled(self) -> bool:
        """Whether D learns from unlabelled images, if there are any."""
        return self.unlabelled > 0

    def with_horizontal_flip(self) -> Self:
        """Return these settings with flips added to the augmentation of D's inputs."""
        return self if "flip" in self.augment else self.model_copy(update={"augment": (*self.augment, "flip")})


C = TypeVar("C", bound=AdversarialConfig)


class AdversarialMetadata(GeneratorMetadata):
    """The metadata of a finished adversarial generator."""

    shape: Shape

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        check_size(self.shape.image_size)
        if self.shape.num_classes != len(self.classes):
            raise ValueError("the classes and the networks do not agree")
        if not (1 <= self.shape.channels <= 4 and 1 <= self.shape.width <= 512 and 1 <= self.shape.latent_dim <= 2**20):
            raise ValueError("no network has such a shape")
        return self


@dataclass(frozen=True)
class TrainingParts:
    """The parts that each kind of adversarial generator supplies to the common training loop.

    run_ema(count, rng): runs the averaged G on `count` random inputs. preview: returns uint8 images of the averaged
    G for a grid with PREVIEW_COLUMNS columns. save: writes the finished model. classes: int64; the classes whose real
    and generated images D learns from; None: all that have images.
    """

    state: TrainingState
    setup: GanSetup
    run_ema: Callable[[int, torch.Generator], object]
    preview: Callable[[], NDArray[np.uint8]]
    save: Callable[[Run], None]
    classes: Tensor | None = None


def adversarial_generator(
    config: type[C], prepare: Callable[[TrainingData, C, torch.device], TrainingParts], load: Load
) -> GeneratorKind:
    """Return the kind of generator with these settings. prepare: returns what it adds to fitting, on a device."""

    def fit(
        data: TrainingData, config: C, folder: Path, runtime: Runtime, *, overwrite: bool, replace: Replace
    ) -> Fitted:
        training = prepare(data, config, runtime.device)
        images, name, unlabelled = data.images, data.origin.name, data.unlabelled
        with open_run(folder, config, images, name, unlabelled, overwrite=overwrite, replace=replace) as run:
            if config.precision == "auto" and not (config.fast or run.checkpoints() or run.finished_step()):
                low = config.model_copy(update={"precision": "bfloat16"})
                float32, bfloat16 = (new_step(data, choice, runtime.device) for choice in (config, low))
                training.state.bfloat16 = bfloat16_is_faster(float32, bfloat16, runtime)
            return _fit(training, data, config, run, runtime)

    def estimate_seconds(data: TrainingData, config: C, device: torch.device) -> float:
        plain = config.model_copy(update={"fast": False})  # capturing a CUDA graph would take too long for an estimate
        penalty_every = config.penalty_every if config.penalties else None
        return seconds_per_step(new_step(data, plain, device), device, penalty_every) * config.steps

    def new_step(data: TrainingData, config: C, device: torch.device) -> TrainingStep:
        return step_of(prepare(data, config, device), data, config)

    return GeneratorKind(config, fit, load, estimate_seconds)


def _fit(training: TrainingParts, data: TrainingData, config: AdversarialConfig, run: Run, runtime: Runtime) -> Fitted:
    """Train the networks on all images of `data`; see `base.Fit`."""
    state = training.state
    if (finished := run.finished_step()) is not None and finished >= config.steps:
        return Fitted(Outcome.ALREADY_FINISHED, finished)
    if (newest := run.newest_step()) > config.steps:
        return Fitted(Outcome.BEYOND, newest)
    if runtime.observer.wants_estimates:
        runtime.observer.on_note(describe_fit(config, data, run.newest_step()))
    step = step_of(training, data, config)
    if not train(state, config, run, runtime, step=step, preview=training.preview):
        return Fitted(Outcome.STOPPED, state.step)
    recalibrate_batch_norm(state.ema, training.run_ema, seed=derive_seed(config.seed, "recalibration"))
    check_finite_training(state, run, list(state.ema.state_dict().values()))
    training.save(run)
    return Fitted(Outcome.FINISHED, state.step)


def step_of(training: TrainingParts, data: TrainingData, config: AdversarialConfig) -> TrainingStep:
    """Return a function that does one training step on all images of `data`; see `make_step`."""
    return make_step(data.images, training.state, config, training.setup, training.classes, data.unlabelled)


def network_shape(images: LabelledImages, width: int, latent_dim: int) -> Shape:
    """Return the shape of networks for these images."""
    return Shape(images.num_classes, images.channels, images.size, width, latent_dim)


def network_tensors(state: TrainingState) -> dict[str, Tensor]:
    """Return the tensors of the averaged G and of D, to save; `load_pair` reads them."""
    generator, discriminator = state.ema.state_dict(), state.discriminator.state_dict()
    return {**prefixed("generator", generator), **prefixed("discriminator", discriminator)}


def load_pair(
    build: Callable[[], Pair], tensors: Mapping[str, Tensor], *, largest: int, folder: Path, device: torch.device
) -> Pair:
    """Return the networks that `network_tensors` saved, frozen and in eval mode.

    largest: the largest dimension of a tensor in such networks. If all saved tensors are smaller, nothing is built, so
    that damaged metadata do not exhaust the memory. Raises `SourceError` for that, and if a tensor does not fit.
    """
    saved = [tensor for name, tensor in tensors.items() if name.startswith(("generator.", "discriminator."))]
    if largest > max((max(tensor.shape, default=1) for tensor in saved), default=0):
        raise SourceError(f"{folder} is damaged: its metadata need larger networks than its weights")
    pair = build()
    for name, network in zip(("generator", "discriminator"), pair, strict=True):
        load_network(network, unprefixed(name, tensors))
        network.to(device).eval().requires_grad_(False)
    return pair


def preview_grid(
    generator: nn.Module, classes: NDArray[np.int64], sample: Callable[[NDArray[np.int64]], Tensor]
) -> NDArray[np.uint8]:
    """Return images for a grid with one row for each of `classes`: uint8, (K * PREVIEW_COLUMNS, C, H, W).

    sample: maps the labels of some rows to images in [-1, 1] by `generator`, which is in eval mode meanwhile.
    """
    training = generator.training
    generator.eval()
    with torch.no_grad():
        rows = np.split(classes, range(ROWS_AT_ONCE, len(classes), ROWS_AT_ONCE))
        pixels = [to_uint8(sample(np.repeat(some, PREVIEW_COLUMNS))).cpu().numpy() for some in rows]
    generator.train(training)
    return np.concatenate(pixels)


def train(
    state: TrainingState,
    config: TrainingConfig,
    run: Run,
    runtime: Runtime,
    *,
    step: TrainingStep,
    preview: Callable[[], NDArray[np.uint8]],
) -> bool:
    """Train from the newest checkpoint of `run` to step `config.steps`; return False if the runtime stopped it before.

    step: does one step on `state`; its argument says whether the step includes the penalties. preview: returns uint8
    images for a grid with PREVIEW_COLUMNS columns. Raises `SourceError` if there are checkpoints but none can be read,
    and `DivergedError` if a loss or a weight is not finite.
    """
    _restore_newest(state, run, runtime.observer)
    run.begin()
    log = RunLog(run.output)
    log.truncate(state.step)
    task = Task("fit", config.steps)
    loop = _Loop(state, config, run, Observers((log, runtime.observer)), task)
    while state.step < config.steps and not runtime.stopped():
        step(state.step % config.penalty_every == 0)
        state.step += 1
        update_ema(state.ema, state.generator, config.ema_decay, state.step)
        if loop.is_due(config.log_every):
            loop.report()
        if loop.is_due(config.sample_every):
            run.save_picture(state.step, tile(preview(), PREVIEW_COLUMNS))
        if loop.is_due(config.checkpoint_every):
            loop.save_checkpoint()
    if state.step < config.steps:
        loop.save_checkpoint()
    return state.step >= config.steps


@dataclass
class _Loop:
    """The reports and checkpoints between training steps."""

    state: TrainingState
    config: TrainingConfig
    run: Run
    observer: Observer
    task: Task
    reported_step: int = field(init=False)
    reported_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.reported_step, self.reported_at = self.state.step, time.perf_counter()

    def is_due(self, every: int) -> bool:
        """Return whether an action is due that is done every `every` steps and after the last step."""
        return self.state.step == self.config.steps or self.state.step % every == 0

    def report(self) -> None:
        """Report the mean losses since the last report, and the speed. This waits for the device."""
        state, config = self.state, self.config
        check_finite_training(state, self.run, [state.loss_sums])
        now = time.perf_counter()
        images = (state.step - self.reported_step) * config.n_critic * config.batch_size
        means = (state.loss_sums / (state.step - state.logged)).tolist()
        speed = {"images_per_second": round(images / (now - self.reported_at), 1)}
        self.observer.on_progress(self.task, state.step, {**dict(zip(LOSS_NAMES, means, strict=True)), **speed})
        state.loss_sums.zero_()
        state.logged = self.reported_step = state.step
        self.reported_at = now

    def save_checkpoint(self) -> None:
        """Write a checkpoint with everything that is needed to continue the run."""
        state = self.state
        networks = (state.generator, state.ema, state.discriminator)
        weights = [tensor for network in networks for tensor in network.state_dict().values()]
        check_finite_training(state, self.run, [state.loss_sums, *weights])
        self.run.save_checkpoint(state.step, dump_state(state, self.run.output.identity))


def _restore_newest(state: TrainingState, run: Run, observer: Observer) -> None:
    """Load the newest readable checkpoint into `state`; do nothing if the run has no checkpoints."""
    checkpoints, reasons = run.checkpoints(), list[str]()
    for path in checkpoints:
        try:
            metadata = restore(state, path, run.identity)
        except SourceError as error:
            reasons.append(str(error))
            continue
        if reasons:
            observer.on_note(
                f"{'; '.join(reasons)}; the run continues from the older checkpoint {path}, step {metadata.step}"
            )
        if metadata.threads != (threads := torch.get_num_threads()):
            observer.on_note(
                f"the checkpoint was written with {metadata.threads} threads and the run continues with {threads}, "
                f"which changes rounding: for a result that is identical bit for bit, use --threads {metadata.threads}"
            )
        return
    if checkpoints:
        raise SourceError(f"{'; '.join(reasons)}; give --overwrite to start again")


def check_finite_training(state: TrainingState, run: Run, tensors: list[Tensor]) -> None:
    """Raise `DivergedError`, with the path of the last good checkpoint, if any of `tensors` is not finite."""
    if all(bool(tensor.isfinite().all()) for tensor in tensors):
        return
    newest = next(iter(run.checkpoints()), None)
    raise DivergedError(
        f"training diverged: a loss or a weight was not finite at step {state.step}; "
        + (f"the last good checkpoint is {newest}; " if newest else "there is no checkpoint yet; ")
        + "begin a new run with lower learning rates, or with another loss (hinge is the safest)"
    )
