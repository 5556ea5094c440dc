"""Measure how often the choice of the mix says "do not augment" if the generator is useless, and the cost of errors.

    python benchmarks/useless_generator.py --runs 20

Three generators are useless on purpose: `noise` returns random pixels, `shuffled` returns real training images with
permuted labels, and `copies` returns the training images, which contain no new information for a classifier. Each run
draws its own 20 images per class from the bundled set and chooses one of three ratios on two validation splits. The
cost of a wrong recommendation is measured on the test images: the accuracy lost against the recipe without synthetic
images. It is 0 if the recommendation is "do not augment".
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from augment.dataset.images import LabelledImages, subset_per_class
from augment.dataset.sources import read_source
from augment.generators.sampling import SyntheticImages
from augment.output_folders import open_output
from augment.runtime import Runtime, Task
from classifiers.training import FitConfig
from pipelines.choosing import choose_mix
from pipelines.config.sections import ChooseConfig, EvaluateConfig
from pipelines.experiment.experiment import GAN_TRAIN, RECORDS, plan_trainings, run_experiment
from pipelines.experiment.folds import Fold
from pipelines.experiment.protocols import inner_folds

PER_CLASS = 90  # synthetic images per class


def noise(train: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    labels = np.repeat(np.arange(train.num_classes), PER_CLASS)
    pixels = rng.integers(0, 256, (len(labels), *train.images.shape[1:])).astype(np.uint8)
    return LabelledImages(pixels, labels, train.class_names)


def copies(train: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    indices = [rng.choice(np.flatnonzero(train.labels == k), PER_CLASS) for k in range(train.num_classes)]
    return train.take(np.concatenate(indices))


def shuffled(train: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    copied = copies(train, rng)
    return LabelledImages(copied.images, rng.permutation(copied.labels), copied.class_names)


GENERATORS: dict[str, Callable[[LabelledImages, np.random.Generator], LabelledImages]] = {
    "noise": noise,
    "shuffled": shuffled,
    "copies": copies,
}


def run_once(kind: str, seed: int, choose: ChooseConfig, evaluate: EvaluateConfig, jobs: int) -> tuple[bool, float]:
    """Return (whether to augment is recommended, points of test accuracy lost by following the recommendation)."""
    source = read_source("bundled:fashion")
    train, test = subset_per_class(source.train, 20, seed), source.splits["test"]
    outer = Fold(train, test, (0, 1, 2), numbers=(seed,))
    generator, rng, runtime = GENERATORS[kind], np.random.default_rng(seed), Runtime(jobs=jobs)

    def add_synthetic(fold: Fold) -> Fold:
        return replace(fold, synthetic=SyntheticImages(generator(fold.train, rng)))

    inner = {name: [add_synthetic(f) for f in folds] for name, folds in inner_folds([outer], choose, seed).items()}
    with tempfile.TemporaryDirectory() as folder:
        choice = choose_mix(inner, choose, evaluate, Path(folder, "choice"), runtime, metric="accuracy")
        assert choice is not None
        if not choice.gain_shown:
            return False, 0.0
        mixed = replace(add_synthetic(outer), mixes={choose.arm: choice.by_fold[""]})
        trainings = [training for training in plan_trainings(evaluate, [mixed]) if training.arm.name != GAN_TRAIN.name]
        task = Task("evaluate", len(trainings))
        with open_output(Path(folder, "evaluation"), "evaluate", files=(RECORDS,)) as output:
            results = run_experiment(trainings, [mixed], evaluate, output, runtime, task)
    assert results is not None
    records, _ = results
    mean = {arm.name: np.mean([r.metrics["accuracy"] for r in records if r.arm == arm.name]) for arm in evaluate.arms}
    return True, 100 * float(mean["classical"] - mean[choose.arm])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument(
        "--steps", type=int, default=100, help="steps of each classifier; its width is half the default"
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    evaluate = EvaluateConfig(
        arms=("classical", "classical+synthetic"), repeats=3, views=8, horizontal_flip=True,
        classifier=FitConfig(width=16, steps=options.steps),
    )  # fmt: skip
    choose = ChooseConfig(ratios=(0.5, 1.0, 2.0), repeats=3)
    for kind in GENERATORS:
        results = []
        for seed in range(options.runs):
            results.append(run_once(kind, seed, choose, evaluate, options.jobs))
            print(f"{kind}, run {seed}: {results[-1]}", flush=True)
        correct = options.runs - sum(augment for augment, _ in results)
        cost = statistics.mean(lost for _, lost in results)
        print(f"{kind}: do not augment in {correct} of {options.runs}; cost {cost:+.2f} points", flush=True)


if __name__ == "__main__":
    main()
