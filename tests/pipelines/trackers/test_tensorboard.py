"""TensorBoard has metrics, settings and notes of tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracking import FIT, events_in, texts

from augment.runtime import Task
from pipelines.trackers.registry import make_tracker


def test_tensorboard_has_each_metric_at_its_step(tmp_path: Path) -> None:
    tracker = make_tracker(["tensorboard"], tmp_path, pytest.fail)
    tracker.on_progress(FIT, 10, {"loss": 3.5, "none+more accuracy": 0.5})
    tracker.on_progress(FIT, 20, {"loss": 2.5}, "a label")
    tracker.on_end(FIT, {"loss": 1.5})
    events = events_in(tmp_path)
    assert events.Tags()["scalars"] == ["fit/loss", "fit/none+more accuracy"]
    assert [(e.step, e.value) for e in events.Scalars("fit/loss")] == [(10, 3.5), (20, 2.5), (40, 1.5)]


def test_tensorboard_has_settings_and_notes_as_text(tmp_path: Path) -> None:
    tracker = make_tracker(["tensorboard"], tmp_path, pytest.fail)
    tracker.on_note("One image is broken.")
    tracker.on_start(Task("fit", 40, settings={"data": {"name": "cats"}, "rate": 0.25}))
    tracker.on_progress(FIT, 10, {})
    tracker.on_note("Slow.")
    events = events_in(tmp_path)
    assert texts(events, "fit/settings") == [(0, "    data.name: cats\n    rate: 0.25")]
    assert texts(events, "notes") == [(0, "One image is broken.")]
    assert texts(events, "fit/notes") == [(10, "Slow.")]


def test_tensorboard_shows_an_interrupted_task_as_one(tmp_path: Path) -> None:
    for done in (10, 20):
        make_tracker(["tensorboard"], tmp_path, pytest.fail).on_progress(FIT, done, {"loss": 1.0})
    assert [e.step for e in events_in(tmp_path).Scalars("fit/loss")] == [10, 20]
