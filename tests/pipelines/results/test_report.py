"""The report is one page that shows the sentence, plots, tables and samples, and loads nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from page import Page
from reported import ARMS, CLASSES, GAIN, SETTINGS, full_results, images_of, pictures, results_of
from toy import BASE, DATASET, NONE, NONE_MORE, records_of

from pipelines.experiment.folds import Design
from pipelines.results.report import Pictures, render
from pipelines.results.results import build_results


def headings(text):
    return [e["text"] for e in Page(text).all("h2")]


def test_the_one_main_heading_is_the_sentence(full_page):
    (heading,) = Page(full_page).all("h1")
    assert heading["text"] == results_of().recommendation.sentence
    assert heading["text"].startswith("Synthetic images raise accuracy by 3.0 points")


def test_what_gain_is_still_possible_stands_below_the_heading():
    records = records_of(**{"none": BASE, "none+synthetic": [b + (-1) ** i * 0.02 for i, b in enumerate(BASE)]})
    results = build_results(records, [NONE, NONE_MORE], DATASET, Design(), 1.0)
    page = Page(render(results, Pictures(), {}))
    (heading,) = (e["text"] for e in page.all("h1"))
    assert heading.startswith("Do not augment: no gain can be shown; with synthetic images, accuracy changes by")
    assert heading.endswith("3 of 6 repeats better).")
    (limits,) = (e["text"] for e in page.all("p") if e["text"].startswith("A gain larger than"))
    assert results.recommendation.sentence.endswith(limits[1:])


def test_the_sentence_has_true_minus_signs():
    sentence = "Do not augment: a-1 changes by -0.7 points (-1.9 to 0.5)."
    results = results_of()
    recommendation = results.recommendation.model_copy(update={"sentence": sentence})
    results = results.model_copy(update={"recommendation": recommendation})
    (heading,) = Page(render(results, Pictures(), {})).all("h1")
    assert heading["text"] == "Do not augment: a-1 changes by \N{MINUS SIGN}0.7 points (\N{MINUS SIGN}1.9 to 0.5)."


def test_the_page_loads_nothing_from_outside(full_page):
    assert not re.search(r"""(src|href|action|data)\s*=\s*["']?(https?:)?//""", full_page)
    assert not re.search(r"url\(|@import|<script|<link|<iframe", full_page)
    addresses = [e["attrs"][key] for e in Page(full_page).elements for key in ("src", "href") if key in e["attrs"]]
    assert addresses
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in addresses)
    assert "default-src 'none'" in full_page


def test_every_picture_has_a_description(full_page):
    page = Page(full_page)
    assert all(e["attrs"]["alt"] for e in page.all("img"))
    figures = [e for e in page.all("svg") if "svg" not in e["parents"]]
    assert len(figures) > 5
    assert all(e["attrs"]["role"] == "img" for e in figures)
    assert len([t for t in page.all("title") if t["parents"][-1] == "svg" and t["text"].strip()]) == len(figures)


def test_names_from_outside_are_shown_and_never_become_markup(full_page):
    page = Page(full_page)
    assert {e["tag"] for e in page.elements}.isdisjoint({"script", "b", "here"})
    cells = [e["text"] for e in page.all("th") + page.all("div")]
    assert all(name in cells for name in CLASSES)
    assert any("plain<b>" in cell for cell in cells)
    assert "2 near duplicates <here>." in [e["text"].strip() for e in page.all("li")]


def test_sections_come_in_order(full_page):
    assert headings(full_page) == [
        "Gain in accuracy",
        "All arms",
        "Gain of each class",
        "Confusion matrices",
        "Samples",
        "Closest to the training images",
        "Test images that are most often misclassified",
        "How close the synthetic images are to real ones",
        "Training of the generator",
        "Settings",
        "Protocol, seeds and versions",
        "Notes",
    ]


def test_a_section_without_content_is_left_out():
    bare = render(results_of(ARMS[:1]), Pictures(), {})
    assert headings(bare) == ["All arms", "Protocol, seeds and versions"]
    assert "Nothing to recommend" in Page(bare).all("h1")[0]["text"]
    nothing = Pictures(images_of([]), None, [], {"loss": ([], []), "broken": ([1, 2], [float("nan")] * 2)})
    assert headings(render(results_of(ARMS[:1]), nothing, {})) == headings(bare)


def test_hard_images_say_what_they_were_taken_for(full_page):
    captions = [e["text"] for e in Page(full_page).all("figcaption")]
    assert f"{CLASSES[1]}, taken for boot: 5 of 6" in captions
    assert captions.index(f"{CLASSES[1]}, taken for boot: 5 of 6") < captions.index(
        f"empty, taken for {CLASSES[2]}: 4 of 6"
    )


def test_the_table_of_arms_has_mean_spread_and_n(full_page):
    row = next(e for e in Page(full_page).all("tr") if e["text"].startswith("plain<b>"))
    assert row["text"].startswith("plain<b>72.5 ± 1.9")  # 0.70 to 0.75 in steps of 0.01
    assert row["text"].endswith("0.500 ± 0.00010.0 ± 0.06")


def test_samples_stand_beside_each_other_by_class(full_page):
    alts = [e["attrs"]["alt"] for e in Page(full_page).all("img")]
    assert alts[:2] == ["2 real images of class boot", "1 synthetic image of class boot"]
    assert alts[6] == "1 real image of class empty"
    assert alts[9] == f"Test image of class {CLASSES[1]}, taken for boot"
    assert len(alts) == 7 + 2 + 2  # strips, pairs, test images that are often wrong


def test_pairs_begin_with_the_closest(full_page):
    captions = [e["text"] for e in Page(full_page).all("figcaption")]
    assert captions[:2] == [f"{CLASSES[1]}, 1.50", "boot, 3.25"]


def test_a_pair_of_every_class_is_shown_however_many():
    images = images_of([0, 1, 2, 3] * 10, channels=3, size=32).images
    pairs = [(image, image, 1.0 + i, f"class {i}") for i, image in enumerate(images)]
    page = Page(render(results_of(), Pictures(pairs=pairs), {}))
    assert [e["text"] for e in page.all("figcaption")] == [f"class {i}, {1 + i}.00" for i in range(40)]
    assert len(str(page.all("img"))) < 3_000_000


def test_cautions_stand_beside_the_samples(full_page):
    sentence = "the synthetic images of 1 of 4 classes have <collapsed>"
    fidelity = full_results().fidelity | {"cautions": [sentence]}
    text = render(full_results().model_copy(update={"fidelity": fidelity}), pictures(), SETTINGS)
    samples = text[text.index("<h2>Samples") : text.index('<div class="samples">')]
    assert "<li>The synthetic images of 1 of 4 classes have &lt;collapsed&gt;.</li>" in samples
    assert "<li>" not in full_page[full_page.index("<h2>Samples") : full_page.index('<div class="samples">')]


def test_fidelity_shows_the_known_figures_with_their_meaning(full_page):
    page = Page(full_page)
    cells = [e["text"] for e in page.all("dd")]
    told = {e["text"]: cells[2 * i : 2 * i + 2] for i, e in enumerate(page.all("dt")[: len(cells) // 2])}
    assert list(told)[:3] == ["Features", "KID", "own score"]  # neither FID nor recall, which are not there
    assert told["Features"][0] == "own classifier"
    assert "trained on the training images only" in told["Features"][1]
    assert told["KID"][0] == "\N{MINUS SIGN}0.012"
    assert told["KID"][1].startswith("distance between the features")
    assert told["own score"] == ["3,000", ""]
    assert "FID needs <b>256</b> images" in [e["text"] for e in page.all("p")]


def test_fidelity_has_a_row_for_each_class(full_page):
    page = Page(full_page)
    table = next(e for e in page.all("table") if "Coverage" in e["text"])
    rows = [line.strip() for line in table["text"].splitlines() if line.strip()]
    dash = "\N{EN DASH}"
    assert rows == [
        "ClassCoverageKIDPrecision",  # and no density, of which nothing is known
        "boot0.2501,234.5001.000",
        f"{CLASSES[1]}{dash}1,234.500{dash}",
        f"{CLASSES[2]}{dash}1,234.500{dash}",
        f"empty{dash}1,234.500{dash}",
    ]
    assert not re.search(r"\bnan\b|\bNone\b", table["text"])


@pytest.mark.parametrize("features", ["own classifier", "inception"])
def test_fidelity_names_the_network_of_its_features(features):
    results = results_of().model_copy(update={"fidelity": {"features": features, "kid": 0.1}})
    page = Page(render(results, Pictures(), {}))
    first = [e["text"] for e in page.all("dd")][:2]
    assert first[0] == features
    assert ("Inception v3" in first[1]) == (features == "inception")


def test_settings_versions_and_seeds_are_written_out(full_page):
    text = Page(full_page).all("pre")[0]["text"]
    assert "data:\n  source: sets/toy.npz" in text
    assert "- 8\n" in text
    assert "2.9.1" in full_page
    assert "70, 71, 72, 73, 74, 75" in full_page


def test_too_few_repeats_are_called_that():
    page = render(results_of(gain=GAIN[:3]), Pictures(), {})
    assert "Too few repeats for a claim" in Page(page).all("h1")[0]["text"]
    assert "a claim needs at least 6" in page


def test_a_large_set_stays_below_three_megabytes():
    labels = np.repeat(np.arange(4), 20)
    noise = images_of(labels, channels=3, size=128)
    pairs = [(noise.images[0], noise.images[1], 1.0, "boot")] * 30
    assert len(render(full_results(), Pictures(noise, noise, pairs), SETTINGS).encode()) < 3_000_000


def test_importing_the_report_draws_in_nothing_heavy():
    heavy = "{'matplotlib', 'scipy', 'torch', 'jinja2'}"
    code = (
        "import sys, pipelines.results.report\n"
        f"sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""
