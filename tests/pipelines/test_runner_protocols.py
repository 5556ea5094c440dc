"""Whole pipelines with several folds, and with a mix that is chosen; small, with real generators and classifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from observing import Kept
from tensors import weights
from tiny_pipeline import go

from augment.generators.runs import GeneratorMetadata, read_log, read_model
from augment.runtime import Runtime
from pipelines.config.reading import parse
from pipelines.config.sections import Pipeline
from pipelines.experiment import fold_generators
from pipelines.experiment.loading import load
from pipelines.experiment.protocols import inner_folds, make_protocol
from pipelines.results.document import Results
from pipelines.runner import run

TREE: dict[str, Any] = {
    "data": {"image_size": 12},
    "generator": {"width": 4, "latent_dim": 8, "steps": 40, "batch_size": 8, "log_every": 15, "checkpoint_every": 4},
    "generate": {"per_class": 24},
    "protocol": {"kind": "kfold", "folds": 2},
    "choose": {"arm": "none+synthetic", "ratios": [0.5, 1.0], "keep": [1.0, 0.5], "splits": 1, "repeats": 2},
    "evaluate": {
        "arms": ["none", "none+synthetic"],
        "repeats": 2,
        "classifier": {"width": 4, "steps": 3, "batch_size": 6},
    },
}


def read_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pipeline_of(image_folder: Path, **changes: dict[str, Any]) -> Pipeline:
    tree = {key: {**section, **changes.get(key, {})} for key, section in TREE.items()}
    tree["data"]["source"] = str(image_folder / "train")
    return parse(Pipeline, tree, "the test")


def any_checkpoint(folder: Path) -> bool:
    return any(folder.rglob("checkpoints/*.safetensors"))


@pytest.fixture(scope="module")
def done(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """Run in two processes and stopped on its way: while it trains and while it chooses."""
    folder = tmp_path_factory.mktemp("kfold") / "out"
    pipeline, training, choosing = pipeline_of(image_folder), Kept(), Kept()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_generators, "POLL_SECONDS", 0.005)
        stopped = Runtime(jobs=2, observer=training, stopped=lambda: any_checkpoint(folder))
        assert run(pipeline, folder, stopped) is None
    assert [task.name for task in training.started] == ["fit"]
    stopped = Runtime(jobs=2, observer=choosing, stopped=lambda: choosing.done.get("choose", [0])[-1] == 9)
    assert run(pipeline, folder, stopped) is None
    assert [task.name for task in choosing.started] == ["fit", "generate", "cross-fit", "choose"]
    results = run(pipeline, folder, Runtime(jobs=2))
    assert results is not None
    return folder, results


def test_every_generator_saw_its_own_training_images_and_no_others(
    done: tuple[Path, Results], image_folder: Path
) -> None:
    folder, _ = done
    pipeline = pipeline_of(image_folder)
    folds = make_protocol(load(pipeline.data), pipeline.data, pipeline.protocol, 2).folds
    assert pipeline.choose is not None
    inner = inner_folds(folds, pipeline.choose, pipeline.data.seed)
    every = [*folds, *(fold for splits in inner.values() for fold in splits)]
    assert len(every) == 2 + 2
    seeds = set()
    for fold in every:
        gan = folder / "folds" / fold.name / "gan"
        identity = read_model(gan, GeneratorMetadata)[1].identity
        assert identity["data"] == {"training images": fold.train.fingerprint}
        seeds.add(identity["settings"]["generator"]["seed"])
        assert [line.step for line in read_log(gan)] == [15, 30, 40]  # however often it was stopped
    assert len(seeds) == 4


def test_processes_and_interruptions_change_nothing(
    done: tuple[Path, Results], image_folder: Path, tmp_path: Path
) -> None:
    folder, results = done
    again = run(pipeline_of(image_folder), tmp_path / "out")
    assert again == results
    for name in ("f0", "f1-inner0"):
        path = Path("folds", name, "gan", "model.safetensors")
        ours, theirs = (weights(at / path) for at in (folder, tmp_path / "out"))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_each_fold_is_evaluated_with_the_mix_that_was_chosen_on_it(done: tuple[Path, Results]) -> None:
    folder, results = done
    choice = json.loads((folder / "choice" / "choice.json").read_text())
    assert results.choice.model_dump() == choice
    assert set(choice["by_fold"]) == {"f0", "f1"}
    assert choice["candidates_tried"] == len(choice["candidates"]) == 4
    tried = read_records(folder / "choice" / "records.jsonl")
    assert len(tried) == 2 * 2 * (1 + 4)  # splits x repeats x (without and four mixes)
    for record in read_records(folder / "evaluation" / "records.jsonl"):
        expected = choice["by_fold"][record["fold"]] if record["arm"] == "none+synthetic" else {}
        assert record["mix"] == expected
    protocol = results.protocol
    assert (protocol.kind, protocol.folds, protocol.correlation, protocol.repeats) == ("kfold", 2, 0.5, 2)


def test_a_change_of_the_candidates_trains_no_generator(done: tuple[Path, Results], image_folder: Path) -> None:
    folder, _ = done
    stages, _ = go(pipeline_of(image_folder, choose={"keep": [1.0]}), folder)
    assert [stage.name for stage in stages if stage.runs] == ["choose", "evaluate"]
    assert stages[2].why == "choose.keep: [1.0, 0.5], now [1.0]"


def test_a_learning_curve_has_results_of_every_size(image_folder: Path, tmp_path: Path) -> None:
    tree = {key: section for key, section in TREE.items() if key != "choose"}
    tree["data"] = {"image_size": 12, "source": str(image_folder)}
    tree["protocol"] = {"kind": "subsample", "sizes": [3, 6]}
    kept = Kept()
    results = run(parse(Pipeline, tree, "the test"), tmp_path / "out", Runtime(observer=kept))
    assert results is not None
    assert kept.notes[0] == "subsample: as the pipeline says"
    assert [point.per_class for point in results.learning_curve] == [3, 6]
    assert results.protocol.correlation == 0.25  # 3 of 12
    assert results.comparisons == results.learning_curve[0].comparisons
    assert results.comparisons[0].ci95_two_way is not None
    assert " at 3 images per class" in results.recommendation.sentence
    assert "Learning curve" in (tmp_path / "out/evaluation/report.html").read_text()
