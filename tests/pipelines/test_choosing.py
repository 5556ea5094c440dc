"""The mix is chosen on validation images, with no synthetic images among the candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy import record

from pipelines.choosing import BASELINE, ValidationSplit, candidate_arms, candidate_mixes, choose
from pipelines.config.sections import ChooseConfig, EvaluateConfig
from pipelines.experiment.records import encode_labels

CONFIG = ChooseConfig(ratios=(0.5, 2.0), keep=(1.0, 0.25), weights=(1.0,), repeats=4)
LABELS = np.arange(200) % 2
CANDIDATES = tuple(candidate_mixes(CONFIG))


def split(rng: np.random.Generator, right: dict[str, float], labels: np.ndarray = LABELS) -> ValidationSplit:
    """Records of classifiers that are right about this share of the images; the same images are hard for all."""
    hard = rng.random(len(labels))
    records = []
    for name in (BASELINE, *CANDIDATES):
        for repeat in range(4):
            wrong = hard + rng.normal(0, 0.02, len(labels)) > right.get(name, 0.7)
            records.append(record(repeat, name, 0.0, predicted=encode_labels(np.where(wrong, 1 - labels, labels))))
    return ValidationSplit(records, labels, f"images with {hard.sum()}")


def test_every_combination_is_a_candidate_and_the_baseline_has_no_synthetic_images() -> None:
    assert list(candidate_mixes(CONFIG).values()) == [
        {"ratio": ratio, "keep": keep, "filter": "confidence", "weight": 1.0}
        for ratio in (0.5, 2.0)
        for keep in (1, 0.25)
    ]
    arms = candidate_arms(CONFIG, EvaluateConfig(policy="strong"))
    assert [arm.name for arm in arms] == [BASELINE, *CANDIDATES]
    assert {(arm.real, arm.policy) for arm in arms} == {(True, "strong")}
    assert [arm.synthetic for arm in arms] == [False, True, True, True, True]
    assert [(arm.ratio, arm.keep) for arm in arms[1:]] == [(0.5, 1.0), (0.5, 0.25), (2.0, 1.0), (2.0, 0.25)]


def test_candidates_differ_in_their_images_only() -> None:
    evaluate = EvaluateConfig(operating_point="cross-fitted")
    candidates = evaluate.model_copy(update={"arms": candidate_arms(CONFIG, evaluate)})
    assert not any(arm.is_cross_fitted for arm in candidates.resolved_arms())


def test_the_best_mix_is_taken_and_its_gain_is_shown() -> None:
    rng = np.random.default_rng(1)
    found = choose({"": [split(rng, {CANDIDATES[2]: 0.85}), split(rng, {CANDIDATES[2]: 0.85})]}, CONFIG, "accuracy")
    assert (found.words, found.mix) == (CANDIDATES[2], candidate_mixes(CONFIG)[CANDIDATES[2]])
    assert found.mean_gain == pytest.approx(0.15, abs=0.05)
    assert 0 < found.lower_bound < found.mean_gain
    assert found.gain_shown
    assert found.confidence == pytest.approx(1 - 0.05 / 4)  # of four candidates
    assert found.by_fold == {"": found.mix}
    assert found.candidates[CANDIDATES[0]] < found.mean_gain


def test_each_fold_takes_its_own_best_and_all_together_decide() -> None:
    rng = np.random.default_rng(2)
    splits = {"a": [split(rng, {CANDIDATES[0]: 0.9})], "b": [split(rng, {CANDIDATES[3]: 0.75, CANDIDATES[0]: 0.73})]}
    found = choose(splits, CONFIG, "accuracy")
    mixes = candidate_mixes(CONFIG)
    assert found.by_fold == {"a": mixes[CANDIDATES[0]], "b": mixes[CANDIDATES[3]]}
    assert found.words == CANDIDATES[0]


def test_without_a_difference_a_gain_is_hardly_ever_shown() -> None:
    shown = [
        choose({"": [split(np.random.default_rng(seed), {})]}, CONFIG, "accuracy").gain_shown for seed in range(40)
    ]
    assert sum(shown) <= 2


def test_harm_is_never_shown_as_a_gain() -> None:
    rng = np.random.default_rng(3)
    found: dict[str, Any] = choose({"": [split(rng, dict.fromkeys(CANDIDATES, 0.6))]}, CONFIG, "accuracy")
    assert not found.gain_shown
    assert found.mean_gain < 0


def test_under_imbalance_classes_count_the_same() -> None:
    labels = np.repeat([0, 1], [180, 20])
    rng = np.random.default_rng(4)
    done = split(rng, {}, labels)
    guess = (labels == 1) | (np.arange(200) % 3 == 0)  # right about all of the rare class, wrong about a third
    better = {"predicted": encode_labels(guess.astype(int))}
    records = [r.model_copy(update=better) if r.arm == CANDIDATES[1] else r for r in done.records]
    done = replace(done, records=records)
    plain, balanced = (choose({"": [done]}, CONFIG, metric) for metric in ("accuracy", "balanced_accuracy"))
    assert balanced.candidates[CANDIDATES[1]] > plain.candidates[CANDIDATES[1]] + 0.05


def test_images_that_all_folds_are_validated_on_count_once() -> None:
    """Side by side they would be three times as many images, and the bound too near to the gain."""
    rng = np.random.default_rng(4)
    hard = rng.random(200)
    splits = []
    for _ in range(3):
        records = [
            record(repeat, name, 0.0, predicted=encode_labels(np.where(hard + noise > right, 1 - LABELS, LABELS)))
            for name, right in ((BASELINE, 0.7), *((c, 0.74) for c in CANDIDATES))
            for repeat, noise in enumerate(rng.normal(0, 0.02, (4, 200)))
        ]
        splits.append(ValidationSplit(records, LABELS, "the same"))
    shared = choose({str(i): [s] for i, s in enumerate(splits)}, CONFIG, "accuracy")
    distinct = {str(i): [ValidationSplit(s.records, s.labels, str(i))] for i, s in enumerate(splits)}
    apart = choose(distinct, CONFIG, "accuracy")
    assert shared.mean_gain == pytest.approx(apart.mean_gain)
    widths = [found.mean_gain - found.lower_bound for found in (shared, apart)]
    assert widths[0] > 1.3 * widths[1]
