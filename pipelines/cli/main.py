"""The command line. Only this file prints for people and exits.

Exit status: 0 done; 1 something failed that is not the input's fault; 2 the input is wrong; 130 stopped by Ctrl-C, with
everything resumable. Heavy imports happen inside the commands, so that `augment --help` is quick.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.errors import ConfigError
from augment.words import printable, shell_word
from pipelines.cli.exit_status import explain
from pipelines.cli.options import (
    LAST_SEED,
    MOST_IMAGES,
    Device,
    Drop,
    Flip,
    Format,
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
    Threads,
    Trainer,
    as_options,
    load_images,
    parse_counts,
    refuse_existing,
    refuse_into_source,
    resolve_jobs,
    set_threads,
)
from pipelines.process import STOPPED, received_signal, stop_on_signal, tune_allocator, tune_threads

if TYPE_CHECKING:
    from pipelines.stage_file import Plan

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Does GAN-made data help your image classifier, by how much, and may you trust the answer? "
    "Start with: [bold]augment run quickstart --set data.source=DIR[/bold]",
)


@app.command(epilog="Example: augment inspect bundled:fashion --out sheet.png")
def inspect(
    source: SourceArgument,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="Write a contact sheet.")] = None,
    duplicates: Annotated[
        Path | None, typer.Option("--duplicates", metavar="FILE.csv", help="Write all exact and near copies.")
    ] = None,
    image_size: ImageSize = None,
    resize: Resizing = ResizeMode.pad,
    skip_broken: SkipBroken = False,
    samples_per_class: Annotated[int, typer.Option("--samples-per-class", min=1, help="Columns of the sheet.")] = 10,
    overwrite: Overwrite = False,
) -> None:
    """Look at a source: classes, counts, sizes, duplicates, leaks between splits, and advice."""
    from augment.dataset.inspection import contact_sheet, write_copies, write_sheet
    from augment.dataset.inspection import inspect as inspect_source
    from augment.dataset.sources import read_source
    from augment.words import counted
    from pipelines.cli.terminal import print_inspection

    for file in (out, duplicates):
        refuse_into_source(file, source)
        refuse_existing(file, overwrite)
    data = read_source(source, image_size=image_size, resize=resize.value, skip_broken=skip_broken)
    found = inspect_source(data)
    print_inspection(found)
    if duplicates is not None:
        write_copies(found, data, duplicates)
        _say(f"{counted(len(found.copies), 'pair')} of copies: {duplicates}")
    if out is not None:
        write_sheet(contact_sheet(data.train, samples_per_class), out)
        _say(f"contact sheet: {out}")
    options = as_options(None, image_size, resize, skip_broken)
    if data.test is not None or data.val is not None:
        _next("augment", "fit", source, *options, "--out", "runs/gan")
    else:
        _next("augment", "run", "quickstart", "--set", f"data.source={source}", *options, "--out", "runs/mine")


@app.command(epilog="Example: augment fit bundled:fashion --samples-per-class 20 --steps 2000 --out runs/gan")
def fit(
    source: SourceArgument,
    out: Out,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE.yaml", help="Fields of GanConfig.")] = None,
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
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train the class-conditional GAN; an interrupted run is continued, a finished one only with more --steps."""
    from augment.devices import find_device
    from augment.gan.training import Origin, Outcome
    from augment.gan.training import fit as fit_gan
    from augment.generators.collapse import notes_on_run
    from pipelines.cli.terminal import training_progress
    from pipelines.config.reading import load_gan_config
    from pipelines.experiment.loading import untested_note
    from pipelines.experiment.time_estimate import gan_step_seconds

    settings = load_gan_config(
        config,
        steps=steps,
        batch_size=batch_size,
        loss=loss,
        trainer=trainer.value if trainer else None,
        network=network,
        fast=fast or None,
        seed=seed,
    )
    if horizontal_flip and "flip" not in settings.augment:
        settings = settings.model_copy(update={"augment": (*settings.augment, "flip")})
    refuse_into_source(out, source)
    loaded = load_images(
        source,
        samples_per_class=samples_per_class,
        image_size=image_size,
        resize=resize,
        skip_broken=skip_broken,
        seed=settings.seed,
        drop_duplicates=drop_duplicates,
    )
    _warn(loaded.warnings)
    where = find_device(device)
    set_threads(threads)
    expected = None if quiet else settings.steps * gan_step_seconds(loaded.train, settings, where)
    words = (source, *as_options(samples_per_class, image_size, resize, skip_broken))
    with stop_on_signal() as stopped, training_progress(settings.steps, quiet, expected) as on_progress:
        outcome = fit_gan(
            loaded.train,
            settings,
            out,
            origin=Origin(loaded.name, words, tested=loaded.test is not None),
            device=where,
            overwrite=overwrite,
            on_progress=on_progress,
            on_note=lambda note: _warn((note,)),
            stopped=stopped,
        )
    if outcome == Outcome.STOPPED:
        raise KeyboardInterrupt
    done = "was finished already and is left as it is" if outcome == Outcome.WAS_FINISHED else "is finished"
    _say(f"{out} {done}; more --steps would continue it")
    _warn((*notes_on_run(out, where), *untested_note(loaded)))
    _next("augment", "generate", out, "--out", f"{out}-images", "--per-class", "200")


@app.command(epilog="Example: augment generate runs/gan --out runs/images --per-class 200")
def generate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that augment fit has finished.")],
    out: Out,
    per_class: Annotated[
        int | None, typer.Option("--per-class", metavar="N", min=1, max=MOST_IMAGES, help="N of each class.")
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="Fill every class up to the largest one.")] = False,
    count: Annotated[
        list[str] | None, typer.Option("--count", metavar="CLASS=N", help="N of one class; may be repeated.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="PNG files with a manifest, or one .npz.")] = Format.png,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Make labelled images with a trained generator; the folder is itself a SOURCE."""
    from augment.devices import find_device
    from augment.generators.collapse import collapse_notes
    from augment.generators.generated_folder import generate_folder, wanted_counts
    from augment.generators.sampling import load_model
    from pipelines.cli.terminal import counted_progress

    model = load_model(run, find_device(device))
    counts = wanted_counts(model, per_class=per_class, balance=balance, counts=parse_counts(count or []))
    with counted_progress("generate", sum(counts.values()), quiet) as on_images:
        new = generate_folder(model, counts, out, format.value, seed=seed, overwrite=overwrite, on_images=on_images)
    _warn(collapse_notes(new.data) if new else ())
    done = "" if new else " were there already and are left as they are"
    _say(f"{sum(counts.values())} images of {sum(c > 0 for c in counts.values())} classes{done}: {out}")
    origin = model.about.origin
    if origin and model.about.tested:
        _next("augment", "evaluate", *origin, "--synthetic", out, "--out", f"{out}-evaluation")
    elif origin:
        _next("augment", "run", "quickstart", "--set", f"data.source={origin[0]}", *origin[1:], "--out", "runs/mine")
    else:
        _next("augment", "generate", run, "--out", f"{out}-more", "--per-class", "200", "--seed", str(seed + 1))


@app.command(epilog="Example: augment evaluate bundled:fashion --synthetic runs/images --out runs/evaluation")
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
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Measure what synthetic images bring a classifier: paired repeats, an interval, a report."""
    from augment.dataset.mixing import fills_up
    from augment.devices import find_device
    from pipelines.cli.terminal import evaluation_progress, print_results
    from pipelines.config.reading import filled_up, load_evaluate_config
    from pipelines.evaluation import Context
    from pipelines.evaluation import evaluate as evaluate_arms
    from pipelines.experiment.arms import Materials
    from pipelines.experiment.experiment import Watch, plan
    from pipelines.experiment.loading import leak_warnings, load_synthetic, require_test
    from pipelines.experiment.protocols import HOLDOUT_ONLY, Design
    from pipelines.experiment.time_estimate import evaluation_seconds

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
    where = find_device(device)
    refuse_into_source(out, source, test, str(synthetic) if synthetic else None)
    loaded = load_images(
        source,
        samples_per_class=samples_per_class,
        image_size=image_size,
        resize=resize,
        skip_broken=skip_broken,
        seed=seed,
        test=test,
    )
    test_images = require_test(loaded)
    made, scores, resized = load_synthetic(synthetic, loaded.train) if synthetic else (None, None, ())
    notes: tuple[str, ...] = ()
    if made is not None and ratio is None and fills_up(made, loaded.train):
        settings, notes = filled_up(settings)
    folds = [Materials(loaded.train, test_images, made, scores)]
    warnings = (*loaded.warnings, *leak_warnings(loaded.train, test_images), *resized, *notes)
    _warn(warnings)
    tasks, processes = len(plan(settings, folds)), resolve_jobs(jobs, where.type)
    expected = None if quiet else evaluation_seconds(folds[0], settings, tasks, where, processes)
    what = f"evaluate {', '.join(arm.name for arm in settings.arms)}" + ("" if synthetic else " (no synthetic images)")
    with stop_on_signal() as stopped, evaluation_progress(tasks, quiet, expected, what) as on_record:
        results = evaluate_arms(
            folds,
            settings,
            out,
            Context(loaded.name, Design(why=HOLDOUT_ONLY, test_labels=test_images.labels), warnings),
            device=where,
            jobs=processes,
            overwrite=overwrite,
            watch=Watch(on_record, stopped),
        )
    if results is None:
        raise KeyboardInterrupt
    print_results(results)
    _next_in_browser(out / "report.html")


@app.command(epilog="Example: augment tune bundled:fashion --samples-per-class 20 --horizontal-flip --out runs/tuned")
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
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Tune the classifier's policy, learning rate and weight decay on validation images: a baseline worth beating."""
    from augment.devices import find_device
    from pipelines.cli.terminal import print_tuned, tuning_progress
    from pipelines.config.reading import load_evaluate_config
    from pipelines.tuning import tune as tune_classifier

    if minutes is not None and not minutes >= 0:  # nor is it one that is no number
        raise ConfigError(f"--minutes {minutes}: expected 0 or more")
    begin = load_evaluate_config(
        config, arms=None, has_synthetic=True, steps=steps, horizontal_flip=horizontal_flip or None, seed=seed
    )
    where = find_device(device)
    refuse_into_source(out, source)
    loaded = load_images(
        source,
        samples_per_class=samples_per_class,
        image_size=image_size,
        resize=resize,
        skip_broken=skip_broken,
        seed=seed,
    )
    _warn(loaded.warnings)
    with stop_on_signal() as stopped, tuning_progress(trials, splits, quiet) as on_step:
        tuned = tune_classifier(
            loaded.train,
            begin,
            out,
            trials=trials,
            splits=splits,
            minutes=minutes,
            device=where,
            jobs=resolve_jobs(jobs, where.type),
            overwrite=overwrite,
            on_step=on_step,
            stopped=stopped,
        )
    if tuned is None:
        raise KeyboardInterrupt
    print_tuned(tuned)
    images = as_options(samples_per_class, image_size, resize, skip_broken)
    _next("augment", "evaluate", source, *images, "--config", out / "best.yaml", "--out", f"{out}-evaluation")


@app.command(epilog="Example: augment run quickstart --set data.source=DIR --out runs/mine")
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
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """All of it: train the GAN, make images, measure the gain. Stages whose inputs have not changed are not run."""
    from augment.devices import find_device
    from pipelines.cli.terminal import RunProgress, print_results
    from pipelines.config.reading import load_pipeline, with_flips
    from pipelines.experiment.loading import load
    from pipelines.runner import plan
    from pipelines.runner import run as run_pipeline

    options = {
        "data.samples_per_class": samples_per_class,
        "data.image_size": image_size,
        "data.resize": resize.value if resize else None,
        "data.skip_broken": skip_broken or None,
        "data.drop_duplicates": drop_duplicates or None,
        **{f"{section}.seed": seed for section in ("data", "gan", "generate", "evaluate")},
    }
    settings = [*(overrides or []), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    definition = load_pipeline(pipeline, settings)
    if horizontal_flip:
        definition = with_flips(definition)
    folder = out or Path("runs") / Path(pipeline).stem
    refuse_into_source(folder, definition.data.source, definition.data.test)
    where, processes = find_device(device), resolve_jobs(jobs, device_type=find_device(device).type)
    set_threads(threads)
    if dry_run:
        loaded, note = load(definition.data), lambda sentence: _warn((sentence,))
        for stage in plan(definition, loaded, folder, device=where, jobs=processes, on_note=note):
            _say(_describe(stage))
        values = {"--jobs": jobs, "--threads": threads, "--device": None if device == "auto" else device}
        flags = ["--horizontal-flip"] if horizontal_flip else []
        flags += [part for name, value in values.items() if value for part in (name, str(value))]
        _next("augment", "run", pipeline, *(p for s in settings for p in ("--set", s)), *flags, "--out", folder)
        return
    with stop_on_signal() as stopped, RunProgress(quiet) as progress:
        results = run_pipeline(
            definition,
            folder,
            device=where,
            jobs=processes,
            overwrite=overwrite,
            events=progress.events(_describe),
            stopped=stopped,
        )
    if results is None:
        raise KeyboardInterrupt
    print_results(results)
    _next_in_browser(folder / "evaluation" / "report.html")


@app.command(epilog="Example: augment bench --preset quickstart --out runs/bench")
def bench(
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write bench.json and bench.png.")] = None,
    preset: Annotated[str, typer.Option("--preset", help="quickstart or dcgan-64.")] = "quickstart",
    repeats: Annotated[
        int | None,
        typer.Option("--repeats", min=3, max=10**6, help="Interleaved repeats of each step; by preset: 60 or 5."),
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Time one-stage against two-stage training on the same networks, batch and weights."""
    from augment.devices import find_device
    from augment.gan.step_benchmark import find_preset, measure, write_bench
    from augment.output_folders import open_output
    from pipelines.cli.terminal import counted_progress, print_bench

    where, rounds = find_device(device), repeats or find_preset(preset).repeats
    with ExitStack() as stack:
        output = stack.enter_context(open_output(out, "bench", overwrite=overwrite)) if out is not None else None
        if output is not None and output.finished:
            raise ConfigError(f"{out} already holds a measurement; choose another folder, or give --overwrite")
        with counted_progress("bench", rounds, quiet) as on_round:
            result = measure(preset, device=where, repeats=rounds, on_round=on_round)
        print_bench(result)
        if output is not None:
            write_bench(result, output)
    _next("augment", "fit", "bundled:fashion", "--samples-per-class", "20", "--out", "runs/gan")


def main() -> None:
    """Run the command line and exit; an error of ours becomes one sentence on standard error."""
    tune_threads()
    tune_allocator()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 shows a name as escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(None if sys.argv[1:] else ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of standard output has gone: end without a word, as typer does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    except Exception as error:
        sentence, status = explain(error)
        _fail(f"augment: {' '.join(sentence.splitlines())}", status)
    if status == 130:  # what typer makes of a KeyboardInterrupt
        _fail(STOPPED.strip(), 128 + (received_signal() or 2))
    sys.exit(status)


def _fail(sentence: str, status: int) -> None:
    typer.echo(printable(sentence), err=True)
    sys.exit(status)


def _say(line: str, err: bool = False) -> None:
    typer.echo(printable(line), err=err)


def _describe(stage: Plan) -> str:
    return f"{stage.name} {'has to run' if stage.runs else 'is up to date'}: {stage.why}"


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        _say(f"note: {warning}", err=True)


def _next(*command: str | Path) -> None:
    _say(f"next: {' '.join(shell_word(str(part)) for part in command)}")


def _next_in_browser(page: Path) -> None:
    python = Path(sys.executable)  # by its name where the shell finds that one
    short = python.name if shutil.which(python.name) == sys.executable else sys.executable
    _next(short, "-m", "webbrowser", "-t", page)
