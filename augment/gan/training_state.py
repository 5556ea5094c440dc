"""The training state of a GAN: everything that a training step changes, with checkpoints to save and restore it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from augment.errors import SourceError
from augment.gan.acceleration import Inputs, check_fast, in_bfloat16
from augment.gan.config import TrainingConfig
from augment.gan.diffaugment import augmenter
from augment.gan.losses import LOSSES, Term, lecam
from augment.gan.networks import Pair, Shape
from augment.gan.steps import check_discriminator
from augment.identity import Identity
from augment.seeds import derive_seed
from augment.tensor_files import (
    check_finite,
    dump_tensors,
    load_network,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    unprefixed,
)


@dataclass
class TrainingState:
    """Everything that a training step changes."""

    step: int
    generator: nn.Module
    ema: nn.Module  # exponential moving average of the generator
    discriminator: nn.Module
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    terms: list[tuple[Term, Tensor]]  # terms of L_D with their states
    rng: torch.Generator
    loss_sums: Tensor  # float32 (2,): summed losses of (D, G) since the last logged step
    bfloat16: bool  # whether the networks compute in bfloat16
    logged: int = 0  # last logged step

    def in_precision(self, network: Callable[Inputs, Tensor]) -> Callable[Inputs, Tensor]:
        """Return a function that runs `network` in the precision that the state has when it is called.

        `restore`, or the probe of `precision: auto`, may change the precision until the first step.
        """
        low = in_bfloat16(network, self.rng.device)

        def run(*inputs: Inputs.args, **options: Inputs.kwargs) -> Tensor:
            return low(*inputs, **options) if self.bfloat16 else network(*inputs, **options)

        return run


def initial_state(config: TrainingConfig, pair: Pair, shape: Shape, device: torch.device) -> TrainingState:
    """Return the state at step 0 of the training of a new `pair`, which becomes part of it, on `device`.

    Raises `ConfigError` if `config` does not work on `device` or with this D.
    """
    if config.fast:
        check_fast(device)
    generator, discriminator = pair
    _check_discriminator(discriminator, config, shape)
    generator.to(device)
    discriminator.to(device)
    adam = partial(torch.optim.Adam, betas=(config.beta1, config.beta2), fused=True, capturable=config.fast)
    return TrainingState(
        step=0,
        generator=generator,
        ema=copy.deepcopy(generator).requires_grad_(False),
        discriminator=discriminator,
        optimizer_g=adam(generator.parameters(), config.lr_generator),
        optimizer_d=adam(discriminator.parameters(), config.lr_discriminator),
        terms=[(term, torch.tensor(term.initial, device=device)) for term in _terms(config)],
        rng=torch.Generator(device).manual_seed(derive_seed(config.seed, "training")),
        loss_sums=torch.zeros(2, device=device),
        bfloat16=config.fast or config.precision == "bfloat16",
    )


def _terms(config: TrainingConfig) -> list[Term]:
    constraint = LOSSES[config.loss].constraint
    return ([constraint] if constraint else []) + ([lecam(config.lecam)] if config.lecam else [])


def _check_discriminator(discriminator: nn.Module, config: TrainingConfig, shape: Shape) -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(3, shape.channels, shape.image_size, shape.image_size, generator=rng) * 2 - 1
    check_discriminator(copy.deepcopy(discriminator), augmenter(config.augment, rng), images)


class CheckpointMetadata(BaseModel):
    """The metadata inside a checkpoint: the identity of its run and how far it has come."""

    identity: dict[str, Any]
    step: int = Field(ge=0)
    logged: int = Field(ge=0)  # last logged step
    threads: int = Field(ge=1)  # of torch; results depend on it, through rounding
    bfloat16: bool | None = None  # whether the networks compute in bfloat16; None: as the settings say


def dump_state(state: TrainingState, identity: dict[str, Any]) -> bytes:
    """Return the content of a checkpoint file. identity: `Identity.as_json`, as stored when the run was started."""
    tensors = {
        **prefixed("generator", state.generator.state_dict()),
        **prefixed("ema", state.ema.state_dict()),
        **prefixed("discriminator", state.discriminator.state_dict()),
        **prefixed("optimizer_g", optimizer_tensors(state.optimizer_g)),
        **prefixed("optimizer_d", optimizer_tensors(state.optimizer_d)),
        **{f"terms.{index}": value for index, (_, value) in enumerate(state.terms)},
        "random": state.rng.get_state(),
        "loss_sums": state.loss_sums,
    }
    threads = torch.get_num_threads()
    metadata = CheckpointMetadata(
        identity=identity, step=state.step, logged=state.logged, threads=threads, bfloat16=state.bfloat16
    )
    return dump_tensors(tensors, metadata)


def restore(state: TrainingState, path: Path, identity: Identity) -> CheckpointMetadata:
    """Load a checkpoint into `state` and return its metadata.

    Raises `SourceError` if it is damaged, was saved with other settings, or does not match the networks.
    """
    tensors, metadata = load_tensors(path, CheckpointMetadata)
    if changed := identity.differences(metadata.identity):
        raise SourceError(f"{path} was saved under other settings ({'; '.join(changed)})")
    if "random" in tensors and tensors["random"].shape != state.rng.get_state().shape:
        raise SourceError(f"{path} was written on another kind of device: continue on that one, with --device")
    check_finite(tensors, path)
    load_network(state.generator, unprefixed("generator", tensors))
    load_network(state.ema, unprefixed("ema", tensors))
    load_network(state.discriminator, unprefixed("discriminator", tensors))
    for name, optimizer in (("optimizer_g", state.optimizer_g), ("optimizer_d", state.optimizer_d)):
        moments = unprefixed(name, tensors)
        if metadata.step and not moments:
            raise SourceError(f"{path} lacks the state of {name}")
        load_optimizer(optimizer, moments)
    term_states = {f"terms.{index}": value for index, (_, value) in enumerate(state.terms)}
    for name, value in {**term_states, "loss_sums": state.loss_sums, "random": state.rng.get_state()}.items():
        if name not in tensors or tensors[name].shape != value.shape or tensors[name].dtype != value.dtype:
            raise SourceError(f"{path} lacks {name}, or its shape or dtype differs")
        value.copy_(tensors[name])
    state.rng.set_state(tensors["random"])
    state.step, state.logged = metadata.step, metadata.logged
    state.bfloat16 = state.bfloat16 if metadata.bfloat16 is None else metadata.bfloat16
    return metadata
