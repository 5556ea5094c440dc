"""Training continues where it stopped, to the bit, and refuses what it cannot continue."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensors import About, weights
from torch import Tensor

from augment.dataset.images import LabelledImages
from augment.errors import DivergedError, OutputError, SourceError
from augment.gan.config import GanConfig
from augment.gan.losses import LOSSES
from augment.gan.networks import Shape
from augment.gan.penalties import PENALTIES, Batch, Critic
from augment.gan.steps import STEPS
from augment.gan.training import Outcome, batches, fit, make_setup, update_ema
from augment.gan.training_state import start
from augment.generators.sampling import load_model
from augment.tensor_files import dump_tensors, load_tensors

SMALL = GanConfig(
    width=4, latent_dim=8, steps=12, batch_size=8, log_every=5, sample_every=6, checkpoint_every=4, augment=("flip",)
)


def stop_after(calls: int) -> Callable[[], bool]:
    """Press Ctrl-C once `calls` steps have begun."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    return run


EVERYTHING = {
    "loss": "fisher",
    "lecam": 0.1,
    "penalties": {"r1": 0.1, "gradient-penalty": 1.0},
    "penalty_every": 3,
}


@pytest.mark.parametrize(
    "change", [{"network": "projection"}, {"network": "dcgan"}, {**EVERYTHING, "n_critic": 2}], ids=str
)
def test_a_run_stopped_at_any_step_ends_like_an_uninterrupted_one(
    change: dict[str, object], shoes: LabelledImages, tmp_path: Path
) -> None:
    config = SMALL.model_copy(update=change)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(shoes, config, whole)
    assert fit(shoes, config, stopped, stopped=stop_after(3)) == Outcome.STOPPED
    assert fit(shoes, config, stopped, stopped=stop_after(4)) == Outcome.STOPPED
    assert fit(shoes, config, stopped) == Outcome.FINISHED
    for file in ("model.safetensors", "checkpoints/step-00000012.safetensors"):
        ours, theirs = weights(stopped / file), weights(whole / file)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    lines = [[(line["step"], line["loss_d"], line["loss_g"]) for line in log(run)] for run in (whole, stopped)]
    assert lines[0] == lines[1]
    assert [step for step, _, _ in lines[0]] == [5, 10, 12]


@pytest.mark.parametrize("trainer", STEPS)
def test_n_critic_updates_d_that_often_and_moves_the_terms_with_it(
    trainer: str, shoes: LabelledImages, tmp_path: Path
) -> None:
    config = SMALL.model_copy(update={**EVERYTHING, "trainer": trainer, "n_critic": 3, "steps": 4})
    fit(shoes, config, tmp_path / "run")
    tensors = weights(tmp_path / "run/checkpoints/step-00000004.safetensors")
    assert {int(t) for name, t in tensors.items() if re.fullmatch(r"optimizer_g\.\d+\.step", name)} == {4}
    assert {int(t) for name, t in tensors.items() if re.fullmatch(r"optimizer_d\.\d+\.step", name)} == {12}
    assert tensors["terms.0"].shape == (1,)  # Fisher's multiplier
    assert tensors["terms.1"].shape == (2,)  # LeCam's averages
    assert tensors["terms.0"] != 0
    assert (tensors["terms.1"] != 0).all()


def test_lazy_penalties_are_due_every_so_many_steps_and_as_many_times_heavier(
    shoes: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches_seen: list[int] = []

    def one(critic: Critic, batch: Batch, random: torch.Generator) -> torch.Tensor:
        batches_seen.append(len(batch.real))
        return critic(batch.real, batch.real_labels).sum() * 0 + 1

    monkeypatch.setitem(PENALTIES, "r1", one)
    config = SMALL.model_copy(update={"penalties": {"r1": 0.5}, "penalty_every": 5, "steps": 11})
    fit(shoes, config, tmp_path / "run")
    assert batches_seen == [8] * 3  # at the first, sixth and eleventh step
    state = start(config, Shape(3, 1, 12, 4, 8), torch.device("cpu"))
    penalty = make_setup(state, config).penalty
    assert penalty is not None
    real, labels = batches(shoes, 8, state.random)()
    assert penalty(Batch(real, labels, -real, labels)).item() == 0.5 * 5


def test_a_run_made_before_a_setting_existed_continues_with_its_default(shoes: LabelledImages, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL, run, stopped=stop_after(2))
    marker = json.loads((run / ".augment.json").read_text())
    del marker["identity"]["settings"]["gan"]["n_critic"], marker["identity"]["settings"]["gan"]["penalties"]
    (run / ".augment.json").write_text(json.dumps(marker))
    rewrite(
        run / "checkpoints/step-00000002.safetensors", lambda _, about: setattr(about, "identity", marker["identity"])
    )
    with pytest.raises(OutputError, match="n_critic: 1, now 2"):
        fit(shoes, SMALL.model_copy(update={"n_critic": 2}), run)
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    assert load_model(run).about.step == 12


def interrupted(shoes: LabelledImages, run: Path) -> list[Path]:
    """A run that was stopped at step 6; its checkpoints, of steps 6 and 4."""
    assert fit(shoes, SMALL, run, stopped=stop_after(6)) == Outcome.STOPPED
    return sorted((run / "checkpoints").iterdir(), reverse=True)


def rewrite(path: Path, change: Callable[[dict[str, Tensor], About], object]) -> None:
    """Change a checkpoint's content, with a checksum that fits."""
    tensors, about = load_tensors(path, About)
    change(tensors, about)
    path.write_bytes(dump_tensors(tensors, about))


DAMAGES: dict[str, tuple[Callable[[dict[str, Tensor], About], object], str]] = {
    "no optimiser": (lambda t, _: [t.pop(n) for n in list(t) if n.startswith("optimizer_d")], "lacks the state of opt"),
    "a weight that is no number": (lambda t, _: t["ema.embed.weight"].fill_(torch.nan), "no finite numbers"),
    "no random state": (lambda t, _: t.pop("random"), "has no fitting random"),
    "other settings": (
        lambda _, a: a.identity["settings"]["gan"].update(seed=4),
        "under other settings .gan.seed: 4, n",
    ),
    "other data": (lambda _, a: a.identity.update(data={"training images": "0"}), "other training images"),
    "a newer version": (lambda _, a: a.identity["settings"]["gan"].update(optimism=1), "gan.optimism: not known to"),
    "a negative step": (lambda _, a: setattr(a, "step", -1), "its description is of another version"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_older_checkpoint_takes_the_place_of_a_damaged_one_and_is_named(
    damage: str, whole: Path, shoes: LabelledImages, tmp_path: Path
) -> None:
    newest, older = interrupted(shoes, tmp_path / "run")
    change, message = DAMAGES[damage]
    rewrite(newest, change)
    notes: list[str] = []
    assert fit(shoes, SMALL, tmp_path / "run", on_note=notes.append) == Outcome.FINISHED
    assert len(notes) == 1
    assert re.search(rf"{newest.name}.*{message}.*goes on from the older checkpoint .*{older.name}, step 4", notes[0])
    assert same(tmp_path / "run", whole)


def test_without_a_readable_checkpoint_a_run_is_refused_and_nothing_lost(shoes: LabelledImages, tmp_path: Path) -> None:
    for path in interrupted(shoes, tmp_path / "run"):
        path.write_bytes(path.read_bytes()[:500])
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    message = r"step-00000006\.safetensors is not a model or checkpoint.*; .*step-00000004.*; give --overwrite to begin"
    with pytest.raises(SourceError, match=message):
        fit(shoes, SMALL, tmp_path / "run")
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


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
    with pytest.raises(OutputError, match=r"gan\.seed: 0, now 1"):
        fit(shoes, SMALL.model_copy(update={"seed": 1}), run)
    assert fit(shoes, SMALL, run) == Outcome.WAS_FINISHED


def test_another_number_of_threads_is_said(shoes: LabelledImages, tmp_path: Path) -> None:
    interrupted(shoes, tmp_path / "run")
    notes: list[str] = []
    torch.set_num_threads(2)
    try:
        fit(shoes, SMALL, tmp_path / "run", on_note=notes.append)
    finally:
        torch.set_num_threads(1)
    assert re.search(r"begun with 1 threads and goes on with 2.*not the same to the bit.*--threads 1", notes[0])


def same(ours: Path, theirs: Path) -> bool:
    first, second = (weights(run / "model.safetensors") for run in (ours, theirs))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_run_goes_back_to_its_checkpoint_and_its_log_is_cut(
    whole: Path, shoes: LabelledImages, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    fit(shoes, SMALL, killed, stopped=stop_after(8))
    with (killed / "log.jsonl").open("a") as file:  # what a run that was killed at step 11 had written
        file.write('{"step": 10, "loss_d": 9.0, "loss_g": 9.0, "images_per_second": 1.0}\n{"step": 11, "los')
    fit(shoes, SMALL, killed)
    assert [line["loss_d"] for line in log(killed)] == [line["loss_d"] for line in log(whole)]


def test_a_finished_run_is_left_alone_and_more_steps_continue_it(
    whole: Path, shoes: LabelledImages, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL.model_copy(update={"steps": 7}), run)
    model = (run / "model.safetensors").read_bytes()
    assert fit(shoes, SMALL.model_copy(update={"steps": 7}), run) == Outcome.WAS_FINISHED
    assert (run / "model.safetensors").read_bytes() == model
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    ours, theirs = (weights(r / "model.safetensors") for r in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_folder_holds_what_the_contract_says(whole: Path) -> None:
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


OTHERS = [({"loss": "minimax"}, "loss: hinge, now minimax"), ({"seed": 9}, "seed: 0, now 9")]


@pytest.mark.parametrize(("change", "named"), OTHERS)
def test_other_settings_are_refused_and_overwrite_begins_anew(
    change: dict[str, object], named: str, shoes: LabelledImages, tmp_path: Path
) -> None:
    fit(shoes, SMALL, tmp_path / "run", stopped=stop_after(2))
    other = SMALL.model_copy(update=change)
    with pytest.raises(OutputError, match=named):
        fit(shoes, other, tmp_path / "run")
    assert fit(shoes, other, tmp_path / "run", overwrite=True) == Outcome.FINISHED
    assert log(tmp_path / "run")[-1]["step"] == 12


def test_other_images_are_refused(whole: Path, shoes: LabelledImages) -> None:
    darker = LabelledImages(shoes.images // 2, shoes.labels, shoes.class_names)
    with pytest.raises(OutputError, match="other training images"):
        fit(darker, SMALL, whole)


def test_a_diverged_run_keeps_the_last_good_checkpoint(
    shoes: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(shoes, SMALL, tmp_path / "run", stopped=stop_after(6))
    good = tmp_path / "run/checkpoints/step-00000006.safetensors"
    steep = LOSSES["hinge"]._replace(generator=lambda _, l_f: -l_f.exp().mean() * 1e38)
    monkeypatch.setitem(LOSSES, "hinge", steep)
    with pytest.raises(DivergedError, match=r"diverged: .* at step \d+; the last good checkpoint is .*step-00000006"):
        fit(shoes, SMALL, tmp_path / "run")
    assert all(bool(t.isfinite().all()) for t in weights(good).values())


def test_the_global_random_state_is_not_touched(whole: Path, shoes: LabelledImages, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    fit(shoes, SMALL, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    ours, theirs = (weights(r / "model.safetensors") for r in (tmp_path / "run", whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_batches_draw_every_class_equally_often_and_the_right_pictures(shoes: LabelledImages) -> None:
    draw = batches(shoes, 3000, torch.Generator().manual_seed(0))
    images, labels = draw()
    shares = labels.bincount(minlength=3) / 3000
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.04)  # 9, 6 and 4 images: not in proportion
    pixels = ((images[:60] + 1) * 127.5).round().byte().numpy()
    for image, label in zip(pixels, labels[:60], strict=True):
        assert any(np.array_equal(image, real) for real in shoes.images[shoes.labels == int(label)])
    assert len({image.tobytes() for image in images.numpy()}) == len(shoes)


def test_the_average_follows_quickly_at_first_and_slowly_later() -> None:
    average, model = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    for step, kept in ((1, 2 / 11), (5000, 0.99)):
        expected = kept * average.weight.detach() + (1 - kept) * model.weight.detach()
        update_ema(average, model, 0.99, step)
        torch.testing.assert_close(average.weight.detach(), expected)


def test_a_model_older_than_its_checkpoint_is_made_again(whole: Path, shoes: LabelledImages, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL.model_copy(update={"steps": 7}), run)
    old = (run / "model.safetensors").read_bytes()
    fit(shoes, SMALL, run)
    (run / "model.safetensors").write_bytes(old)  # as if killed between the last checkpoint and the model
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    ours, theirs = (weights(r / "model.safetensors") for r in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
