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
from pipelines.auto import decide
from pipelines.config.reading import load_pipeline
from pipelines.config.sections import Pipeline
from pipelines.experiment.loading import load
from pipelines.runner import run

QUICK = ("generator.steps=2", "generator.width=4", "generator.batch_size=4", "evaluate.classifier.width=4")
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


def test_larger_sets_get_more_steps(source: Any, tmp_path: Path) -> None:
    steps = [
        decided(auto(source(*counts), *QUICK, "evaluate.classifier.batch_size=6"), tmp_path)[
            0
        ].evaluate.classifier.steps
        for counts in ((8, 8, 8, 8), (90, 90, 90, 90))
    ]
    assert steps == [600, 1200]


def test_given_settings_are_kept_and_not_explained(source: Any, tmp_path: Path) -> None:
    settings = ("evaluate.classifier.long_tail=remix", "evaluate.classifier.sampling=plain", "evaluate.repeats=7")
    pipeline, text = decided(auto(source(30, 30, 5, 4), *QUICK, *settings), tmp_path)
    assert (pipeline.evaluate.classifier.long_tail, pipeline.evaluate.repeats) == ("remix", 7)
    assert "logit adjustment" not in text
    assert "repeats" not in text


def test_one_given_setting_leaves_the_others_open(source: Any, tmp_path: Path) -> None:
    pipeline, _ = decided(auto(source(30, 30, 5, 4), *QUICK, "evaluate.classifier.sampling=square-root"), tmp_path)
    classifier = pipeline.evaluate.classifier
    assert (classifier.sampling, classifier.long_tail) == ("square-root", "logit-adjustment")


def test_minutes_buy_repeats_up_to_twelve(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY, "auto.minutes=500"), tmp_path)
    assert pipeline.evaluate.repeats == 12
    assert "fewer than 6 support no claim" in text


def test_too_few_minutes_are_refused_with_the_number_that_it_takes(source: Any, tmp_path: Path) -> None:
    pipeline = auto(source(30, 30, 5, 4), "auto.minutes=0.05", "generator.steps=50000")
    with pytest.raises(ConfigError, match=r"6 repeats would take about .+ --minutes is 0.05: give --minutes [1-9]\d*,"):
        decided(pipeline, tmp_path)


def test_without_minutes_the_fewest_repeats_are_never_refused(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), "generator.steps=50000"), tmp_path)
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
    assert [arm.name for arm in pipeline.evaluate.arms] == ["classical", "classical+fresh", "classical+grid"]
    assert "pip install 'augment-osgan[pretrained]'" in text


def test_other_generators_are_left_as_they_are(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), "generator=resample", *TINY[3:]), tmp_path)
    assert pipeline.generator.kind == "resample"
    assert "the generator resample: as the definition says" in text


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


def test_other_minutes_decide_anew(finished: tuple[Pipeline, Path, Kept]) -> None:
    pipeline, folder, _ = finished
    changed = pipeline.model_copy(update={"auto": type(pipeline.auto)(minutes=0.001)})  # type: ignore[misc]
    with pytest.raises(ConfigError, match="give --minutes 1,"):
        decided(changed, folder)


def test_the_resolved_definition_is_a_pipeline_without_open_settings(finished: tuple[Pipeline, Path, Kept]) -> None:
    _, folder, _ = finished
    resolved = Pipeline.model_validate(yaml.safe_load((folder / "config.yaml").read_text()))
    assert resolved.auto is None
    names = ["classical", "classical+fresh", "classical+grid", "features", "features+synthetic"]
    assert [arm.name for arm in resolved.evaluate.arms] == names
    kept = Kept()
    run(resolved, folder, Runtime(observer=kept))
    assert not any(stage.runs for stage in stages_in(kept.notes))
