"""`augment fit SOURCE --out RUN`."""

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
    Out,
    Overwrite,
    PerClassUsed,
    Quiet,
    ResizeMode,
    Resizing,
    SkipBroken,
    SourceArgument,
    Threads,
    Track,
    Trainer,
    as_options,
    data_config,
    refuse_into_source,
    set_threads,
)
from pipelines.cli.output import note, say, suggest


def fit(
    source: SourceArgument,
    out: Out,
    generator: Annotated[str | None, typer.Option("--generator", metavar="KIND", help="cgan or resample.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.yaml", help="Settings of the generator.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps in all.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2, help="Real images a step.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="hinge, non-saturating, wasserstein, ...")] = None,
    trainer: Annotated[Trainer | None, typer.Option("--trainer", help="How G and D take turns.")] = None,
    network: Annotated[str | None, typer.Option("--network", help="projection or dcgan.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="On CUDA: bfloat16 and CUDA graphs.")] = False,
    horizontal_flip: Flip = False,
    samples_per_class: PerClassUsed = None,
    image_size: ImageSize = None,
    resize: Resizing = ResizeMode.pad,
    skip_broken: SkipBroken = False,
    drop_duplicates: Drop = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=LAST_SEED, help="Everything random follows from it.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    track: Track = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a generator; an interrupted run is continued, a finished one only with more --steps."""
    from augment.generators.base import Outcome
    from augment.generators.collapse import notes_on_run
    from pipelines.cli.terminal import computing
    from pipelines.config.reading import load_generator_config
    from pipelines.experiment.loading import untested_note
    from pipelines.fitting import fit_source

    options = {"steps": steps, "batch_size": batch_size, "loss": loss, "trainer": trainer and trainer.value}
    settings = load_generator_config(config, generator, **options, network=network, fast=fast or None, seed=seed)
    settings = settings.with_horizontal_flip() if horizontal_flip else settings
    refuse_into_source(out, source)
    data = data_config(source, None, samples_per_class, image_size, resize, skip_broken, settings.seed, drop_duplicates)
    arguments = (source, *as_options(samples_per_class, image_size, resize, skip_broken))
    set_threads(threads)
    with computing(device, None, quiet, track, out) as runtime:
        outcome, loaded = fit_source(data, settings, out, runtime, arguments=arguments, overwrite=overwrite)
    if outcome == Outcome.STOPPED:
        raise KeyboardInterrupt
    done = "was finished already and is left as it is" if outcome == Outcome.WAS_FINISHED else "is finished"
    say(f"{out} {done}" + ("; more --steps would continue it" if settings.total > 1 else ""))
    note((*notes_on_run(out, runtime.device), *untested_note(loaded)))
    suggest("augment", "generate", out, "--out", f"{out}-images", "--per-class", "200")
