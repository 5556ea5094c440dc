"""The search of `augment tune`: which settings are tuned, in which ranges, and which ones to try next.

The search uses the TPE sampler of Optuna, an optional dependency. Each batch of trials is proposed from the trials
before it with its own derived seed, so an interrupted trial is proposed again with the same settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

from pydantic import Field

from augment.dataset.policies import POLICIES
from augment.errors import ConfigError
from augment.seeds import derive_seed
from classifiers.long_tail import LONG_TAIL
from classifiers.pools import SAMPLING
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.records import Line, RecordFile

# ranges, sampled on logarithmic scales; with a mixup of 0.01 the images are hardly mixed
LR, WEIGHT_DECAY, MIXUP = (1e-3, 3e-2), (1e-3, 0.5), (0.01, 1.0)


class Trial(Line):
    """A line of trials.jsonl: settings and their mean score. Trial 0 has the initial settings."""

    number: int = Field(ge=0)
    params: dict[str, str | float]
    value: float

    @property
    def key(self) -> int:
        """The number."""
        return self.number


@dataclass(frozen=True)
class Search:
    """A search with Optuna's TPE sampler from the trials on disk.

    imbalanced: whether to search the treatment of imbalanced classes too: the sampling and the long-tail method.
    """

    optuna: Any
    config: EvaluateConfig
    file: RecordFile[Trial]
    imbalanced: bool

    def finished(self) -> list[Trial]:
        """Return the finished trials in order, up to the first missing number."""
        trials = {trial.number: trial for trial in self.file.read()}
        return [trials[number] for number in takewhile(trials.__contains__, count())]

    def propose(self, first: int, batch: int) -> list[dict[str, Any]]:
        """Propose the settings of `batch` trials from number `first` on, given the scores of the trials before them."""
        optuna, initial = self.optuna, _initial_settings(self.config, imbalanced=self.imbalanced)
        space = _search_space(optuna, initial, self._long_tail_methods())
        seed = derive_seed(self.config.seed, "proposals", first)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        for trial in self.finished()[:first]:
            params = {**initial, **trial.params}  # a trial of an older version had fewer settings to tune
            study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=trial.value))
        if not first:
            study.enqueue_trial(initial)
        return [study.ask(space).params for _ in range(batch)]

    def _long_tail_methods(self) -> list[str]:
        """Return the methods that the operating point of the evaluation allows."""
        shifted = self.config.operating_point == "cross-fitted"
        return [name for name, method in LONG_TAIL.items() if not (shifted and method.head)]

    def config_of(self, number: int, params: Mapping[str, Any]) -> EvaluateConfig:
        """Return the settings of a trial. Trial 0 has the initial ones, even if they are not in the search space."""
        return with_settings(self.config, params) if number else self.config


def with_settings(config: EvaluateConfig, chosen: Mapping[str, Any]) -> EvaluateConfig:
    """Return `config` with the chosen policy and the chosen settings of the classifier."""
    classifier = config.classifier.model_copy(update={k: v for k, v in chosen.items() if k != "policy"})
    return config.model_copy(update={"policy": chosen["policy"], "classifier": classifier})


def _initial_settings(config: EvaluateConfig, *, imbalanced: bool) -> dict[str, Any]:
    """Return the initial values of the tuned settings. imbalanced: as in `Search`."""
    classifier = config.classifier
    decay, mixup = classifier.weight_decay or WEIGHT_DECAY[0], classifier.mixup or MIXUP[0]  # the scales have no 0
    initial = {"policy": config.policy, "lr": classifier.lr, "weight_decay": decay, "mixup": mixup}
    return {**initial, "sampling": classifier.sampling, "long_tail": classifier.long_tail} if imbalanced else initial


def _search_space(optuna: Any, initial: dict[str, Any], long_tail: list[str]) -> dict[str, Any]:
    """Return the distribution of each setting, wide enough to include its initial value."""

    def logarithmic(name: str, low: float, high: float) -> Any:
        return optuna.distributions.FloatDistribution(min(initial[name], low), max(initial[name], high), log=True)

    space = {
        "policy": optuna.distributions.CategoricalDistribution(list(POLICIES)),
        "lr": logarithmic("lr", *LR),
        "weight_decay": logarithmic("weight_decay", *WEIGHT_DECAY),
        "mixup": logarithmic("mixup", *MIXUP),
        "sampling": optuna.distributions.CategoricalDistribution(list(SAMPLING)),
        "long_tail": optuna.distributions.CategoricalDistribution(long_tail),
    }
    return {name: space[name] for name in initial}


def import_optuna() -> Any:
    """Return the module optuna. Raises `ConfigError` if it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("tuning needs Optuna; run: pip install 'optuna>=4.0'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
