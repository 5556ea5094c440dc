"""Measure the gain of the anchored generator over sets and sizes, each repeat with a generator and a subset of its own.

    python benchmarks/gain_table.py --out DIR --set fashion=fashion.npz --setting 100:5 --setting 20 --repeats 12

A setting is LARGE:SMALL (in every repeat half of the classes have LARGE images and the others SMALL, drawn anew) or a
number of images of every class. Each set and setting is a pipeline that `augment run` runs in a folder of its own under
DIR: an interrupted measurement is continued, and a finished one is only read. The baselines are arms too, so that the
gain is over the best of them. DIR/gains.md and DIR/gains.png hold the table and the plot, and docs/gains.md explains
them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.results.document import Comparison, Results, read_results

REPEATS = 12
SHARE = 0.25
CONTROLS = ("reconstruction", "grid", "cutmix")
BASELINES: dict[str, dict[str, str]] = {  # settings of the classifier, by the name of the arm
    "logit-adjustment": {"sampling": "plain", "long_tail": "logit-adjustment"},
    "post-hoc": {"sampling": "plain", "long_tail": "logit-adjustment-post-hoc"},
    "square-root": {"sampling": "square-root", "long_tail": "logit-adjustment"},
    "balanced": {"sampling": "balanced", "long_tail": "none"},
    "deferred": {"sampling": "plain", "long_tail": "deferred-reweighting"},
    "remix": {"sampling": "plain", "long_tail": "remix"},
    "cmo": {"sampling": "plain", "long_tail": "cmo"},
}


def definition(source: Path, setting: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the definition of the pipeline of one set and setting. Under imbalance, all of `BASELINES` are arms."""
    large, _, small = setting.partition(":")
    protocol: dict[str, Any] = (
        {"kind": "imbalance", "large": int(large), "small": int(small)}
        if small
        else {"kind": "subsample", "sizes": [int(large)]}
    )
    real = {"policy": "classical"}
    baselines = BASELINES if small else {"classical": {}}
    method = BASELINES["logit-adjustment"] if small else {}
    fed = [("fresh", "generator"), *((name, name) for name in CONTROLS)]
    arms: list[dict[str, Any]] = [{"name": name, **real, **settings} for name, settings in baselines.items()]
    arms += [{"name": name, **real, **method, "synthetic": True, "feed": feed, "share": SHARE} for name, feed in fed]
    return {
        "description": f"gain at {setting} images",
        "data": {"source": str(source.resolve()), "largest_size": 32},
        "protocol": protocol,
        "generator": {"kind": "anchored", **parse_settings(options.generator)},
        "generate": {"per_class": 50},
        "evaluate": {
            "arms": arms,
            "repeats": options.repeats,
            "horizontal_flip": options.flip,
            "classifier": {"steps": options.steps},
        },
    }


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Return settings that are given as NAME=VALUE."""
    return {name: yaml.safe_load(value) for name, value in (pair.split("=", 1) for pair in pairs)}


def run(content: Mapping[str, Any], folder: Path, jobs: int) -> Results:
    """Run a pipeline in `folder`, or continue it, and return its results. Exits with the status of a failed run."""
    file = folder.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(dict(content), sort_keys=False))
    command = [sys.executable, "-m", "pipelines", "run", str(file), "--out", str(folder), "--jobs", str(jobs)]
    if status := subprocess.run(command).returncode:
        sys.exit(status)
    return read_results(folder / "evaluation" / "results.json")


def find(results: Results, arm: str, baseline: str) -> Comparison | None:
    """Return the comparison of an arm with a baseline, if there is one."""
    return next((c for c in results.comparisons if (c.arm, c.baseline) == (arm, baseline)), None)


def table(results: Mapping[str, Results]) -> str:
    """Return the table as Markdown: the best baseline, the arm, its gain over the baseline and over each control."""
    lines = [
        "| set and setting | best baseline | without | with | gain (95 % interval) | wins | "
        + " | ".join(f"over {name}" for name in CONTROLS)
        + " |",
        "|---|---|---|---|---|---|" + "---|" * len(CONTROLS),
    ]
    for name, content in results.items():
        headline = content.comparisons[0]
        values = [content.arms[arm][headline.metric].mean for arm in (headline.baseline, headline.arm)]
        overs = [find(content, headline.arm, control) for control in CONTROLS]
        cells = [
            name,
            headline.baseline,
            *(f"{value:.3f}" for value in values),
            gain(headline),
            f"{headline.wins} of {headline.repeats}",
            *("-" if over is None else gain(over) for over in overs),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def gain(comparison: Comparison) -> str:
    """Return a gain in points with its interval."""
    low, high = (100 * end for end in comparison.ci95)
    return f"{100 * comparison.mean_gain:+.1f} ({low:+.1f} to {high:+.1f})"


def plot(results: Mapping[str, Results], path: Path) -> None:
    """Draw the gain over the best baseline with its interval, by set and setting."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 1 + 0.5 * len(results)), layout="constrained")
    for row, content in enumerate(results.values()):
        headline = content.comparisons[0]
        low, high = (100 * end for end in headline.ci95)
        colour = "#2f6b4f" if low > 0 else "#b5442e" if high < 0 else "#6b6b6b"
        axes.plot([low, high], [row, row], color=colour, lw=3, solid_capstyle="round")
        axes.plot(100 * headline.mean_gain, row, "o", color=colour, ms=8)
    axes.axvline(0, color="black", lw=1)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xlabel("gain over the best baseline, in points, with its 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for all results")
    parser.add_argument("--set", action="append", required=True, metavar="NAME=FILE", dest="sets")
    parser.add_argument("--setting", action="append", required=True, metavar="LARGE:SMALL or N", dest="settings")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--steps", type=int, default=600, help="of each classifier")
    parser.add_argument("--generator", action="append", default=[], metavar="NAME=VALUE", help="a setting of anchored")
    parser.add_argument("--flip", action="store_true", help="the classes look the same when mirrored")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    results: dict[str, Results] = {}
    for name, path in (pair.split("=", 1) for pair in options.sets):
        for setting in options.settings:
            folder = options.out / f"{name}-{setting.replace(':', '-')}"
            results[f"{name} {setting}"] = run(definition(Path(path), setting, options), folder, options.jobs)
            (options.out / "gains.md").write_text(table(results))
            plot(results, options.out / "gains.png")
    print(table(results))


if __name__ == "__main__":
    main()
