"""fidelity.jsonl of an evaluation: the fidelity of each fold, measured once for the same images and settings."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch

from augment.identity import digest
from augment.output_folders import OutputFolder
from pipelines.config.sections import EvaluateConfig
from pipelines.experiment.folds import Fold
from pipelines.experiment.parallel import Call
from pipelines.experiment.planning import Training
from pipelines.experiment.record_digests import record_digests, weight_digests
from pipelines.experiment.records import RecordFile
from pipelines.results.fidelity_evaluation import Fidelity, measure_fidelity, measured_folds, own_arm

FIDELITY = "fidelity.jsonl"


class FidelityFile:
    """The file of the evaluation in `output`, with a line for each fold whose fidelity is measured."""

    def __init__(
        self, output: OutputFolder, folds: Sequence[Fold], config: EvaluateConfig, device: torch.device
    ) -> None:
        self._folds, self._config, self._device = measured_folds(folds), config, device
        self._file = RecordFile(output, FIDELITY, Fidelity, _digests(self._folds, config, device))

    def missing(self) -> tuple[RecordFile[Fidelity], list[Call[Fidelity]]]:
        """Return the file, and the calls that make the lines that it lacks."""
        known = {line.fold for line in self._file.read()}
        missing = [fold for fold in self._folds if fold.name not in known]
        return self._file, [(measure_fidelity, (fold, self._config, self._device)) for fold in missing]

    def read(self) -> list[Fidelity]:
        """Return the lines in the order of the folds."""
        by_fold = {line.fold: line for line in self._file.read()}
        return [by_fold[fold.name] for fold in self._folds]


def _digests(folds: Sequence[Fold], config: EvaluateConfig, device: torch.device) -> dict[Hashable, str]:
    """Return the digest of what the fidelity of each fold depends on, by the name of the fold."""
    trainings = [Training(own_arm(config), 0, fold.name) for fold in folds]
    classifiers, weights = record_digests(trainings, folds, config, device), weight_digests(config)
    return {
        fold.name: digest(
            {
                "classifier": classifiers[training.key],
                "inception": weights.get("evaluate.inception"),
                "synthetic": fold.fingerprints["synthetic"],
            }
        )
        for training, fold in zip(trainings, folds, strict=True)
    }
