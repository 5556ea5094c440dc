"""`augment tune SOURCE --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.errors import ConfigError
from pipelines.cli.options import (
    ClassifierSteps,
    ComputingOptions,
    Flip,
    ImageOptions,
    Jobs,
    Out,
    Seed,
    SourceArgument,
    check_outside_sources,
)
from pipelines.cli.output import print_next_command, print_notes

Trials = Annotated[int, typer.Option("--trials", min=1, max=10**6, help="Settings to try.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Stop trying after so many.")]
Splits = Annotated[int, typer.Option("--splits", min=1, max=10**4, help="Validation splits of the training images.")]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yaml", help="Fields of EvaluateConfig to begin from.")
]


def tune(
    source: SourceArgument,
    out: Out,
    images: ImageOptions,
    computing: ComputingOptions,
    trials: Trials = 30,
    minutes: Minutes = None,
    splits: Splits = 3,
    config: Config = None,
    steps: ClassifierSteps = None,
    horizontal_flip: Flip = False,
    seed: Seed = 0,
    jobs: Jobs = None,
) -> None:
    """Tune the classifier's policy, learning rate and weight decay on validation images: a baseline worth beating."""
    from pipelines.cli.tables import print_tuned
    from pipelines.config.reading import load_evaluate_config
    from pipelines.experiment.loading import load, unused_notes
    from pipelines.tuning import tune as tune_classifier

    if minutes is not None and not minutes >= 0:  # which is also false for "not a number"
        raise ConfigError(f"--minutes {minutes}: expected 0 or more")
    begin = load_evaluate_config(
        config, arms=None, has_synthetic=True, steps=steps, horizontal_flip=horizontal_flip or None, seed=seed
    )
    check_outside_sources(out, source)
    data = images.config(source, seed=seed)
    loaded = load(data)
    print_notes((*loaded.warnings, *unused_notes(loaded, data)))
    options = {"trials": trials, "splits": splits, "minutes": minutes, "overwrite": computing.overwrite}
    with computing.runtime(out, jobs) as runtime:
        tuned = tune_classifier(loaded.train, begin, out, runtime, **options)  # type: ignore[arg-type]
    if tuned is None:
        raise KeyboardInterrupt
    print_tuned(tuned)
    print_next_command(
        "augment", "evaluate", source, *images.arguments(), "--config", out / "best.yaml", "--out", f"{out}-evaluation"
    )
