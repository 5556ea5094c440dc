"""`augment tune SOURCE --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.errors import ConfigError
from pipelines.cli.options import (
    Device,
    Flip,
    ImageSize,
    Jobs,
    Out,
    Overwrite,
    PerClassUsed,
    Quiet,
    ResizeMode,
    Resizing,
    Seed,
    SkipBroken,
    SourceArgument,
    Track,
    as_options,
    data_config,
    refuse_into_source,
)
from pipelines.cli.output import note, suggest


def tune(
    source: SourceArgument,
    out: Out,
    trials: Annotated[int, typer.Option("--trials", min=1, max=10**6, help="Settings to try.")] = 30,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Stop trying after so many.")] = None,
    splits: Annotated[
        int, typer.Option("--splits", min=1, max=10**4, help="Validation splits of the training images.")
    ] = 3,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.yaml", help="Fields of EvaluateConfig to begin from.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of each classifier.")] = None,
    horizontal_flip: Flip = False,
    samples_per_class: PerClassUsed = None,
    image_size: ImageSize = None,
    resize: Resizing = ResizeMode.pad,
    skip_broken: SkipBroken = False,
    seed: Seed = 0,
    device: Device = "auto",
    jobs: Jobs = None,
    track: Track = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Tune the classifier's policy, learning rate and weight decay on validation images: a baseline worth beating."""
    from pipelines.cli.tables import print_tuned
    from pipelines.cli.terminal import computing
    from pipelines.config.reading import load_evaluate_config
    from pipelines.experiment.loading import load, used_notes
    from pipelines.tuning import tune as tune_classifier

    if minutes is not None and not minutes >= 0:  # which is also false for "not a number"
        raise ConfigError(f"--minutes {minutes}: expected 0 or more")
    begin = load_evaluate_config(
        config, arms=None, has_synthetic=True, steps=steps, horizontal_flip=horizontal_flip or None, seed=seed
    )
    refuse_into_source(out, source)
    data = data_config(source, None, samples_per_class, image_size, resize, skip_broken, seed)
    loaded = load(data)
    note((*loaded.warnings, *used_notes(loaded, data)))
    options = {"trials": trials, "splits": splits, "minutes": minutes, "overwrite": overwrite}
    with computing(device, jobs, quiet, track, out) as runtime:
        tuned = tune_classifier(loaded.train, begin, out, runtime, **options)  # type: ignore[arg-type]
    if tuned is None:
        raise KeyboardInterrupt
    print_tuned(tuned)
    images = as_options(samples_per_class, image_size, resize, skip_broken)
    suggest("augment", "evaluate", source, *images, "--config", out / "best.yaml", "--out", f"{out}-evaluation")
