"""Does the choice of the mix say "do not augment" where the generator is useless, and what does following it cost?

    python benchmarks/useless_generator.py --runs 20

Three generators made useless on purpose: `noise`, pixels of no meaning; `shuffled`, real training images under the
labels of others; `copies`, the training images themselves, which tell a classifier nothing new. Each run draws its own
20 images a class of the bundled set and chooses among three ratios on two validation splits.
What follows a wrong recommendation is measured on the test images: the accuracy lost against the recipe without
synthetic images, 0 where it says "do not augment".
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

PER_CLASS = 90  # synthetic images


def noise(train: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    labels = np.repeat(np.arange(train.num_classes), PER_CLASS)
    pixels = rng.integers(0, 256, (len(labels), *train.images.shape[1:])).astype(np.uint8)
    return LabelledImages(pixels, labels, train.class_names)


def copies(train: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    places = [rng.choice(np.flatnonzero(train.labels == k), PER_CLASS) for k in range(train.num_classes)]
    return train.take(np.concatenate(places))


def shuffled(train: LabelledImages, rng: np.random.Generator) -> LabelledImages:
    made = copies(train, rng)
    return LabelledImages(made.images, rng.permutation(made.labels), made.class_names)


GENERATORS: dict[str, Callable[[LabelledImages, np.random.Generator], LabelledImages]] = {
    "noise": noise,
    "shuffled": shuffled,
    "copies": copies,
}


def one_run(kind: str, seed: int, choose: ChooseConfig, evaluate: EvaluateConfig, jobs: int) -> tuple[bool, float]:
    """(whether it recommends to augment, points of test accuracy lost by following it)."""
    source = read_source("bundled:fashion")
    train, test = subset_per_class(source.train, 20, seed), source.splits["test"]
    outer = Fold(train, test, (0, 1, 2), numbers=(seed,))
    useless, rng, runtime = GENERATORS[kind], np.random.default_rng(seed), Runtime(jobs=jobs)

    def with_images(fold: Fold) -> Fold:
        return replace(fold, synthetic=SyntheticImages(useless(fold.train, rng)))

    inner = {name: [with_images(fold) for fold in folds] for name, folds in inner_folds([outer], choose, seed).items()}
    with tempfile.TemporaryDirectory() as folder:
        choice = choose_mix(inner, choose, evaluate, Path(folder, "choice"), runtime, metric="accuracy")
        assert choice is not None
        if not choice.gain_shown:
            return False, 0.0
        mixed = replace(with_images(outer), mixes={choose.arm: choice.by_fold[""]})
        trainings = [training for training in plan_trainings(evaluate, [mixed]) if training.arm.name != GAN_TRAIN.name]
        task = Task("evaluate", len(trainings))
        with open_output(Path(folder, "evaluation"), "evaluate", files=(RECORDS,)) as output:
            done = run_experiment(trainings, [mixed], evaluate, output, runtime, task)
    assert done is not None
    records, _ = done
    mean = {arm.name: np.mean([r.metrics["accuracy"] for r in records if r.arm == arm.name]) for arm in evaluate.arms}
    return True, 100 * float(mean["classical"] - mean[choose.arm])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100, help="of each classifier, of half the usual width")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    evaluate = EvaluateConfig(
        arms=("classical", "classical+synthetic"), repeats=3, views=8, horizontal_flip=True,
        classifier=FitConfig(width=16, steps=options.steps),
    )  # fmt: skip
    choose = ChooseConfig(ratios=(0.5, 1.0, 2.0), repeats=3)
    for kind in GENERATORS:
        done = []
        for seed in range(options.runs):
            done.append(one_run(kind, seed, choose, evaluate, options.jobs))
            print(f"{kind}, run {seed}: {done[-1]}", flush=True)
        wrong = sum(augment for augment, _ in done)
        cost = statistics.mean(lost for _, lost in done)
        right = f"{options.runs - wrong} of {options.runs}"
        print(f"{kind}: do not augment in {right}; cost {cost:+.2f} points", flush=True)


if __name__ == "__main__":
    main()
