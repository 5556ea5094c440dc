"""`GanConfig`, the settings of the generator's training: the keys of `--config` files and of a pipeline's `gan:`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from augment.diffaugment import POLICIES
from augment.losses import LOSSES
from augment.networks import NETWORKS
from augment.penalties import PENALTIES
from augment.steps import STEPS
from augment.words import quoted

SEEDS = 2**32  # how many there are: as many as numpy's RandomState takes, on which scikit-learn and Optuna rest
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
MOST_STEPS = 10**8 - 1  # file names of checkpoints have eight digits
LARGEST_WEIGHT = 1e6
LARGEST_BATCH = 2**16
LARGEST_RATE = 1.0  # of learning; Adam moves every weight by about as much in a step
Interval = Annotated[int, Field(ge=1, le=MOST_STEPS)]
Rate = Annotated[float, Field(gt=0, le=LARGEST_RATE)]
Weight = Annotated[float, Field(gt=0, le=LARGEST_WEIGHT)]


def one_of(value: str, known: Mapping[str, object]) -> str:
    """`value` if it is among `known`, else `ValueError` that lists them."""
    if value not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {quoted(value)}")
    return value


def known(names: Mapping[str, object]) -> AfterValidator:
    """For `Annotated[str, known(NAMES)]`: a field whose value has to be among the keys of `names`."""
    return AfterValidator(partial(one_of, known=names))


class GanConfig(BaseModel):
    """How the class-conditional GAN is built and trained; frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: Annotated[str, known(NETWORKS)] = "projection"
    width: int = Field(16, ge=4, le=512)  # channels at full resolution, doubled at each halving
    latent_dim: int = Field(64, ge=1, le=2**16)
    loss: Annotated[str, known(LOSSES)] = "hinge"
    lecam: float = Field(0.0, ge=0, le=LARGEST_WEIGHT)  # weight of LeCam's term, for very little data; 0 leaves it out
    penalties: dict[Annotated[str, known(PENALTIES)], Weight] = Field(default_factory=dict)
    penalty_every: Interval = 1  # steps; lazily, and as many times heavier (StyleGAN2, arXiv 1912.04958, B)
    n_critic: int = Field(1, ge=1, le=1000)  # updates of D a step; the last one is made together with G's
    trainer: Annotated[str, known(STEPS)] = "one-stage"
    steps: Interval = 2500
    batch_size: int = Field(64, ge=2, le=LARGEST_BATCH)  # real images an update of D, and as many fakes
    lr_generator: Rate = 2e-4
    lr_discriminator: Rate = 8e-4  # four times G's: one-stage G follows a D that is one update older
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    ema_decay: float = Field(0.998, ge=0, lt=1)  # of G's weights; warmed up from 0.2
    augment: tuple[Annotated[str, known(POLICIES)], ...] = ("translation", "cutout")  # flip only if classes allow it
    fast: bool = False  # on CUDA: bfloat16 and CUDA graphs; not the same to the bit
    seed: Seed = 0
    log_every: Interval = 50  # steps
    sample_every: Interval = 500  # steps
    checkpoint_every: Interval = 500  # steps
