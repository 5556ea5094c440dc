"""`augment fit SOURCE --out RUN`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import (
    ComputingOptions,
    Drop,
    Flip,
    ImageOptions,
    OptionalSeed,
    Out,
    SourceArgument,
    Threads,
    check_outside_sources,
    set_threads,
)
from pipelines.cli.output import print_line, print_next_command, print_notes

if TYPE_CHECKING:
    from augment.generators.base import GeneratorConfig

MIN_TO_GENERATE = 200  # images of each class, in the next command
Generator = Annotated[
    str | None,
    typer.Option("--generator", metavar="KIND", help="Kind of generator: anchored, cgan (the default) or resample."),
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE.yaml", help="Settings of the generator.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Total number of optimiser steps.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", min=2, help="Real images per step.")]
Loss = Annotated[str | None, typer.Option("--loss", help="Adversarial loss: hinge, non-saturating, wasserstein, ...")]
Trainer = Annotated[
    str | None, typer.Option("--trainer", help="Training method: one-stage, two-stage or two-stage-published.")
]
Network = Annotated[str | None, typer.Option("--network", help="Network architecture: projection or dcgan.")]
Unlabelled = Annotated[
    str | None,
    typer.Option(
        "--unlabelled",
        metavar="SOURCE",
        help="Images without labels, which anchored learns from too; cgan needs `unlabelled: 0.5` in --config for it.",
    ),
]
Fast = Annotated[bool, typer.Option("--fast", help="On CUDA: train faster with bfloat16 and CUDA graphs.")]


@dataclass(frozen=True)
class GeneratorOptions:
    """The kind of a generator and its settings."""

    generator: Generator = None
    config: Config = None
    steps: Steps = None
    batch_size: BatchSize = None
    loss: Loss = None
    trainer: Trainer = None
    network: Network = None
    fast: Fast = False

    def settings(self, seed: int | None) -> GeneratorConfig:
        """Return the settings of --config with those of the options. Raises `ConfigError` for settings out of range."""
        from pipelines.config.reading import load_generator_config

        options = {name: getattr(self, name) for name in ("steps", "batch_size", "loss", "trainer", "network")}
        return load_generator_config(self.config, self.generator, **options, fast=self.fast or None, seed=seed)


def fit(
    source: SourceArgument,
    out: Out,
    images: ImageOptions,
    options: GeneratorOptions,
    computing: ComputingOptions,
    unlabelled: Unlabelled = None,
    horizontal_flip: Flip = False,
    drop_duplicates: Drop = False,
    seed: OptionalSeed = None,
    threads: Threads = None,
) -> None:
    """Train a generator. An interrupted run is continued; a finished run is continued only with a larger --steps."""
    from augment.generators.base import Outcome
    from augment.generators.collapse import notes_on_run
    from pipelines.experiment.loading import missing_test_note
    from pipelines.fitting import fit_source

    settings = options.settings(seed)
    settings = settings.with_horizontal_flip() if horizontal_flip else settings
    check_outside_sources(out, source, unlabelled)
    data = images.config(source, seed=settings.seed, drop_duplicates=drop_duplicates, unlabelled=unlabelled)
    set_threads(threads)
    with computing.runtime(out) as runtime:
        seed_option = ("--seed", str(settings.seed)) if settings.seed else ()  # selects the same subset of the images
        arguments, overwrite = (source, *images.arguments(), *seed_option), computing.overwrite
        outcome, loaded = fit_source(data, settings, out, runtime, arguments=arguments, overwrite=overwrite)
    if outcome == Outcome.STOPPED:
        raise KeyboardInterrupt
    print_line(
        f"{out} {outcome.value}" + ("; to train it further, give a larger --steps" if settings.total > 1 else "")
    )
    print_notes((*notes_on_run(out, runtime.device), *missing_test_note(loaded)))
    per_class = max(MIN_TO_GENERATE, int(loaded.train.counts().max()))  # as many as the real ones, for `evaluate`
    print_next_command("augment", "generate", out, "--out", f"{out}-images", "--per-class", str(per_class))
