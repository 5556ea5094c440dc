"""bench.png: a plot of how long the three steps take, with their spread, and of the three splits that explain it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINES = {"two_stage_fair": "fair", "two_stage_published": "published"}
LABELS = {
    "one_stage": "one-stage",
    "two_stage_fair": "two-stage,\nfair",
    "two_stage_published": "two-stage,\npublished",
}
SPLITS = {  # title of the panel -> two keys of the splits with their labels
    "passes over images": {"real": "real", "generated": "generated"},
    "direction": {"forward": "forward", "backward": "backward"},
    "gradients of": {"parameter_gradients": "parameters", "activation_gradients": "activations"},
}
OVERHEADS = {"optimisers": "optimisers", "ema": "EMA of G", "augmentation": "augmentation\nof both batches"}
BLUE, AMBER, GREY = "#33658a", "#f6ae2d", "#8a8f98"


def plot(results: Mapping[str, Any]) -> bytes:
    """Plot the content of bench.json (`augment.gan.step_benchmark.Bench` as a dictionary) and return a PNG image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.5), hspace=0.06).flat
    title = f"{results['preset']} on {results['device']}: batch {results['batch_size']}"
    figure.suptitle(f"{title}, medians of n = {results['repeats']}", fontsize=12)
    steps, overheads = above.subplots(1, 2, width_ratios=(2.1, 1))
    _plot_steps(steps, results)
    _plot_overheads(overheads, results["splits"]["parts"])
    panels = below.subplots(1, 3, sharey=True)
    for axes, (title, parts) in zip(panels, SPLITS.items(), strict=True):
        _plot_split(axes, title, parts, results["splits"])
    panels[0].set_ylabel("ms per step")
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def format_ms(milliseconds: float) -> str:
    """Format a time in ms with two decimals below 10, one below 1000, and none above."""
    if milliseconds >= 1000:
        return f"{milliseconds:.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.2f}"


def _plot_steps(axes: Axes, results: Mapping[str, Any]) -> None:
    """Plot the median time of each step, with whiskers from the lower to the upper quartile."""
    medians, spread = results["milliseconds"], results["spread"]["milliseconds"]
    for row, arm in enumerate(LABELS):
        median, (low, high) = medians[arm], spread[arm]
        axes.barh(row, median, 0.6, color=BLUE if arm == "one_stage" else GREY)
        axes.plot([low, high], [row, row], "|-", color="black", markersize=8, linewidth=1.2)
        text = f"{format_ms(median)} ms"
        if arm in BASELINES:
            text += _describe_speedup(results, BASELINES[arm])
        axes.annotate(text, (max(high, median), row), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(LABELS)), LABELS.values())
    axes.set(xlim=(0, 2.7 * max(high for _, high in spread.values())), xlabel="ms per step")
    axes.set_title("the whole step, with quartiles", loc="left", fontsize=10)
    axes.invert_yaxis()


def _describe_speedup(results: Mapping[str, Any], baseline: str) -> str:
    low, high = results["spread"]["speedup"][baseline]
    speedup, bound = results["speedup"][baseline], results["bound"][baseline]
    return f": {speedup:.2f} x ({low:.2f} to {high:.2f}), predicted {bound:.2f} x"


def _plot_overheads(axes: Axes, parts: Mapping[str, float]) -> None:
    """Plot the parts that every arm has and no split counts; they are small and therefore have their own scale."""
    values = [parts[part] for part in OVERHEADS]
    bars = axes.barh(list(OVERHEADS.values()), values, 0.6, color=GREY)
    axes.bar_label(bars, [f"{value:.2g}" for value in values], padding=4, fontsize=9)
    axes.set(xlim=(0, 1.25 * max(values)), xlabel="ms per step")
    axes.set_title("outside the passes, in every step", loc="left", fontsize=10)
    axes.invert_yaxis()


def _plot_split(axes: Axes, title: str, parts: Mapping[str, str], splits: Mapping[str, Mapping[str, float]]) -> None:
    lower, upper = ([splits[arm][part] for arm in LABELS] for part in parts)
    low, high = parts.values()
    ticks = list(LABELS.values())
    bars = axes.bar(ticks, lower, 0.6, label=low, color=BLUE)
    axes.bar_label(bars, fmt=format_ms, label_type="center", color="white", fontsize=9)
    bars = axes.bar(ticks, upper, 0.6, bottom=lower, label=high, color=AMBER)
    axes.bar_label(bars, fmt=format_ms, label_type="center", fontsize=9)
    axes.set_title(title, loc="left", fontsize=10, pad=24)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 0.98), ncols=2, frameon=False, fontsize=9)
