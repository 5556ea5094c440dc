"""Foreign files in a pipeline's folder are spared, and deleted or damaged outputs are written again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import contents
from observing import Kept
from tiny_pipeline import ALL, go, pipeline_on, ran

from augment.errors import OutputError
from augment.output_folders import open_output
from augment.runtime import Runtime
from pipelines.config.sections import AutoConfig, Pipeline
from pipelines.runner import plan, run


@pytest.mark.parametrize(
    ("gone", "expected"),
    [("evaluation", ["evaluate"]), ("synthetic", ["generate", "evaluate"]), ("gan", ALL)],
)
def test_deleted_outputs_are_written_again(
    gone: str, expected: list[str], out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    before = contents(out)
    shutil.rmtree(out / gone)
    stages, _ = go(pipeline(), out)
    assert ran(stages) == expected
    assert next(stage.why for stage in stages if stage.runs) == "its output is gone"
    assert contents(out)["evaluation/results.json"] == before["evaluation/results.json"]


@pytest.mark.parametrize("start", [plan, run])
def test_a_folder_is_refused_before_anything_is_measured(
    start: Callable[..., object], tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    kept, chosen = Kept(), pipeline().model_copy(update={"auto": AutoConfig()})
    with open_output(tmp_path / "other", "fit"):
        pass
    with pytest.raises(OutputError, match=r"other holds the output of `augment fit`; choose another folder"):
        start(chosen, tmp_path / "other", Runtime(observer=kept))
    (tmp_path / "stages.json").write_text("[mine")
    with pytest.raises(OutputError, match=r"already holds other files"):
        start(chosen, tmp_path, Runtime(observer=kept))
    assert kept.work == []


def test_a_folder_of_somebody_else_is_refused_and_untouched(tmp_path: Path, pipeline: Callable[..., Pipeline]) -> None:
    (tmp_path / "gan").mkdir()
    (tmp_path / "gan" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds other files \(gan, \.\.\.\); choose another folder"):
        go(pipeline(), tmp_path)
    assert contents(tmp_path) == {"gan/thesis.txt": b"mine"}


def test_overwrite_starts_again_and_spares_foreign_files(out: Path, pipeline: Callable[..., Pipeline]) -> None:
    (out / "thesis.txt").write_text("mine")
    stages, results = go(pipeline(), out, overwrite=True)
    assert (ran(stages), (out / "thesis.txt").read_text()) == (ALL, "mine")
    assert results is not None


def test_the_same_images_at_another_place_are_no_change(out: Path, tmp_path: Path, image_folder: Path) -> None:
    shutil.copytree(image_folder, tmp_path / "moved")
    assert ran(go(pipeline_on(tmp_path / "moved"), out)[0]) == []


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_run_of_another_source_is_not_replaced_unasked(
    interrupted: bool, out: Path, tmp_path: Path, image_folder: Path
) -> None:
    shutil.copytree(image_folder, tmp_path / "other")
    next((tmp_path / "other").rglob("*.png")).unlink()
    other = pipeline_on(tmp_path / "other")
    if interrupted:
        shutil.rmtree(out / "evaluation")
    before = contents(out)
    for start in (plan, run):
        with pytest.raises(
            OutputError, match=r"holds a run of other images \(.*\); choose another --out, or give --over"
        ):
            start(other, out)
    assert contents(out) == before
    assert ran(plan(other, out, overwrite=True)) == ALL
    assert ran(go(other, out, overwrite=True)[0]) == ALL


def test_a_source_is_known_by_its_place_and_not_its_name(
    out: Path, tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(out / "evaluation")  # without results, only the places can be compared
    (tmp_path / "link").symlink_to(image_folder)
    monkeypatch.chdir(image_folder.parent)
    for same in (Path(image_folder.name), Path(".", image_folder.name, "..", image_folder.name), tmp_path / "link"):
        assert ran(plan(pipeline_on(same), out)) == ["evaluate"]
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(image_folder, elsewhere / "images")
    shutil.copytree(image_folder, tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    go(pipeline_on(Path("images")), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "evaluation")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(OutputError, match="holds a run of other images"):
        plan(pipeline_on(Path("images")), tmp_path / "run")


def test_a_damaged_list_of_settings_is_written_again(out: Path, pipeline: Callable[..., Pipeline]) -> None:
    before = contents(out)
    (out / "config.yaml").write_text("data: [")
    assert ran(go(pipeline(), out)[0]) == []
    assert contents(out)["config.yaml"] == before["config.yaml"]


DAMAGES = [
    ("gan/model.safetensors", ALL),
    ("synthetic/manifest.csv", ["generate", "evaluate"]),
    ("synthetic/dress/000003.png", ["generate", "evaluate"]),
    ("evaluation/results.json", ["evaluate"]),
    ("evaluation/report.html", ["evaluate"]),
    ("evaluation/records.jsonl", ["evaluate"]),
]


@pytest.mark.parametrize(("name", "expected"), DAMAGES)
def test_a_changed_output_is_not_reused(
    name: str, expected: list[str], out: Path, pipeline: Callable[..., Pipeline]
) -> None:
    before = contents(out)
    path = next(p for p in sorted(out.rglob(Path(name).name)) if name.split("/")[0] in p.parts)
    content = path.read_bytes()
    path.write_bytes(content[:-30] + bytes([content[-30] ^ 1]) + content[-29:])
    stages, _ = go(pipeline(), out)
    assert ran(stages) == expected
    assert next(stage.why for stage in stages if stage.runs) == "its output was changed or damaged"
    assert contents(out)["evaluation/results.json"] == before["evaluation/results.json"]
    assert ran(go(pipeline(), out)[0]) == []


@pytest.mark.parametrize("name", ["gan", "synthetic", "evaluation"])
def test_a_linked_folder_within_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, pipeline: Callable[..., Pipeline]
) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "report.html").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match=f"{name} is a link, and nothing is written through links"):
        go(pipeline(), tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "victim") == {"report.html": b"mine"}
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name]
