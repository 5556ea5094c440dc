"""What people see in a terminal: progress that tells what is left, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from augment.efficiency import Bench
from augment.inspection import Inspection
from augment.training import Progress as TrainingProgress
from pipelines.results import METRICS
from pipelines.runner import Events, Stage
from pipelines.schema import Pipeline

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False)


@contextmanager
def training_progress(steps: int, quiet: bool) -> Iterator[Callable[[TrainingProgress], None]]:
    """A bar over the steps with images a second and both losses."""
    with _bar(quiet) as bar:
        task = bar.add_task("fit", total=steps, figures="")

        def show(p: TrainingProgress) -> None:
            figures = f"{p.images_per_second:.0f} images/s  D {p.loss_d:.3f}  G {p.loss_g:.3f}"
            bar.update(task, completed=p.step, figures=figures)

        yield show


@contextmanager
def evaluation_progress(tasks: int, quiet: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar over the classifiers, with the last one's accuracy."""
    with _bar(quiet) as bar:
        task = bar.add_task("evaluate", total=tasks, figures="")

        def show(record: dict[str, Any]) -> None:
            figures = f"{record['arm']}, repeat {record['repeat'] + 1}: accuracy {record['accuracy']:.3f}"
            bar.update(task, advance=1, figures=figures)

        yield show


class RunProgress:
    """The progress of a whole pipeline, a line a stage and a bar for those that take long."""

    def __init__(self, pipeline: Pipeline, quiet: bool) -> None:
        self.pipeline, self.quiet = pipeline, quiet
        self.stack = ExitStack()
        self.on_progress: Callable[[TrainingProgress], None] = lambda _: None
        self.on_record: Callable[[dict[str, Any]], None] = lambda _: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def events(self, describe: Callable[[Stage], str]) -> Events:
        """The callbacks that `pipelines.runner.run` takes."""

        def on_stage(stage: Stage) -> None:
            self.stack.close()
            if not self.quiet:
                ERR.print(describe(stage))
            if stage.name == "fit" and stage.runs:
                self.on_progress = self.stack.enter_context(training_progress(self.pipeline.gan.steps, self.quiet))
            if stage.name == "evaluate" and stage.runs:
                self.on_record = self.stack.enter_context(evaluation_progress(self._tasks(), self.quiet))

        return Events(on_stage, lambda p: self.on_progress(p), lambda record: self.on_record(record))

    def _tasks(self) -> int:
        from pipelines.experiment import GAN_TRAIN_REPEATS

        config = self.pipeline.evaluate
        return config.repeats * len(config.arms) + min(GAN_TRAIN_REPEATS, config.repeats)


def print_results(results: dict[str, Any]) -> None:
    """The sentence, then the arms."""
    metrics = ["accuracy", "balanced_accuracy", "macro_f1"]
    table = Table("arm", *(METRICS[m].words for m in metrics), "n")
    for arm, figures in results["arms"].items():
        cells = [f"{figures[m]['mean']:.3f} ± {figures[m]['std'] or 0:.3f}" for m in metrics]
        table.add_row(arm, *cells, str(len(figures["accuracy"]["values"])))
    OUT.print(table)
    fidelity = results["fidelity"]
    if fidelity:
        OUT.print(
            f"synthetic images: GAN-train accuracy {fidelity['gan_train_accuracy']:.3f}, KID {fidelity['kid']:.3f}, "
            f"precision {fidelity['precision']:.2f}, recall {fidelity['recall']:.2f}, "
            f"memorised {fidelity['memorised_fraction']:.1%}"
        )
    OUT.print(f"[bold]{results['recommendation']['sentence']}[/bold]")


def print_inspection(inspection: Inspection) -> None:
    """Counts, sizes and advice."""
    table = Table("class", *inspection.counts)
    first = next(iter(inspection.counts.values()))
    for name in first:
        table.add_row(name, *(str(counts.get(name, 0)) for counts in inspection.counts.values()))
    OUT.print(table)
    sizes = ", ".join(f"{w} x {h} ({n})" for (w, h), n in list(inspection.original_sizes.items())[:5])
    more = len(inspection.original_sizes) - 5
    OUT.print(f"sizes in px: {sizes}" + (f" and {more} more" if more > 0 else ""))
    for sentence in inspection.advice:
        OUT.print(f"- {sentence}", markup=False)


def print_bench(bench: Bench) -> None:
    """Milliseconds, speed-ups against their bounds, and the splits."""
    table = Table("step", "ms (median)", "speed-up of one-stage", "pass counting predicts", "reached")
    table.add_row("one-stage", f"{bench.milliseconds['one_stage']:.1f}", "", "", "")
    for kind, words in (("fair", "two-stage, fair"), ("published", "two-stage, published")):
        speedup, bound = bench.speedup[kind], bench.bound[kind]
        milliseconds = f"{bench.milliseconds[f'two_stage_{kind}']:.1f}"
        table.add_row(words, milliseconds, f"{speedup:.3f}", f"{bound:.3f}", f"{speedup / bound:.1%}")
    OUT.print(table)


@contextmanager
def _bar(quiet: bool) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=ERR, disable=quiet) as bar:
        yield bar
