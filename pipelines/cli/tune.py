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
    OptionalSeed,
    Out,
    SourceArgument,
    check_outside_sources,
)
from pipelines.cli.output import print_next_command

Trials = Annotated[int, typer.Option("--trials", min=1, max=10**6, help="Number of settings to try.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Time limit of the search, in minutes.")]
Splits = Annotated[
    int, typer.Option("--splits", min=1, max=10**4, help="Number of validation splits of the training images.")
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yaml", help="Initial settings of the evaluation.")
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
    seed: OptionalSeed = None,
    jobs: Jobs = None,
) -> None:
    """Tune the classifier on validation images: views, learning rate, weight decay, mixup and method for imbalance."""
    from pipelines.cli.tables import print_tuning_result
    from pipelines.config.reading import load_evaluate_config
    from pipelines.experiment.loading import load, unused_notes
    from pipelines.tuning import tune as tune_classifier

    if minutes is not None and not minutes >= 0:  # written so that it also refuses NaN
        raise ConfigError(f"--minutes {minutes}: expected 0 or more")
    initial = load_evaluate_config(
        config, arms=None, has_synthetic=True, steps=steps, horizontal_flip=horizontal_flip or None, seed=seed
    )
    check_outside_sources(out, source)
    data = images.config(source, seed=initial.seed)
    options = {"trials": trials, "splits": splits, "minutes": minutes, "overwrite": computing.overwrite}
    with computing.runtime(out, jobs) as runtime:
        loaded = load(data, runtime.observer)
        for note in (*loaded.warnings, *unused_notes(loaded, data)):
            runtime.observer.on_note(note)
        result = tune_classifier(loaded.train, initial, out, runtime, **options)  # type: ignore[arg-type]
    if result is None:
        raise KeyboardInterrupt
    print_tuning_result(result)
    test = () if loaded.test is not None else ("--test", "SOURCE")
    more = ("--config", out / "best.yaml", "--out", f"{out}-evaluation")
    print_next_command("augment", "evaluate", source, *images.arguments(), *test, *more)
