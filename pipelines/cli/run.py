"""`augment run PIPELINE --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    LAST_SEED,
    Device,
    Drop,
    Flip,
    ImageSize,
    Jobs,
    Overwrite,
    PerClassUsed,
    Quiet,
    ResizeMode,
    SkipBroken,
    Threads,
    Track,
    refuse_into_source,
    set_threads,
)
from pipelines.cli.output import say, suggest, suggest_browser


def run(
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="A YAML file, or quickstart, fashion-50 or learning-curve.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to write; default: runs/<pipeline>.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="a.b=c", help="Override a value; may be repeated. Text as it is, null for none; else YAML."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print which stages would run, and why.")] = False,
    samples_per_class: PerClassUsed = None,
    image_size: ImageSize = None,
    resize: Annotated[ResizeMode | None, typer.Option("--resize", help="How images become square; pad.")] = None,
    skip_broken: SkipBroken = False,
    horizontal_flip: Flip = False,
    drop_duplicates: Drop = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=LAST_SEED, help="Of every stage, in place of their own.")
    ] = None,
    device: Device = "auto",
    jobs: Jobs = None,
    threads: Threads = None,
    track: Track = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """All of it: train a generator, make images, measure the gain. Stages whose inputs have not changed are not run."""
    from pipelines.cli.tables import print_results
    from pipelines.cli.terminal import computing
    from pipelines.config.reading import load_pipeline, with_flips
    from pipelines.runner import plan
    from pipelines.runner import run as run_pipeline

    options = {
        "data.samples_per_class": samples_per_class,
        "data.image_size": image_size,
        "data.resize": resize.value if resize else None,
        "data.skip_broken": skip_broken or None,
        "data.drop_duplicates": drop_duplicates or None,
        **{f"{section}.seed": seed for section in ("data", "generator", "generate", "evaluate")},
    }
    settings = [*(overrides or []), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    definition = load_pipeline(pipeline, settings)
    definition = with_flips(definition) if horizontal_flip else definition
    folder = out or Path("runs") / Path(pipeline).stem
    refuse_into_source(folder, definition.data.source, definition.data.test)
    set_threads(threads)
    with computing(device, jobs, quiet and not dry_run, track or definition.track, folder, dry_run) as runtime:
        if dry_run:
            for planned in plan(definition, folder, runtime):
                say(planned.sentence)
            values = {"--jobs": jobs, "--threads": threads, "--device": None if device == "auto" else device}
            flags = ["--horizontal-flip"] if horizontal_flip else []
            flags += [part for name, value in values.items() if value for part in (name, str(value))]
            flags += [part for name in track or () for part in ("--track", name)]
            suggest("augment", "run", pipeline, *(p for s in settings for p in ("--set", s)), *flags, "--out", folder)
            return
        results = run_pipeline(definition, folder, runtime, overwrite=overwrite)
    if results is None:
        raise KeyboardInterrupt
    print_results(results)
    suggest_browser(folder / "evaluation" / "report.html")
