"""The config of a GAN takes what YAML gives, keeps it unchanged and refuses what cannot be trained with."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from augment.fields import check_name
from augment.gan.config import GanConfig
from augment.gan.diffaugment import OPERATIONS
from augment.gan.losses import LOSSES
from augment.gan.networks import NETWORKS
from augment.gan.penalties import PENALTIES
from augment.gan.steps import STEPS

EXAMPLE = """
network: dcgan
loss: non-saturating
trainer: two-stage
steps: 700
lr_generator: 1e-4
augment: [flip, colour]
penalties: {r1: 5e-2}
checkpoint_every: 9
"""  # YAML 1.1 takes 1e-4 for a string


def test_a_yaml_file_becomes_typed() -> None:
    config = GanConfig(**yaml.safe_load(EXAMPLE))
    assert (config.network, config.loss, config.trainer) == ("dcgan", "non-saturating", "two-stage")
    assert (config.steps, config.lr_generator, config.checkpoint_every) == (700, 1e-4, 9)
    assert config.augment == ("flip", "colour")
    assert config.penalties == {"r1": 0.05}
    assert config.batch_size == GanConfig().batch_size


def test_a_config_comes_back_from_the_file_that_it_is_written_to() -> None:
    config = GanConfig(**yaml.safe_load(EXAMPLE))
    assert GanConfig(**yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_defaults_train_one_stage() -> None:
    assert GanConfig().trainer == "one-stage"
    assert GanConfig(**GanConfig().model_dump()) == GanConfig()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("network", name) for name in NETWORKS),
        *(("loss", name) for name in LOSSES),
        *(("trainer", name) for name in STEPS),
        *(("augment", (name,)) for name in OPERATIONS),
        ("augment", ()),
        *(("penalties", {name: 2.0}) for name in PENALTIES),
        ("seed", 2**32 - 1),
    ],
    ids=str,
)
def test_every_variant_can_be_chosen(key: str, value: object) -> None:
    assert getattr(GanConfig(**{key: value}), key) == value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("network", "unet", "expected one of projection, dcgan, got 'unet'"),
        ("loss", "Hinge", "expected one of hinge, minimax, .*, got 'Hinge'"),
        ("trainer", "one_stage", "expected one of one-stage, two-stage, two-stage-published, got 'one_stage'"),
        ("augment", ["flip", "rotate"], "expected one of colour, translation, cutout, flip, got 'rotate'"),
        ("augment", "flip", "valid tuple"),
        ("width", 3, "greater than or equal to 4"),
        ("steps", 0, "greater than or equal to 1"),
        ("steps", 2.5, "valid integer"),
        ("batch_size", 1, "greater than or equal to 2"),
        ("lr_generator", 0.0, "greater than 0"),
        ("lr_discriminator", float("nan"), "greater than 0|finite"),
        ("lr_discriminator", "fast", "valid number"),
        ("beta1", 1.0, "less than 1"),
        ("beta2", -0.1, "greater than or equal to 0"),
        ("ema_decay", 1.0, "less than 1"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**32, "less than"),
        ("log_every", 0, "greater than or equal to 1"),
        ("sample_every", 0, "greater than or equal to 1"),
        ("checkpoint_every", 0, "greater than or equal to 1"),
        ("learning_rate", 1e-3, "not permitted"),
    ],
)
def test_a_wrong_value_is_refused_under_its_key(key: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        GanConfig(**{key: value})
    assert caught.value.errors()[0]["loc"][0] == key


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        GanConfig().steps = 4  # type: ignore[misc]


def test_one_of_accepts_known_names_and_otherwise_lists_them() -> None:
    assert check_name("b", {"a": 1, "b": 2}) == "b"
    with pytest.raises(ValueError, match="expected one of a, b, got 'c'"):
        check_name("c", {"a": 1, "b": 2})
