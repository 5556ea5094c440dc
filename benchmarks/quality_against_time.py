"""What one-stage training is worth: fidelity against seconds, both ways from the same seeds, each at its own rates.

    python benchmarks/quality_against_time.py --work DIR

On the bundled set, with the quickstart's networks and batch; the ways differ in the step and in nothing else.

1. search: each way trains once at each of the same six pairs of learning rates, and with a second seed at its best two.
   KID against one half of the test images chooses.
2. compare: five new seeds of each way at its rates, against the other half. The published two-stage step takes the
   rates of the fair one, of which it is a slower version.
3. time: the median step of each way, interleaved, on one thread. A curve's seconds are steps times that. One-stage
   training goes on for 7/5 of the steps, in which it has had about the seconds that the published two stages had.

Every training is a RUN folder under DIR and every evaluation a line of a file beside it: an interrupted benchmark
goes on where it stopped. It ends with DIR/result.json and DIR/quality.png.
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
from classifiers.batches import Pool
from classifiers.metrics import score
from classifiers.training import FitConfig, fit, predict
from pipelines.experiment.cross_fitting import embed
from pipelines.process import tune_allocator
from pipelines.results.statistics import paired_t_interval

WAYS: dict[str, dict[str, Any]] = {  # settings of CganConfig
    "one-stage": {"trainer": "one-stage"},
    "two-stage": {"trainer": "two-stage"},
    "two-stage-published": {"trainer": "two-stage-published"},
}
RATES = [(2e-4, 4e-4), (4e-4, 4e-4), (2e-4, 8e-4), (4e-4, 8e-4), (4e-4, 16e-4), (8e-4, 16e-4)]  # of G and of D
SEARCH_SEEDS, SEEDS = (100, 101), range(5)
CPU = torch.device("cpu")
POLICY, JUDGE = "standard", FitConfig()
GAN_TRAIN = FitConfig(steps=150)  # half the usual, for thrice as many evaluations


@dataclass(frozen=True)
class Training:
    """One run: what tells it from the others."""

    phase: str  # search or compare
    way: str
    lr_g: float
    lr_d: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.phase}-{self.way}-{self.lr_g:g}-{self.lr_d:g}-{self.seed}"


@dataclass(frozen=True)
class Judge:
    """A feature network that has seen the training images only, and the test images of each phase in its features."""

    network: torch.nn.Module
    test: dict[str, LabelledImages]
    features: dict[str, NDArray[np.float64]]


def make_judge(train: LabelledImages, test: LabelledImages) -> Judge:
    network = classifier(train, JUDGE)
    halves = {"search": test.take(np.arange(0, len(test), 2)), "compare": test.take(np.arange(1, len(test), 2))}
    return Judge(network, halves, {phase: embed(network, half, CPU) for phase, half in halves.items()})


def classifier(data: LabelledImages, config: FitConfig) -> torch.nn.Module:
    views = bank_of_views(data, POLICY, views=10, horizontal_flip=True, seed=0)
    pool = Pool(torch.from_numpy(views), torch.from_numpy(data.labels))
    return fit([pool], data.num_classes, config, seed=0, device=CPU)


def train_and_judge(training: Training, judge: Judge, train: LabelledImages, work: Path, at: Iterable[int]) -> None:
    """Train to each step of `at` in turn, and append what the model is worth there to the run's records."""
    torch.set_num_threads(1)
    tune_allocator()
    folder, path = work / training.name, work / f"{training.name}.jsonl"
    done = {record["step"] for record in read_records([path])}
    for step in at:
        if step in done:
            continue
        config = CganConfig(
            **WAYS[training.way], lr_generator=training.lr_g, lr_discriminator=training.lr_d, seed=training.seed,
            steps=step, log_every=250, sample_every=1000, checkpoint_every=1000,
        )  # fmt: skip
        try:
            fit_generator(TrainingData(train), config, folder)
        except DivergedError:
            append(path, {**vars(training), "step": step, "kid": math.inf, "gan_train": 0.0})
            continue
        model = load_model(folder)
        synthetic = generate(model, dict.fromkeys(model.about.classes, 100), seed=0).data
        test, test_features = judge.test[training.phase], judge.features[training.phase]
        logits = predict(classifier(synthetic, GAN_TRAIN), torch.from_numpy(np.ascontiguousarray(test.images)))
        record = {
            **vars(training),
            "step": step,
            "kid": kid(test_features, embed(judge.network, synthetic, CPU), subset_size=len(synthetic), subsets=1).mean,
            "gan_train": score(logits, test.labels, test.num_classes)["accuracy"],
        }
        append(path, record)


def append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_records(paths: Iterable[Path]) -> list[dict[str, Any]]:
    lines = [line for path in paths if path.exists() for line in path.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines if line.endswith("}")]


def run_all(trainings: Sequence[Training], at: Sequence[int], judge: Judge, train: LabelledImages, work: Path,
            jobs: int) -> list[dict[str, Any]]:  # fmt: skip
    """The records of all, those that are missing made first, in the order given."""
    joblib.Parallel(n_jobs=jobs)(joblib.delayed(train_and_judge)(t, judge, train, work, at) for t in trainings)
    return read_records(work / f"{t.name}.jsonl" for t in trainings)


def by_kid(records: Sequence[dict[str, Any]], way: str) -> list[tuple[float, float]]:
    """The rates tried, those with the lowest mean KID over seeds and evaluations first, best-known before others."""
    kids: dict[tuple[float, float], list[float]] = {}
    for r in records:
        if r["way"] == way:
            kids.setdefault((r["lr_g"], r["lr_d"]), []).append(r["kid"])
    most = max(map(len, kids.values()))
    return sorted(kids, key=lambda rates: (len(kids[rates]) < most, np.mean(kids[rates])))


def evaluated(records: Sequence[dict[str, Any]], way: str) -> list[int]:
    """The steps at which a way was evaluated."""
    return sorted({r["step"] for r in records if r["way"] == way})


def curves(records: Sequence[dict[str, Any]], way: str, figure: str) -> NDArray[np.float64]:
    """seeds x evaluations."""
    values = {(r["seed"], r["step"]): r[figure] for r in records if r["way"] == way}
    return np.array([[values[seed, step] for step in evaluated(records, way)] for seed in SEEDS])


def first_as_low(kids: NDArray[np.float64], target: float, at: Sequence[int]) -> int | None:
    """The first evaluation at which the mean over seeds is `target` or lower: its step."""
    return next((step for step, mean in zip(at, kids.mean(0), strict=True) if mean <= target), None)


def step_seconds(rounds: int) -> dict[str, float]:
    """Median seconds of each way's step with its average, in turn, on one thread."""
    plays = {way: whole_step(CganConfig(**settings)) for way, settings in WAYS.items()}
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for round_ in range(rounds + 3):  # three to warm up
        for way, play in plays.items():
            began = time.perf_counter()
            play()
            if round_ >= 3:
                times[way].append(time.perf_counter() - began)
    return {way: statistics.median(values) for way, values in times.items()}


def whole_step(config: CganConfig) -> Callable[[], None]:
    state, setup, real, y = set_up(replace(PRESETS["quickstart"], config=config), torch.device("cpu"))

    def play() -> None:
        STEPS[config.trainer](setup, real, y, y)
        update_ema(state.ema, state.generator, config.ema_decay, 1000)

    return play


def conclude(records: Sequence[dict[str, Any]], seconds: dict[str, float]) -> dict[str, Any]:
    """Seconds of each way to the final mean KID of each two-stage way, and the paired differences at equal steps."""
    at = evaluated(records, "two-stage")
    kids = {way: curves(records, way, "kid")[:, : len(at)] for way in WAYS}
    accuracies = {way: curves(records, way, "gan_train")[:, : len(at)] for way in WAYS}
    told: dict[str, Any] = {"seconds_a_step": seconds, "targets": {}, "final": {}, "mean_kid": {}}
    for way in WAYS:
        means = curves(records, way, "kid").mean(0).tolist()
        told["mean_kid"][way] = dict(zip(evaluated(records, way), means, strict=True))
    for way in WAYS:
        told["final"][way] = {
            "kid": kids[way][:, -1].tolist(),
            "kid_mean": kids[way][:, -1].mean(),
            "gan_train": accuracies[way][:, -1].tolist(),
            "gan_train_mean": accuracies[way][:, -1].mean(),
            "one_stage_minus_this": {
                "kid": (kids["one-stage"] - kids[way])[:, -1].mean(),
                "kid_ci95": paired_t_interval((kids["one-stage"] - kids[way])[:, -1]),
                "gan_train": (accuracies["one-stage"] - accuracies[way])[:, -1].mean(),
                "gan_train_ci95": paired_t_interval((accuracies["one-stage"] - accuracies[way])[:, -1]),
            },
        }
    for way in ("two-stage", "two-stage-published"):
        target = float(kids[way][:, -1].mean())
        own = first_as_low(kids[way], target, at)
        assert own is not None  # at the latest, the last
        told["targets"][way] = {"kid": target, "own_step": own}
        step = first_as_low(curves(records, "one-stage", "kid"), target, evaluated(records, "one-stage"))
        told["targets"][way] |= {
            "one_stage_step": step,
            "seconds_over_those_of_its_whole_run": step and step * seconds["one-stage"] / (at[-1] * seconds[way]),
            "seconds_over_its_own_to_that_kid": step and step * seconds["one-stage"] / (own * seconds[way]),
        }
    return told


def plot(records: Sequence[dict[str, Any]], seconds: dict[str, float], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    looks = {
        "one-stage": ("#b5442e", "-", "one-stage"),
        "two-stage": ("#33658a", "--", "two-stage, fair"),
        "two-stage-published": ("#6b6b6b", ":", "two-stage, published"),
    }
    panel = Figure(figsize=(9, 6.4), layout="constrained")
    FigureCanvasAgg(panel)
    grid = panel.subplots(2, 2, sharey="row")
    for row, (figure, label) in enumerate((("kid", "KID (lower is better)"), ("gan_train", "GAN-train accuracy"))):
        for column, per_step in enumerate((seconds, dict.fromkeys(WAYS, 1.0))):
            axes = grid[row][column]
            for way, (colour, line, name) in looks.items():
                values, x = curves(records, way, figure), np.array(evaluated(records, way)) * per_step[way]
                low, high = np.array([paired_t_interval(of_seeds) for of_seeds in values.T]).T
                axes.plot(x, values.mean(0), line, color=colour, label=name, linewidth=1.8)
                axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlim(left=0)
            if figure == "kid":
                axes.set_yscale("log")
            if row == 1:
                axes.set_xlabel("seconds (steps x median step time, one thread)" if column == 0 else "steps")
        grid[row][0].set_ylabel(label)
    grid[0][0].legend(frameon=False)
    panel.suptitle(f"mean of {len(SEEDS)} seeds, with its 95 % t interval", fontsize=10)
    panel.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where runs and records are kept")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, of one thread each")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--evaluations", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    at = [options.steps * (k + 1) // options.evaluations for k in range(options.evaluations)]

    source = read_source("bundled:fashion")
    train, judge = source.train, make_judge(source.train, source.splits["test"])
    searched = ("one-stage", "two-stage")
    late = [options.steps * 3 // 4, options.steps]
    first = [Training("search", way, *rates, SEARCH_SEEDS[0]) for rates in RATES for way in searched]
    found = run_all(first, late, judge, train, work, options.jobs)
    second = [Training("search", way, *rates, SEARCH_SEEDS[1]) for way in searched for rates in by_kid(found, way)[:2]]
    found += run_all(second, late, judge, train, work, options.jobs)
    rates = {way: by_kid(found, way)[0] for way in searched}
    rates["two-stage-published"] = rates["two-stage"]
    print("rates", rates, flush=True)

    compared = [Training("compare", way, *rates[way], seed) for seed in SEEDS for way in WAYS]
    run_all(compared, at, judge, train, work, options.jobs)
    longer = [at[0] * k for k in range(1, len(at) * 7 // 5 + 1)]
    one_stage = [training for training in compared if training.way == "one-stage"]
    run_all(one_stage, longer, judge, train, work, options.jobs)
    records = read_records(work / f"{training.name}.jsonl" for training in compared)
    seconds = step_seconds(300)
    told = {"rates": rates, "search": found, **conclude(records, seconds)}
    (work / "result.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    plot(records, seconds, work / "quality.png")
    print(json.dumps({key: told[key] for key in ("seconds_a_step", "mean_kid", "final", "targets")}, indent=1))


if __name__ == "__main__":
    main()
