"""`augment tune`: policy, learning rate and weight decay of the classifier on validation images, so that nobody beats a
straw man; where the classes differ in size, how often each is drawn too.

Real training images alone, split again and again: the test images take no part. The search is Optuna's TPE (optional
extra: `pip install 'augment-osgan[tune]'`), begins with the present settings, and goes on where it was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from augment.classical import POLICIES
from augment.errors import ConfigError
from augment.images import LabelledImages, fingerprint, split_per_class
from augment.outputs import claim_for, write_text
from classifiers.batches import SAMPLING
from classifiers.metrics import score
from classifiers.training import predict
from pipelines.arms import Materials, train_arm
from pipelines.definition import Arm, EvaluateConfig
from pipelines.measures import METRICS, default_metric, imbalanced
from pipelines.parallel import end_processes, run_in_processes

FILES = ("study.log", "best.yaml")
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
    *,
    trials: int,
    splits: int,
    device: torch.device,
    jobs: int,
    minutes: float | None = None,
    overwrite: bool = False,
    on_step: Callable[[int, str], None] = lambda done, words: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Tuned | None:
    """Try `trials` settings, each on `splits` validation splits of `train`, and write best.yaml; None if stopped.

    The best `FINALISTS` and the present settings then meet on `FURTHER` times as many further splits (`take`).
    `minutes` ends the search earlier; that comparison comes on top, and not at all with a single trial. on_step: how
    many of these trials and further splits are done, and a word on them. Raises `ConfigError` without Optuna,
    `OutputError` if `folder` holds a search over other images or settings.
    """
    optuna = _library()
    settings = {"settings": config.model_dump(mode="json"), "images": fingerprint(train), "splits": splits}
    claim_for(settings, folder, "tune", FILES, overwrite=overwrite)
    present = _present(config, uneven=imbalanced(train.per_class()))
    space, study = _space(optuna, present), _study(optuna, folder / "study.log", config.seed, present)
    validation = _Validation(train, config.metric or default_metric(train.per_class()), device, jobs)
    began = time.monotonic()
    while (tried := len(_finished(study))) < trials:
        if stopped():
            return None
        if tried and minutes is not None and time.monotonic() - began > 60 * minutes:
            break
        asked = [study.ask(space) for _ in range(min(jobs, trials - tried))]
        configs = [with_settings(config, trial.params) for trial in asked]
        for trial, value in zip(asked, validation.scores(configs, range(splits)).mean(1).tolist(), strict=True):
            study.tell(trial, value)
        on_step(tried + len(asked), f"best on validation {study.best_value:.3f}")
    first, *others = _finished(study)
    best = sorted(others, key=lambda trial: -trial.value)[:FINALISTS]
    finalists = {first.number: config, **{trial.number: with_settings(config, trial.params) for trial in best}}
    taken, score, before = 0, first.value, first.value
    if best:
        met = []
        for further in range(splits, (1 + FURTHER) * splits):
            if stopped():
                return None
            met.append(_meet(study, finalists, further, validation))
            on_step(trials + len(met), f"the best {len(best)} and the first on further validation images")
        taken = take(np.array(met))
        score, before = np.mean(met, axis=0)[[taken, 0]].tolist()
    found = list(finalists.values())[taken]
    write_text(folder / "best.yaml", yaml.safe_dump(_changed(found), sort_keys=False))
    return Tuned(found, score, before, len(others) + 1)


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
    device: torch.device
    jobs: int

    def scores(self, configs: Sequence[EvaluateConfig], splits: Sequence[int]) -> NDArray[np.float64]:
        """Settings x splits."""
        calls = [(_score, (config, self.train, s, self.metric, self.device)) for config in configs for s in splits]
        return np.reshape([score for _, score in sorted(run_in_processes(calls, self.jobs))], (len(configs), -1))


def _meet(study: Any, finalists: Mapping[int, EvaluateConfig], split: int, validation: _Validation) -> list[float]:
    """The scores of the settings on one split, by the number of their trial; what was scored before is in the study."""
    keys = {number: f"trial {number} on split {split}" for number in finalists}
    missing = [number for number, key in keys.items() if key not in study.user_attrs]
    if missing:
        scores = validation.scores([finalists[number] for number in missing], [split])[:, 0]
        for number, value in zip(missing, scores.tolist(), strict=True):
            study.set_user_attr(keys[number], value)
    return [study.user_attrs[key] for key in keys.values()]


def with_settings(config: EvaluateConfig, chosen: dict[str, Any]) -> EvaluateConfig:
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


def _score(config: EvaluateConfig, train: LabelledImages, split: int, metric: str, device: torch.device) -> float:
    """The validation score of one classifier: higher is better."""
    learnt, validation = split_per_class(train, VALIDATION, seed=split)
    arm = Arm(name="tuned", policy=config.policy)
    model = train_arm(arm, Materials(learnt, validation, None), config, seed=config.seed + split, device=device)
    logits = predict(model, torch.from_numpy(np.ascontiguousarray(validation.images)))
    value = score(logits, validation.labels, validation.num_classes)[metric]
    return value if METRICS[metric].higher_is_better else -value


def _library() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("tuning needs Optuna; run: pip install 'augment-osgan[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, path: Path, seed: int, present: dict[str, Any]) -> Any:
    """The search so far, or a new one that begins with the present settings."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(
        study_name="tune", direction="maximize", storage=storage, sampler=sampler, load_if_exists=True
    )
    if not study.trials:
        study.enqueue_trial(present)
    return study


def _finished(study: Any) -> list[Any]:
    """The trials that were scored, the present settings' first."""
    return [trial for trial in study.trials if trial.value is not None]


def _changed(config: EvaluateConfig) -> dict[str, Any]:
    """What differs from the defaults, as `evaluate --config` reads it."""
    return config.model_dump(mode="json", exclude_defaults=True, exclude={"arms", "repeats"})
