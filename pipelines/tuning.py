"""`augment tune`: policy, learning rate and weight decay of the classifier on validation images, so that nobody beats a
straw man; where the classes differ in size, how often each is drawn too.

Real training images alone, split again and again: the test images take no part. The search is Optuna's TPE (optional
extra: `pip install 'augment-osgan[tune]'`), begins with the present settings and so ends no worse than they are on
these splits, and goes on where it was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

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
LR, WEIGHT_DECAY = (1e-3, 3e-2), (1e-3, 0.5)  # sampled on logarithmic scales


class Tuned(NamedTuple):
    """What was found: the settings with the best mean validation score, that score, and that of the first settings."""

    config: EvaluateConfig
    score: float
    before: float
    trials: int


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
    on_trial: Callable[[int, float], None] = lambda number, best: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Tuned | None:
    """Try `trials` settings, each on `splits` validation splits of `train`, and write best.yaml; None if stopped.

    `minutes` ends the search earlier. Raises `ConfigError` without Optuna, `OutputError` if `folder` holds a search
    over other images or settings.
    """
    metric = config.metric or default_metric(train.per_class())
    optuna = _library()
    settings = {"settings": config.model_dump(mode="json"), "images": fingerprint(train), "splits": splits}
    claim_for(settings, folder, "tune", FILES, overwrite=overwrite)
    present = _present(config, uneven=imbalanced(train.per_class()))
    space, study = _space(optuna, present), _study(optuna, folder / "study.log", config.seed, present)
    began = time.monotonic()
    while len(values := _values(study)) < trials:
        if stopped():
            return None
        if values and minutes is not None and time.monotonic() - began > 60 * minutes:
            break
        asked = [study.ask(space) for _ in range(min(jobs, trials - len(values)))]
        calls = [
            (_score, (with_settings(config, trial.params), train, s, metric, device))
            for trial in asked
            for s in range(splits)
        ]
        scores = [score for _, score in sorted(run_in_processes(calls, jobs))]
        for trial, value in zip(asked, np.reshape(scores, (-1, splits)).mean(1).tolist(), strict=True):
            study.tell(trial, value)
        on_trial(len(_values(study)), study.best_value)
    best = with_settings(config, study.best_params)
    write_text(folder / "best.yaml", yaml.safe_dump(_changed(best), sort_keys=False))
    return Tuned(best, study.best_value, values[0], len(values))


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


def _values(study: Any) -> list[float]:
    """The scores of the settings that were tried to the end, the first ones first."""
    return [trial.value for trial in study.trials if trial.value is not None]


def _changed(config: EvaluateConfig) -> dict[str, Any]:
    """What differs from the defaults, as `evaluate --config` reads it."""
    return config.model_dump(mode="json", exclude_defaults=True, exclude={"arms", "repeats"})
