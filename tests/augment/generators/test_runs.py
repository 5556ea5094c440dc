"""A RUN folder stands alone, is continued by its own settings and data only, and no damage passes for a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from fitting import SMALL, files_of, fit, rewrite, stop_after
from PIL import Image
from tensors import weights

from augment.dataset.images import LabelledImages
from augment.errors import OutputError, SourceError
from augment.generators.base import GeneratorConfig, Outcome
from augment.generators.cgan import CganConfig
from augment.generators.registry import load_model
from augment.generators.resample import ResampleConfig
from augment.generators.runs import read_log, unfinished_notes


@pytest.fixture(scope="module")
def whole(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    return run


def same(ours: Path, theirs: Path) -> bool:
    first, second = (weights(run / "model.safetensors") for run in (ours, theirs))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_folder_holds_the_files_of_the_contract(whole: Path) -> None:
    present = {str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file() and not p.name.startswith(".")}
    assert present == {
        "config.yaml",
        "log.jsonl",
        "model.safetensors",
        "samples/step-00000006.png",
        "samples/step-00000012.png",
        "checkpoints/step-00000008.safetensors",
        "checkpoints/step-00000012.safetensors",
    }
    with Image.open(whole / "samples/step-00000012.png") as grid:
        assert grid.size == (10 * 36, 3 * 36)  # 10 columns, a row a class, 12 px enlarged threefold


def test_a_run_from_before_a_setting_existed_continues_with_its_default(shoes: LabelledImages, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL, run, stopped=stop_after(2))
    marker = json.loads((run / ".augment.json").read_text())
    settings = marker["identity"]["settings"]["generator"]
    del settings["n_critic"], settings["penalties"], settings["kind"]
    (run / ".augment.json").write_text(json.dumps(marker))
    checkpoint = run / "checkpoints/step-00000002.safetensors"
    rewrite(checkpoint, lambda _, metadata: setattr(metadata, "identity", marker["identity"]))
    with pytest.raises(OutputError, match="n_critic: 1, now 2"):
        fit(shoes, SMALL.model_copy(update={"n_critic": 2}), run)
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    assert load_model(run).metadata.step == 12


@pytest.mark.parametrize("damage", ["flipped", "not a number", "another run's", "gone"])
def test_a_damaged_model_is_never_the_answer(damage: str, whole: Path, shoes: LabelledImages, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    model = run / "model.safetensors"
    if damage == "flipped":
        content = model.read_bytes()
        model.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "not a number":
        rewrite(model, lambda tensors, _: tensors["generator.embed.weight"].fill_(torch.inf))
    elif damage == "gone":
        model.unlink()
    else:
        fit(shoes, SMALL.model_copy(update={"seed": 3}), tmp_path / "other")
        shutil.copy(tmp_path / "other/model.safetensors", model)
    with pytest.raises(SourceError, match=r"run"):
        load_model(run)
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    assert same(run, whole)


@pytest.mark.parametrize("lost", ["config.yaml", "log.jsonl"])
def test_a_lost_file_makes_no_other_run_of_it(lost: str, whole: Path, shoes: LabelledImages, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / lost).unlink()
    with pytest.raises(OutputError, match=r"generator\.seed: 0, now 1"):
        fit(shoes, SMALL.model_copy(update={"seed": 1}), run)
    assert fit(shoes, SMALL, run) == Outcome.ALREADY_FINISHED


def test_a_finished_run_is_left_alone_and_more_steps_continue_it(
    whole: Path, shoes: LabelledImages, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL.model_copy(update={"steps": 7}), run)
    model = (run / "model.safetensors").read_bytes()
    assert fit(shoes, SMALL.model_copy(update={"steps": 7}), run) == Outcome.ALREADY_FINISHED
    assert (run / "model.safetensors").read_bytes() == model
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    assert same(run, whole)


def test_the_model_of_a_fit_that_a_longer_one_continues_is_noted(shoes: LabelledImages, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL.model_copy(update={"steps": 7}), run)
    assert unfinished_notes(run, load_model(run).metadata) == ()
    fit(shoes, SMALL, run, stopped=stop_after(1))
    (note,) = unfinished_notes(run, load_model(run).metadata)
    assert note.startswith(f"the model in {run} is of step 7, and a longer fit has not finished")


def test_fewer_steps_change_no_file_of_a_finished_run(whole: Path, shoes: LabelledImages, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    before = files_of(run)
    assert fit(shoes, SMALL.model_copy(update={"steps": 3}), run) == Outcome.ALREADY_FINISHED
    assert files_of(run) == before


def test_an_unfinished_run_that_is_beyond_the_steps_is_left_alone(shoes: LabelledImages, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL, run, stopped=stop_after(9))
    before = files_of(run)
    assert fit(shoes, SMALL.model_copy(update={"steps": 4}), run) == Outcome.BEYOND
    assert files_of(run) == before


OTHERS = [({"loss": "minimax"}, "loss: hinge, now minimax"), ({"seed": 9}, "seed: 0, now 9")]


@pytest.mark.parametrize(("change", "named"), OTHERS)
def test_other_settings_are_refused_and_overwrite_starts_again(
    change: dict[str, object], named: str, shoes: LabelledImages, tmp_path: Path
) -> None:
    fit(shoes, SMALL, tmp_path / "run", stopped=stop_after(2))
    other = SMALL.model_copy(update=change)
    with pytest.raises(OutputError, match=named):
        fit(shoes, other, tmp_path / "run")
    assert fit(shoes, other, tmp_path / "run", overwrite=True) == Outcome.FINISHED
    assert read_log(tmp_path / "run")[-1].step == 12


def test_other_images_are_refused(whole: Path, shoes: LabelledImages) -> None:
    darker = LabelledImages(shoes.images // 2, shoes.labels, shoes.class_names)
    with pytest.raises(OutputError, match="other training images"):
        fit(darker, SMALL, whole)


KINDS = [(SMALL, ResampleConfig(), "cgan, now resample"), (ResampleConfig(), SMALL, "resample, now cgan")]


@pytest.mark.parametrize(("first", "second", "named"), KINDS)
def test_a_run_of_another_kind_is_refused_by_the_names_of_both(
    first: GeneratorConfig, second: GeneratorConfig, named: str, shoes: LabelledImages, tmp_path: Path
) -> None:
    fit(shoes, first, tmp_path / "run")
    before = files_of(tmp_path)
    with pytest.raises(
        OutputError, match=rf"was started with other settings \(generator\.kind: {named}\); choose another"
    ):
        fit(shoes, second, tmp_path / "run")
    assert files_of(tmp_path) == before
    assert fit(shoes, second, tmp_path / "run", overwrite=True) == Outcome.FINISHED
    assert load_model(tmp_path / "run").metadata.kind == second.kind


def test_the_config_is_written_for_people_under_the_sections_name(whole: Path) -> None:
    described = yaml.safe_load((whole / "config.yaml").read_text())
    assert CganConfig(**described["generator"]) == SMALL
    assert described["data"]["train_per_class"] == {"sandal": 9, "sneaker": 6, "ankle-boot": 4}
    assert described["versions"].keys() >= {"python", "torch"}


def test_a_line_of_the_log_holds_any_losses_by_name(tmp_path: Path) -> None:
    lines = ['{"step": 5, "penalty": 0.5, "images_per_second": 9.5}', '{"step": 10, "loss_d": 1', '{"step": -1}']
    lines += ['{"step": 15, "loss_d": NaN}', '{"step": 20, "loss_g": 2.0, "loss_d": 1.0}']
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert [(line.step, line.losses) for line in read_log(tmp_path)] == [
        (5, {"penalty": 0.5}),
        (20, {"loss_g": 2.0, "loss_d": 1.0}),
    ]
