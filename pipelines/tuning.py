"""`augment tune`: tune the classifier on validation images, so that synthetic images are compared to a strong baseline.

The search covers the policy, the learning rate, the weight decay and mixup, and also the sampling of classes and the
long-tail method if the classes are imbalanced. It uses repeated splits of the real training images and never the test
images.

The search (`tuning_search`) starts with the given settings and continues after an interruption. Trials are stored in
trials.jsonl.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages, split_per_class
from augment.identity import Identity
from augment.output_folders import open_output
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from classifiers.metrics import score
from classifiers.training import predict
from pipelines.config.arm_section import Arm
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import end_processes, run_in_processes
from pipelines.experiment.records import Line, RecordFile
from pipelines.metric_specs import METRICS, default_metric, imbalanced
from pipelines.tuning_search import Search, Trial, import_optuna, with_settings

TRIALS, FINALS, BEST = "trials.jsonl", "finalists.jsonl", "best.yaml"
VALIDATION = 0.3  # fraction of each class
FINALISTS = 3  # settings that are compared with the initial ones after the search
FINAL_SPLIT_FACTOR = 3  # that comparison uses this many times as many splits as the search


class TuningResult(NamedTuple):
    """The selected settings, their mean score on the final validation splits, and that of the initial settings.

    After a single trial there is nothing to compare, and both scores are the score of that trial.
    """

    config: EvaluateConfig
    score: float
    initial_score: float
    trials: int

    @property
    def unchanged(self) -> bool:
        """Whether the initial settings were selected."""
        return self.score == self.initial_score


@end_processes()
def tune(
    train: LabelledImages,
    config: EvaluateConfig,
    folder: Path,
    runtime: Runtime,
    *,
    trials: int = 30,
    splits: int = 3,
    minutes: float | None = None,
    overwrite: bool = False,
) -> TuningResult | None:
    """Try `trials` settings, each on `splits` validation splits of `train`, and write the best ones to best.yaml.

    After more than one trial, the best settings and the initial ones are compared on `FINAL_SPLIT_FACTOR` times as many
    new splits (`select`). minutes: limits the time of the search, but not of that comparison. Returns None if it was
    stopped. Raises `ConfigError` if Optuna is missing, and `OutputError` if `folder` holds a search of other images or
    settings.
    """
    optuna = import_optuna()
    identity = Identity({"evaluate": config}, {"training images": train.fingerprint, "splits": splits})
    validation = _Validation(train, config.metric or default_metric(train.per_class()), runtime)
    total = trials + (FINAL_SPLIT_FACTOR * splits if trials > 1 else 0)
    task = Task("tune", total, settings=config.model_dump(mode="json"))
    with open_output(folder, "tune", identity, files=(TRIALS, FINALS, BEST), overwrite=overwrite) as output:
        runtime.observer.on_start(task)
        search = Search(optuna, config, RecordFile(output, TRIALS, Trial), imbalanced(train.per_class()))
        if not _run_trials(search, validation, trials, splits, minutes, task):
            return None
        result = _compare_finalists(search, validation, splits, task)
        if result is None:
            return None
        output.write(BEST, yaml.safe_dump(_changed_settings(result.config), sort_keys=False))
        output.finish()
    runtime.observer.on_end(task, {"score": result.score, "score before": result.initial_score})
    return result


def _compare_finalists(search: Search, validation: _Validation, splits: int, task: Task) -> TuningResult | None:
    """Compare the best settings with the initial ones on new splits, and select one. Returns None if it was stopped."""
    trials = search.finished()
    best = sorted((t for t in trials if t.number), key=lambda t: -t.value)[:FINALISTS]
    finalists = {0: search.config, **{t.number: with_settings(search.config, t.params) for t in best}}
    if not best:
        return TuningResult(search.config, trials[0].value, trials[0].value, len(trials))
    file, scores, runtime = RecordFile(search.file.output, FINALS, _Final), [], validation.runtime
    for split in range(splits, (1 + FINAL_SPLIT_FACTOR) * splits):
        if runtime.stopped():
            return None
        scores.append(_score_finalists(file, finalists, split, validation))
        label = f"the best {len(best)} and the initial settings on new validation images"
        runtime.observer.on_progress(task, task.total - FINAL_SPLIT_FACTOR * splits + len(scores), {}, label)
    selected = select(np.array(scores))
    score, initial_score = np.mean(scores, axis=0)[[selected, 0]].tolist()
    return TuningResult(list(finalists.values())[selected], score, initial_score, len(trials))


class _Final(Line):
    """A line of finalists.jsonl: the score of a trial's settings on one of the final splits."""

    number: int
    split: int
    value: float

    @property
    def key(self) -> tuple[int, int]:
        """The number and the split."""
        return self.number, self.split


def _run_trials(
    search: Search, validation: _Validation, trials: int, splits: int, minutes: float | None, task: Task
) -> bool:
    """Score trials in batches of one trial per process until there are `trials`. Returns False if it was stopped."""
    start, runtime = time.monotonic(), validation.runtime
    if earlier := search.finished():
        runtime.observer.on_progress(task, min(len(earlier), trials), {})
    while (finished := len(search.finished())) < trials:
        if runtime.stopped():
            return False
        if finished and minutes is not None and time.monotonic() - start > 60 * minutes:
            break
        first = finished - finished % runtime.jobs  # so an interrupted batch is proposed again with the same settings
        proposed = search.propose(first, min(runtime.jobs, trials - first))[finished - first :]
        configs = [search.config_of(number, params) for number, params in enumerate(proposed, start=finished)]
        scores = validation.scores(configs, range(splits)).mean(1).tolist()
        batch = zip(count(finished), proposed, scores, strict=False)
        search.file.append(*(Trial(number=n, params=p, value=value) for n, p, value in batch))
        best = max(trial.value for trial in search.finished())
        runtime.observer.on_progress(task, finished + len(proposed), {"best validation score": best})
    return True


def select(scores: NDArray[np.float64]) -> int:
    """Return the index of the settings to select: 0, the initial ones, unless others gain over them.

    scores: float64, splits x settings. The best of many settings on few images is mostly the luckiest. Therefore the
    finalists are scored on splits that were not used to find them, and the initial settings are replaced only if the
    mean gain is more than one standard error over the splits (after the one-standard-error rule of Breiman et al.,
    "Classification and Regression Trees", 1984, section 3.4.3). This is no proof: the splits are drawn from the same
    images, so that settings which are no better are still taken in about half of the cases.
    """
    gains = scores[:, 1:] - scores[:, :1]
    best = int(gains.mean(0).argmax())
    gain = gains[:, best]
    return 1 + best if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else 0


@dataclass(frozen=True)
class _Validation:
    """Trains classifiers on a part of `train` and scores them on the rest. A higher score is better."""

    train: LabelledImages
    metric: str
    runtime: Runtime

    def scores(self, configs: Sequence[EvaluateConfig], splits: Sequence[int]) -> NDArray[np.float64]:
        """Return the score of each of the settings on each split: float64, settings x splits."""
        calls = [
            (_score, (config, self.train, s, self.metric, self.runtime.device)) for config in configs for s in splits
        ]
        return np.reshape(
            [score for _, score in sorted(run_in_processes(calls, self.runtime.jobs))], (len(configs), -1)
        )


def _score_finalists(
    file: RecordFile[_Final], finalists: Mapping[int, EvaluateConfig], split: int, validation: _Validation
) -> list[float]:
    """Return the scores of the finalists on one split, in their order. Scores in `file` are not computed again.

    finalists: the settings by the number of their trial.
    """
    known = {final.number: final.value for final in file.read() if final.split == split}
    missing = [number for number in finalists if number not in known]
    if missing:
        scores = validation.scores([finalists[number] for number in missing], [split])[:, 0]
        known |= dict(zip(missing, scores.tolist(), strict=True))
        file.append(*(_Final(number=number, split=split, value=known[number]) for number in missing))
    return [known[number] for number in finalists]


def split_for_tuning(train: LabelledImages, seed: int, split: int) -> tuple[LabelledImages, LabelledImages]:
    """Return split number `split`: the training images without 30 % of each class, and these to validate on."""
    return split_per_class(train, VALIDATION, derive_seed(seed, "tuning split", split), "validation")


def _score(config: EvaluateConfig, train: LabelledImages, split: int, metric: str, device: torch.device) -> float:
    """Return the validation score of one classifier; higher is better."""
    train_part, validation = split_for_tuning(train, config.seed, split)
    arm = Arm(name="tuned", policy=config.policy)
    seed = derive_seed(config.seed, "tuning", split)
    model = train_arm(arm, Fold(train_part, validation), config, seed=seed, device=device)
    logits = predict(model, validation.images)
    value = score(logits, validation.labels, validation.num_classes)[metric]
    return value if METRICS[metric].higher_is_better else -value


def _changed_settings(config: EvaluateConfig) -> dict[str, Any]:
    """Return the policy and the settings that differ from the defaults, in the form that `evaluate --config` reads."""
    changed = config.model_dump(mode="json", exclude_defaults=True, exclude={"arms", "repeats"})
    return {"policy": config.policy, **changed}
