"""Plots and matrices of a report hold the figures of the results, at the right places."""

from __future__ import annotations

import numpy as np
import pytest
from page import Page
from reported import CLASSES, GAIN, results_of

from pipelines.results.plots import class_gains, gain_plot
from pipelines.results.report import Pictures, render


def test_the_gain_plot_has_one_dot_a_repeat_and_its_figures_beside(full_page):
    page = Page(full_page)
    dots = [float(e["attrs"]["cx"].rstrip("%")) for e in page.all("circle")]
    assert len(dots) == 2 * len(GAIN)
    assert np.corrcoef(dots[: len(GAIN)], GAIN)[0, 1] == pytest.approx(1, abs=1e-3)
    first, second = [e["text"].split() for e in page.all("div") if e["attrs"].get("class") == "figures"][:2]
    assert " ".join(first) == "+3.0 [+1.5, +4.5] 6 of 6 repeats better p = 0.031"
    assert " ".join(second).endswith("p = 0.031 (Holm)")


FAR = {"mean_gain": -0.4, "ci95": (-0.42, -0.38), "ci95_two_way": None}


def test_an_arm_far_below_the_others_does_not_squeeze_them():
    """The arm of synthetic images alone may be far below."""
    results = results_of()
    near, far = results.comparisons
    summary = results.arms[far.arm]["accuracy"]
    values = [v - 0.4 for v in results.arms[far.baseline]["accuracy"].values]
    results.arms[far.arm]["accuracy"] = summary.model_copy(update={"values": values})
    results.comparisons[1] = far.model_copy(update=FAR)
    page = Page(render(results, Pictures(), {}))
    assert len(page.all("circle")) == len(GAIN)
    assert [e["text"] for e in page.all("text") if "beyond" in e["text"]] == ["← beyond the axis"]
    plot = gain_plot(results)
    assert [row["beyond"] for row in plot["rows"]] == [0, -1]
    assert -5 < plot["scale"].low <= 0 < 100 * near.ci95[1] < plot["scale"].high < 15


def test_the_headline_is_always_on_the_axis():
    results = results_of()
    results.comparisons.reverse()
    results.comparisons[0] = results.comparisons[0].model_copy(update=FAR)
    plot = gain_plot(results)
    assert [row["beyond"] for row in plot["rows"]] == [0, 0]
    assert plot["scale"].low <= -42


def test_a_gain_lies_right_of_the_zero_line(full_page):
    page = Page(full_page)
    zero = next(e for e in page.all("line") if e["attrs"]["class"] == "grid zero")["attrs"]["x1"]
    whisker = next(e for e in page.all("line") if e["attrs"]["class"] == "whisker")["attrs"]
    assert float(zero.rstrip("%")) < float(whisker["x1"].rstrip("%")) < float(whisker["x2"].rstrip("%"))


@pytest.mark.parametrize(
    ("kind", "counts", "shown"),
    [
        ("holdout", [3, 30], [("many", 30), ("few", 3)]),
        ("holdout", [9, 9], [("few", None), ("many", None)]),
        ("imbalance", [3, 30], [("few", None), ("many", None)]),
    ],
)
def test_classes_are_in_the_order_of_their_counts_where_these_differ(kind, counts, shown):
    results = results_of()
    comparison = results.comparisons[0].model_copy(
        update={"per_class_gain": [0.1, 0.2], "per_class_ci95": [(0.0, 0.2), (0.1, 0.3)]}
    )
    dataset = results.dataset.model_copy(
        update={"classes": ["few", "many"], "train_per_class": dict(zip(["few", "many"], counts, strict=True))}
    )
    protocol = results.protocol.model_copy(update={"kind": kind})
    changed = results.model_copy(update={"comparisons": [comparison], "dataset": dataset, "protocol": protocol})
    rows = class_gains(changed)["rows"]
    assert [(name, count) for name, count, _ in rows] == shown
    assert {name: value for name, _, value in rows}["few"] == pytest.approx((10, 0, 20))


def test_confusions_are_shares_of_the_true_class(full_page):
    rows = [e["text"] for e in Page(full_page).all("tr")]
    assert rows.count(CLASSES[0] + "702010") == 2  # 70, 20 and 10 percent, once for each arm
    assert rows.count(CLASSES[1] + "105040") == 2
