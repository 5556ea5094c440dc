"""The recipe of a run is the arm that it recommends, with all its settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from observing import Kept
from PIL import Image

from augment.dataset.policies import DEFAULT_POLICY
from augment.errors import ConfigError, OutputError
from augment.runtime import Runtime
from pipelines.config.sections import DataConfig, EvaluateConfig, Pipeline
from pipelines.evaluation import evaluate
from pipelines.experiment.loading import load
from pipelines.model.recipe import choose_recipe, differences_from_run, recipe_of_run
from pipelines.model.training import train
from pipelines.runner import plan, run


def recommend(folder: Path, arm: str | None, mix: dict[str, object] | None = None) -> None:
    """Change what a run recommends."""
    path = folder / "evaluation" / "results.json"
    results = json.loads(path.read_text())
    results["recommendation"] |= {"arm": arm, **({"mix": mix} if mix else {})}
    path.write_text(json.dumps(results))


def test_a_run_that_does_not_augment_gives_its_baseline(out: Path) -> None:
    recommend(out, "none")
    recipe = recipe_of_run(out)
    assert (recipe.arm.name, recipe.generator, recipe.classes) == ("none", None, ("ankle-boot", "sandal", "trouser"))
    assert (recipe.evaluate.classifier.steps, recipe.image_size, recipe.resize) == (3, 12, "pad")
    results = json.loads((out / "evaluation" / "results.json").read_text())
    assert recipe.measured is not None
    assert recipe.measured.mean == results["arms"]["none"][recipe.measured.metric]["mean"]
    assert recipe.measured.low <= recipe.measured.mean <= recipe.measured.high
    assert recipe.measured.repeats == 2


def test_a_run_that_augments_gives_its_generator_and_its_mix(out: Path) -> None:
    recommend(out, "none+synthetic", {"ratio": 0.5, "filter": "score", "keep": 0.5})
    recipe = recipe_of_run(out)
    assert (recipe.arm.ratio, recipe.arm.keep, recipe.arm.filter) == (0.5, 0.5, "score")
    assert recipe.generator is not None
    assert (recipe.generator.kind, recipe.generator.total) == ("cgan", 6)
    with_flips = recipe.generator.with_horizontal_flip()
    assert choose_recipe(out, horizontal_flip=True).generator == with_flips != recipe.generator
    assert recipe.generate is not None
    assert recipe.generate.per_class == 8


def test_an_evaluation_of_real_images_has_a_recipe_too(image_folder: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(arms=("none", "classical"), repeats=2, classifier={"width": 4, "steps": 3})  # type: ignore[arg-type]
    evaluate(DataConfig(source=str(image_folder), image_size=12), config, tmp_path / "e", runtime=Runtime())
    recipe = recipe_of_run(tmp_path / "e")
    arms = json.loads((tmp_path / "e" / "results.json").read_text())["arms"]
    assert recipe.arm.name == max(arms, key=lambda name: arms[name]["accuracy"]["mean"])
    assert recipe.why == f"the arm {recipe.arm.name}, which has the best mean in e"
    assert recipe.evaluate.classifier == config.classifier


@pytest.mark.parametrize(("limit", "measured"), [(4, None), (2, "more"), (None, "few")])
def test_a_model_of_more_images_than_were_evaluated_is_another_one(
    limit: int | None, measured: str | None, image_folder: Path, tmp_path: Path
) -> None:
    config = EvaluateConfig(arms=("none",), repeats=2, classifier={"width": 4, "steps": 3})  # type: ignore[arg-type]
    few, data = (DataConfig(source=str(image_folder), image_size=12, samples_per_class=n) for n in (4, limit))
    evaluate(few, config, tmp_path / "e", runtime=Runtime())
    expected = (f"{measured} images of each class",) if measured else ()
    assert differences_from_run(recipe_of_run(tmp_path / "e"), load(data), data) == expected


@pytest.mark.parametrize("steps", [None, 77])
def test_given_settings_replace_those_of_the_run(steps: int | None, out: Path) -> None:
    recommend(out, "none")
    recipe = choose_recipe(out, steps=steps, horizontal_flip=True, seed=5)
    assert recipe.evaluate.classifier.steps == (steps or 3)
    assert (recipe.evaluate.horizontal_flip, recipe.evaluate.seed) == (True, 5)


def test_without_a_run_the_recipe_says_how_to_get_one() -> None:
    recipe = choose_recipe(None)
    assert recipe.arm.policy == DEFAULT_POLICY
    assert "give its folder with --run" in recipe.why


def test_other_folders_are_refused(tmp_path: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match="expected the folder of a finished `augment run` or `augment evaluate`"):
        recipe_of_run(tmp_path)
    with pytest.raises(ConfigError, match="expected the folder of a finished"):
        recipe_of_run(out / "gan")
    whole = (out / "config.yaml").read_bytes()
    for damage in (b"\xff", b"[" * 3000):
        (out / "config.yaml").write_bytes(whole + damage)
        with pytest.raises(ConfigError, match=r"config\.yaml is damaged or of another version; run it again"):
            recipe_of_run(out)
    (out / "config.yaml").write_bytes(whole.replace(b"ratio: 1.0", b"ratio: none"))
    with pytest.raises(ConfigError, match=r"config\.yaml is damaged or of another version; run it again"):
        recipe_of_run(out)
    (out / "config.yaml").write_bytes(whole)
    recommend(out, "other")
    with pytest.raises(ConfigError, match="is damaged: it recommends 'other'"):
        recipe_of_run(out)


def test_a_recipe_of_unlabelled_images_is_trained_with_them(
    image_folder: Path, pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    unlabelled = tmp_path / "unlabelled"
    unlabelled.mkdir()
    for i, file in enumerate(sorted((image_folder / "test").rglob("*.png"))):
        Image.open(file).rotate(90).save(unlabelled / f"{i}.png")
    arms = ["classical", "classical+unlabelled", "none+synthetic"]
    changed = pipeline(data={"unlabelled": str(unlabelled)}, evaluate={"arms": arms})
    out, kept = tmp_path / "run", Kept()
    assert run(changed, out, Runtime(observer=kept)) is not None
    assert f"18 unlabelled images of {unlabelled}" in kept.notes
    recommend(out, "none+synthetic", {"ratio": 1.0})
    assert recipe_of_run(out).unlabelled is None  # neither the arm nor its generator uses them
    definition = out / "config.yaml"
    text = definition.read_text()
    definition.write_text(text.replace("  unlabelled: 0.0\n", "  unlabelled: 0.5\n", 1))
    assert definition.read_text() != text
    assert recipe_of_run(out).unlabelled == str(unlabelled)
    definition.write_text(text)
    recommend(out, "classical+unlabelled")
    recipe = recipe_of_run(out)
    assert (recipe.unlabelled, recipe.arm.unlabelled) == (str(unlabelled), 0.5)
    data = DataConfig.model_validate({"source": str(image_folder), **recipe.reading()})
    assert train(data, recipe, tmp_path / "model", Runtime(), members=1) is not None
    next(unlabelled.rglob("*.png")).unlink()
    assert [planned.name for planned in plan(changed, out, Runtime()) if planned.runs] == ["evaluate"]
    with pytest.raises(OutputError, match="unlabelled images"):
        train(data, recipe, tmp_path / "model", Runtime(), members=1)
