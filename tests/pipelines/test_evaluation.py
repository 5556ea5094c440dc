"""An evaluation leaves the files that readers rely on, continues its own and refuses those of others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import contents
from observing import Kept

from augment.dataset.images import LabelledImages, split_per_class
from augment.errors import ConfigError, OutputError
from augment.generators.sampling import SyntheticImages
from augment.runtime import Runtime
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.reading import parse
from pipelines.config.sections import DataConfig, EvaluateConfig
from pipelines.evaluation import ReportContext, evaluate, evaluate_folds
from pipelines.experiment import cross_fitting
from pipelines.experiment.cross_fitting import cross_fit_folds
from pipelines.experiment.folds import Design, Fold
from pipelines.metric_specs import METRICS
from pipelines.results.document import Results, read_results
from pipelines.results.forecast import describe_forecast

TINY = {
    "repeats": 2,
    "views": 2,
    "classifier": {"width": 4, "steps": 4, "batch_size": 6},
    "arms": ["none", "none+synthetic"],
}
CONFIG = parse(EvaluateConfig, TINY, "the test")


@pytest.fixture(scope="module")
def fold(shoes: LabelledImages) -> Fold:
    train, test = split_per_class(shoes, 0.4, seed=1)
    darker = LabelledImages(shoes.images // 2, shoes.labels, shoes.class_names)
    return Fold(train, test, (0, 1), synthetic=SyntheticImages(darker, scores=np.arange(19.0)))


def run(fold: Fold, folder: Path, config: EvaluateConfig = CONFIG, **options: Any) -> Results | None:
    design = Design(test_labels=fold.test.labels)
    context = ReportContext("my shoes", design, warnings=("2 training images are also in the test set",))
    runtime = Runtime(**{key: options.pop(key) for key in ("stopped", "observer") if key in options})
    return evaluate_folds([fold], config, folder, context, runtime, **options)


@pytest.fixture(scope="module")
def folder(fold: Fold, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation") / "out"
    run(fold, folder)
    return folder


def test_results_json_has_the_form_that_readers_rely_on(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    assert results["dataset"] == {
        "name": "my shoes",
        "classes": ["sandal", "sneaker", "ankle-boot"],
        "train_per_class": {"sandal": 5, "sneaker": 4, "ankle-boot": 2},
        "test_size": 8,
        "image_size": 12,
        "fingerprint": None,
    }
    assert results["protocol"].items() >= {"kind": "holdout", "repeats": 2, "classifier_steps": 4}.items()
    assert list(results["arms"]) == ["none", "none+synthetic"]  # gan-train is no arm
    for arm in results["arms"].values():
        assert arm.keys() == METRICS.keys()
        figures = arm["accuracy"]
        assert figures["mean"] == pytest.approx(sum(figures["values"]) / 2)
        assert len(figures["values"]) == 2
    (comparison,) = results["comparisons"]
    assert (comparison["arm"], comparison["baseline"]) == ("none+synthetic", "none")
    assert comparison["metric"] == "balanced_accuracy"  # the classes are of unequal size
    assert comparison["ci95"][0] <= comparison["mean_gain"] <= comparison["ci95"][1]
    assert {"p_value", "p_holm", "wins", "repeats"} <= comparison.keys()
    assert {"kid", "precision", "gan_train_accuracy", "memorised_fraction"} <= results["fidelity"].keys()
    assert {"augment", "arm", "ratio", "sentence"} <= results["recommendation"].keys()
    assert results["warnings"] == ["2 training images are also in the test set"]


def test_the_folder_holds_the_records_and_a_report_with_the_sentence(folder: Path) -> None:
    assert set(contents(folder)) == {".augment.json", "records.jsonl", "fidelity.jsonl", "results.json", "report.html"}
    assert len((folder / "records.jsonl").read_text().splitlines()) == 2 * 2 + 2
    report = (folder / "report.html").read_text()
    assert "my shoes" in report
    assert "2 training images are also in the test set" in report


def test_without_synthetic_images_there_is_no_fidelity(fold: Fold, tmp_path: Path) -> None:
    config = parse(EvaluateConfig, {**TINY, "arms": ["none", "classical"]}, "the test")
    results = run(replace(fold, synthetic=None), tmp_path / "out", config)
    assert results is not None
    assert results.fidelity == {}
    assert results.recommendation.augment is False


def test_a_forecast_trains_on_half_of_the_images_and_is_reported(shoes: LabelledImages, tmp_path: Path) -> None:
    settings = {**TINY, "arms": ["none", {"name": "classical", "policy": "classical", "forecast": True}]}
    results = run(Fold(shoes, shoes, (0, 1)), tmp_path / "out", parse(EvaluateConfig, settings, "the test"))
    assert results is not None
    assert list(results.arms) == ["none", "classical"]
    (found,) = results.forecast
    assert found.arm == "classical"
    assert found.at_all == results.arms["classical"]["balanced_accuracy"].mean
    assert len((tmp_path / "out" / "records.jsonl").read_text().splitlines()) == 2 * (2 + 1)
    assert describe_forecast(found) in (tmp_path / "out" / "report.html").read_text()
    assert read_results(tmp_path / "out" / "results.json") == results


def test_without_an_arm_there_is_no_forecast(folder: Path) -> None:
    assert read_results(folder / "results.json").forecast == []
    assert "What more images would give" not in (folder / "report.html").read_text()


@pytest.mark.parametrize(("name", "cross_fits"), [("score", 0), ("confidence", 1), ("distance", 1)])
def test_classifiers_are_cross_fitted_only_for_a_filter_that_needs_them(
    name: str, cross_fits: int, fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Fold] = []
    cross_fit = cross_fitting.cross_fit
    monkeypatch.setattr(
        cross_fitting, "cross_fit", lambda fold, *rest, **seed: calls.append(fold) or cross_fit(fold, *rest, **seed)
    )
    arm = {"name": "best", "synthetic": True, "keep": 0.75, "ratio": 0.5, "filter": name}
    kept = Kept()
    config = parse(EvaluateConfig, {**TINY, "arms": ["none", arm]}, "the test")
    assert run(fold, tmp_path / "out", config, observer=kept) is not None
    assert len(calls) == cross_fits
    assert [task.name for task in kept.started] == ["cross-fit"] * cross_fits + ["evaluate"]
    assert kept.done.get("cross-fit", []) == [1] * cross_fits


def test_each_fold_is_cross_fitted_with_a_seed_of_its_own(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(cross_fitting, "cross_fit", lambda fold, config, *, seed, device: seeds.append(seed))
    config = EvaluateConfig(arms=(Arm(name="soft", soft_labels=True),))
    folds = [replace(fold, name=f"g{r}", numbers=(r,)) for r in range(3)]
    cross_fit_folds(folds, config, Runtime())
    assert len(set(seeds)) == 3


def test_a_second_run_trains_nothing_and_returns_the_same(
    folder: Path, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, files = read_results(folder / "results.json"), contents(folder)
    monkeypatch.setattr("pipelines.experiment.experiment.train_and_test", None)
    monkeypatch.setattr("pipelines.results.fidelity_file.measure_fidelity", None)
    assert run(fold, folder) == before
    after = contents(folder)
    assert all(after[name] == files[name] for name in ("records.jsonl", "fidelity.jsonl"))


def test_another_metric_is_reported_without_any_training(
    folder: Path, fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(folder, tmp_path / "out")
    monkeypatch.setattr("pipelines.experiment.experiment.train_and_test", None)
    results = run(fold, out, CONFIG.model_copy(update={"metric": "macro_f1"}))
    assert results is not None
    assert {comparison.metric for comparison in results.comparisons} == {"macro_f1"}


@pytest.mark.parametrize(
    ("change", "kept"), [({"ratio": 0.5}, True), ({"views": 3}, False), ({"policy": "light"}, False)]
)
def test_fidelity_is_measured_again_only_if_its_classifier_changes(
    change: dict[str, Any], kept: bool, folder: Path, fold: Fold, tmp_path: Path
) -> None:
    out = shutil.copytree(folder, tmp_path / "out")
    assert run(fold, out, parse(EvaluateConfig, {**TINY, **change}, "the test"), replace="anything") is not None
    assert (contents(out)["fidelity.jsonl"] == contents(folder)["fidelity.jsonl"]) == kept


def test_fidelity_is_measured_again_for_other_synthetic_images(folder: Path, fold: Fold, tmp_path: Path) -> None:
    assert fold.synthetic is not None
    out, fewer = shutil.copytree(folder, tmp_path / "out"), fold.synthetic.take(np.arange(1, 19))
    before = read_results(out / "results.json").fidelity
    results = run(replace(fold, synthetic=fewer), out, replace="anything")
    assert results is not None
    assert (before["synthetic_images"], results.fidelity["synthetic_images"]) == (19, 18)


def test_a_stopped_evaluation_goes_on_to_the_same_results(folder: Path, fold: Fold, tmp_path: Path) -> None:
    stops = iter([False, False, True])
    assert run(fold, tmp_path / "out", stopped=lambda: next(stops)) is None
    assert not (tmp_path / "out" / "results.json").exists()
    assert run(fold, tmp_path / "out") == read_results(folder / "results.json")


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"seed": 5}, r"evaluate\.seed: 0, now 5"),
    ({"ratio": 0.5}, r"evaluate\.ratio: 1\.0, now 0\.5"),
]


@pytest.mark.parametrize(("change", "named"), OTHERS)
def test_other_settings_are_refused_and_overwrite_starts_again(
    change: dict[str, Any], named: str, fold: Fold, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    run(fold, folder)
    before = contents(folder)
    other = parse(EvaluateConfig, {**TINY, **change}, "the test")
    with pytest.raises(OutputError, match=rf"other settings \({named}\); choose another --out, or .*--overwrite"):
        run(fold, folder, other)
    assert contents(folder) == before
    run(fold, folder, other, overwrite=True)
    assert contents(folder)["records.jsonl"] != before["records.jsonl"]
    assert len(contents(folder)["records.jsonl"].splitlines()) == 6


def test_other_images_are_refused(folder: Path, fold: Fold) -> None:
    darker = LabelledImages(fold.test.images // 2, fold.test.labels, fold.test.class_names)
    with pytest.raises(OutputError, match="other test images"):
        run(replace(fold, test=darker), folder)


def test_a_folder_of_somebody_else_is_refused_and_untouched(fold: Fold, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"results\.json"):
            run(fold, tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {"results.json": b"mine"}


def test_nothing_is_written_where_an_arm_lacks_its_images(fold: Fold, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs 37 synthetic images of each class"):
        run(fold, tmp_path / "out", parse(EvaluateConfig, {**TINY, "ratio": 10}, "the test"))
    assert not (tmp_path / "out").exists()


def test_an_evaluation_of_a_source_reports_its_warnings(image_folder: Path, tmp_path: Path) -> None:
    """The synthetic images are the test images again, and only some of the training images are used."""
    data, kept = DataConfig(source=str(image_folder), image_size=12, samples_per_class=4), Kept()
    config = CONFIG.model_copy(update={"ratio": 0.5})
    runtime = Runtime(observer=kept)
    results = evaluate(data, config, tmp_path / "out", synthetic=image_folder / "test", runtime=runtime)
    assert results is not None
    assert results.warnings == kept.notes[: len(results.warnings)]
    limit, resized, copies = kept.notes
    assert copies == "18 synthetic images are in the test set too, pixel for pixel: the gain is too high"
    assert limit == "at most 4 images of each class are used: 12 of 36 training images"
    assert resized.startswith("synthetic images of 28 x 28 were resized to 12 x 12 px")
    assert (results.dataset.name, results.dataset.test_size) == (image_folder.name, 18)
    assert (kept.done["evaluate"][-1], kept.started[0].total, kept.ended) == (6, 6, ["evaluate"])
    real = parse(EvaluateConfig, {**TINY, "arms": ["none", "classical"]}, "the test")
    without = evaluate(data, real, tmp_path / "real")
    assert without is not None
    assert without.fidelity == {}


def test_arms_of_one_evaluation_may_compare_long_tail_methods(fold: Fold, tmp_path: Path) -> None:
    arms = [
        {"name": "balanced", "sampling": "balanced", "long_tail": "none"},
        {"name": "adjusted"},
        {"name": "idle", "sampling": "balanced", "long_tail": "deferred-reweighting"},
    ]
    kept = Kept()
    results = run(fold, tmp_path / "out", parse(EvaluateConfig, {**TINY, "arms": arms}, "the test"), observer=kept)
    assert results is not None
    assert [(c.arm, c.baseline) for c in results.comparisons] == [("balanced", "adjusted"), ("idle", "adjusted")]
    assert results.arms["idle"] == results.arms["balanced"]
    assert results.arms["adjusted"] != results.arms["balanced"]
    (note,) = [note for note in kept.notes if "long-tail" in note]
    assert "changes nothing" in note
    assert "idle (deferred-reweighting);" in note
    report = (tmp_path / "out" / "report.html").read_text()
    assert "long_tail: deferred-reweighting" in report


def test_the_settings_are_those_of_the_classifier_too() -> None:
    assert CONFIG.classifier == ClassifierConfig(width=4, steps=4, batch_size=6)
