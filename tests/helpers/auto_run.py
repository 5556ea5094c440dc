"""`augment run auto` on small sources: its settings for tests, and what it decides."""

from __future__ import annotations

from pathlib import Path

from augment.runtime import Runtime
from pipelines.auto.decisions import decide
from pipelines.config.reading import load_pipeline
from pipelines.config.sections import Pipeline
from pipelines.experiment.loading import load

PRETRAINED = ("evaluate.features.input_size=32", "evaluate.finetune.steps=1", "evaluate.finetune.batch_size=4")
SMALL = ("generator.width=4", "generator.batch_size=4", "evaluate.classifier.width=4")
QUICK = (*PRETRAINED, "generator.steps=2", *SMALL)
CONTROLLED = ["classical", "classical+fresh", "classical+grid", "classical+resample"]
ON_FEATURES = ["features", "features+fresh", "features+grid", "features+resample"]
RECIPES = ["no-mixup", "light-views"]
RECIPES_FED = [f"{recipe}+{feed}" for recipe in RECIPES for feed in ("fresh", "grid", "resample")]
TUNED = ["finetune", "finetune+fresh", "finetune+grid", "finetune+resample"]
TINY = (*QUICK, "evaluate.classifier.steps=3", "generate.per_class=2", "data.image_size=12")


def auto(source: Path, *settings: str) -> Pipeline:
    return load_pipeline("auto", (f"data.source={source}", *settings))


def decided(pipeline: Pipeline, folder: Path) -> tuple[Pipeline, str]:
    result, decisions = decide(pipeline, load(pipeline.data), folder, Runtime())
    return result, "\n".join(decisions.sentences)
