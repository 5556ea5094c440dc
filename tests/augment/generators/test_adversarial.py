"""Training continues where it stopped, to the bit, and refuses what it cannot continue."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fitting import SMALL, Notes, files_of, fit, rewrite, stop_after
from tensors import About, weights
from torch import Tensor

from augment.dataset.images import LabelledImages
from augment.errors import DivergedError, SourceError
from augment.gan import step_times
from augment.gan.losses import LOSSES
from augment.gan.penalties import PENALTIES, Batch, Critic
from augment.generators import adversarial
from augment.generators.base import Outcome, TrainingData
from augment.generators.registry import GENERATORS


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_an_estimate_includes_the_steps_with_penalties(shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(step: object, device: torch.device, penalty_every: int | None) -> float:
        return 1.0 if penalty_every is None else penalty_every

    monkeypatch.setattr(adversarial, "seconds_per_step", seconds)
    estimate, cpu = GENERATORS["cgan"].estimate_seconds, torch.device("cpu")
    assert estimate is not None
    assert estimate(TrainingData(shoes), SMALL, cpu) == SMALL.steps
    penalised = SMALL.model_copy(update={"penalties": {"r1": 0.1}, "penalty_every": 4})
    assert estimate(TrainingData(shoes), penalised, cpu) == 4 * SMALL.steps


@pytest.fixture(scope="module")
def whole(shoes: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    return run


def same(ours: Path, theirs: Path, file: str = "model.safetensors") -> bool:
    first, second = (weights(run / file) for run in (ours, theirs))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


EVERYTHING = {
    "loss": "fisher",
    "lecam": 0.1,
    "penalties": {"r1": 0.1, "gradient-penalty": 1.0},
    "penalty_every": 3,
}


@pytest.mark.parametrize(
    "change",
    [{"network": "projection", "precision": "bfloat16"}, {"network": "dcgan"}, {**EVERYTHING, "n_critic": 2}],
    ids=str,
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
    assert same(stopped, whole)
    assert same(stopped, whole, "checkpoints/step-00000012.safetensors")
    ours, theirs = ([{**line, "images_per_second": 0} for line in log(run)] for run in (stopped, whole))
    assert ours == theirs
    assert [line["step"] for line in ours] == [5, 10, 12]
    assert ours[0].keys() == {"step", "discriminator_loss", "generator_loss", "images_per_second"}


def test_penalties_are_due_every_so_many_steps(
    shoes: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def one(critic: Critic, batch: Batch, rng: torch.Generator) -> torch.Tensor:
        sizes.append(len(batch.real))
        return critic(batch.real, batch.real_labels).sum() * 0 + 1

    monkeypatch.setitem(PENALTIES, "r1", one)
    fit(shoes, SMALL.model_copy(update={"penalties": {"r1": 0.5}, "penalty_every": 5, "steps": 11}), tmp_path / "run")
    assert sizes == [8] * 3  # at the first, sixth and eleventh step


def interrupted(shoes: LabelledImages, run: Path) -> list[Path]:
    """A run that was stopped at step 6, and its checkpoints of steps 6 and 4."""
    assert fit(shoes, SMALL, run, stopped=stop_after(6)) == Outcome.STOPPED
    return sorted((run / "checkpoints").iterdir(), reverse=True)


DAMAGES: dict[str, tuple[Callable[[dict[str, Tensor], About], object], str]] = {
    "no optimiser": (lambda t, _: [t.pop(n) for n in list(t) if n.startswith("optimizer_d")], "lacks the state of opt"),
    "a weight that is no number": (lambda t, _: t["ema.embed.weight"].fill_(torch.nan), "values that are not finite"),
    "a random state of a GPU": (
        lambda t, _: t.update(random=t["random"][:16]),
        "was written on another kind of device",
    ),
    "no random state": (lambda t, _: t.pop("random"), "lacks random, or its shape or dtype differs"),
    "other settings": (
        lambda _, a: a.identity["settings"]["generator"].update(seed=4),
        "under other settings .generator.seed: 4, n",
    ),
    "other data": (lambda _, a: a.identity.update(data={"training images": "0"}), "other training images"),
    "a newer version": (
        lambda _, a: a.identity["settings"]["generator"].update(optimism=1),
        "generator.optimism: not known to",
    ),
    "a negative step": (lambda _, a: setattr(a, "step", -1), "its metadata are of another version"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_older_checkpoint_replaces_a_damaged_one_and_is_named(
    damage: str, whole: Path, shoes: LabelledImages, tmp_path: Path
) -> None:
    newest, older = interrupted(shoes, tmp_path / "run")
    change, message = DAMAGES[damage]
    rewrite(newest, change)
    notes = Notes()
    assert fit(shoes, SMALL, tmp_path / "run", observer=notes) == Outcome.FINISHED
    (sentence,) = notes.sentences
    assert re.search(rf"{newest.name}.*{message}.*continues from the older checkpoint .*{older.name}, step 4", sentence)
    assert same(tmp_path / "run", whole)


def test_without_a_readable_checkpoint_a_run_is_refused_and_nothing_lost(shoes: LabelledImages, tmp_path: Path) -> None:
    for path in interrupted(shoes, tmp_path / "run"):
        path.write_bytes(path.read_bytes()[:500])
    before = files_of(tmp_path / "run")
    message = r"step-00000006\.safetensors is not a model or checkpoint.*; .*step-00000004.*; give --overwrite to start"
    with pytest.raises(SourceError, match=message):
        fit(shoes, SMALL, tmp_path / "run")
    assert files_of(tmp_path / "run") == before


def test_another_number_of_threads_is_noted(shoes: LabelledImages, tmp_path: Path) -> None:
    interrupted(shoes, tmp_path / "run")
    notes = Notes()
    torch.set_num_threads(2)
    try:
        fit(shoes, SMALL, tmp_path / "run", observer=notes)
    finally:
        torch.set_num_threads(1)
    (sentence,) = notes.sentences
    assert re.search(
        r"written with 1 threads and the run continues with 2, .*identical bit for bit, use --threads", sentence
    )


@pytest.mark.parametrize(("limit", "other_limit", "chosen"), [(1e9, 0.0, "bfloat16"), (0.0, 1e9, "float32")])
def test_precision_auto_is_measured_once_and_kept(
    limit: float,
    other_limit: float,
    chosen: str,
    shoes: LabelledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, notes = SMALL.model_copy(update={"precision": "auto"}), Notes()
    monkeypatch.setattr(step_times, "CLEARLY_FASTER", limit)
    fit(shoes, config, tmp_path / "run", stopped=stop_after(5), observer=notes)
    monkeypatch.setattr(step_times, "CLEARLY_FASTER", other_limit)  # what another machine may find
    fit(shoes, config, tmp_path / "run", observer=notes)
    (sentence,) = notes.sentences
    assert re.match(rf"precision: {chosen}, because a step in bfloat16 takes \d+\.\d\d times as long", sentence)
    fit(shoes, SMALL.model_copy(update={"precision": chosen}), tmp_path / "explicit")
    assert same(tmp_path / "run", tmp_path / "explicit")


def test_a_killed_run_goes_back_to_its_checkpoint_and_cuts_its_log(
    whole: Path, shoes: LabelledImages, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    fit(shoes, SMALL, killed, stopped=stop_after(8))
    with (killed / "log.jsonl").open("a") as file:  # what a run that was killed at step 11 had written
        line = {"step": 10, "discriminator_loss": 9.0, "generator_loss": 9.0, "images_per_second": 1.0}
        file.write(json.dumps(line) + '\n{"step": 11, "los')
    fit(shoes, SMALL, killed)
    assert [line["discriminator_loss"] for line in log(killed)] == [line["discriminator_loss"] for line in log(whole)]


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
    assert same(tmp_path / "run", whole)


def test_a_model_older_than_its_checkpoint_is_written_again(whole: Path, shoes: LabelledImages, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(shoes, SMALL.model_copy(update={"steps": 7}), run)
    old = (run / "model.safetensors").read_bytes()
    fit(shoes, SMALL, run)
    (run / "model.safetensors").write_bytes(old)  # as if killed between the last checkpoint and the model
    assert fit(shoes, SMALL, run) == Outcome.FINISHED
    assert same(run, whole)
