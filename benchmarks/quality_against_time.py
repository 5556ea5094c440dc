"""Compare the fidelity of one-stage and two-stage training over time, each with its own learning rates.

    python benchmarks/quality_against_time.py --work DIR

The data are the bundled set; networks and batch are those of the quickstart. The methods differ in the step only.

1. search: each method trains once at each of the same six pairs of learning rates, and with a second seed at its best
   two. KID against one half of the test images selects the pair.
2. compare: each method trains with five new seeds at its rates, and is evaluated against the other half. The published
   two-stage step takes the rates of the fair one, of which it is a slower version.
3. time: the median time of a step of each method, interleaved, on one thread. The seconds of a curve are its steps
   times this median. One-stage training continues to 7/5 of the steps, which takes about as many seconds as the
   published two-stage training.

Each training is a RUN folder under DIR, and each evaluation a line in a file beside it, so an interrupted benchmark can
be continued. The results are DIR/result.json and DIR/quality.png.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from quality_curves import METHODS, SEEDS, conclude, plot

from augment.dataset.images import LabelledImages
from augment.dataset.policies import bank_of_views
from augment.dataset.sources import read_source
from augment.errors import DivergedError
from augment.fidelity import kid
from augment.gan.step_benchmark import PRESETS, set_up
from augment.gan.steps import STEPS
from augment.gan.training import update_ema
from augment.generators.base import TrainingData
from augment.generators.cgan import CganConfig
from augment.generators.registry import fit as fit_generator
from augment.generators.registry import load_model
from augment.generators.sampling import generate
from classifiers.metrics import score
from classifiers.pools import Pool
from classifiers.training import ClassifierConfig, fit, predict
from pipelines.experiment.cross_fitting import embed
from pipelines.process import tune_allocator

SEARCHED = ("one-stage", "two-stage")
RATES = [(2e-4, 4e-4), (4e-4, 4e-4), (2e-4, 8e-4), (4e-4, 8e-4), (4e-4, 16e-4), (8e-4, 16e-4)]  # of G and of D
SEARCH_SEEDS = (100, 101)
WARM_UP = 3  # steps
CPU = torch.device("cpu")
POLICY, FEATURE_NETWORK = "standard", ClassifierConfig()
GAN_TRAIN = ClassifierConfig(steps=150)  # half the default, to allow three times as many evaluations


@dataclass(frozen=True)
class Training:
    """The settings that distinguish one training from the others."""

    phase: str  # search or compare
    method: str
    lr_g: float
    lr_d: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.phase}-{self.method}-{self.lr_g:g}-{self.lr_d:g}-{self.seed}"

    def record(self, step: int, kid: float, gan_train: float) -> dict[str, Any]:
        """Return the line that stores one evaluation."""
        rates = {"lr_g": self.lr_g, "lr_d": self.lr_d}
        settings = {"phase": self.phase, "way": self.method, **rates, "seed": self.seed}
        return {**settings, "step": step, "kid": kid, "gan_train": gan_train}


@dataclass(frozen=True)
class Evaluator:
    """A feature network trained on the training images only, and the test images of each phase with their features."""

    network: torch.nn.Module
    test: dict[str, LabelledImages]
    features: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Benchmark:
    """The inputs that all trainings share."""

    train: LabelledImages
    evaluator: Evaluator
    work: Path
    jobs: int

    def run(self, trainings: Sequence[Training], steps: Sequence[int]) -> list[dict[str, Any]]:
        """Run the trainings with their evaluations, unless they are stored, and return all records in that order."""
        joblib.Parallel(n_jobs=self.jobs)(
            joblib.delayed(train_and_evaluate)(training, self.evaluator, self.train, self.work, steps)
            for training in trainings
        )
        return read_records(self.work / f"{training.name}.jsonl" for training in trainings)


def make_evaluator(train: LabelledImages, test: LabelledImages) -> Evaluator:
    network = train_classifier(train, FEATURE_NETWORK)
    halves = {"search": test.take(np.arange(0, len(test), 2)), "compare": test.take(np.arange(1, len(test), 2))}
    return Evaluator(network, halves, {phase: embed(network, half, CPU) for phase, half in halves.items()})


def train_classifier(data: LabelledImages, config: ClassifierConfig) -> torch.nn.Module:
    views = bank_of_views(data, POLICY, views=10, horizontal_flip=True, seed=0)
    pool = Pool(torch.from_numpy(views), torch.from_numpy(data.labels))
    return fit([pool], data.num_classes, config, seed=0, device=CPU)


def train_and_evaluate(
    training: Training, evaluator: Evaluator, train: LabelledImages, work: Path, steps: Iterable[int]
) -> None:
    """Train up to each of `steps` in turn, and append an evaluation of the model at this step to the records."""
    torch.set_num_threads(1)
    tune_allocator()
    folder, path = work / training.name, work / f"{training.name}.jsonl"
    done = {record["step"] for record in read_records([path])}
    for step in steps:
        if step in done:
            continue
        config = CganConfig(
            **METHODS[training.method], lr_generator=training.lr_g, lr_discriminator=training.lr_d, seed=training.seed,
            steps=step, log_every=250, sample_every=1000, checkpoint_every=1000,
        )  # fmt: skip
        try:
            fit_generator(TrainingData(train), config, folder)
        except DivergedError:
            append(path, training.record(step, kid=math.inf, gan_train=0.0))
            continue
        model = load_model(folder)
        synthetic = generate(model, dict.fromkeys(model.metadata.classes, 100), seed=0).data
        append(path, training.record(step, *evaluate(synthetic, evaluator, training.phase)))


def evaluate(synthetic: LabelledImages, evaluator: Evaluator, phase: str) -> tuple[float, float]:
    """Return the KID of synthetic images, and the test accuracy of a classifier that is trained on them."""
    test, test_features = evaluator.test[phase], evaluator.features[phase]
    logits = predict(train_classifier(synthetic, GAN_TRAIN), test.images)
    distance = kid(test_features, embed(evaluator.network, synthetic, CPU), subset_size=len(synthetic), subsets=1)
    return distance.mean, score(logits, test.labels, test.num_classes)["accuracy"]


def append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_records(paths: Iterable[Path]) -> list[dict[str, Any]]:
    lines = [line for path in paths if path.exists() for line in path.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines if line.endswith("}")]


def rank_rates(records: Sequence[dict[str, Any]], method: str) -> list[tuple[float, float]]:
    """Return the pairs of rates from best to worst, by mean KID over seeds and evaluations.

    Pairs with the most evaluations come before the others.
    """
    kids: dict[tuple[float, float], list[float]] = {}
    for record in records:
        if record["way"] == method:
            kids.setdefault((record["lr_g"], record["lr_d"]), []).append(record["kid"])
    most = max(map(len, kids.values()))
    return sorted(kids, key=lambda rates: (len(kids[rates]) < most, np.mean(kids[rates])))


def measure_step_seconds(rounds: int) -> dict[str, float]:
    """Return the median seconds of a step of each method, including the EMA, timed in turn on one thread."""
    steps = {method: make_step(CganConfig(**settings)) for method, settings in METHODS.items()}
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for round_ in range(WARM_UP + rounds):
        for method, step in steps.items():
            start = time.perf_counter()
            step()
            if round_ >= WARM_UP:
                times[method].append(time.perf_counter() - start)
    return {method: statistics.median(values) for method, values in times.items()}


def make_step(config: CganConfig) -> Callable[[], None]:
    state, setup, real, y = set_up(replace(PRESETS["quickstart"], config=config), torch.device("cpu"))

    def step() -> None:
        STEPS[config.trainer](setup, real, y, y)
        update_ema(state.ema, state.generator, config.ema_decay, 1000)

    return step


def search_rates(
    benchmark: Benchmark, steps: Sequence[int]
) -> tuple[dict[str, tuple[float, float]], list[dict[str, Any]]]:
    """Select the learning rates of each method. Returns them with the records of the search."""
    first = [Training("search", method, *rates, SEARCH_SEEDS[0]) for rates in RATES for method in SEARCHED]
    records = benchmark.run(first, steps)
    second = [
        Training("search", method, *rates, SEARCH_SEEDS[1])
        for method in SEARCHED
        for rates in rank_rates(records, method)[:2]
    ]
    records += benchmark.run(second, steps)
    rates = {method: rank_rates(records, method)[0] for method in SEARCHED}
    return {**rates, "two-stage-published": rates["two-stage"]}, records


def compare(benchmark: Benchmark, rates: dict[str, tuple[float, float]], steps: Sequence[int]) -> list[dict[str, Any]]:
    """Train all methods with all seeds, one-stage training for longer. Returns the records."""
    trainings = [Training("compare", method, *rates[method], seed) for seed in SEEDS for method in METHODS]
    benchmark.run(trainings, steps)
    longer = [steps[0] * k for k in range(1, len(steps) * 7 // 5 + 1)]
    benchmark.run([training for training in trainings if training.method == "one-stage"], longer)
    return read_records(benchmark.work / f"{training.name}.jsonl" for training in trainings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs and records")
    parser.add_argument("--jobs", type=int, default=2, help="number of simultaneous trainings, with one thread each")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--evaluations", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)

    source = read_source("bundled:fashion")
    benchmark = Benchmark(source.train, make_evaluator(source.train, source.splits["test"]), work, options.jobs)
    rates, searched = search_rates(benchmark, [options.steps * 3 // 4, options.steps])
    print("rates", rates, flush=True)
    records = compare(
        benchmark, rates, [options.steps * (k + 1) // options.evaluations for k in range(options.evaluations)]
    )
    seconds = measure_step_seconds(300)
    results = {"rates": rates, "search": searched, **conclude(records, seconds)}
    (work / "result.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    plot(records, seconds, work / "quality.png")
    print(json.dumps({key: results[key] for key in ("seconds_a_step", "mean_kid", "final", "targets")}, indent=1))


if __name__ == "__main__":
    main()
