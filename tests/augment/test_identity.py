"""Settings are the same if every value is, a newer setting counting as its default."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, create_model

from augment.gan.config import GanConfig
from augment.generators.cgan import CganConfig
from augment.generators.registry import GENERATORS
from augment.generators.resample import ResampleConfig
from augment.identity import Identity, digest
from classifiers.training import ClassifierConfig
from pipelines.config.sections import (
    Arm,
    ChooseConfig,
    DataConfig,
    EvaluateConfig,
    GenerateConfig,
    Pipeline,
    ProtocolConfig,
)

CONFIGS: list[type[BaseModel]] = [
    *(kind.config for kind in GENERATORS.values()),
    *(
        Arm,
        ChooseConfig,
        DataConfig,
        EvaluateConfig,
        ClassifierConfig,
        GanConfig,
        GenerateConfig,
        Pipeline,
        ProtocolConfig,
    ),
]
REQUIRED: dict[type[BaseModel], dict[str, object]] = {
    Arm: {"name": "mine"},
    DataConfig: {"source": "bundled:fashion"},
    Pipeline: {"data": {"source": "bundled:fashion"}},
}


def section(config: type[BaseModel], **changes: object) -> BaseModel:
    """A config with what it cannot do without."""
    return config.model_validate({**REQUIRED.get(config.__mro__[1], {}), **REQUIRED.get(config, {}), **changes})


def identity(**changes: object) -> Identity:
    return Identity({"generator": CganConfig(**{"loss": "fisher", **changes})}, {"images": "ab12"}, {"generator.steps"})


def test_the_same_settings_and_data_do_not_differ() -> None:
    assert identity().differences(identity().as_json()) == []


def test_a_changed_setting_is_named_with_both_values() -> None:
    assert identity(loss="hinge").differences(identity().as_json()) == ["generator.loss: fisher, now hinge"]


def test_a_nested_setting_is_named_by_its_path() -> None:
    ours, theirs = (Identity({"evaluate": EvaluateConfig(classifier=ClassifierConfig(steps=n))}) for n in (3, 4))
    assert ours.differences(theirs.as_json()) == ["evaluate.classifier.steps: 4, now 3"]


def compared(before: list[dict[str, object]], after: list[dict[str, object]]) -> list[str]:
    ours, theirs = (Identity({"evaluate": EvaluateConfig.model_validate({"arms": arms})}) for arms in (after, before))
    return ours.differences(theirs.as_json())


def test_items_of_a_list_are_compared_by_their_names() -> None:
    arms: list[dict[str, object]] = [{"name": name, "policy": "classical"} for name in ("one", "two", "three")]
    assert compared(arms[:2], arms) == ["evaluate.arms: now with 'three'"]
    assert compared(arms[2:], arms[:2]) == ["evaluate.arms: without 'three'", "evaluate.arms: now with 'one', 'two'"]
    assert compared(arms, arms[1:]) == ["evaluate.arms: without 'one'"]
    assert compared(arms, [arms[0], {**arms[1], "mixup": 0}]) == [
        "evaluate.arms: without 'three'",
        "evaluate.arms[two].mixup: None, now 0.0",
    ]
    assert compared(arms[:2], arms[1::-1]) == ["evaluate.arms: other order"]


def test_details_say_how_data_differ() -> None:
    def described(images: str, **details: object) -> Identity:
        return Identity(data={"images": images}, details=details)

    before = described("ab", size="32 px", folds=6).as_json()
    assert described("cd", size="64 px", folds=6).differences(before) == ["size: 32 px, now 64 px"]
    assert described("cd", size="32 px", folds=6).differences(before) == ["other images"]
    assert described("ab", size="64 px", folds=6).differences(before) == []  # the images are what counts
    assert described("cd", size="64 px").differences(Identity(data={"images": "ab"}).as_json()) == ["other images"]


def test_a_free_setting_does_not_count_and_is_not_stored() -> None:
    assert identity(steps=7).differences(identity(steps=8).as_json()) == []
    assert digest(identity(steps=7).as_json()) == digest(identity(steps=8).as_json())


@pytest.mark.parametrize(
    ("data", "words"),
    [({"images": "cd"}, ["other images"]), ({}, ["images: removed"]), ({"images": "ab", "m": 1}, ["m: new"])],
)
def test_other_data_are_named(data: dict[str, object], words: list[str]) -> None:
    assert Identity(data=data).differences(Identity(data={"images": "ab"}).as_json()) == words


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_an_output_is_still_valid_when_its_settings_gain_a_default(config: type[BaseModel]) -> None:
    newer = create_model("Newer", __base__=config, added=(int, 5))
    stored = Identity({"section": section(config)}).as_json()
    assert Identity({"section": section(newer)}).differences(stored) == []
    assert Identity({"section": section(newer, added=6)}).differences(stored) == ["section.added: 5, now 6"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_a_setting_of_a_newer_version_is_named(config: type[BaseModel]) -> None:
    newer = create_model("Newer", __base__=config, added=(int, 5))
    stored = Identity({"section": section(newer)}).as_json()
    assert Identity({"section": section(config)}).differences(stored) == [
        "section.added: not known to this version, or no longer allowed"
    ]


def test_a_section_that_only_one_has_is_a_difference_even_with_defaults() -> None:
    with_choice = Identity({"generate": GenerateConfig(), "choose": ChooseConfig()})
    without = Identity({"generate": GenerateConfig()})
    assert with_choice.differences(without.as_json()) == ["choose: new"]
    assert without.differences(with_choice.as_json()) == ["choose: removed"]


@pytest.mark.parametrize("inner", [{"repeats": 2}, {"classifier": {"steps": 3}}])
def test_a_nested_section_that_gains_a_default_is_the_same(inner: dict[str, object]) -> None:
    newer_fit = create_model("NewerFit", __base__=ClassifierConfig, added=(int, 5))
    newer = create_model("Newer", __base__=EvaluateConfig, classifier=(newer_fit, newer_fit()))
    stored = Identity({"evaluate": EvaluateConfig.model_validate(inner)}).as_json()
    assert Identity({"evaluate": newer.model_validate(inner)}).differences(stored) == []


@pytest.mark.parametrize(
    "stored", [{}, {"settings": {}}, {"settings": 3, "data": []}, {"settings": {"generator": [1]}, "data": {}}]
)
def test_an_unreadable_identity_differs(stored: dict[str, object]) -> None:
    assert identity().differences(stored)


def test_long_values_are_shortened() -> None:
    many, plain = (Identity({"generator": CganConfig(augment=("flip",) * n)}) for n in (40, 1))
    (words,) = many.differences(plain.as_json())
    assert len(words) < 200


def stored_as_gan(**changes: object) -> dict[str, Any]:
    """The identity as it was stored when there was one kind of generator."""
    stored = identity(**changes).as_json()
    section = stored["settings"].pop("generator")
    del section["kind"]
    return {**stored, "settings": {"gan": section}}


def test_the_section_of_the_only_kind_is_read_under_its_old_name() -> None:
    assert identity().differences(stored_as_gan()) == []
    assert identity().differences(stored_as_gan(loss="hinge")) == ["generator.loss: hinge, now fisher"]
    assert identity(loss="hinge").differences(stored_as_gan()) == ["generator.loss: fisher, now hinge"]


def test_another_kind_is_named_with_the_one_before_and_nothing_else() -> None:
    resample = Identity({"generator": ResampleConfig(seed=4)}, {"images": "ab12"})
    for stored in (identity().as_json(), stored_as_gan()):
        assert resample.differences(stored) == ["generator.kind: cgan, now resample"]
    assert identity().differences(resample.as_json()) == ["generator.kind: resample, now cgan"]


def test_a_missing_section_is_named() -> None:
    chosen = Identity({"choose": ChooseConfig(), "generate": GenerateConfig()})
    assert Identity({"generate": GenerateConfig()}).differences(chosen.as_json()) == ["choose: removed"]
