"""Measure what unlabelled images in D give the generators, at several shares of D's images.

    python benchmarks/unlabelled_generator.py --source fashion.npz --out DIR --seeds 0 1

Half of the training images lose their labels. From the others, a seed draws the images for the generator, by default 20
of each class and with `--setting LARGE:SMALL` many of every second class and few of the others, and 200 unseen ones of
each class to compare with. The figures are those of the report, on the features of a classifier of the drawn images.
GAN-train is the accuracy on the unseen images of a classifier of 200 synthetic images of each class.

Every result is a line of DIR/figures.jsonl, so an interrupted measurement is continued. A picture beside it shows 10
images of each class.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.dataset.images import LabelledImages, concatenate, split_per_class, subset_per_class
from augment.dataset.sources import read_source
from augment.generators.base import TrainingData
from augment.generators.previews import tile
from augment.generators.registry import GENERATORS, fit, load_model
from augment.generators.sampling import SyntheticImages, generate
from classifiers.metrics import score
from classifiers.training import predict
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.folds import Fold
from pipelines.results.fidelity_evaluation import measure_fidelity

COMPARED = 200  # images of each class
FIGURES = ("precision", "recall", "density", "coverage", "kid", "gan_test_accuracy", "memorised_fraction")
CPU = torch.device("cpu")
KINDS: dict[str, dict[str, Any]] = {
    "cgan": {"kind": "cgan"},
    "cgan with codes": {"kind": "cgan", "code_pull": 5.0},
    "anchored": {"kind": "anchored"},
}


def draw(data: LabelledImages, setting: str, seed: int) -> LabelledImages:
    """Draw the images of a setting, N or LARGE:SMALL."""
    large, _, small = setting.partition(":")
    drawn = subset_per_class(data, int(large), seed)
    few = subset_per_class(data, int(small or large), seed)
    even = drawn.take(np.flatnonzero(drawn.labels % 2 == 0))
    return concatenate([even, few.take(np.flatnonzero(few.labels % 2 == 1))])


def measure(name: str, share: float, source: LabelledImages, setting: str, seed: int, out: Path) -> dict[str, Any]:
    """Return the figures of one generator, and write its pictures."""
    labelled, unlabelled = split_per_class(source, 0.5, 0)
    train, rest = split_per_class(labelled, 0.5, seed)
    train, test = draw(train, setting, seed), subset_per_class(rest, COMPARED, 0)
    settings = KINDS[name]
    config = GENERATORS[settings["kind"]].config.model_validate({**settings, "unlabelled": share, "seed": seed})
    run = out / "run"
    shutil.rmtree(run, ignore_errors=True)
    fit(TrainingData(train, unlabelled=unlabelled), config, run)
    model = load_model(run)
    synthetic = generate(model, dict.fromkeys(model.about.classes, COMPARED), seed=seed).data
    shown = np.concatenate([np.flatnonzero(synthetic.labels == k)[:10] for k in range(train.num_classes)])
    picture = f"{name}-{setting}-{share}-{seed}.png".replace(" ", "-").replace(":", "-")
    tile(synthetic.images[shown], 10).save(out / picture)
    evaluation = EvaluateConfig(classifier={"steps": 600})
    figures = measure_fidelity(Fold(train, test, synthetic=SyntheticImages(synthetic)), evaluation, CPU)
    classifier = train_arm(Arm(name="gan-train"), Fold(synthetic, test), evaluation, seed=seed, device=CPU)
    logits = predict(classifier, torch.from_numpy(np.ascontiguousarray(test.images)))
    return {
        "kind": name,
        "setting": setting,
        "share": share,
        "seed": seed,
        **{figure: round(float(figures.figures[figure]), 4) for figure in FIGURES},
        "gan_train_accuracy": round(score(logits, test.labels, test.num_classes)["accuracy"], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75])
    parser.add_argument("--setting", default="20", metavar="LARGE:SMALL or N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "figures.jsonl"
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    source = read_source(options.source, largest=32).train
    for seed in options.seeds:
        for kind in options.kinds:
            for share in options.shares:
                key = {"kind": kind, "share": share, "seed": seed, "setting": options.setting}
                if any(key.items() <= row.items() for row in done):
                    continue
                row = measure(kind, share, source, options.setting, seed, options.out)
                with file.open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()
