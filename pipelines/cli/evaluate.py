"""`augment evaluate SOURCE --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    data_config,
    refuse_into_source,
)
from pipelines.cli.output import suggest_browser


def evaluate(
    source: SourceArgument,
    out: Out,
    synthetic: Annotated[Path | None, typer.Option("--synthetic", metavar="DIR", help="Generated images.")] = None,
    test: Annotated[
        str | None, typer.Option("--test", metavar="SOURCE", help="Test images, if SOURCE has no test split.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.yaml", help="Fields of EvaluateConfig, as tune finds them.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option("--arms", help="Comma-separated: none, classical, synthetic, none+synthetic, ...")
    ] = None,
    repeats: Annotated[int | None, typer.Option("--repeats", min=2, help="Paired repeats of each arm; 10.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of each classifier.")] = None,
    ratio: Annotated[float | None, typer.Option("--ratio", help="Synthetic images per real image; 1.")] = None,
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
    """Measure what synthetic images bring a classifier: paired repeats, an interval, a report."""
    from pipelines.cli.tables import print_results
    from pipelines.cli.terminal import computing
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
    refuse_into_source(out, source, test, str(synthetic) if synthetic else None)
    data = data_config(source, test, samples_per_class, image_size, resize, skip_broken, seed)
    with computing(device, jobs, quiet, track, out) as runtime:
        results = evaluate_source(data, settings, out, synthetic=synthetic, runtime=runtime, overwrite=overwrite)
    if results is None:
        raise KeyboardInterrupt
    print_results(results)
    suggest_browser(out / "report.html")
