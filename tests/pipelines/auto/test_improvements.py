"""What `augment run auto` adds if there is time: other views, fine-tuning, operating points, longer training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from auto_run import CONTROLLED, ON_FEATURES, QUICK, RECIPES, RECIPES_FED, TINY, TUNED, auto, decided

from augment.errors import ConfigError
from pipelines.results.pairs import declared_comparisons


@pytest.mark.parametrize(
    ("images", "minutes", "steps"), [(8, 500, 2400), (90, 500, 2400), (90, 0.01, 1200), (8, 0.01, 600)]
)
def test_larger_sets_get_more_steps_if_there_is_time(
    images: int, minutes: float, steps: int, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.auto.time_budget.MINUTES", minutes)
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


def test_for_given_repeats_minutes_buy_better_classifiers(source: Any, tmp_path: Path) -> None:
    settings = ("evaluate.repeats=7", "evaluate.classifier.batch_size=6")
    pipeline, text = decided(auto(source(90, 90, 90, 90), *QUICK, *settings), tmp_path)
    assert (pipeline.evaluate.repeats, pipeline.evaluate.classifier.steps) == (7, 1200)
    assert "1200 steps" in text
    pipeline, text = decided(auto(source(90, 90, 90, 90), *QUICK, *settings, "auto.minutes=500"), tmp_path)
    assert (pipeline.evaluate.repeats, pipeline.evaluate.classifier.steps) == (7, 2400)
    with pytest.raises(ConfigError, match=r"7 repeats would take about .+, but --minutes is 0.01: give --minutes"):
        decided(auto(source(90, 90, 90, 90), *QUICK, *settings, "auto.minutes=0.01"), tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        "classifier.long_tail=ldam-drw",
        "arms=[classical, {name: ldam, policy: classical, long_tail: ldam-drw}]",
        "arms=[{name: a, operating_point: as-trained}]",
        "operating_point=as-trained",
    ],
)
def test_operating_points_are_left_where_none_could_be_fitted(given: str, source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY, "auto.minutes=500", f"evaluate.{given}"), tmp_path)
    assert pipeline.evaluate.operating_point == "as-trained"
    assert "cross-fit" not in text
    assert "five more classifiers" not in text


def test_a_given_operating_point_is_that_of_fine_tuned_networks_too(source: Any, tmp_path: Path) -> None:
    given = ("auto.minutes=500", "evaluate.operating_point=cross-fitted")
    pipeline, _ = decided(auto(source(30, 30, 5, 4), *TINY, *given), tmp_path)
    assert {arm.operating_point for arm in pipeline.evaluate.resolved_arms()[-4:]} == {"cross-fitted"}


def test_other_recipes_are_compared_if_there_is_time(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, "evaluate.finetune.steps=900000"), tmp_path)
    no_mixup, light = (arm for arm in pipeline.evaluate.resolved_arms() if arm.name in RECIPES)
    assert [no_mixup.name, light.name] == RECIPES
    assert (light.policy, light.mixup, light.synthetic) == ("light", None, False)
    assert (no_mixup.policy, no_mixup.mixup, no_mixup.synthetic) == (pipeline.evaluate.policy, 0, False)
    assert "without mixup are compared too (for all arms: --set evaluate.classifier.mixup=0)" in text
    assert "views that are only shifted are compared too (for all arms: --set evaluate.policy=light)" in text
    pipeline, text = decided(auto(source(8, 8, 8, 8), *QUICK, "generator.steps=90000"), tmp_path)
    assert not {*RECIPES} & {arm.name for arm in pipeline.evaluate.arms}
    assert "classifiers without mixup are not compared, since that would take" in text


def test_synthetic_images_are_compared_in_other_recipes_too(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, "evaluate.finetune.steps=900000"), tmp_path)
    arms = pipeline.evaluate.resolved_arms()
    assert [arm.name for arm in arms if arm.synthetic][-6:] == RECIPES_FED
    assert {(f"{recipe}+fresh", recipe) for recipe in RECIPES} < {*declared_comparisons(arms)}
    assert "synthetic images and their controls are compared without mixup too" in text
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, "evaluate.policy=light"), tmp_path / "light")
    assert "compared without mixup too" in text
    assert "shifted" not in text
    assert not [arm for arm in pipeline.evaluate.arms if arm.name.startswith("light-views")]


@pytest.mark.parametrize(
    ("given", "recipes"),
    [
        ("policy=strong", ["no-mixup"]),
        ("classifier.mixup=0.2", ["light-views"]),
        ("classifier.long_tail=remix", ["light-views"]),
        ("arms=[classical,classical+fresh]", []),
    ],
)
def test_given_settings_have_no_other_recipe_beside_them(
    given: str, recipes: list[str], source: Any, tmp_path: Path
) -> None:
    pipeline, text = decided(auto(source(8, 8, 8, 8), *TINY, f"evaluate.{given}"), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms if arm.name in RECIPES] == recipes
    assert ("without mixup" in text, "shifted" in text) == ("no-mixup" in recipes, "light-views" in recipes)


def test_a_pretrained_network_is_fine_tuned_if_there_is_time(source: Any, tmp_path: Path) -> None:
    pipeline, text = decided(auto(source(30, 30, 5, 4), *TINY, "auto.minutes=500"), tmp_path)
    names = [*CONTROLLED, *ON_FEATURES, *RECIPES, *RECIPES_FED]
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


def test_a_method_with_its_own_head_is_not_fine_tuned(source: Any, tmp_path: Path) -> None:
    given = ("evaluate.classifier.long_tail=ldam-drw", "auto.minutes=500")
    pipeline, _ = decided(auto(source(30, 30, 5, 4), *TINY, *given), tmp_path)
    assert [arm.name for arm in pipeline.evaluate.arms][-1] == RECIPES_FED[-1]
