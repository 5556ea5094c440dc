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
from pipelines.cli.output import print_browser_command, print_line, print_next_command

if TYPE_CHECKING:
    from pipelines.config.sections import DataConfig

MAX_MINUTES = 10**6
SEEDED = ("data", "generator", "generate", "evaluate")  # sections of a pipeline that have a seed

Pipeline = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", help="A YAML file, or auto, quickstart, imbalance, fashion-50 or learning-curve."
    ),
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
        help="Only for auto: the time available in minutes; more allows more repeats. Default: 20, or what the fewest "
        "repeats take.",
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
    from pipelines.runner import plan
    from pipelines.runner import run as run_pipeline

    settings = [*(overrides or []), *_as_overrides(images, drop_duplicates, seed)]
    definition = load_pipeline(pipeline, settings, horizontal_flip=horizontal_flip, minutes=minutes)
    folder, data = out or Path("runs") / Path(pipeline).stem, definition.data
    check_outside_sources(folder, data.source, data.test, data.unlabelled)
    set_threads(threads)
    if dry_run:
        with replace(computing, quiet=False, track=None).runtime(folder, jobs) as runtime:
            for planned in plan(definition, folder, runtime, overwrite=computing.overwrite):
                print_line(planned.sentence)
        flags = _flags(horizontal_flip, {"--minutes": minutes, "--jobs": jobs, "--threads": threads}, computing)
        sets = [part for setting in settings for part in ("--set", setting)]
        print_next_command("augment", "run", pipeline, *sets, *flags, "--out", folder)
        return
    with computing.runtime(folder, jobs, definition.track) as runtime:
        results = run_pipeline(definition, folder, runtime, overwrite=computing.overwrite)
    if results is None:
        raise KeyboardInterrupt
    print_results(results)
    _print_next_commands(definition.data, folder)


def _print_next_commands(data: DataConfig, folder: Path) -> None:
    """Print the commands that keep a classifier and that open the report."""
    flags = ["--skip-broken"] if data.skip_broken else []
    flags += ["--drop-duplicates"] if data.drop_duplicates else []
    command = ("augment", "train", data.source, *flags, "--run", str(folder), "--out", f"{folder}-model")
    print_next_command(*command, label="to keep a classifier")
    print_browser_command(folder / "evaluation" / "report.html")


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
