"""Settings of adversarial training (`TrainingConfig`), and the same with a pair of networks (`GanConfig`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from augment.fields import MAX_BATCH_SIZE, MAX_WEIGHT, LearningRate, NameIn, Seed, Settings, Steps, Weight
from augment.gan.diffaugment import OPERATIONS
from augment.gan.losses import LOSSES
from augment.gan.networks import NETWORKS
from augment.gan.penalties import PENALTIES
from augment.gan.steps import STEPS


class TrainingConfig(Settings):
    """Loss, optimisers, and the intervals between log lines, sample images and checkpoints."""

    loss: Annotated[str, NameIn(LOSSES)] = "hinge"
    lecam: float = Field(0.0, ge=0, le=MAX_WEIGHT)  # weight of the LeCam term, for very little data; 0: off
    penalties: dict[Annotated[str, NameIn(PENALTIES)], Weight] = Field(default_factory=dict)
    penalty_every: Steps = 1  # steps; weights are multiplied by it (lazy regularisation, arXiv 1912.04958, B)
    n_critic: int = Field(1, ge=1, le=1000)  # updates of D per step; the last one happens together with that of G
    trainer: Annotated[str, NameIn(STEPS)] = "one-stage"
    steps: Steps = 2500
    batch_size: int = Field(64, ge=2, le=MAX_BATCH_SIZE)  # real images per update of D, and equally many fakes
    # share of them that are unlabelled, if there are such images: D scores these, and as many fakes, without a class
    unlabelled: float = Field(0.0, ge=0, lt=1)
    lr_generator: LearningRate = 2e-4
    lr_discriminator: LearningRate = 8e-4  # four times that of G: two time scales (arXiv 1706.08500)
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    ema_decay: float = Field(0.998, ge=0, lt=1)  # of the EMA of G's weights; warmed up from 0.2
    # flip only if the classes look the same when mirrored
    augment: tuple[Annotated[str, NameIn(OPERATIONS)], ...] = ("translation", "cutout")
    # of the networks while they train: auto is bfloat16 where a probe of a few steps finds it clearly faster
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    fast: bool = False  # bfloat16 and CUDA graphs, on CUDA only; not reproducible bit for bit
    seed: Seed = 0
    log_every: Steps = 50  # steps
    sample_every: Steps = 500  # steps
    checkpoint_every: Steps = 500  # steps


class GanConfig(TrainingConfig):
    """The settings of training and those of a pair of networks from `NETWORKS`."""

    network: Annotated[str, NameIn(NETWORKS)] = "projection"
    width: int = Field(16, ge=4, le=512)  # channels at full resolution; they double when the side halves
    latent_dim: int = Field(64, ge=1, le=2**16)
