"""The report in a headless browser: no errors, no requests, and everything visible at any width."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import ARMS, BASE, DATASET, chosen, record

from augment.dataset.images import LabelledImages
from pipelines.experiment.folds import Design
from pipelines.experiment.records import encode_labels
from pipelines.results.report import Pictures, render
from pipelines.results.results import build_results

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
if CHROMIUM is None and not os.environ.get("BROWSER_REQUIRED"):
    pytest.skip("no chromium here; .ci/run installs one", allow_module_level=True)

LOOKS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1100, "height": 900}},
    "phone": {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2},
    "dark": {"viewport": {"width": 390, "height": 740}, "color_scheme": "dark"},
    "print": {"viewport": {"width": 720, "height": 1000}},
}
UNSEEN = """() => [...document.querySelectorAll('main img, main svg, main table, main h1, main h2')]
  .filter(e => !e.closest('svg svg') && getComputedStyle(e).display !== 'none')
  .filter(e => { const b = e.getBoundingClientRect(); return b.width < 8 || b.height < 8; })
  .map(e => e.outerHTML.slice(0, 120))"""
OUTSIDE = """() => [...document.querySelectorAll('main p, main h1, main h2, main figure, main img, main dl, main pre')]
  .filter(e => !e.closest('.scroll'))
  .filter(e => { const b = e.getBoundingClientRect(); return b.right > innerWidth + 1 || b.left < -1; })
  .map(e => e.outerHTML.slice(0, 120))"""
CONTRAST = """() => {
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
    .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('main p, main h1, main h2, main td, main th, main dd, main dt, svg text')]
    .map(e => light(getComputedStyle(e)[e.tagName === 'text' ? 'fill' : 'color']))
    .map(ink => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05))
    .reduce((a, b) => Math.min(a, b)); }"""


@pytest.fixture(scope="module")
def report(fashion: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section that there is."""
    rng, labels = np.random.default_rng(0), np.arange(30) % 2
    records = [
        record(
            r, arm.name, BASE[r] + 0.01 * i + size / 2000, size=size, fold=f"n{size}-r{r}",
            predicted=encode_labels(np.where(rng.random(30) < BASE[r] + 0.02 * i, labels, 1 - labels)),
        )
        for size in (10, 20, 50) for i, arm in enumerate(ARMS) for r in range(6)
    ]  # fmt: skip
    design = Design("subsample", "subsample: chosen", {10: 0.1, 20: 0.2, 50: 0.5}, labels)
    mix = {"ratio": 2.0, "keep": 0.5, "filter": "confidence", "weight": 1.0}
    candidates = {"2 synthetic images": 0.012, "1 synthetic image": -0.004}
    choice = chosen("classical+synthetic", mix, candidates=candidates, candidates_tried=2)
    results = build_results(records, ARMS, DATASET, design, 1.0, choice=choice, fidelity={"kid": 0.4, "recall": 0.1})
    extra = {"warnings": ["3 training images are also in the test set."], "versions": {"torch": "2.11.0"}}
    results = results.model_copy(update=extra)
    two = LabelledImages(fashion.images[:40], np.arange(40) % 2, ("a", "b"))
    pairs = [(two.images[i], two.images[i + 1], 0.1 * i, "a") for i in range(6)]
    curves = {"generator": ([0, 50, 100], [1.5, 1.2, 1.25]), "discriminator": ([0, 100], [1.0, 1.1])}
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(results, Pictures(two, two, pairs, curves), {"gan": {"steps": 2500}, "note": "x" * 300}))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "BROWSER_REQUIRED is set and there is no chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("look", LOOKS)
def test_the_report_is_whole_and_silent(look: str, report: Path, browser: Any) -> None:
    page = browser.new_page(**LOOKS[look])
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    if look == "print":
        page.emulate_media(media="print")
    page.goto(report.as_uri())
    assert said == [report.as_uri()]  # the page itself, and nothing else
    assert page.evaluate("document.querySelectorAll('main section').length") >= 12
    assert page.evaluate(UNSEEN) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate("[...document.images].filter(i => !i.alt || !i.complete || !i.naturalWidth).length") == 0
    assert page.evaluate("[...document.querySelectorAll('svg[role=img]')].every(s => s.querySelector('title'))")
    assert page.evaluate(CONTRAST) >= 4.5  # WCAG 2.2, level AA
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{look}.png", full_page=True)
    page.close()


def test_light_and_dark_differ(report: Path, browser: Any) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(report.as_uri())
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert papers[0] != papers[1]
