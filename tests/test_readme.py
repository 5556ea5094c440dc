"""The commands and the example of the README work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.config.reading import shipped_pipelines

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(example.replace("steps=2500", "steps=2, width=4, batch_size=4"), {})
    assert capsys.readouterr().out.startswith("(500, 1, 28, 28) [50 50 50 50 50 50 50 50 50 50]")


def test_every_command_and_option_that_it_names_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from pipelines.cli.app import app

    lines = re.findall(r"^augment (\w+) +(.*?)(?:  #|$)", README, re.MULTILINE)
    assert {command for command, _ in lines} == {
        "inspect",
        "fit",
        "generate",
        "tune",
        "evaluate",
        "run",
        "bench",
        "schema",
    }
    for command, arguments in lines:
        text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        assert all(option in text for option in re.findall(r"--[a-z-]+", arguments))
    assert set(re.findall(r"pipelines/([\w-]+)\.yaml", README)) == set(shipped_pipelines())


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "docs/architecture.md", "docs/benchmarks.md"])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"(?:`|python )((?:tests|benchmarks|augment|classifiers|pipelines|docs)/[\w/.-]*)", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_file_that_it_links_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")]
    assert links
    assert all((ROOT / link).is_file() for link in links)
