"""The records of TensorBoard and MLflow in a folder, as tests read them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from augment.runtime import Task

ROOT = Path(__file__).parents[2]
SETTINGS = {"data": {"name": "cats", "sizes": [3, 4]}, "rate": 0.25, "none+more": None, "long": "ab" * 5000}
FIT = Task("fit", 40, settings=SETTINGS)
FIT_LONGER = Task("fit", 50, settings={**SETTINGS, "rate": 0.5})


def client_of(database: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{database}")


def runs_in(database: Path) -> list[Any]:
    """All runs, the oldest first."""
    client = client_of(database)
    experiment = client.get_experiment_by_name("augment")
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


def steps_of(database: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client_of(database).get_metric_history(run.info.run_id, metric)]


def events_in(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload()


def texts(events: Any, tag: str) -> list[tuple[int, str]]:
    return [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors(f"{tag}/text_summary")]


IMPORTS = "import sys\nfrom pathlib import Path\nfrom pipelines.trackers.registry import *\n"


def run_python(code: str, folder: Path) -> str:
    """The output of a process without signs of a test, in which MLflow itself would turn telemetry off."""
    signs = ("CI", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    environment = {name: value for name, value in os.environ.items() if name not in signs}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{IMPORTS}{code}",
        ],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout
