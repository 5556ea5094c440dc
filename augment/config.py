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


def one_of(value: str, known: Mapping[str, object]) -> str:
    """`value` if it is among `known`, else `ValueError` that lists them."""
    if value not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {value!r}")
    return value


def known(names: Mapping[str, object]) -> AfterValidator:
    """For `Annotated[str, known(NAMES)]`: a field whose value has to be among the keys of `names`."""
    return AfterValidator(partial(one_of, known=names))


class GanConfig(BaseModel):
    """How the class-conditional GAN is built and trained; frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: Annotated[str, known(NETWORKS)] = "projection"
    width: int = Field(16, ge=4, le=512)  # channels at full resolution, doubled at each halving
    latent_dim: int = Field(64, ge=1)
    loss: Annotated[str, known(LOSSES)] = "hinge"
    lecam: float = Field(0.0, ge=0)  # weight of LeCam's term, for very little data; 0 leaves it out
    penalties: dict[Annotated[str, known(PENALTIES)], Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    penalty_every: int = Field(1, ge=1)  # steps; lazily, and as many times heavier (StyleGAN2, arXiv 1912.04958, B)
    n_critic: int = Field(1, ge=1)  # updates of D a step; the last one is made together with G's
    trainer: Annotated[str, known(STEPS)] = "one-stage"
    steps: int = Field(2500, ge=1)
    batch_size: int = Field(64, ge=2)  # real images an update of D, and as many fakes
    lr_generator: float = Field(2e-4, gt=0)
    lr_discriminator: float = Field(8e-4, gt=0)  # four times G's: one-stage G follows a D that is one update older
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    ema_decay: float = Field(0.998, ge=0, lt=1)  # of G's weights; warmed up from 0.2
    augment: tuple[Annotated[str, known(POLICIES)], ...] = ("translation", "cutout")  # flip only if classes allow it
    fast: bool = False  # on CUDA: bfloat16 and CUDA graphs; not the same to the bit
    seed: int = Field(0, ge=0, lt=2**63)
    log_every: int = Field(50, ge=1)  # steps
    sample_every: int = Field(500, ge=1)  # steps
    checkpoint_every: int = Field(500, ge=1)  # steps
