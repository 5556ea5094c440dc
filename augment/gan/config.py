"""`GanConfig`: how a pair of networks is built and trained against each other, whatever the generator is fed with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from augment.fields import MAX_BATCH_SIZE, MAX_WEIGHT, Interval, Rate, Seed, Settings, Weight, name_in
from augment.gan.diffaugment import POLICIES
from augment.gan.losses import LOSSES
from augment.gan.networks import NETWORKS
from augment.gan.penalties import PENALTIES
from augment.gan.steps import STEPS


class GanConfig(Settings):
    """Networks, loss, optimisers, and how often something is written."""

    network: Annotated[str, name_in(NETWORKS)] = "projection"
    width: int = Field(16, ge=4, le=512)  # channels at full resolution, doubled at each halving
    latent_dim: int = Field(64, ge=1, le=2**16)
    loss: Annotated[str, name_in(LOSSES)] = "hinge"
    lecam: float = Field(0.0, ge=0, le=MAX_WEIGHT)  # weight of LeCam's term, for very little data; 0 leaves it out
    penalties: dict[Annotated[str, name_in(PENALTIES)], Weight] = Field(default_factory=dict)
    penalty_every: Interval = 1  # steps; lazily, and as many times heavier (StyleGAN2, arXiv 1912.04958, B)
    n_critic: int = Field(1, ge=1, le=1000)  # updates of D a step; the last one is made together with G's
    trainer: Annotated[str, name_in(STEPS)] = "one-stage"
    steps: Interval = 2500
    batch_size: int = Field(64, ge=2, le=MAX_BATCH_SIZE)  # real images an update of D, and as many fakes
    lr_generator: Rate = 2e-4
    lr_discriminator: Rate = 8e-4  # four times G's: one-stage G follows a D that is one update older
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    ema_decay: float = Field(0.998, ge=0, lt=1)  # of G's weights; warmed up from 0.2
    augment: tuple[Annotated[str, name_in(POLICIES)], ...] = ("translation", "cutout")  # flip only if classes allow it
    fast: bool = False  # on CUDA: bfloat16 and CUDA graphs; not the same to the bit
    seed: Seed = 0
    log_every: Interval = 50  # steps
    sample_every: Interval = 500  # steps
    checkpoint_every: Interval = 500  # steps
