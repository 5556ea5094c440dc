"""Trains the class-conditional GAN: `augment fit`. Stops and continues at any step with the same result: on a CPU, to
the bit.

"To the bit" holds for one number of threads, which each checkpoint names. Everything random comes from one
`torch.Generator` that is part of the checkpoint. The data stay uint8 on the device and every batch is gathered there;
the loop reads a number back from the device only when it logs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from augment.acceleration import Graphed, Network, in_bfloat16
from augment.checkpoints import prefixed
from augment.config import GanConfig
from augment.diffaugment import augmenter
from augment.errors import DivergedError, SourceError
from augment.images import LabelledImages, to_signed
from augment.losses import LOSSES
from augment.networks import Shape
from augment.output_folders import Replace
from augment.penalties import weighted
from augment.runs import ModelAbout, Run, open_run
from augment.sampling import recalibrate, sample_grid
from augment.state import State, dump_state, restore, start
from augment.steps import STEPS, Game, critic_step


@dataclass(frozen=True)
class Origin:
    """Where the images come from. words: of a command line that read them again. tested: test images are there too."""

    name: str = "images"
    words: tuple[str, ...] = ()
    tested: bool = False


UNKNOWN = Origin()


class Outcome(StrEnum):
    """How a call of `fit` ended."""

    FINISHED = "finished"
    WAS_FINISHED = "was finished already"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Progress:
    """What a logged step tells; losses are means since the last one."""

    step: int
    steps: int
    loss_d: float
    loss_g: float
    images_per_second: float


def fit(
    data: LabelledImages,
    config: GanConfig,
    folder: Path,
    *,
    origin: Origin = UNKNOWN,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    replace: Replace = "nothing",
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train a generator on all of `data` and leave it in `folder`.

    An interrupted run of the same settings and data is continued, a finished one left alone unless `config.steps` is
    larger. `stopped` is asked before every step; a True saves a checkpoint and returns. `on_note` is given a sentence
    where something is not as expected: a damaged checkpoint, another number of threads. Raises `ConfigError` for
    settings that cannot be trained with here, `OutputError` if `folder` holds something else or a run of other
    settings, `SourceError` if no checkpoint of it can be read, `DivergedError` if a loss stops being finite.
    """
    device = torch.device(device)
    shape = _shape(data, config)
    state = start(config, shape, device)
    with open_run(folder, config, data, origin.name, overwrite=overwrite, replace=replace) as run:
        finished = run.finished_step()
        if finished is not None and finished >= config.steps:
            return Outcome.WAS_FINISHED
        _continue(state, run, on_note)
        run.output.reopen()
        run.cut_log(state.step)
        if not _loop(state, data, config, run, on_progress, stopped):
            return Outcome.STOPPED
        recalibrate(state.ema, shape, seed=config.seed)
        _check_finite(state, run, *state.ema.state_dict().values())
        _save_model(state, data, config, origin, run)
    return Outcome.FINISHED


def _shape(data: LabelledImages, config: GanConfig) -> Shape:
    return Shape(data.num_classes, data.channels, data.size, config.width, config.latent_dim)


def _save_model(state: State, data: LabelledImages, config: GanConfig, origin: Origin, run: Run) -> None:
    """Write the averaged generator and the discriminator, with all that sampling needs."""
    tensors = {
        **prefixed("generator", state.ema.state_dict()),
        **prefixed("discriminator", state.discriminator.state_dict()),
    }
    about = ModelAbout(
        identity=run.output.identity,
        network=config.network,
        shape=_shape(data, config),
        classes=data.class_names,
        train_per_class=data.per_class(),
        name=origin.name,
        origin=origin.words,
        tested=origin.tested,
        step=state.step,
        threads=torch.get_num_threads(),
    )
    run.save_model(tensors, about)


def _continue(state: State, run: Run, on_note: Callable[[str], None]) -> None:
    """Put the newest readable checkpoint into `state`, if there are any."""
    checkpoints, reasons = run.checkpoints(), list[str]()
    for path in checkpoints:
        try:
            about = restore(state, path, run.identity)
        except SourceError as error:
            reasons.append(str(error))
            continue
        if reasons:
            on_note(f"{'; '.join(reasons)}; the run goes on from the older checkpoint {path}, step {about.step}")
        if about.threads != (threads := torch.get_num_threads()):
            on_note(
                f"the run was begun with {about.threads} threads and goes on with {threads}, which round differently: "
                f"the result is not the same to the bit (--threads {about.threads} would keep it)"
            )
        return
    if checkpoints:
        raise SourceError(f"{'; '.join(reasons)}; give --overwrite to begin anew")


def make_game(state: State, config: GanConfig) -> Game:
    """The game that `state` plays where penalties are due; all that is random comes from the state's generator."""
    random, device = state.random, state.random.device
    generator: Network = state.generator
    discriminate: Network = state.discriminator
    if config.fast:
        generator, discriminate = in_bfloat16(generator, device), in_bfloat16(discriminate, device)

    def generate(labels: Tensor) -> Tensor:
        z = torch.randn(len(labels), config.latent_dim, generator=random, device=labels.device)
        return generator(z, labels)

    augment = augmenter(config.augment, random)
    penalties = {name: weight * config.penalty_every for name, weight in config.penalties.items()}
    return Game(
        generate=generate,
        discriminate=discriminate,
        discriminator=state.discriminator,
        augment=augment,
        loss=LOSSES[config.loss],
        terms=state.terms,
        penalty=weighted(penalties, lambda x, y: discriminate(augment(x), y), random) if penalties else None,
        optimizer_g=state.optimizer_g,
        optimizer_d=state.optimizer_d,
    )


def turns(data: LabelledImages, state: State, config: GanConfig) -> Callable[[bool], None]:
    """What one step does to `state`, the average and the counter left out; told whether penalties are due in it."""
    draw = batches(data, config.batch_size, state.random)
    step, game = STEPS[config.trainer], make_game(state, config)

    def turn(game: Game) -> None:
        for _ in range(config.n_critic - 1):
            real, labels = draw()
            critic_step(game, real, labels, labels)
        real, labels = draw()
        state.loss_sums += torch.stack(step(game, real, labels, labels))

    with_and_without: dict[bool, Callable[[], None]] = {
        due: partial(turn, game if due else replace(game, penalty=None)) for due in (True, False)
    }
    if config.fast:
        with_and_without = {due: Graphed(each, state.random) for due, each in with_and_without.items()}
    return lambda due: with_and_without[due and bool(config.penalties)]()


def batches(data: LabelledImages, size: int, random: torch.Generator) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that draws (real images (B, C, H, W) in [-1, 1], labels (B,)), every class equally often on average.

    Empty classes are never drawn; images within a class are drawn with replacement.
    """
    device = random.device
    images = torch.from_numpy(data.images).to(device)  # on a CPU the caller's own memory, not a copy
    by_class = torch.from_numpy(data.labels).argsort(stable=True).to(device)
    counts = torch.from_numpy(data.counts()).to(device)
    starts = counts.cumsum(0) - counts
    present = counts.nonzero().squeeze(1)

    def draw() -> tuple[Tensor, Tensor]:
        labels = present[torch.randint(len(present), (size,), generator=random, device=device)]
        within = torch.rand(size, generator=random, device=device, dtype=torch.float64) * counts[labels]
        chosen = images[by_class[starts[labels] + within.long()]]
        return to_signed(chosen.contiguous(memory_format=torch.channels_last)), labels

    return draw


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model's weights, faster in the first steps; batch statistics are copied.

    The warm-up is min(decay, (1 + step) / (10 + step)), that of TensorFlow's ExponentialMovingAverage.
    """
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
    for average, buffer in zip(ema.buffers(), model.buffers(), strict=True):
        average.copy_(buffer)


def _loop(
    state: State,
    data: LabelledImages,
    config: GanConfig,
    run: Run,
    on_progress: Callable[[Progress], None],
    stopped: Callable[[], bool],
) -> bool:
    turn = turns(data, state, config)
    began_step, began = state.step, time.perf_counter()
    while state.step < config.steps and not stopped():
        turn(state.step % config.penalty_every == 0)
        state.step += 1
        update_ema(state.ema, state.generator, config.ema_decay, state.step)
        last = state.step == config.steps
        if last or state.step % config.log_every == 0:
            _check_finite(state, run, state.loss_sums)  # here, and only here, the loop waits for the device
            now = time.perf_counter()
            speed = (state.step - began_step) * config.n_critic * config.batch_size / (now - began)
            on_progress(_log(state, config.steps, run, speed))
            began_step, began = state.step, now
        if last or state.step % config.sample_every == 0:
            run.save_picture(state.step, sample_grid(state.ema, data.num_classes, config.latent_dim))
        if last or state.step % config.checkpoint_every == 0:
            _checkpoint(state, run)
    if state.step < config.steps:
        _checkpoint(state, run)
    return state.step >= config.steps


def _log(state: State, steps: int, run: Run, images_per_second: float) -> Progress:
    """Write the mean losses since the last logged step."""
    loss_d, loss_g = (state.loss_sums / (state.step - state.logged)).tolist()
    speed = round(images_per_second, 1)
    run.append_log({"step": state.step, "loss_d": loss_d, "loss_g": loss_g, "images_per_second": speed})
    state.loss_sums.zero_()
    state.logged = state.step
    return Progress(state.step, steps, loss_d, loss_g, speed)


def _checkpoint(state: State, run: Run) -> None:
    networks = (state.generator, state.ema, state.discriminator)
    _check_finite(state, run, state.loss_sums, *(t for network in networks for t in network.state_dict().values()))
    run.keep_checkpoint(state.step, dump_state(state, run.output.identity))


def _check_finite(state: State, run: Run, *tensors: Tensor) -> None:
    if all(bool(tensor.isfinite().all()) for tensor in tensors):
        return
    kept = next(iter(run.checkpoints()), None)
    raise DivergedError(
        f"training diverged: a loss or a weight was no finite number at step {state.step}; "
        + (f"the last good checkpoint is {kept}; " if kept else "there is no checkpoint yet; ")
        + "begin a new run with lower learning rates, or with another loss (hinge is the safest)"
    )
