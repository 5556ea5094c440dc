"""`augment train SOURCE --out MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    ClassifierSteps,
    ComputingOptions,
    Drop,
    Flip,
    ImageOptions,
    Jobs,
    Out,
    Seed,
    SourceArgument,
    check_outside_sources,
)
from pipelines.cli.output import print_line, print_next_command

Run = Annotated[
    Path | None,
    typer.Option(
        "--run", metavar="DIR", help="Folder of a finished augment run or evaluate, whose recommended recipe is used."
    ),
]
Members = Annotated[
    int,
    typer.Option(
        "--members",
        min=1,
        max=100,
        help="Classifiers whose probabilities are averaged; always 1 for pretrained features.",
    ),
]
KeepTest = Annotated[
    bool, typer.Option("--keep-test", help="Leave out the test images, so that the model can be tested on them.")
]


def train(
    source: SourceArgument,
    out: Out,
    images: ImageOptions,
    computing: ComputingOptions,
    run: Run = None,
    members: Members = 3,
    keep_test: KeepTest = False,
    steps: ClassifierSteps = None,
    horizontal_flip: Flip = False,
    drop_duplicates: Drop = False,
    seed: Seed = 0,
    jobs: Jobs = None,
) -> None:
    """Train the classifier to keep, on all labelled images, by the recipe of a run or by the defaults."""
    from pipelines.cli.model_tables import print_model
    from pipelines.model.recipe import choose_recipe
    from pipelines.model.training import train as train_model

    recipe = choose_recipe(run, steps=steps, horizontal_flip=horizontal_flip or None, seed=seed)
    check_outside_sources(out, source, str(run) if run else None)
    given = images.settings().keys()
    from_run = {name: value for name, value in recipe.reading().items() if name not in given}
    drop = from_run.pop("drop_duplicates", False) or drop_duplicates
    data = images.config(source, seed=seed, drop_duplicates=drop, **from_run)
    with computing.runtime(out, jobs) as runtime:
        options = {"members": members, "keep_test": keep_test, "overwrite": computing.overwrite}
        metadata = train_model(data, recipe, out, runtime, **options)  # type: ignore[arg-type]
    if metadata is None:
        raise KeyboardInterrupt
    print_model(metadata)
    print_line(f"model: {out}; its card: {out / 'README.md'}")
    flags = ["--skip-broken"] if data.skip_broken else []
    print_next_command("augment", "predict", out, source, *flags, "--out", f"{out}-predictions.csv")
