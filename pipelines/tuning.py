"""`augment tune`: policy, learning rate and weight decay of the classifier on validation images, so that nobody beats a
straw man; where the classes differ in size, how often each is drawn too.

Real training images alone, split again and again: the test images take no part. The search is Optuna's TPE (optional
extra), begins with the present settings, and goes on where it was interrupted: trials are kept in trials.jsonl, and
each batch of them is proposed from the ones before and a seed of its own, so a trial that a kill cut off is proposed
again as it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import Field

from augment.dataset.images import LabelledImages, fingerprint, split_per_class
from augment.dataset.policies import POLICIES
from augment.errors import ConfigError
from augment.identity import Identity
from augment.output_folders import open_output
from augment.runtime import Runtime, Task
from augment.seeds import derive_seed
from classifiers.batches import SAMPLING
from classifiers.metrics import score
from classifiers.training import predict
from pipelines.config.sections import Arm, EvaluateConfig
from pipelines.experiment.arms import train_arm
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import end_processes, run_in_processes
from pipelines.experiment.records import Line, RecordFile
from pipelines.metric_specs import METRICS, default_metric, imbalanced

TRIALS, FINALS, BEST = "trials.jsonl", "finalists.jsonl", "best.yaml"
VALIDATION = 0.3  # of each class
FINALISTS, FURTHER = 3, 3  # settings, and times as many splits, after the search
LR, WEIGHT_DECAY = (1e-3, 3e-2), (1e-3, 0.5)  # sampled on logarithmic scales


class Tuned(NamedTuple):
    """What was found: the settings to take, their mean score on further validation splits, and that of the first ones.

    With one trial there is nothing to compare, and both scores are those of the search.
    """

    config: EvaluateConfig
    score: float
    before: float
    trials: int

    @property
    def kept(self) -> bool:
        """Whether they are the first ones."""
        return self.score == self.before


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
) -> Tuned | None:
    """Try `trials` settings, each on `splits` validation splits of `train`, and write best.yaml; None if stopped.

    The best `FINALISTS` and the present settings then meet on `FURTHER` times as many further splits (`take`).
    `minutes` ends the search earlier; that comparison comes on top, and not at all with a single trial. Raises
    `ConfigError` without Optuna, `OutputError` if `folder` holds a search over other images or settings.
    """
    optuna = _library()
    identity = Identity({"evaluate": config}, {"training images": fingerprint(train), "splits": splits})
    validation = _Validation(train, config.metric or default_metric(train.per_class()), runtime)
    task = Task("tune", trials + (FURTHER * splits if trials > 1 else 0), settings=config.model_dump(mode="json"))
    with open_output(folder, "tune", identity, files=(TRIALS, FINALS, BEST), overwrite=overwrite) as output:
        runtime.observer.on_start(task)
        search = _Search(optuna, config, RecordFile(output, TRIALS, Trial), imbalanced(train.per_class()))
        if not _try(search, validation, trials, splits, minutes, task):
            return None
        tuned = _compare_finalists(search, validation, splits, task)
        if tuned is None:
            return None
        output.write(BEST, yaml.safe_dump(_changed(tuned.config), sort_keys=False))
        output.finish()
    runtime.observer.on_end(task, {"score": tuned.score, "score before": tuned.before})
    return tuned


def _compare_finalists(search: _Search, validation: _Validation, splits: int, task: Task) -> Tuned | None:
    """The settings to take after the best ones and the first have met on further splits; None if it was stopped."""
    tried = search.finished()
    best = sorted((t for t in tried if t.number), key=lambda t: -t.value)[:FINALISTS]
    finalists = {0: search.config, **{t.number: with_settings(search.config, t.params) for t in best}}
    if not best:
        return Tuned(search.config, tried[0].value, tried[0].value, len(tried))
    file, scores, runtime = RecordFile(search.file.output, FINALS, _Final), [], validation.runtime
    for split in range(splits, (1 + FURTHER) * splits):
        if runtime.stopped():
            return None
        scores.append(_score_finalists(file, finalists, split, validation))
        label = f"the best {len(best)} and the first on further validation images"
        runtime.observer.on_progress(task, task.total - FURTHER * splits + len(scores), {}, label)
    taken = take(np.array(scores))
    score, before = np.mean(scores, axis=0)[[taken, 0]].tolist()
    return Tuned(list(finalists.values())[taken], score, before, len(tried))


class Trial(Line):
    """A line of trials.jsonl: settings and their mean score; number 0 are the settings to begin with."""

    number: int = Field(ge=0)
    params: dict[str, str | float]
    value: float

    @property
    def key(self) -> int:
        """The number."""
        return self.number


class _Final(Line):
    """A line of finalists.jsonl: the score of a trial's settings on a further split."""

    number: int
    split: int
    value: float

    @property
    def key(self) -> tuple[int, int]:
        """The number and the split."""
        return self.number, self.split


@dataclass(frozen=True)
class _Search:
    """Optuna's TPE over the trials on disk. uneven: the classes differ in size, so sampling is searched for too."""

    optuna: Any
    config: EvaluateConfig
    file: RecordFile[Trial]
    uneven: bool

    def finished(self) -> list[Trial]:
        """The trials by number, as far as they are there without a gap."""
        known = {trial.number: trial for trial in self.file.read()}
        return [known[number] for number in takewhile(known.__contains__, count())]

    def propose(self, first: int, batch: int) -> list[dict[str, Any]]:
        """Settings of the trials from number `first` on, from the scores of those before and a seed of their own."""
        optuna, present = self.optuna, _present(self.config, uneven=self.uneven)
        space = _space(optuna, present)
        seed = derive_seed(self.config.seed, "proposals", first)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        for trial in self.finished()[:first]:
            study.add_trial(optuna.trial.create_trial(params=trial.params, distributions=space, value=trial.value))
        if not first:
            study.enqueue_trial(present)
        return [study.ask(space).params for _ in range(batch)]

    def config_of(self, number: int, params: Mapping[str, Any]) -> EvaluateConfig:
        """The settings of a trial; those to begin with are themselves, also where the scale has no such value."""
        return with_settings(self.config, params) if number else self.config


def _try(search: _Search, validation: _Validation, trials: int, splits: int, minutes: float | None, task: Task) -> bool:
    """Score further trials, as many as there are processes at a time; False if it was stopped."""
    began, runtime = time.monotonic(), validation.runtime
    while (tried := len(search.finished())) < trials:
        if runtime.stopped():
            return False
        if tried and minutes is not None and time.monotonic() - began > 60 * minutes:
            break
        first = tried - tried % runtime.jobs  # a batch that a kill cut off is proposed again as it was
        proposed = search.propose(first, min(runtime.jobs, trials - first))[tried - first :]
        configs = [search.config_of(number, params) for number, params in enumerate(proposed, start=tried)]
        scores = validation.scores(configs, range(splits)).mean(1).tolist()
        batch = zip(count(tried), proposed, scores, strict=False)
        search.file.append(*(Trial(number=n, params=p, value=value) for n, p, value in batch))
        best = max(trial.value for trial in search.finished())
        runtime.observer.on_progress(task, tried + len(proposed), {"best validation score": best})
    return True


def take(scores: NDArray[np.float64]) -> int:
    """Which column of splits x settings to take: the first, unless another is better by more than its standard error.

    The best of many settings on few images is mostly the luckiest. So those in question are scored on splits that took
    no part in finding them, and the settings that were there are left only for a mean gain of more than one standard
    error (after the one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984, 3.4.3).
    """
    gains = scores[:, 1:] - scores[:, :1]
    best = int(gains.mean(0).argmax())
    gain = gains[:, best]
    return 1 + best if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else 0


@dataclass(frozen=True)
class _Validation:
    """Classifiers trained on a part of `train` and scored on the rest: higher is better."""

    train: LabelledImages
    metric: str
    runtime: Runtime

    def scores(self, configs: Sequence[EvaluateConfig], splits: Sequence[int]) -> NDArray[np.float64]:
        """Settings x splits."""
        calls = [
            (_score, (config, self.train, s, self.metric, self.runtime.device)) for config in configs for s in splits
        ]
        return np.reshape(
            [score for _, score in sorted(run_in_processes(calls, self.runtime.jobs))], (len(configs), -1)
        )


def _score_finalists(
    file: RecordFile[_Final], finalists: Mapping[int, EvaluateConfig], split: int, validation: _Validation
) -> list[float]:
    """The scores of the settings on one split, by the number of their trial; known ones are not computed again."""
    known = {final.number: final.value for final in file.read() if final.split == split}
    missing = [number for number in finalists if number not in known]
    if missing:
        scores = validation.scores([finalists[number] for number in missing], [split])[:, 0]
        known |= dict(zip(missing, scores.tolist(), strict=True))
        file.append(*(_Final(number=number, split=split, value=known[number]) for number in missing))
    return [known[number] for number in finalists]


def with_settings(config: EvaluateConfig, chosen: Mapping[str, Any]) -> EvaluateConfig:
    """`config` with a policy, and what else was chosen for its classifier."""
    classifier = config.classifier.model_copy(update={k: v for k, v in chosen.items() if k != "policy"})
    return config.model_copy(update={"policy": chosen["policy"], "classifier": classifier})


def _present(config: EvaluateConfig, *, uneven: bool) -> dict[str, Any]:
    """What is searched for, as it is now. uneven: the classes' sizes."""
    classifier = config.classifier
    decay = classifier.weight_decay or WEIGHT_DECAY[0]  # a logarithmic scale has no 0
    present = {"policy": config.policy, "lr": classifier.lr, "weight_decay": decay}
    return {**present, "sampling": classifier.sampling} if uneven else present


def _space(optuna: Any, present: dict[str, Any]) -> dict[str, Any]:
    """Where it is searched for: distributions by name, wide enough for the present values too."""

    def logarithmic(name: str, low: float, high: float) -> Any:
        return optuna.distributions.FloatDistribution(min(present[name], low), max(present[name], high), log=True)

    space = {
        "policy": optuna.distributions.CategoricalDistribution(list(POLICIES)),
        "lr": logarithmic("lr", *LR),
        "weight_decay": logarithmic("weight_decay", *WEIGHT_DECAY),
        "sampling": optuna.distributions.CategoricalDistribution(list(SAMPLING)),
    }
    return {name: space[name] for name in present}


def split_for_tuning(train: LabelledImages, seed: int, split: int) -> tuple[LabelledImages, LabelledImages]:
    """Split number `split` of the training images: images to learn from, and 30 % of each class to validate on."""
    return split_per_class(train, VALIDATION, seed=derive_seed(seed, "tuning split", split))


def _score(config: EvaluateConfig, train: LabelledImages, split: int, metric: str, device: torch.device) -> float:
    """The validation score of one classifier: higher is better."""
    learnt, validation = split_for_tuning(train, config.seed, split)
    arm = Arm(name="tuned", policy=config.policy)
    seed = derive_seed(config.seed, "tuning", split)
    model = train_arm(arm, Fold(learnt, validation), config, seed=seed, device=device)
    logits = predict(model, torch.from_numpy(np.ascontiguousarray(validation.images)))
    value = score(logits, validation.labels, validation.num_classes)[metric]
    return value if METRICS[metric].higher_is_better else -value


def _library() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("tuning needs Optuna; run: pip install 'optuna>=4.0'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _changed(config: EvaluateConfig) -> dict[str, Any]:
    """What differs from the defaults, as `evaluate --config` reads it."""
    return config.model_dump(mode="json", exclude_defaults=True, exclude={"arms", "repeats"})
