"""`augment run PIPELINE --out DIR`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import (
    LAST_SEED,
    ComputingOptions,
    Drop,
    Flip,
    ImageOptions,
    Jobs,
    Threads,
    check_outside_sources,
    set_threads,
)
from pipelines.cli.output import print_commands_after, print_line, print_next_command, print_notes

if TYPE_CHECKING:
    from pipelines.config.sections import Pipeline as PipelineDefinition

MAX_MINUTES = 10**6
SEEDED = ("data", "generator", "generate", "evaluate")  # sections of a pipeline that have a seed

Pipeline = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", help="A YAML file, or auto, quickstart, imbalance, fashion-50 or learning-curve."
    ),
]
Source = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="Your images, in place of those that the pipeline names (data.source)."),
]
OutOrDefault = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Output folder; default: runs/<pipeline>.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="a.b=c",
        help="Override a value of the pipeline; may be repeated. Text needs no quotes; other values are YAML; null "
        "unsets an optional value.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Only print which stages would run and why, how long they take, and the memory they need."
    ),
]
Minutes = Annotated[
    int | None,
    typer.Option(
        "--minutes",
        metavar="N",
        min=1,
        max=MAX_MINUTES,
        help="Only for auto: the time available in minutes; more allows more recipes and repeats. Default: 20, or what "
        "the fewest repeats take.",
    ),
]
AllSeeds = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=LAST_SEED, help="Seed of every stage; overrides those of the pipeline."),
]


def run(
    pipeline: Pipeline,
    images: ImageOptions,
    computing: ComputingOptions,
    source: Source = None,
    out: OutOrDefault = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    minutes: Minutes = None,
    horizontal_flip: Flip = False,
    drop_duplicates: Drop = False,
    seed: AllSeeds = None,
    jobs: Jobs = None,
    threads: Threads = None,
) -> None:
    """Train a generator, generate images and measure the gain. Stages that are up to date are skipped."""
    from pipelines.cli.tables import print_results
    from pipelines.config.reading import load_pipeline
    from pipelines.runner import run as run_pipeline

    settings = [*(overrides or []), *_as_overrides(images, drop_duplicates, seed)]
    own = [] if source is None else [source]
    every = [*(f"data.source={name}" for name in own), *settings]
    definition = load_pipeline(pipeline, every, horizontal_flip=horizontal_flip, minutes=minutes)
    folder, data = out or Path("runs") / Path(pipeline).stem, definition.data
    check_outside_sources(folder, data.source, data.test, data.unlabelled)
    print_notes(_notes_on_source(definition))
    set_threads(threads)
    if dry_run:
        _print_plan(definition, folder, replace(computing, quiet=False, track=None), jobs)
        flags = _flags(horizontal_flip, {"--minutes": minutes, "--jobs": jobs, "--threads": threads}, computing)
        sets = [part for setting in settings for part in ("--set", setting)]
        print_next_command("augment", "run", pipeline, *own, *sets, *flags, "--out", folder)
        return
    with computing.runtime(folder, jobs, definition.track) as runtime:
        results = run_pipeline(definition, folder, runtime, overwrite=computing.overwrite)
    if results is None:
        raise KeyboardInterrupt
    print_results(results)
    print_commands_after(data, results, folder, of_run=True)


def _notes_on_source(definition: PipelineDefinition) -> list[str]:
    if definition.auto is None or not definition.data.source.startswith("bundled:"):
        return []
    return ["these are images of clothes that come with the package; for your own: augment run auto DIR"]


def _print_plan(definition: PipelineDefinition, folder: Path, computing: ComputingOptions, jobs: int | None) -> None:
    """Print which stages would run, and why."""
    from pipelines.runner import plan

    with computing.runtime(folder, jobs) as runtime:
        for planned in plan(definition, folder, runtime, overwrite=computing.overwrite):
            print_line(planned.sentence)


def _as_overrides(images: ImageOptions, drop_duplicates: bool, seed: int | None) -> list[str]:
    """Return the options in the form of `--set`: section.key=value."""
    values = {f"data.{name}": value for name, value in images.settings().items()}
    values |= {"data.drop_duplicates": True} if drop_duplicates else {}
    seeds = {} if seed is None else {f"{section}.seed": seed for section in SEEDED}
    return [f"{key}={value}" for key, value in {**values, **seeds}.items()]


def _flags(horizontal_flip: bool, numbers: dict[str, int | None], computing: ComputingOptions) -> list[str]:
    """Return the options that are not settings of the pipeline as arguments, for the next command."""
    values = {**numbers, "--device": None if computing.device == "auto" else computing.device}
    flags = ["--horizontal-flip"] if horizontal_flip else []
    flags += ["--overwrite"] if computing.overwrite else []
    flags += [part for name, value in values.items() if value for part in (name, str(value))]
    return flags + [part for name in computing.track or () for part in ("--track", name)]
