"""What commands print of their results: tables and sentences on standard output."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from augment.dataset.inspection import Inspection
from augment.gan.benchmark_plot import format_ms
from augment.gan.step_benchmark import Bench
from augment.words import printable
from pipelines.cli.terminal import OUT
from pipelines.metric_specs import METRICS
from pipelines.tuning import TuningResult


def print_tuned(tuned: TuningResult) -> None:
    """What was found, and what it brings on validation images."""
    classifier, initial = tuned.config.classifier, tuned.initial_score
    OUT.print(
        f"policy {tuned.config.policy}, lr {classifier.lr:.2g}, weight decay {classifier.weight_decay:.2g}, "
        f"{classifier.sampling} sampling"
    )
    if tuned.trials == 1:
        OUT.print(f"as to begin with, {initial:.3f} on validation images: nothing else was tried")
    elif tuned.unchanged:
        OUT.print(f"as to begin with, {initial:.3f} on validation images: of {tuned.trials} none is shown better")
    else:
        OUT.print(
            f"best of {tuned.trials}: {tuned.score:.3f} on further validation images, {initial:.3f} to begin with"
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
        cells = [f"{format_ms(bench.milliseconds[arm])}\n{format_ms(low)} to {format_ms(high)}"]
        cells += ["?" if peak is None else f"{peak:.0f}"]
        if arm in kinds:
            speedup, bound = bench.speedup[kinds[arm]], bench.bound[kinds[arm]]
            low, high = bench.spread.speedup[kinds[arm]]
            cells += [f"{speedup:.3f}\n{low:.3f} to {high:.3f}", f"{bound:.3f}", f"{speedup / bound:.1%}"]
        table.add_row(name, *cells)
        splits.add_row(name, *map(format_ms, bench.splits[arm].values()))
    OUT.print(table)
    OUT.print(splits)
    parts = bench.splits["parts"]
    OUT.print(
        f"beside the passes: optimisers {format_ms(parts['optimisers'])} ms, EMA {format_ms(parts['ema'])} ms, "
        f"augmentation of both batches {format_ms(parts['augmentation'])} ms; medians and quartiles of "
        f"{bench.repeats} rounds"
    )
