"""bench.png: how long the three steps take and how far that scatters, and the three splits that say why."""

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
SPLITS = {  # two keys of the splits and their names, by title
    "passes over images": {"real": "real", "generated": "generated"},
    "direction": {"forward": "forward", "backward": "backward"},
    "gradients of": {"parameter_gradients": "parameters", "activation_gradients": "activations"},
}
BESIDE = {"optimisers": "optimisers", "ema": "EMA of G", "augmentation": "augmentation\nof both batches"}
BLUE, AMBER, GREY = "#33658a", "#f6ae2d", "#8a8f98"


def plot(told: Mapping[str, Any]) -> bytes:
    """A PNG picture of what bench.json holds (`augment.gan.step_benchmark.Bench` as a dictionary)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.5), hspace=0.06).flat
    figure.suptitle(
        f"{told['preset']} on {told['device']}: batch {told['batch_size']}, medians of n = {told['repeats']}",
        fontsize=12,
    )
    whole, beside = above.subplots(1, 2, width_ratios=(2.1, 1))
    _whole_steps(whole, told)
    _beside(beside, told["splits"]["parts"])
    panels = below.subplots(1, 3, sharey=True)
    for axes, (title, parts) in zip(panels, SPLITS.items(), strict=True):
        _split(axes, title, parts, told["splits"])
    panels[0].set_ylabel("ms a step")
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def digits(milliseconds: float) -> str:
    """Three or four digits that say something."""
    if milliseconds >= 1000:
        return f"{milliseconds:.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.2f}"


def _whole_steps(axes: Axes, told: Mapping[str, Any]) -> None:
    """Medians with whiskers from quartile to quartile."""
    medians, spread = told["milliseconds"], told["spread"]["milliseconds"]
    for row, arm in enumerate(LABELS):
        median, (low, high) = medians[arm], spread[arm]
        axes.barh(row, median, 0.6, color=BLUE if arm == "one_stage" else GREY)
        axes.plot([low, high], [row, row], "|-", color="black", markersize=8, linewidth=1.2)
        said = f"{digits(median)} ms" + (_speedup(told, BASELINES[arm]) if arm in BASELINES else "")
        axes.annotate(said, (max(high, median), row), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(LABELS)), LABELS.values())
    axes.set(xlim=(0, 2.7 * max(high for _, high in spread.values())), xlabel="ms a step")
    axes.set_title("the whole step, with quartiles", loc="left", fontsize=10)
    axes.invert_yaxis()


def _speedup(told: Mapping[str, Any], kind: str) -> str:
    low, high = told["spread"]["speedup"][kind]
    return f": {told['speedup'][kind]:.2f} x ({low:.2f} to {high:.2f}), counted {told['bound'][kind]:.2f} x"


def _beside(axes: Axes, parts: Mapping[str, float]) -> None:
    """What every arm has and no split counts, on a scale of its own, since it is small."""
    values = [parts[part] for part in BESIDE]
    bars = axes.barh(list(BESIDE.values()), values, 0.6, color=GREY)
    axes.bar_label(bars, [f"{value:.2g}" for value in values], padding=4, fontsize=9)
    axes.set(xlim=(0, 1.25 * max(values)), xlabel="ms a step")
    axes.set_title("beside the passes, in every arm", loc="left", fontsize=10)
    axes.invert_yaxis()


def _split(axes: Axes, title: str, parts: Mapping[str, str], splits: Mapping[str, Mapping[str, float]]) -> None:
    lower, upper = ([splits[arm][part] for arm in LABELS] for part in parts)
    low, high = parts.values()
    ticks = list(LABELS.values())
    bars = axes.bar(ticks, lower, 0.6, label=low, color=BLUE)
    axes.bar_label(bars, fmt=digits, label_type="center", color="white", fontsize=9)
    bars = axes.bar(ticks, upper, 0.6, bottom=lower, label=high, color=AMBER)
    axes.bar_label(bars, fmt=digits, label_type="center", fontsize=9)
    axes.set_title(title, loc="left", fontsize=10, pad=24)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 0.98), ncols=2, frameon=False, fontsize=9)
