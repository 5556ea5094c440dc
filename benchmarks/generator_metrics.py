"""Fit a generator and measure its images, one line of a file each; shared by benchmarks that compare generators."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.dataset.images import LabelledImages
from augment.generators.base import GeneratorConfig, TrainingData
from augment.generators.previews import tile
from augment.generators.registry import fit, load_model
from augment.generators.sampling import SyntheticImages, generate
from classifiers.metrics import score
from classifiers.training import predict
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.folds import Fold
from pipelines.results.fidelity_evaluation import measure_fidelity

COMPARED = 200  # images of each class, synthetic and unseen
METRICS = ("precision", "recall", "density", "coverage", "kid", "gan_test_accuracy", "memorised_fraction")
CPU = torch.device("cpu")


def measure_generator(
    config: GeneratorConfig, data: TrainingData, test: LabelledImages, picture: Path
) -> dict[str, float]:
    """Fit a generator, generate `COMPARED` images of each class, and compare them with the unseen images `test`.

    The figures are those of the report, on the features of a classifier of the training images. GAN-train is the
    accuracy on `test` of a classifier of the synthetic images. picture: a file for 10 images of each class.
    """
    run = picture.with_suffix("")
    shutil.rmtree(run, ignore_errors=True)
    fit(data, config, run)
    model = load_model(run)
    synthetic = generate(model, dict.fromkeys(model.metadata.classes, COMPARED), seed=config.seed).data
    shutil.rmtree(run)
    shown = np.concatenate([np.flatnonzero(synthetic.labels == k)[:10] for k in range(synthetic.num_classes)])
    tile(synthetic.images[shown], 10).save(picture)
    evaluation = EvaluateConfig(classifier={"steps": 600})
    measured = measure_fidelity(Fold(data.images, test, synthetic=SyntheticImages(synthetic)), evaluation, CPU)
    classifier = train_arm(Arm(name="gan-train"), Fold(synthetic, test), evaluation, seed=config.seed, device=CPU)
    logits = predict(classifier, test.images)
    return {
        **{figure: round(float(measured.metrics[figure]), 4) for figure in METRICS},
        "gan_train_accuracy": round(score(logits, test.labels, test.num_classes)["accuracy"], 4),
    }


def measure_missing(
    file: Path, keys: Iterable[dict[str, Any]], measure: Callable[..., dict[str, float]]
) -> list[dict[str, Any]]:
    """Return a row for each key, which holds the key and its metrics; those that `file` has are not measured again.

    measure: called with a key as its arguments. A new row is a line of `file` as soon as it is there.
    """
    stored = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    rows = []
    for key in keys:
        row = next((row for row in stored if key.items() <= row.items()), None)
        if row is None:
            row = {**key, **measure(**key)}
            with file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            print(row, flush=True)
        rows.append(row)
    return rows
