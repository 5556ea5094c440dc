"""The commands and the examples of the README and of the page on the settings work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.config.reading import load_pipeline, shipped_pipelines

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")


QUICK = ("evaluate.repeats=2", "evaluate.classifier.steps=2", "evaluate.arms=[none, classical]", "data.image_size=8")


def test_the_python_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator, measurement = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    settings = ", ".join(map(repr, QUICK))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(estimator.replace("steps=300, members=3", "steps=1, members=1"), names)
    exec(measurement.replace('"data.source=mine.npz"', f'"data.source=mine.npz", {settings}'), names)
    scores, *probabilities, answer = capsys.readouterr().out.splitlines()
    assert "synthetic" in answer
    assert len(scores.strip("[]").split()) == 5
    assert len(probabilities) == 2


def test_every_command_and_option_that_it_names_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from pipelines.cli.app import app

    lines = re.findall(r"^augment (\w+) +(.*?)(?:  #|$)", README, re.MULTILINE)
    assert {command for command, _ in lines} == {
        "init",
        "inspect",
        "fit",
        "generate",
        "tune",
        "evaluate",
        "run",
        "train",
        "predict",
        "export",
        "compare",
        "runs",
        "bench",
        "schema",
    }
    for command, arguments in lines:
        text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        assert all(option in text for option in re.findall(r"--[a-z-]+", arguments))
    assert set(re.findall(r"pipelines/([\w-]+)\.yaml", README)) == set(shipped_pipelines())


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", SETTINGS, re.DOTALL))
def test_every_example_is_a_part_of_a_pipeline(example: str, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    source = "" if example.startswith("data:") else "data: {source: bundled:fashion}\n"
    file.write_text(source + example)
    assert load_pipeline(str(file), ()).evaluate.arms


@pytest.mark.parametrize(
    "page", ["README.md", "SECURITY.md", "docs/architecture.md", "docs/benchmarks.md", "docs/settings.md"]
)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"(?:`|python )((?:tests|benchmarks|augment|classifiers|pipelines|docs)/[\w/.-]*)", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def headings(page: Path) -> set[str]:
    """The names by which links find the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ["README.md", "docs/settings.md", "docs/gains.md", "docs/tutorial.md"])
def test_every_file_and_heading_that_it_links_is_there(page: str) -> None:
    text, folder = (ROOT / page).read_text(encoding="utf-8"), (ROOT / page).parent
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://")]
    assert links
    for link in links:
        file, _, heading = link.partition("#")
        linked = folder / file if file else ROOT / page
        assert linked.is_file(), link
        assert not heading or heading in headings(linked), link
