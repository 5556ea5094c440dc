"""What people see in a terminal: progress that tells what is left, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from augment.dataset.inspection import Inspection
from augment.gan.benchmark_plot import digits
from augment.gan.step_benchmark import Bench
from augment.gan.training import Progress as TrainingProgress
from augment.words import printable
from pipelines.cli.progress import progress
from pipelines.metric_specs import METRICS
from pipelines.runner import Events
from pipelines.stage_file import Plan
from pipelines.tuning import FURTHER, Tuned


class _Console(Console):
    """A console that escapes control characters in strings: a class or a file may be called anything."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; a string is one line."""
        super().print(*(printable(part) if isinstance(part, str) else part for part in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Strings within tables; those of our own may have several lines."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


OUT = _Console(highlight=False, soft_wrap=True, markup=False)  # a class may be called [b]
ERR = _Console(stderr=True, highlight=False, markup=False)


@contextmanager
def training_progress(
    steps: int, quiet: bool, expected: float | None = None
) -> Iterator[Callable[[TrainingProgress], None]]:
    """Steps, images a second and both losses. expected: seconds of all steps."""
    with progress(ERR, "fit", steps, quiet=quiet, expected=expected) as show:
        yield lambda p: show(
            p.step, f"{p.images_per_second:.0f} images/s, loss of D {p.loss_d:.3f}, of G {p.loss_g:.3f}"
        )


@contextmanager
def evaluation_progress(
    tasks: int, quiet: bool, expected: float | None = None, name: str = "evaluate"
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Classifiers trained, and the last one's accuracy. expected: seconds of all."""
    done = count(1)
    with progress(ERR, name, tasks, quiet=quiet, expected=expected) as show:
        yield lambda record: show(
            next(done), f"{record['arm']}, repeat {record['repeat'] + 1}: accuracy {record['accuracy']:.3f}"
        )


@contextmanager
def tuning_progress(
    trials: int, splits: int, quiet: bool, expected: float | None = None
) -> Iterator[Callable[[int, str], None]]:
    """Settings tried and splits on which the best are compared, and the best score so far."""
    steps = trials + (FURTHER * splits if trials > 1 else 0)
    with progress(ERR, "tune", steps, quiet=quiet, expected=expected) as show:
        yield show


def print_tuned(tuned: Tuned) -> None:
    """What was found, and what it brings on validation images."""
    classifier = tuned.config.classifier
    OUT.print(
        f"policy {tuned.config.policy}, lr {classifier.lr:.2g}, weight decay {classifier.weight_decay:.2g}, "
        f"{classifier.sampling} sampling"
    )
    if tuned.trials == 1:
        OUT.print(f"as to begin with, {tuned.before:.3f} on validation images: nothing else was tried")
    elif tuned.kept:
        OUT.print(f"as to begin with, {tuned.before:.3f} on validation images: of {tuned.trials} none is shown better")
    else:
        OUT.print(
            f"best of {tuned.trials}: {tuned.score:.3f} on further validation images, {tuned.before:.3f} to begin with"
        )


class RunProgress:
    """The progress of a whole pipeline, a line a stage and a bar for those that take long."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.stack = ExitStack()
        self.on_progress: Callable[[TrainingProgress], None] = lambda _: None
        self.on_images: Callable[[int], None] = lambda _: None
        self.on_record: Callable[[dict[str, Any]], None] = lambda _: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def events(self, describe: Callable[[Plan], str]) -> Events:
        """The callbacks that `pipelines.runner.run` takes."""

        def on_stage(stage: Plan) -> None:
            self.stack.close()
            if not self.quiet:
                ERR.print(describe(stage))
            if not stage.runs:
                return
            if stage.name == "fit":
                bar = training_progress(stage.total, self.quiet, stage.seconds)
                self.on_progress = self.stack.enter_context(bar)
            elif stage.name == "generate":
                self.on_images = self.stack.enter_context(counted_progress("generate", stage.total, self.quiet))
            else:
                records = evaluation_progress(stage.total, self.quiet, stage.seconds, stage.name)
                self.on_record = self.stack.enter_context(records)

        def on_note(note: str) -> None:
            if not self.quiet:
                ERR.print(f"note: {note}", soft_wrap=True)

        return Events(
            on_note,
            on_stage,
            lambda p: self.on_progress(p),
            lambda n: self.on_images(n),
            lambda record: self.on_record(record),
        )


def print_results(results: dict[str, Any]) -> None:
    """The sentence, then the arms."""
    metrics = ["accuracy", "balanced_accuracy", "macro_f1"]
    table = Table("arm", *(METRICS[m].words for m in metrics), "n")
    for arm, figures in results["arms"].items():
        cells = [f"{figures[m]['mean']:.3f} ± {figures[m]['std']:.3f}" for m in metrics]
        table.add_row(printable(arm), *cells, str(len(figures["accuracy"]["values"])))
    OUT.print(table)
    fidelity = results["fidelity"]
    if fidelity:
        OUT.print(
            f"synthetic images: GAN-train accuracy {fidelity['gan_train_accuracy']:.3f}, KID {fidelity['kid']:.3f}, "
            f"precision {fidelity['precision']:.2f}, recall {fidelity['recall']:.2f}, "
            f"memorised {fidelity['memorised_fraction']:.1%}"
        )
    OUT.print(results["recommendation"]["sentence"], style="bold")


def print_inspection(inspection: Inspection) -> None:
    """Counts and their balance, sizes, channels and advice."""
    table = Table("class", *inspection.counts)
    first = next(iter(inspection.counts.values()))
    for name in first:
        table.add_row(printable(name), *(str(counts.get(name, 0)) for counts in inspection.counts.values()))
    OUT.print(table)
    largest, smallest = max(first.values()), min(first.values())
    if largest != smallest:
        OUT.print(f"balance: {smallest} to {largest} training images a class, 1 to {largest / max(smallest, 1):.2f}")
    sizes = ", ".join(f"{w} x {h} ({n})" for (w, h), n in list(inspection.original_sizes.items())[:5])
    more = len(inspection.original_sizes) - 5
    OUT.print(f"sizes in px: {sizes}" + (f" and {more} more" if more > 0 else ""))
    colour = "RGB, though all training images are grey" if inspection.colourless else "RGB"
    OUT.print("channels: " + (colour if inspection.channels == 3 else "grey"))
    OUT.print(f"splits: {inspection.use}")
    for sentence in inspection.advice:
        OUT.print(f"- {sentence}")


def print_bench(bench: Bench) -> None:
    """Milliseconds and speed-ups, each above its quartiles, memory, the bounds, and the splits."""
    words = {
        "one_stage": "one-stage",
        "two_stage_fair": "two-stage,\nfair",
        "two_stage_published": "two-stage,\npublished",
    }
    kinds = {"two_stage_fair": "fair", "two_stage_published": "published"}
    table = Table("step", "ms", "peak MiB", "speed-up of\none-stage", "counting\npasses", "reached")
    splits = Table("ms of\npasses", *(part.replace("_", "\n") for part in bench.splits["one_stage"]))
    for arm, name in words.items():
        low, high = bench.spread.milliseconds[arm]
        peak = bench.peak_memory_mib[arm]
        cells = [f"{digits(bench.milliseconds[arm])}\n{digits(low)} to {digits(high)}"]
        cells += ["?" if peak is None else f"{peak:.0f}"]
        if arm in kinds:
            speedup, bound = bench.speedup[kinds[arm]], bench.bound[kinds[arm]]
            low, high = bench.spread.speedup[kinds[arm]]
            cells += [f"{speedup:.3f}\n{low:.3f} to {high:.3f}", f"{bound:.3f}", f"{speedup / bound:.1%}"]
        table.add_row(name, *cells)
        splits.add_row(name, *map(digits, bench.splits[arm].values()))
    OUT.print(table)
    OUT.print(splits)
    parts = bench.splits["parts"]
    OUT.print(
        f"beside the passes: optimisers {digits(parts['optimisers'])} ms, EMA {digits(parts['ema'])} ms, "
        f"augmentation of both batches {digits(parts['augmentation'])} ms; medians and quartiles of "
        f"{bench.repeats} rounds"
    )


@contextmanager
def counted_progress(name: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """How many of `total` are done."""
    with progress(ERR, name, total, quiet=quiet) as show:
        yield lambda done: show(done, "")
