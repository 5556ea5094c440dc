"""Print the results of commands to standard output, as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Column, Table

from augment.dataset.inspection import Inspection
from augment.gan.benchmark_plot import BASELINES, LABELS, format_ms
from augment.gan.step_benchmark import Bench
from augment.words import listed, printable
from pipelines.cli.terminal import OUT
from pipelines.metric_specs import METRICS
from pipelines.results.document import Results
from pipelines.results.forecast import describe_forecast
from pipelines.results.keeping import metric_of
from pipelines.results.side_by_side import Evaluation, rows
from pipelines.results.wording import format_metrics
from pipelines.tuning import TuningResult


def _columns(metrics: Sequence[str]) -> list[Column | str]:
    """Return the columns of arms. Long names are folded, since one that is cut off could be that of another arm."""
    headings = [f"{METRICS[name].words} ({METRICS[name].unit_of_values})" for name in metrics]
    return [Column("arm", overflow="fold"), *headings, "n"]


def print_tuning_result(result: TuningResult) -> None:
    """Print the selected settings and their validation score beside the score of the initial settings."""
    classifier, initial = result.config.classifier, result.initial_score
    OUT.print(
        f"policy {result.config.policy}, lr {classifier.lr:.2g}, weight decay {classifier.weight_decay:.2g}, "
        f"mixup {classifier.mixup:.2g}, {classifier.sampling} sampling, long-tail method {classifier.long_tail}"
    )
    if result.trials == 1:
        OUT.print(f"initial settings kept, score {initial:.3f} on validation images: no others were tried")
    elif result.unchanged:
        OUT.print(
            f"initial settings kept, score {initial:.3f} on new validation images: none of the {result.trials} "
            "settings tried is better by more than a standard error"
        )
    else:
        OUT.print(
            f"best of {result.trials} settings: score {result.score:.3f} on new validation images, {initial:.3f} with "
            "the initial settings"
        )


def print_results(results: Results) -> None:
    """Print a table of the arms, the fidelity of the synthetic images, and the recommendation."""
    compared = [comparison.metric for comparison in results.comparisons[:1]]
    metrics = list(dict.fromkeys(["accuracy", "balanced_accuracy", "macro_f1", *compared]))
    table = Table(*_columns(metrics))
    for arm, summaries in results.arms.items():
        cells = format_metrics(summaries)
        table.add_row(printable(arm), *(cells[m] for m in metrics), str(len(summaries["accuracy"].values)))
    OUT.print(table)
    fidelity = results.fidelity
    if fidelity:
        OUT.print(
            "synthetic images (the report explains these metrics): "
            f"GAN-train accuracy {fidelity['gan_train_accuracy']:.3f}, KID {fidelity['kid']:.3f}, "
            f"precision {fidelity['precision']:.2f}, recall {fidelity['recall']:.2f}, "
            f"memorised {fidelity['memorised_fraction']:.1%}"
        )
    OUT.print(results.recommendation.sentence, style="bold")
    if results.keep:
        OUT.print(results.keep)
    if results.unlabelled:
        OUT.print(results.unlabelled)
    for forecast in results.forecast:
        OUT.print(describe_forecast(forecast))


def print_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """Print a row for each arm of each evaluation, and the conclusion of each evaluation."""
    metrics = list(dict.fromkeys([metric_of(evaluations[0].results), "accuracy", "expected_calibration_error"]))
    table = Table("evaluation", *_columns(metrics))
    for row in rows(evaluations):
        cells = (row.metrics[name] for name in metrics)
        style = "bold" if row.best else None
        table.add_row(printable(row.evaluation), printable(row.arm), *cells, str(row.repeats), style=style)
    OUT.print(table)
    for evaluation in evaluations:
        OUT.print(f"{printable(evaluation.name)}: {evaluation.results.recommendation.sentence}")


def print_inspection(inspection: Inspection) -> None:
    """Print the counts and their balance, the sizes, the channels, the use of each split, and advice."""
    table = Table("class", *inspection.counts)
    first = next(iter(inspection.counts.values()))
    for name in first:
        table.add_row(printable(name), *(str(counts.get(name, 0)) for counts in inspection.counts.values()))
    OUT.print(table)
    largest, smallest = max(first.values()), min(first.values())
    if largest != smallest:
        OUT.print(
            f"balance: {smallest} to {largest} training images per class, a ratio of {largest / max(smallest, 1):.3g}"
        )
    sizes = [f"{w} x {h} ({n})" for (w, h), n in inspection.original_sizes.items()]
    OUT.print(f"sizes in px: {listed(sizes, 5)}")
    rgb = "RGB, though all training images are grey" if inspection.grey_stored_as_rgb else "RGB"
    OUT.print("channels: " + (rgb if inspection.channels == 3 else "grey"))
    OUT.print(f"splits: {inspection.use}")
    for sentence in inspection.advice:
        OUT.print(f"- {sentence}")


def print_bench(bench: Bench) -> None:
    """Print the times and speed-ups with their quartiles, the memory, the bounds, and the times of the passes."""
    table = Table("step", "ms", "peak MiB", "speed-up of\none-stage", "predicted\nspeed-up", "reached")
    splits = Table("ms of\npasses", *(part.replace("_", "\n") for part in bench.splits["one_stage"]))
    for arm, label in LABELS.items():
        low, high = bench.spread.milliseconds[arm]
        peak = bench.peak_memory_mib[arm]
        cells = [f"{format_ms(bench.milliseconds[arm])}\n{format_ms(low)} to {format_ms(high)}"]
        cells += ["?" if peak is None else f"{peak:.0f}"]
        if arm in BASELINES:
            speedup, bound = bench.speedup[BASELINES[arm]], bench.bound[BASELINES[arm]]
            low, high = bench.spread.speedup[BASELINES[arm]]
            cells += [f"{speedup:.3f}\n{low:.3f} to {high:.3f}", f"{bound:.3f}", f"{speedup / bound:.1%}"]
        table.add_row(label, *cells)
        splits.add_row(label, *map(format_ms, bench.splits[arm].values()))
    OUT.print(table)
    OUT.print(splits)
    parts = bench.splits["parts"]
    OUT.print(
        f"other parts of a step: optimisers {format_ms(parts['optimisers'])} ms, EMA {format_ms(parts['ema'])} ms, "
        f"augmentation of both batches {format_ms(parts['augmentation'])} ms; medians of {bench.repeats} rounds with "
        "their quartiles; the predicted speed-up comes from counting the passes"
    )
