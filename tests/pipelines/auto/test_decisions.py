"""`augment run auto` chooses the settings that its user left open, says why, and keeps what it chose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from auto_run import CONTROLLED, ON_FEATURES, PRETRAINED, QUICK, RECIPES, RECIPES_FED, TINY, TUNED, auto, decided
from observing import Kept
from tiny_pipeline import stages_in

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.gan.anchors import check_anchor_policy
from augment.generators.anchored import AnchoredConfig
from augment.runtime import Runtime
from pipelines.auto import decisions
from pipelines.auto.decisions import decide, facts_of
from pipelines.config.sections import Pipeline
from pipelines.experiment import time_estimate
from pipelines.experiment.loading import load
from pipelines.experiment.time_estimate import ClassifierTime
from pipelines.results.pairs import control_comparisons
from pipelines.runner import plan, run


def test_imbalanced_classes_get_logit_adjustment_and_lent_differences(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *QUICK), tmp_path)
    classifier = pipeline.evaluate.classifier
    assert (classifier.sampling, classifier.long_tail) == ("plain", "logit-adjustment")
    assert pipeline.generator.model_dump()["anchors"] == "pooled-difference"
    assert "classes of 4 to 30 images" in text
    assert "a class has at least 30 images, enough to take differences from" in text


def test_small_balanced_classes_lend_differences_to_each_other(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *QUICK), tmp_path)
    classifier = pipeline.evaluate.classifier
    assert (classifier.sampling, classifier.long_tail) == ("balanced", "none")
    generator = pipeline.generator.model_dump()
    assert (generator["anchors"], generator["lenders_from"]) == ("pooled-difference", 5)
    assert "no class has 20 images, so all with at least 5 images lend differences" in text


@pytest.mark.parametrize(
    ("counts", "anchors", "lenders_from"),
    [
        ((8, 8, 5, 2), "pooled-difference", 4),
        ((60, 9, 5, 2), "pooled-difference", 20),
        ((2, 2, 2, 2), "reconstruction", 20),
    ],
)
def test_single_images_of_a_fold_borrow_what_there_is(
    counts: tuple[int, ...], anchors: str, lenders_from: int, source: Any, tmp_path: Path
) -> None:
    pipeline, text = decided(auto(source(*counts, test=False), *TINY), tmp_path)
    settings = pipeline.generator.model_dump()
    assert (settings["anchors"], settings["lenders_from"]) == (anchors, lenders_from)
    assert f"the generator anchored, {anchors}:" in text


def test_classes_of_eight_images_get_a_forecast(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms if arm.forecast] == ["classical", "features"]
    assert "estimate what twice as many would give" in text
    pipeline, text = decided(auto(source(8, 8, 8, 7), *TINY), tmp_path)
    assert not any(arm.forecast for arm in pipeline.evaluate.arms)
    assert "it needs 8 images of each class" in text


def test_unlabelled_images_are_learnt_from_by_an_arm(source: Any, tmp_path: Path, four: LabelledImages) -> None:
    np.savez(tmp_path / "more.npz", train_images=four.images[50:80, 0], train_labels=np.zeros(30, np.int64))
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, f"data.unlabelled={tmp_path / 'more.npz'}"), tmp_path)
    learning = [arm.name for arm in pipeline.evaluate.arms if arm.unlabelled]
    assert learning == ["classical+unlabelled", "features+unlabelled"]
    assert "an arm learns from 30 unlabelled images too, and so does the generator" in text
    assert "pretrained features are compared too, with the unlabelled images and without" in text


def test_given_settings_are_kept_and_not_explained(source: Any, tmp_path: Path) -> None:
    settings = ("evaluate.classifier.long_tail=remix", "evaluate.classifier.sampling=plain", "evaluate.repeats=7")
    settings = (*settings, "evaluate.classifier.steps=70")
    pipeline, text = decided(auto(source(30, 30, 5, 4), *QUICK, *settings), tmp_path)
    assert (pipeline.evaluate.classifier.long_tail, pipeline.evaluate.repeats) == ("remix", 7)
    assert "logit adjustment" not in text
    assert "repeats" not in text
    assert "steps" not in text


def test_one_given_setting_leaves_the_others_open(source: Any, tmp_path: Path) -> None:
    settings = ("evaluate.classifier.sampling=square-root", "data.image_size=8", "generator.anchors=difference")
    pipeline, text = decided(auto(source(30, 30, 5, 4), *QUICK, *settings), tmp_path)
    classifier = pipeline.evaluate.classifier
    assert (classifier.sampling, classifier.long_tail) == ("square-root", "logit-adjustment")
    assert "long_tail: logit-adjustment, for classes of 4 to 30 images; sampling as the pipeline says" in text
    assert re.search(r"images of .+ at 8 px: as the pipeline says", text)
    assert "the generator anchored: as the pipeline says" in text


def test_minutes_buy_repeats_up_to_twelve(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY, "auto.minutes=500"), tmp_path)
    assert pipeline.evaluate.repeats == 12
    assert "fewer than 6 support no claim" in text


def test_too_few_minutes_are_refused_with_the_number_that_it_takes(source: Any, tmp_path: Path) -> None:
    pipeline, kept = auto(source(30, 30, 5, 4), "auto.minutes=0.05", *PRETRAINED, "generator.steps=50000"), Kept()
    with pytest.raises(ConfigError, match=r"6 repeats would take about .+ --minutes is 0.05: give --minutes [1-9]\d*,"):
        decide(pipeline, load(pipeline.data), tmp_path, Runtime(observer=kept))
    assert any("enough to take differences from" in note for note in kept.notes)


def test_without_minutes_the_fewest_repeats_are_never_refused(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *PRETRAINED, "generator.steps=50000"), tmp_path)
    assert pipeline.evaluate.repeats == 6
    assert "7 would take" in text


def test_each_speed_is_measured_once_and_both_totals_agree(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[str] = []
    time_of = {"network": ClassifierTime(0.7, 0.01, 0.01), "finetune": ClassifierTime(300.0)}
    monkeypatch.setattr(time_estimate, "classifier_time", lambda name, *_: timed.append(name) or time_of[name])
    monkeypatch.setattr(time_estimate, "fit_seconds", lambda *_: timed.append("fit") or 17.0)
    kept = Kept()
    plan(auto(source(30, 30, 9, 9, test=False), *TINY), tmp_path / "out", Runtime(observer=kept, jobs=2))
    decided_in = next(match[1] for note in kept.notes if (match := re.search(r"own generator, in (about .+?):", note)))
    assert any(f": {decided_in} (fit " in note for note in kept.notes)
    assert sorted(timed) == ["finetune", "fit", "network"]


def test_one_generator_for_all_repeats_is_not_called_each_ones_own(source: Any, tmp_path: Path) -> None:
    path = source(30, 30, 5, 4)
    assert "12 repeats, each with its own generator, in" in decided(auto(path, *TINY, "auto.minutes=500"), tmp_path)[1]
    _, text = decided(auto(path, *TINY, "auto.minutes=500", "protocol.redraw_generator=false"), tmp_path)
    assert "12 repeats in" in text


def test_a_mix_cannot_be_chosen_for_images_that_are_new(source: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave choose out, or give evaluate.arms"):
        decided(auto(source(30, 30, 5, 4), *TINY, "choose={}"), tmp_path)


@pytest.mark.parametrize(("fewest", "repeats"), [(4, 12), (7, 12), (2, 12)])
def test_repeats_of_kfold_are_whole_rounds(fewest: int, repeats: int, source: Any, tmp_path: Path) -> None:
    pipeline, _ = decided(auto(source(30, 30, 9, fewest, test=False), *TINY, "auto.minutes=500"), tmp_path)
    assert pipeline.evaluate.repeats == repeats


@pytest.mark.parametrize(("largest", "minutes"), [(24, 500), (24, 0.01), (23, 500), (26, 500)])
def test_the_choices_hold_for_the_folds_that_are_run(
    largest: int, minutes: float, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six repeats leave 20 of 24 images to train on, and twelve leave 18."""
    monkeypatch.setattr("pipelines.auto.time_budget.MINUTES", minutes)
    path = source(largest, largest, 5, 5, test=False)
    pipeline, text = decided(auto(path, *TINY), tmp_path)
    folds, config = facts_of(pipeline, load(pipeline.data)).folds, pipeline.generator
    assert isinstance(config, AnchoredConfig)
    for fold in folds:
        check_anchor_policy(config.anchors, fold.train, config.lenders_from)
    counts = folds[0].train.counts()
    assert pipeline.evaluate.repeats == len(folds) == (6 if minutes < 1 else 12)
    assert f"classes of {counts.min()} to {counts.max()} images" in text


def test_given_folds_decide_the_rounds(source: Any, tmp_path: Path) -> None:
    settings = ("protocol.folds=5", "auto.minutes=500")
    pipeline, _ = decided(auto(source(30, 30, 9, 7, test=False), *TINY, *settings), tmp_path)
    assert pipeline.evaluate.repeats == 10


def test_without_the_extra_the_sentence_says_how_to_get_features(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classifiers.backbones.find_spec", lambda _: None)
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms] == [*CONTROLLED, *RECIPES, *RECIPES_FED]
    assert "pip install 'augment-osgan[pretrained]'" in text


def test_other_generators_are_left_as_they_are(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), "generator=resample", *PRETRAINED, *TINY[7:]), tmp_path)
    assert pipeline.generator.kind == "resample"
    assert "the generator resample: as the pipeline says" in text


@pytest.mark.parametrize("counts", [(30, 30, 5, 4), (9, 9, 9, 9)])
def test_every_arm_of_the_generator_has_its_controls(counts: tuple[int, ...], source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(*counts), *TINY, "auto.minutes=500"), tmp_path)
    pairs = control_comparisons(pipeline.evaluate.resolved_arms())
    recipes, controls = ("classical", "features", *RECIPES, "finetune"), ("grid", "resample")
    assert pairs == [(f"{name}+fresh", f"{name}+{control}") for name in recipes for control in controls]
    assert "views of the real images in their place" in text


@pytest.fixture(scope="module")
def finished(source: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, Path, Kept]:
    pipeline, kept = auto(source(30, 30, 5, 4), *TINY, "protocol.redraw_generator=false"), Kept()
    folder = tmp_path_factory.mktemp("auto") / "out"
    run(pipeline, folder, Runtime(observer=kept))
    return pipeline, folder, kept


def test_a_run_says_what_it_chose_and_its_report_too(finished: tuple[Pipeline, Path, Kept]) -> None:
    _, folder, kept = finished
    sentence = next(note for note in kept.notes if note.startswith("plain sampling with logit adjustment"))
    assert sentence in (folder / "evaluation" / "report.html").read_text()


def test_the_same_command_again_decides_the_same(finished: tuple[Pipeline, Path, Kept]) -> None:
    pipeline, folder, _ = finished
    kept, before = Kept(), (folder / "auto.json").read_bytes()
    run(pipeline, folder, Runtime(observer=kept))
    assert not any(stage.runs for stage in stages_in(kept.notes))
    assert (folder / "auto.json").read_bytes() == before


def test_new_weights_and_overwrite_decide_anew(
    finished: tuple[Pipeline, Path, Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, folder, _ = finished
    loaded, before = load(pipeline.data), (folder / "auto.json").read_text()
    _, same = decide(pipeline, loaded, folder, Runtime())
    assert same.model_dump_json(indent=1) == before
    monkeypatch.setattr(decisions, "_read", lambda _: pytest.fail("read"))
    assert decide(pipeline, loaded, folder, Runtime(), overwrite=True)[1].inputs == same.inputs
    monkeypatch.undo()
    monkeypatch.setattr("classifiers.backbones.find_spec", lambda _: None)
    _, other = decide(pipeline, loaded, folder, Runtime())
    assert any("pip install 'augment-osgan[pretrained]'" in sentence for sentence in other.sentences)


def test_other_minutes_decide_anew(finished: tuple[Pipeline, Path, Kept]) -> None:
    pipeline, folder, _ = finished
    changed = pipeline.model_copy(update={"auto": type(pipeline.auto)(minutes=0.001)})  # type: ignore[misc]
    with pytest.raises(ConfigError, match="give --minutes 1,"):
        decided(changed, folder)


def test_the_resolved_definition_is_a_pipeline_without_open_settings(finished: tuple[Pipeline, Path, Kept]) -> None:
    _, folder, _ = finished
    resolved = Pipeline.model_validate(yaml.safe_load((folder / "config.yaml").read_text()))
    assert resolved.auto is None
    names = [*CONTROLLED, *ON_FEATURES, *RECIPES, *RECIPES_FED, *TUNED]
    assert [arm.name for arm in resolved.evaluate.arms] == names
    kept = Kept()
    run(resolved, folder, Runtime(observer=kept))
    assert not any(stage.runs for stage in stages_in(kept.notes))
