"""The recipe of a classifier that is trained in a second."""

from __future__ import annotations

from typing import Any

from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.model.recipe import Recipe

FIT = ClassifierConfig(width=8, steps=40, batch_size=16)


def recipe(arm: str | dict[str, Any] = "classical", **settings: Any) -> Recipe:
    """The recipe of an arm; settings: fields of `Recipe` and `EvaluateConfig`."""
    of_recipe = {name: settings.pop(name) for name in list(settings) if name in Recipe.model_fields}
    evaluate = EvaluateConfig(arms=(Arm.model_validate(arm),), views=4, **{"classifier": FIT, **settings})
    return Recipe(evaluate=evaluate, **of_recipe)
