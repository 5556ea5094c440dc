"""The curves of `quality_against_time.py`: their comparison and their plot.

A record is one evaluation of one training: its method (the key is "way"), seed, step, KID and GAN-train accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.results.statistics import corrected_t_interval

METHODS: dict[str, dict[str, Any]] = {  # settings of CganConfig
    "one-stage": {"trainer": "one-stage"},
    "two-stage": {"trainer": "two-stage"},
    "two-stage-published": {"trainer": "two-stage-published"},
}
STYLES = {  # colour, line style, label
    "one-stage": ("#b5442e", "-", "one-stage"),
    "two-stage": ("#33658a", "--", "two-stage, fair"),
    "two-stage-published": ("#6b6b6b", ":", "two-stage, published"),
}
SEEDS = range(5)


def evaluated_steps(records: Sequence[dict[str, Any]], method: str) -> list[int]:
    return sorted({record["step"] for record in records if record["way"] == method})


def curves(records: Sequence[dict[str, Any]], method: str, metric: str) -> NDArray[np.float64]:
    """Return the values of a metric: seeds x evaluated steps."""
    values = {(record["seed"], record["step"]): record[metric] for record in records if record["way"] == method}
    return np.array([[values[seed, step] for step in evaluated_steps(records, method)] for seed in SEEDS])


def first_step_at(target: float, kids: NDArray[np.float64], steps: Sequence[int]) -> int | None:
    """Return the first of `steps` at which the mean KID over seeds is `target` or lower, or None."""
    return next((step for step, mean in zip(steps, kids.mean(0), strict=True) if mean <= target), None)


def conclude(records: Sequence[dict[str, Any]], seconds: dict[str, float]) -> dict[str, Any]:
    """Return the content of result.json that compares the methods at equal steps and at equal mean KID.

    seconds: of a step, by method.
    """
    steps = evaluated_steps(records, "two-stage")
    final = {method: _final(records, method, len(steps)) for method in METHODS}
    mean_kid = {}
    for method in METHODS:
        means = curves(records, method, "kid").mean(0).tolist()
        mean_kid[method] = dict(zip(evaluated_steps(records, method), means, strict=True))
    targets = {method: _time_to_target(records, method, seconds) for method in METHODS if method != "one-stage"}
    return {"seconds_a_step": seconds, "targets": targets, "final": final, "mean_kid": mean_kid}


def _final(records: Sequence[dict[str, Any]], method: str, evaluations: int) -> dict[str, Any]:
    """Return the metrics of a method at the last common step, and the paired differences to one-stage training."""
    results: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for metric in ("kid", "gan_train"):
        values, one_stage = (curves(records, m, metric)[:, :evaluations] for m in (method, "one-stage"))
        results |= {metric: values[:, -1].tolist(), f"{metric}_mean": values[:, -1].mean()}
        difference = (one_stage - values)[:, -1]
        differences |= {metric: difference.mean(), f"{metric}_ci95": corrected_t_interval(difference)}
    return {**results, "one_stage_minus_this": differences}


def _time_to_target(records: Sequence[dict[str, Any]], method: str, seconds: dict[str, float]) -> dict[str, Any]:
    """Compare the time until one-stage training reaches the final mean KID of a two-stage method."""
    steps = evaluated_steps(records, "two-stage")
    kids = curves(records, method, "kid")[:, : len(steps)]
    target = float(kids[:, -1].mean())
    own_step = first_step_at(target, kids, steps)
    assert own_step is not None  # the last step reaches the target by definition
    step = first_step_at(target, curves(records, "one-stage", "kid"), evaluated_steps(records, "one-stage"))
    return {
        "kid": target,
        "own_step": own_step,
        "one_stage_step": step,
        "seconds_over_those_of_its_whole_run": step and step * seconds["one-stage"] / (steps[-1] * seconds[method]),
        "seconds_over_its_own_to_that_kid": step and step * seconds["one-stage"] / (own_step * seconds[method]),
    }


def plot(records: Sequence[dict[str, Any]], seconds: dict[str, float], path: Path) -> None:
    """Plot both metrics against seconds and against steps. seconds: of a step, by method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2, sharey="row")
    for row, (metric, label) in enumerate((("kid", "KID (lower is better)"), ("gan_train", "GAN-train accuracy"))):
        for column, per_step in enumerate((seconds, dict.fromkeys(METHODS, 1.0))):
            axes = grid[row][column]
            for method, (colour, line, name) in STYLES.items():
                values, x = (
                    curves(records, method, metric),
                    np.array(evaluated_steps(records, method)) * per_step[method],
                )
                low, high = np.array([corrected_t_interval(at_step) for at_step in values.T]).T
                axes.plot(x, values.mean(0), line, color=colour, label=name, linewidth=1.8)
                axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlim(left=0)
            if metric == "kid":
                axes.set_yscale("log")
            if row == 1:
                axes.set_xlabel("seconds (steps x median step time, one thread)" if column == 0 else "steps")
        grid[row][0].set_ylabel(label)
    grid[0][0].legend(frameon=False)
    figure.suptitle(f"mean of {len(SEEDS)} seeds, with its 95 % t interval", fontsize=10)
    figure.savefig(path, dpi=150)
