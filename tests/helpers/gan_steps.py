"""Networks at step 0, and the setup of their steps, as the class-conditional GAN makes them."""

from __future__ import annotations

import torch

from augment.gan.config import GanConfig
from augment.gan.networks import Shape, build
from augment.gan.steps import GanSetup
from augment.gan.training import generate_from_noise, make_setup
from augment.gan.training_state import TrainingState, initial_state


def begun(config: GanConfig, shape: Shape, device: str = "cpu") -> TrainingState:
    return initial_state(config, build(config.network, shape, seed=0), shape, torch.device(device))


def setup_of(state: TrainingState, config: GanConfig) -> GanSetup:
    return make_setup(state, config, generate_from_noise(state, config))
