"""`augment evaluate SOURCE --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from pipelines.cli.output import print_commands_after

Synthetic = Annotated[
    Path | None, typer.Option("--synthetic", metavar="SOURCE", help="Generated images, also by another program.")
]
Test = Annotated[
    str | None, typer.Option("--test", metavar="SOURCE", help="Source of test images, if SOURCE has no test split.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE.yaml", help="Settings of the evaluation, for example best.yaml of augment tune."
    ),
]
Arms = Annotated[
    str | None,
    typer.Option("--arms", help="Arms to compare, comma-separated: none, classical, synthetic, none+synthetic, ..."),
]
Repeats = Annotated[int | None, typer.Option("--repeats", min=2, help="Paired repeats of each arm; default: 10.")]
Ratio = Annotated[float | None, typer.Option("--ratio", help="Synthetic images per real image; default: 1.")]


def evaluate(
    source: SourceArgument,
    out: Out,
    images: ImageOptions,
    computing: ComputingOptions,
    synthetic: Synthetic = None,
    test: Test = None,
    config: Config = None,
    arms: Arms = None,
    repeats: Repeats = None,
    steps: ClassifierSteps = None,
    ratio: Ratio = None,
    horizontal_flip: Flip = False,
    seed: OptionalSeed = None,
    jobs: Jobs = None,
) -> None:
    """Measure how much synthetic images help a classifier, in paired repeats, and write a report."""
    from pipelines.cli.tables import print_results
    from pipelines.config.reading import load_evaluate_config
    from pipelines.evaluation import evaluate as evaluate_source

    settings = load_evaluate_config(
        config,
        arms=arms.split(",") if arms else None,
        has_synthetic=synthetic is not None,
        repeats=repeats,
        ratio=ratio,
        horizontal_flip=horizontal_flip or None,
        seed=seed,
        steps=steps,
    )
    check_outside_sources(out, source, test, str(synthetic) if synthetic else None)
    data = images.config(source, test=test, seed=settings.seed)
    with computing.runtime(out, jobs) as runtime:
        options = {"synthetic": synthetic, "runtime": runtime, "overwrite": computing.overwrite}
        results = evaluate_source(data, settings, out, **options)  # type: ignore[arg-type]
    if results is None:
        raise KeyboardInterrupt
    print_results(results)
    print_commands_after(data, results, out, of_run=False)
