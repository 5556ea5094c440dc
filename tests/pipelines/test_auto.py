"""`augment run auto` chooses the settings that its user left open, says why, and keeps what it chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from observing import Kept
from tiny_pipeline import stages_in

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.runtime import Runtime
from pipelines import auto as auto_module
from pipelines.auto import decide
from pipelines.config.reading import load_pipeline
from pipelines.config.sections import Pipeline
from pipelines.experiment.loading import load
from pipelines.results.pairs import control_comparisons
from pipelines.runner import run

PRETRAINED = ("evaluate.features.input_size=32", "evaluate.finetune.steps=1", "evaluate.finetune.batch_size=4")
SMALL = ("generator.width=4", "generator.batch_size=4", "evaluate.classifier.width=4")
QUICK = (*PRETRAINED, "generator.steps=2", *SMALL)
CONTROLLED = ["classical", "classical+fresh", "classical+grid", "classical+resample"]
ON_FEATURES = ["features", "features+fresh", "features+grid", "features+resample"]
OTHER_VIEWS = "light-views"
TUNED = ["finetune", "finetune+fresh", "finetune+grid", "finetune+resample"]
TINY = (*QUICK, "evaluate.classifier.steps=3", "generate.per_class=2", "data.image_size=12")


@pytest.fixture(scope="module")
def source(four: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write a source of some images of each of four classes, with 10 test images of each, or without any."""

    def write(*counts: int, test: bool = True) -> Path:
        path = tmp_path_factory.mktemp("auto") / "source.npz"
        picked = np.concatenate([np.arange(100 * k, 100 * k + count) for k, count in enumerate(counts)])
        tested = np.concatenate([np.arange(100 * k + 90, 100 * k + 100) for k in range(4)])
        parts = {"train": picked} | ({"test": tested} if test else {})
        arrays = {f"{name}_images": four.images[indices, 0] for name, indices in parts.items()}
        labels = {f"{name}_labels": four.labels[indices] for name, indices in parts.items()}
        np.savez(path, **arrays, **labels)
        return path

    return write


def auto(source: Path, *settings: str) -> Pipeline:
    return load_pipeline("auto", (f"data.source={source}", *settings))


def decided(pipeline: Pipeline, folder: Path) -> tuple[Pipeline, str]:
    result, decisions = decide(pipeline, load(pipeline.data), folder, Runtime())
    return result, "\n".join(decisions.sentences)


def test_imbalanced_classes_get_logit_adjustment_and_lent_differences(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *QUICK), tmp_path)
    classifier = pipeline.evaluate.classifier
    assert (classifier.sampling, classifier.long_tail) == ("plain", "logit-adjustment")
    assert pipeline.generator.model_dump()["anchors"] == "pooled-difference"
    assert "classes of 4 to 30 images" in text
    assert "a class has 30 images to lend from" in text


def test_small_balanced_classes_are_mixed_by_a_grid(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *QUICK), tmp_path)
    classifier = pipeline.evaluate.classifier
    assert (classifier.sampling, classifier.long_tail) == ("balanced", "none")
    assert pipeline.generator.model_dump()["anchors"] == "grid"
    assert "no class has the 20 images that lending differences needs" in text


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


@pytest.mark.parametrize(
    ("images", "minutes", "steps"), [(8, 500, 2400), (90, 500, 2400), (90, 0.01, 1200), (8, 0.01, 600)]
)
def test_larger_sets_get_more_steps_if_there_is_time(
    images: int, minutes: float, steps: int, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.time_budget.MINUTES", minutes)
    tiny = (*QUICK, "generate.per_class=2", "data.image_size=12", "evaluate.classifier.batch_size=6")
    pipeline, text = decided(auto(source(*[images] * 4), *tiny), tmp_path)
    assert pipeline.evaluate.classifier.steps == steps
    assert f"{4 * images} training images is seen about {round(steps * 6 / (4 * images))} times" in text


def test_imbalanced_classes_get_cross_fitted_operating_points_if_there_is_time(source: Any, tmp_path: Path) -> None:
    tiny = (*QUICK, "generate.per_class=2", "data.image_size=12", "evaluate.classifier.steps=3")
    pipeline, text = decided(auto(source(30, 30, 5, 4), *tiny, "auto.minutes=500"), tmp_path)
    assert pipeline.evaluate.operating_point == "cross-fitted"
    assert "five more classifiers" in text
    few = ("evaluate.arms=[classical,classical+fresh]", "generator.steps=90000")  # and so no fine-tuning
    pipeline, text = decided(auto(source(30, 30, 5, 4), *tiny, *few), tmp_path)
    assert pipeline.evaluate.operating_point == "as-trained"
    assert "to cross-fit it would take" in text
    pipeline, text = decided(auto(source(8, 8, 8, 8), *tiny, "auto.minutes=500"), tmp_path)
    assert pipeline.evaluate.operating_point == "as-trained"
    assert "cross-fit" not in text


def test_classes_of_eight_images_get_a_forecast(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms if arm.forecast] == ["classical", "features"]
    assert "show what twice as many would give" in text
    pipeline, text = decided(auto(source(8, 8, 8, 7), *TINY), tmp_path)
    assert not any(arm.forecast for arm in pipeline.evaluate.arms)
    assert "which needs 8 of each class" in text


def test_unlabelled_images_are_learnt_from_by_an_arm(source: Any, tmp_path: Path, four: LabelledImages) -> None:
    np.savez(tmp_path / "more.npz", train_images=four.images[50:80, 0], train_labels=np.zeros(30, np.int64))
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, f"data.unlabelled={tmp_path / 'more.npz'}"), tmp_path)
    learning = [arm.name for arm in pipeline.evaluate.arms if arm.unlabelled]
    assert learning == ["classical+unlabelled", "features+unlabelled"]
    assert "an arm learns from 30 unlabelled images too, and so does the generator" in text
    assert "pretrained features are compared too, with the unlabelled images and without" in text


def test_given_repeats_get_the_fewest_steps(source: Any, tmp_path: Path) -> None:
    settings = ("evaluate.repeats=7", "evaluate.classifier.batch_size=6", "auto.minutes=500")
    pipeline, text = decided(auto(source(90, 90, 90, 90), *QUICK, *settings), tmp_path)
    assert (pipeline.evaluate.repeats, pipeline.evaluate.classifier.steps) == (7, 1200)
    assert "1200 steps" in text


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
    assert "images of 8 px: as the pipeline says" in text
    assert "the generator anchored: as the pipeline says" in text


def test_minutes_buy_repeats_up_to_twelve(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY, "auto.minutes=500"), tmp_path)
    assert pipeline.evaluate.repeats == 12
    assert "fewer than 6 support no claim" in text


def test_too_few_minutes_are_refused_with_the_number_that_it_takes(source: Any, tmp_path: Path) -> None:
    pipeline = auto(source(30, 30, 5, 4), "auto.minutes=0.05", *PRETRAINED, "generator.steps=50000")
    with pytest.raises(ConfigError, match=r"6 repeats would take about .+ --minutes is 0.05: give --minutes [1-9]\d*,"):
        decided(pipeline, tmp_path)


def test_without_minutes_the_fewest_repeats_are_never_refused(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *PRETRAINED, "generator.steps=50000"), tmp_path)
    assert pipeline.evaluate.repeats == 6
    assert "7 would take" in text


@pytest.mark.parametrize(("fewest", "repeats"), [(4, 12), (7, 12), (2, 12)])
def test_repeats_of_kfold_are_whole_rounds(fewest: int, repeats: int, source: Any, tmp_path: Path) -> None:
    pipeline, _ = decided(auto(source(30, 30, 9, fewest, test=False), *TINY, "auto.minutes=500"), tmp_path)
    assert pipeline.evaluate.repeats == repeats


def test_given_folds_decide_the_rounds(source: Any, tmp_path: Path) -> None:
    settings = ("protocol.folds=5", "auto.minutes=500")
    pipeline, _ = decided(auto(source(30, 30, 9, 7, test=False), *TINY, *settings), tmp_path)
    assert pipeline.evaluate.repeats == 10


def test_without_the_extra_the_sentence_says_how_to_get_features(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classifiers.backbones.find_spec", lambda _: None)
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms] == [*CONTROLLED, OTHER_VIEWS]
    assert "pip install 'augment-osgan[pretrained]'" in text


def test_other_generators_are_left_as_they_are(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), "generator=resample", *PRETRAINED, *TINY[7:]), tmp_path)
    assert pipeline.generator.kind == "resample"
    assert "the generator resample: as the pipeline says" in text


def test_views_that_are_only_shifted_are_compared_if_there_is_time(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, "evaluate.finetune.steps=900000"), tmp_path)
    light = pipeline.evaluate.resolved_arms()[-1]
    assert (light.name, light.policy, light.synthetic) == (OTHER_VIEWS, "light", False)
    assert "views that are only shifted are compared too" in text
    pipeline, text = decided(auto(source(8, 8, 8, 8), *QUICK, "generator.steps=90000"), tmp_path)
    assert OTHER_VIEWS not in [arm.name for arm in pipeline.evaluate.arms]
    assert "views that are only shifted are not compared, since that would take" in text
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, "evaluate.policy=strong"), tmp_path)
    assert OTHER_VIEWS not in [arm.name for arm in pipeline.evaluate.arms]
    assert "shifted" not in text


def test_a_pretrained_network_is_fine_tuned_if_there_is_time(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY, "auto.minutes=500"), tmp_path)
    names = [*CONTROLLED, *ON_FEATURES, OTHER_VIEWS]
    assert [arm.name for arm in pipeline.evaluate.arms] == [*names, *TUNED]
    assert {arm.operating_point for arm in pipeline.evaluate.resolved_arms()[-4:]} == {"as-trained"}
    assert "a pretrained network is fine-tuned too" in text
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY, "evaluate.finetune.steps=900000"), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms] == names
    assert "a pretrained network is not fine-tuned, since that would take" in text
    assert "cross-fit" not in text
    chosen = "evaluate.arms=[classical,classical+fresh]"
    pipeline, _ = decided(auto(source(30, 30, 5, 4), *TINY, chosen, "auto.minutes=500"), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms] == ["classical", "classical+fresh"]


@pytest.mark.parametrize(("counts", "controls"), [((30, 30, 5, 4), ("grid", "resample")), ((9, 9, 9, 9), ("grid",))])
def test_every_arm_of_the_generator_has_its_controls(
    counts: tuple[int, ...], controls: tuple[str, ...], source: Any, tmp_path: Path
) -> None:
    pipeline, text = decided(auto(source(*counts), *TINY, "auto.minutes=500"), tmp_path)
    pairs = control_comparisons(pipeline.evaluate.resolved_arms())
    learners = ("classical", "features", "finetune")
    assert pairs == [(f"{name}+fresh", f"{name}+{control}") for name in learners for control in controls]
    assert ("views of the real images in their place" in text) == ("resample" in controls)


def test_a_method_with_its_own_head_is_not_fine_tuned(source: Any, tmp_path: Path) -> None:
    given = ("evaluate.classifier.long_tail=ldam-drw", "auto.minutes=500")
    pipeline, _ = decided(auto(source(30, 30, 5, 4), *TINY, *given), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms][-1] == OTHER_VIEWS


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
    monkeypatch.setattr(auto_module, "_read", lambda _: pytest.fail("read"))
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
    names = [*CONTROLLED, *ON_FEATURES, OTHER_VIEWS, *TUNED]
    assert [arm.name for arm in resolved.evaluate.arms] == names
    kept = Kept()
    run(resolved, folder, Runtime(observer=kept))
    assert not any(stage.runs for stage in stages_in(kept.notes))
