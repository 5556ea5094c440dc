"""`benchmarks/gain_table.py` on the bundled images: real runs of `augment run`, reduced in repeats and steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from augment.dataset.images import subset_per_class
from augment.dataset.sources import read_source
from pipelines.results.document import read_results

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gain_table.py"


def measure(out: Path, *options: str) -> str:
    command = [sys.executable, str(PROGRAM), "--out", str(out), "--set", f"fashion={out.parent / 'few.npz'}", *options]
    reduced = ["--repeats", "2", "--steps", "4", "--generator", "steps=2", "--baselines", "post-hoc", "balanced"]
    done = subprocess.run([*command, *reduced, "--jobs", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gains") / "out"
    source = read_source("bundled:fashion")
    few = {"train": subset_per_class(source.train, 40, 0), "test": subset_per_class(source.splits["test"], 10, 0)}
    images = {f"{split}_images": data.images[:, 0] for split, data in few.items()}
    np.savez(out.parent / "few.npz", **images, **{f"{split}_labels": data.labels for split, data in few.items()})
    measure(out, "--setting", "30:3", "--other-views", "light")
    measure(out, "--setting", "8")
    return out


def test_each_setting_has_a_row_and_rows_of_earlier_calls_stay(out: Path) -> None:
    rows = json.loads((out / "gains.json").read_text())
    assert list(rows) == ["fashion 30:3", "fashion 8"]
    assert (out / "gains.png").stat().st_size > 5000
    assert [line.split(" | ")[0] for line in (out / "gains.md").read_text().splitlines()[2:]] == [
        "| fashion 30:3",
        "| fashion 8",
    ]


def test_a_row_holds_the_headline_and_the_controls_of_its_run(out: Path) -> None:
    row = json.loads((out / "gains.json").read_text())["fashion 30:3"]
    results = read_results(out / "fashion-30-3" / "evaluation" / "results.json")
    headline = results.comparisons[0]
    assert (headline.arm, headline.metric) == ("fresh", "balanced_accuracy")
    assert {"post-hoc", "balanced", "post-hoc, light views", "balanced, light views"} == results.arms.keys() - {
        "fresh",
        "resample",
        "reconstruction",
        "grid",
        "cutmix",
        "gan-train",
    }
    assert row["baseline"] == headline.baseline
    assert (row["gain"]["mean"], row["gain"]["low"]) == (headline.mean_gain, headline.ci95[0])
    assert row["augmented"] - row["without"] == pytest.approx(headline.mean_gain)
    assert list(row["overs"]) == ["resample", "reconstruction", "grid", "cutmix"]
    areas = results.arms["fresh"]["pairwise_auc"].mean - results.arms[headline.baseline]["pairwise_auc"].mean
    assert row["separation"]["mean"] == pytest.approx(areas)


def test_a_finished_setting_is_only_read(out: Path) -> None:
    before = (out / "fashion-8" / "evaluation" / "records.jsonl").stat().st_mtime_ns
    assert "fashion 30:3" in measure(out, "--setting", "8")
    assert (out / "fashion-8" / "evaluation" / "records.jsonl").stat().st_mtime_ns == before
