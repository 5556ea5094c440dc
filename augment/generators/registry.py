"""All kinds of generators, `GENERATORS`, and the functions `fit` and `load_model`, which work for every kind."""

from __future__ import annotations

from pathlib import Path

import torch

from augment.errors import SourceError
from augment.generators.anchored import ANCHORED
from augment.generators.base import Fitted, GeneratorConfig, GeneratorKind, Model, Outcome, TrainingData
from augment.generators.cgan import CGAN
from augment.generators.resample import RESAMPLE
from augment.generators.runs import read_metadata
from augment.output_folders import Replace
from augment.runtime import DEFAULT_RUNTIME, Runtime, Task

GENERATORS: dict[str, GeneratorKind] = {
    "anchored": ANCHORED,
    "cgan": CGAN,
    "resample": RESAMPLE,
}
DEFAULT_KIND = "cgan"


def fit(
    data: TrainingData,
    config: GeneratorConfig,
    folder: Path,
    runtime: Runtime = DEFAULT_RUNTIME,
    *,
    overwrite: bool = False,
    replace: Replace = "nothing",
    seconds: float | None = None,
) -> Fitted:
    """Fit a generator of kind `config.kind` to all images of `data` and save it in `folder`; see `base.Fit`.

    seconds: the expected duration, which is passed on to the observer.
    """
    task = Task("fit", config.total, seconds, config.model_dump(mode="json"))
    runtime.observer.on_start(task)
    fitted = GENERATORS[config.kind].fit(data, config, folder, runtime, overwrite=overwrite, replace=replace)
    if fitted.outcome != Outcome.STOPPED:
        runtime.observer.on_end(task, {})
    return fitted


def load_model(folder: Path, device: str | torch.device = "cpu") -> Model:
    """Load the model of a finished RUN folder of any kind. Raises `SourceError` if it does not hold one."""
    kind = read_metadata(folder).kind
    if kind not in GENERATORS:
        raise SourceError(f"{folder} holds a generator of another version of this program, {kind[:60]!r}")
    return GENERATORS[kind].load(folder, torch.device(device))
