"""Measure the gain of the anchored generator over sets and sizes, each repeat with a generator and a subset of its own.

    python benchmarks/gain_table.py --out DIR --set fashion=fashion.npz --setting 100:5 --setting 20 --repeats 12

A setting is LARGE:SMALL (in every repeat half of the classes have LARGE images and the others SMALL, drawn anew) or a
number of images of every class. Each set and setting is a pipeline that `augment run` runs in a folder of its own under
DIR: an interrupted measurement is continued, and a finished one is only read. The baselines are arms too, so that the
gain is over the best of them.

DIR/gains.json holds a row for each set and setting, also those of earlier calls; DIR/gains.md and DIR/gains.png are the
table and the plot of all rows. docs/gains.md explains them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from augment.dataset.policies import DEFAULT_POLICY, POLICIES
from augment.generators.anchored import AnchoredConfig
from pipelines.results.document import Comparison, Results, read_results
from pipelines.results.recommendation import Verdict
from pipelines.results.statistics import corrected_t_interval

REPEATS = 12
SHARE = 0.25
METHOD = "logit-adjustment"  # how the arms with synthetic images treat imbalance; a key of `BASELINES`
COLOURS = {Verdict.HELPS: "#2f6b4f", Verdict.HARMS: "#b5442e", Verdict.OTHER: "#b5442e"}  # others are grey
CONTROLS = ("resample", "reconstruction", "grid", "cutmix")
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
    """Return the definition of the pipeline of one set and setting. Under imbalance, `options.baselines` are arms."""
    large, _, small = setting.partition(":")
    protocol: dict[str, Any] = (
        {"kind": "imbalance", "large": int(large), "small": int(small)}
        if small
        else {"kind": "subsample", "sizes": [int(large)]}
    )
    anchors = {} if int(large) >= AnchoredConfig().lenders_from else {"anchors": "grid"}  # as `augment run auto` does
    real = {"policy": "classical"}
    baselines = {name: BASELINES[name] for name in options.baselines} if small else {"classical": {}}
    method = BASELINES[METHOD] if small else {}
    fed = [("fresh", "generator"), *((name, name) for name in options.controls)]
    arms: list[dict[str, Any]] = [{"name": name, **real, **settings} for name, settings in baselines.items()]
    arms += [
        {"name": f"{name}, {policy} views", "policy": policy, **settings}
        for policy in options.other_views
        for name, settings in baselines.items()
    ]
    arms += [{"name": name, **real, **method, "synthetic": True, "feed": feed, "share": SHARE} for name, feed in fed]
    return {
        "description": f"gain at {setting} images",
        "data": {"source": str(source.resolve()), "largest_size": 32},
        "protocol": protocol,
        "generator": {"kind": "anchored", **anchors, **parse_settings(options.generator)},
        "generate": {"per_class": 50},
        "evaluate": {
            "arms": arms,
            "policy": options.views,
            "repeats": options.repeats,
            "horizontal_flip": options.flip,
            "classifier": {"steps": options.steps, **parse_settings(options.classifier)},
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


class Gain(BaseModel):
    """A mean gain with its corrected 95 % interval, on a scale from 0 to 1."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


class Row(BaseModel):
    """The headline of one set and setting.

    without, augmented: mean accuracy of the baseline and of the arm with synthetic images; balanced accuracy under
    imbalance. gain: of the arm over the baseline. separation: the same in pairwise AUC. overs: gain over each control.
    """

    model_config = ConfigDict(frozen=True)

    baseline: str
    without: float
    augmented: float
    gain: Gain
    wins: int
    repeats: int
    separation: Gain
    overs: dict[str, Gain]
    verdict: str


ROWS = TypeAdapter(dict[str, Row])  # by set and setting


def row(results: Results) -> Row:
    """Return the row of a finished measurement."""
    headline = results.comparisons[0]
    without, augmented = (results.arms[arm][headline.metric].mean for arm in (headline.baseline, headline.arm))
    areas, baseline_areas = (
        np.array(results.arms[a]["pairwise_auc"].values) for a in (headline.arm, headline.baseline)
    )
    low, high = corrected_t_interval(areas - baseline_areas, headline.correlation)
    return Row(
        baseline=headline.baseline,
        without=without,
        augmented=augmented,
        gain=_gain(headline),
        wins=headline.wins,
        repeats=headline.repeats,
        separation=Gain(mean=float((areas - baseline_areas).mean()), low=low, high=high),
        overs={c.baseline: _gain(c) for c in results.comparisons if c.arm == headline.arm and c.baseline in CONTROLS},
        verdict=results.recommendation.verdict,
    )


def _gain(comparison: Comparison) -> Gain:
    low, high = comparison.ci95
    return Gain(mean=comparison.mean_gain, low=low, high=high)


def table(rows: Mapping[str, Row]) -> str:
    """Return the table as Markdown, in points: gains over the best baseline and over each control."""
    heads = [
        "set and setting",
        "best baseline",
        "without",
        "with",
        "gain (95 % interval)",
        "wins",
        "gain in pairwise AUC",
    ]
    heads += [f"over {name}" for name in CONTROLS] + ["verdict"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, r in rows.items():
        cells = [name, r.baseline, f"{r.without:.3f}", f"{r.augmented:.3f}", str(r.gain), f"{r.wins} of {r.repeats}"]
        cells += [str(r.separation), *(str(r.overs[c]) if c in r.overs else "-" for c in CONTROLS), r.verdict]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows: Mapping[str, Row], path: Path) -> None:
    """Draw the gain over the best baseline with its interval, by set and setting, in a colour for the verdict."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 1 + 0.5 * len(rows)), layout="constrained")
    for height, r in enumerate(rows.values()):
        low, mean, high = (100 * value for value in (r.gain.low, r.gain.mean, r.gain.high))
        colour = COLOURS.get(Verdict(r.verdict), "#6b6b6b")
        axes.plot([low, high], [height, height], color=colour, lw=3, solid_capstyle="round")
        axes.plot(mean, height, "o", color=colour, ms=8)
    axes.axvline(0, color="black", lw=1)
    axes.set_yticks(range(len(rows)), [f"{name}\n{r.repeats} repeats" for name, r in rows.items()])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("gain over the best baseline, in points, with its 95 % interval\n(green: helps; red: is worse)")
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
    parser.add_argument("--classifier", action="append", default=[], metavar="NAME=VALUE", help="a setting of all arms")
    parser.add_argument("--baselines", nargs="+", choices=BASELINES, default=list(BASELINES), help="under imbalance")
    parser.add_argument("--controls", nargs="*", choices=CONTROLS, default=list(CONTROLS))
    parser.add_argument("--views", choices=POLICIES, default=DEFAULT_POLICY, help="of all arms")
    parser.add_argument("--other-views", nargs="+", choices=POLICIES, default=[], help="of more baselines")
    parser.add_argument("--flip", action="store_true", help="the classes look the same when mirrored")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    stored = options.out / "gains.json"
    rows = ROWS.validate_json(stored.read_bytes()) if stored.exists() else {}
    for name, path in (pair.split("=", 1) for pair in options.sets):
        for setting in options.settings:
            folder = options.out / f"{name}-{setting.replace(':', '-')}"
            rows[f"{name} {setting}"] = row(run(definition(Path(path), setting, options), folder, options.jobs))
            stored.write_bytes(ROWS.dump_json(rows, indent=1) + b"\n")
            (options.out / "gains.md").write_text(table(rows))
            plot(rows, options.out / "gains.png")
    print(table(rows))


if __name__ == "__main__":
    main()
