"""`GanConfig`, the settings of the generator's training: the keys of `--config` files and of a pipeline's `gan:`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from augment.diffaugment import POLICIES
from augment.losses import LOSSES
from augment.networks import NETWORKS
from augment.steps import STEPS


class GanConfig(BaseModel):
    """How the class-conditional GAN is built and trained; frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: str = "projection"
    width: int = Field(16, ge=4, le=512)  # channels at full resolution, doubled at each halving
    latent_dim: int = Field(64, ge=1)
    loss: str = "hinge"
    trainer: str = "one-stage"
    steps: int = Field(2500, ge=1)
    batch_size: int = Field(64, ge=2)  # real images a step, and as many fakes
    lr_generator: float = Field(2e-4, gt=0)
    lr_discriminator: float = Field(4e-4, gt=0)
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    ema_decay: float = Field(0.998, ge=0, lt=1)  # of G's weights; warmed up from 0.2
    augment: tuple[str, ...] = ("translation", "cutout")  # and colour; and flip, if classes look the same mirrored
    seed: int = Field(0, ge=0, lt=2**63)
    log_every: int = Field(50, ge=1)  # steps
    sample_every: int = Field(500, ge=1)  # steps
    checkpoint_every: int = Field(500, ge=1)  # steps

    @field_validator("network")
    @classmethod
    def _known_network(cls, value: str) -> str:
        return one_of(value, NETWORKS)

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        return one_of(value, LOSSES)

    @field_validator("trainer")
    @classmethod
    def _known_trainer(cls, value: str) -> str:
        return one_of(value, STEPS)

    @field_validator("augment")
    @classmethod
    def _known_operations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one_of(name, POLICIES) for name in value)


def one_of(value: str, known: Mapping[str, object]) -> str:
    """`value` if it is among `known`, else `ValueError` that lists them."""
    if value not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {value!r}")
    return value
