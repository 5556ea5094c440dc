"""Measure how often the answer is "do not augment" if the generator is useless, and the cost of errors.

    python benchmarks/useless_generator.py --runs 20
    python benchmarks/useless_generator.py --runs 20 --imbalance

Three generators are useless on purpose: `noise` returns random pixels, `shuffled` returns real training images with
permuted labels, and `copies` returns the training images, which contain no new information for a classifier. Each run
draws its own 20 images per class from the bundled set and chooses one of three ratios on two validation splits. The
cost of a wrong recommendation is measured on the test images: the accuracy lost against the recipe without synthetic
images. It is 0 if the recommendation is "do not augment".

With --imbalance, a run is a comparison as in `augment run imbalance`: 8 repeats, each with its own draw of five classes
of 50 and five of 5 images, logit adjustment, and a quarter of each batch synthetic with even classes. Such images shift
the classifier towards the small classes, even if they contain nothing new. As in `augment run`, they are recommended
only if they do more than two controls of as many images: other views of the training images, and mixtures of their
pixels. The cost is the balanced accuracy that was lost in the same comparison.
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
from classifiers.training import ClassifierConfig
from pipelines.choosing import choose_mix
from pipelines.config.sections import ChooseConfig, DataConfig, EvaluateConfig, ProtocolConfig
from pipelines.experiment.experiment import RECORDS, run_experiment
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import load
from pipelines.experiment.planning import plan_trainings
from pipelines.experiment.protocols import inner_folds, make_protocol
from pipelines.results.comparisons import compare
from pipelines.results.document import Comparison
from pipelines.results.pairs import control_comparisons, declared_comparisons
from pipelines.results.recommendation import recommend

PER_CLASS = 90  # synthetic images per class
CHOOSE = ChooseConfig(ratios=(0.5, 1.0, 2.0), repeats=3)


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


def run_once(
    kind: str, seed: int, choose: ChooseConfig, evaluate: EvaluateConfig, jobs: int
) -> tuple[bool, float, str]:
    """Return whether augmenting is recommended, the points of test accuracy lost by following that, and the choice."""
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
            return False, 0.0, choice.words
        mixed = replace(add_synthetic(outer), mixes={choose.arm: choice.by_fold[""]})
        trainings = plan_trainings(evaluate, [mixed])
        task = Task("evaluate", len(trainings))
        with open_output(Path(folder, "evaluation"), "evaluate", files=(RECORDS,)) as output:
            records = run_experiment(trainings, [mixed], evaluate, output, runtime, task)
    assert records is not None
    mean = {arm.name: np.mean([r.metrics["accuracy"] for r in records if r.arm == arm.name]) for arm in evaluate.arms}
    return True, 100 * float(mean["classical"] - mean[choose.arm]), choice.words


def compare_imbalanced(kind: str, seed: int, evaluate: EvaluateConfig, jobs: int) -> tuple[bool, float, str]:
    """Return what `run_once` does, for balanced accuracy, and the answer in words."""
    data, rng, runtime = (
        DataConfig(source="bundled:fashion", seed=seed),
        np.random.default_rng(seed),
        Runtime(jobs=jobs),
    )
    imbalance = ProtocolConfig(kind="imbalance", large=50, small=5)
    protocol = make_protocol(load(data), data, imbalance, evaluate.repeats)
    folds = [replace(f, synthetic=SyntheticImages(GENERATORS[kind](f.train, rng))) for f in protocol.folds]
    trainings = plan_trainings(evaluate, folds)
    task = Task("evaluate", len(trainings))
    with tempfile.TemporaryDirectory() as folder, open_output(Path(folder), "evaluate", files=(RECORDS,)) as output:
        records = run_experiment(trainings, folds, evaluate, output, runtime, task)
    assert records is not None
    arms, design = evaluate.resolved_arms(), protocol.design
    pairs = [*declared_comparisons(arms)[:1], *control_comparisons(arms)]
    headline, *controls = compare(
        records, pairs, "balanced_accuracy", correlation=design.correlation[None], test_labels=design.test_labels
    )
    answer = recommend(headline, evaluate.arms[1].mix(evaluate.ratio), controls=controls)
    words = f"{answer.verdict}; gains " + ", ".join(f"over {c.baseline} {_words(c)}" for c in (headline, *controls))
    return answer.augment, -100 * headline.mean_gain if answer.augment else 0.0, words


def _words(comparison: Comparison) -> str:
    low, high = comparison.ci95
    return f"{100 * comparison.mean_gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument(
        "--steps", type=int, default=100, help="steps of each classifier; its width is half the default"
    )
    parser.add_argument("--imbalance", action="store_true", help="five classes of 50 and five of 5 images")
    parser.add_argument("--kinds", nargs="+", choices=GENERATORS, default=list(GENERATORS))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    classifier = ClassifierConfig(width=16, steps=options.steps)
    evaluate = EvaluateConfig(
        arms=("classical", "classical+synthetic"), repeats=3, views=8, horizontal_flip=True, classifier=classifier
    )
    for kind in options.kinds:
        results = []
        for seed in range(options.runs):
            if options.imbalance:
                results.append(compare_imbalanced(kind, seed, imbalanced(evaluate), options.jobs))
            else:
                results.append(run_once(kind, seed, CHOOSE, evaluate, options.jobs))
            augment, lost, words = results[-1]
            print(f"{kind}, run {seed}: {'AUGMENT' if augment else 'do not augment'}, {lost:+.2f}; {words}", flush=True)
        correct = options.runs - sum(augment for augment, _, _ in results)
        cost = statistics.mean(lost for _, lost, _ in results)
        print(f"{kind}: do not augment in {correct} of {options.runs}; cost {cost:+.2f} points", flush=True)


def imbalanced(evaluate: EvaluateConfig) -> EvaluateConfig:
    """Return the settings of `compare_imbalanced`: the repeats, share and controls of `augment run imbalance`."""
    real, synthetic = evaluate.arms
    fed = synthetic.model_copy(update={"share": 0.25})
    controls = (fed.model_copy(update={"name": f"{real.name}+{name}", "feed": name}) for name in ("resample", "grid"))
    return evaluate.model_copy(update={"arms": (real, fed, *controls), "repeats": 8})


if __name__ == "__main__":
    main()
