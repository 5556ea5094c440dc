"""Every section of a pipeline accepts sensible values and refuses the others."""

from __future__ import annotations

from typing import Any

import pytest

from augment.errors import ConfigError
from augment.generators.cgan import CganConfig
from pipelines.config.reading import (
    load_pipeline,
    parse,
)
from pipelines.config.sections import EvaluateConfig, Pipeline


def test_arms_are_given_by_name_or_spelt_out() -> None:
    tree = {"arms": ["classical+synthetic", {"name": "flips", "real": True, "policy": "classical"}], "policy": "light"}
    by_name, spelt_out = parse(EvaluateConfig, tree, "here").arms
    assert (by_name.real, by_name.synthetic, by_name.policy) == (True, True, "classical")
    assert (spelt_out.name, spelt_out.synthetic) == ("flips", False)


def test_the_default_arms_are_the_five_of_the_protocol() -> None:
    arms = {arm.name: (arm.real, arm.synthetic, arm.policy) for arm in EvaluateConfig().resolved_arms()}
    assert arms == {
        "none": (True, False, None),
        "classical": (True, False, "rand-augment"),
        "synthetic": (False, True, None),
        "none+synthetic": (True, True, None),
        "classical+synthetic": (True, True, "rand-augment"),
    }


def test_classical_means_the_policy_of_the_evaluation_and_other_policies_themselves() -> None:
    tree = {"arms": ["none", "classical", {"name": "mine", "policy": "strong"}], "policy": "light"}
    config = parse(EvaluateConfig, tree, "here")
    assert [arm.policy for arm in config.resolved_arms()] == [None, "light", "strong"]


def test_an_arm_may_deal_with_imbalance_in_its_own_way() -> None:
    tree = {
        "arms": ["none", {"name": "adjusted", "long_tail": "logit-adjustment"}, {"name": "both", "sampling": "plain"}]
    }
    classifier = {"sampling": "square-root", "long_tail": "cmo", "steps": 7}
    config = parse(EvaluateConfig, {**tree, "classifier": classifier}, "here")
    settings = [arm.fit_config(config.classifier) for arm in config.arms]
    assert [(s.sampling, s.long_tail) for s in settings] == [
        ("square-root", "cmo"),
        ("square-root", "logit-adjustment"),
        ("plain", "cmo"),
    ]
    assert {s.steps for s in settings} == {7}


def test_settings_that_an_arm_shares_with_the_evaluation_make_no_other_recipe() -> None:
    own = {"policy": "classical", "sampling": "square-root", "long_tail": "logit-adjustment", "mixup": 0.4}
    (arm,) = parse(EvaluateConfig, {"arms": [{"name": "a", **own}]}, "here").compared_arms()
    assert (arm.policy, arm.sampling, arm.long_tail, arm.mixup) == ("rand-augment", "square-root", None, None)
    tuned = {"name": "a", "learner": "finetune", "mixup": 0.0}
    (arm,) = parse(EvaluateConfig, {"arms": [tuned]}, "here").compared_arms()
    assert arm.mixup is None


def test_an_arm_may_have_a_mixup_of_its_own() -> None:
    arms = [{"name": learner[:4], "learner": learner, "mixup": 0.7} for learner in ("network", "finetune")]
    config = parse(EvaluateConfig, {"arms": [*arms, "classical", "finetune"], "classifier": {"mixup": 0.2}}, "here")
    assert [config.classifier_of(arm).mixup for arm in config.arms] == [0.7, 0.7, 0.2, config.finetune.mixup]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"protocol": {"kind": "bootstrap"}},
            r"protocol\.kind: input should be 'holdout', 'subsample', 'imbalance' or 'kfold'",
        ),
        (
            {"evaluate": {"arms": [{"name": "a", "forecast": True}], "metric": "log_loss"}},
            "forecast: true needs the metric accuracy or balanced_accuracy, got log_loss; change the",
        ),
        ({"protocol": {"sizes": [20, 10]}}, r"protocol\.sizes: expected different sizes in ascending order"),
        (
            {"choose": {"arm": "none"}},
            "expected one of .* real and stored synthetic images and without by_need: none\\+synthetic",
        ),
        (
            {"choose": {"arm": "none+synthetic"}, "evaluate": {"arms": ["classical", "none+synthetic"]}},
            "evaluate.arms has no such arm without synthetic images to compare it with; add one",
        ),
        (
            {"choose": {"arm": "classical+fresh"}, "evaluate": {"arms": ["classical", "classical+fresh"]}},
            "expected one of the arms with real and stored synthetic images and without by_need: but there is none",
        ),
        (
            {"choose": {"arm": "a"}, "evaluate": {"arms": ["none", {"name": "a", "synthetic": True, "by_need": True}]}},
            "expected one of the arms with real and stored synthetic images and without by_need: but there is none",
        ),
        (
            {"evaluate": {"arms": [{"name": "a", "synthetic": True, "feed": "reconstruction"}]}},
            "arm 'a' has feed: reconstruction, which needs a generator of kind anchored, got kind cgan",
        ),
        ({"evaluate": {"arms": [{"name": "a", "synthetic_first": 0.5}]}}, "synthetic_first needs real: true and"),
        ({"evaluate": {"arms": [{"name": "a", "synthetic": True, "weight": 2}]}}, r"evaluate\.arms\.0\.weight"),
        ({"evaluate": {"arms": [{"name": "a", "filter": "luck"}]}}, "expected one of confidence, distance, score"),
        ({"evaluate": {"arms": [{"name": "a", "long_tail": "focal"}]}}, r"arms\.0\.long_tail: expected one of none"),
        ({"evaluate": {"arms": [{"name": "a", "sampling": "even"}]}}, r"arms\.0\.sampling: expected one of plain"),
        ({"evaluate": {"classifier": {"long_tail": "focal"}}}, r"classifier\.long_tail: expected one of none"),
        (
            {"evaluate": {"arms": [{"name": "a", "long_tail": "remix"}], "classifier": {"mixup": 0}}},
            "evaluate: arm 'a': long_tail remix needs mixup above 0, got 0; set mixup, for example to 0.4",
        ),
        *(
            ({"evaluate": {"arms": [{"name": "a", "synthetic": True, "learner": "features", key: value}]}}, key)
            for key, value in (("policy", "light"), ("synthetic_first", 0.5), ("sampling", "plain"), ("mixup", 0))
        ),
        (
            {"evaluate": {"arms": [{"name": "a", "learner": "features", "long_tail": "cmo"}]}},
            "long_tail is for networks that are trained, and this arm has learner: features; leave it out",
        ),
        (
            {"evaluate": {"arms": [{"name": "a", "learner": "finetune", "real": False, "synthetic": True}]}},
            "learner: finetune needs real: true",
        ),
        (
            {"evaluate": {"arms": ["finetune"], "classifier": {"long_tail": "ldam-drw"}}},
            "arm 'finetune': its long_tail method has a last layer of its own, and learner: finetune begins with a lin",
        ),
        (
            {"evaluate": {"arms": [{"name": "a", "synthetic": True, "forecast": True}]}},
            "forecast is for arms of real images with their own labels, without synthetic: true",
        ),
        ({"evaluate": {"arms": [{"name": "a", "learner": "forest"}]}}, "learner: input should be 'network', 'feat"),
        (
            {"choose": {"arm": "features+synthetic"}, "evaluate": {"arms": ["none", "features+synthetic"]}},
            "evaluate.arms has no such arm without synthetic images to compare it with; add one",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Pipeline, {"data": {"source": "x"}, **tree}, "here")


def test_a_definition_survives_its_own_dump() -> None:
    pipeline = load_pipeline("fashion-50", ["evaluate.arms=[none,{name: a, policy: classical}]"])
    assert Pipeline.model_validate(pipeline.model_dump(mode="json")) == pipeline


FLOATS = [
    *(
        f"gan.{key}"
        for key in ("lecam", "lr_generator", "lr_discriminator", "beta1", "beta2", "ema_decay", "penalties.r1")
    ),
    *(f"evaluate.classifier.{key}" for key in ("lr", "weight_decay", "label_smoothing", "mixup", "cutmix")),
    "evaluate.ratio",
    "data.holdout",
    "choose.validation",
]
ARM_FLOATS = ["ratio", "keep", "share", "weight", "synthetic_first"]


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1.0e+30", "0x" + "f" * 400])
@pytest.mark.parametrize("key", FLOATS)
def test_no_setting_accepts_an_absurd_number(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=key.partition(".")[2]):
        load_pipeline("quickstart", ["data.source=x", f"{key}={value}"])


@pytest.mark.parametrize("value", [".nan", ".inf", "1.0e+30"])
@pytest.mark.parametrize("key", ARM_FLOATS)
def test_no_setting_of_an_arm_accepts_an_absurd_number(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"arms\.0\.{key}"):
        load_pipeline("quickstart", ["data.source=x", f"evaluate.arms=[{{name: a, synthetic: true, {key}: {value}}}]"])


@pytest.mark.parametrize("key", [k for k, f in CganConfig.model_fields.items() if f.annotation is int])
def test_no_whole_number_of_the_generator_is_without_a_bound(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"generator\.{key}: input should be less than"):
        load_pipeline("quickstart", ["data.source=x", f"generator.{key}={10**20}"])


def test_sensible_extremes_are_accepted() -> None:
    settings = ["gan.lr_generator=0.1", "gan.penalties={r1: 1000}", "gan.batch_size=4096", "gan.steps=5000000"]
    settings += ["evaluate.classifier.lr=0.5", "evaluate.classifier.weight_decay=10", "evaluate.ratio=100"]
    settings += [f"{section}.seed=4294967295" for section in ("data", "gan", "generate", "evaluate")]
    assert load_pipeline("quickstart", ["data.source=x", *settings]).evaluate.seed == 2**32 - 1
