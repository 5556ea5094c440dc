"""Commands in processes of their own: Ctrl-C, a full disk, and output that nobody reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tensors import step_of, weights

from pipelines.cli.app import main

Augment = Callable[..., tuple[int, str]]
CODE = "from pipelines.__main__ import main; main()"
SETTINGS = {"width": 4, "latent_dim": 8, "batch_size": 4, "log_every": 5, "sample_every": 10**6}


def start(*arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=heed_signals,
    )


def heed_signals() -> None:
    """Handle signals in a new process, even if the tests run under `nohup` or another program that ignores them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def interrupt(process: subprocess.Popen[str], once: Callable[[], bool], number: int = signal.SIGINT) -> tuple[int, str]:
    """Press Ctrl-C when `once` is true; (exit status, standard error)."""
    deadline = time.monotonic() + 120
    while not once():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def steps(run: Path) -> list[int]:
    """The logged steps."""
    path = run / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("}")]


@pytest.fixture
def augment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Augment:
    """Run `augment` with arguments in this process, which is faster, and return (exit status, standard error)."""
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["augment", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            main()
        return int(exit.value.code or 0), capsys.readouterr().err

    return call


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(json.dumps(SETTINGS))
    return tmp_path / "tiny.yaml"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, keep: int) -> None:
    """Fill the disk up to the last `keep` bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(b"x" * (free - keep))


def test_ctrl_c_in_training_keeps_everything_and_it_can_be_continued(
    image_folder: Path, settings: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = ("fit", image_folder, "--out", run, "--config", settings, "--image-size", "12", "--steps", "1000000")
    stopped_at = [0]
    for number in (signal.SIGINT, signal.SIGTERM):
        status, err = interrupt(start(*command), lambda: any(step > stopped_at[-1] for step in steps(run)), number)
        begin = f"from step {stopped_at[-1]:,} to 1,000,000" if stopped_at[-1] else "1,000,000 steps"
        note = f"note: cgan: {begin} on 36 images of 3 classes at 12 px\n"
        stopped = "augment: stopped; run the same command again to continue\n"
        assert (status, err) == (128 + number, note + stopped)
        checkpoint = max((run / "checkpoints").iterdir())
        stopped_at.append(step_of(checkpoint))
        assert not (run / "model.safetensors").exists()
    assert 0 < stopped_at[1] < stopped_at[2]
    assert steps(run) == list(range(5, stopped_at[2] + 1, 5))  # no step is missing, none is there twice


def test_ctrl_c_in_an_evaluation_keeps_the_records_for_the_next_run(
    image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    out = tmp_path / "out"
    options = ("--arms", "none", "--repeats", "3", "--steps", "50", "--image-size", "12", "--jobs", "1", "--quiet")
    command = ("evaluate", image_folder, "--out", out, *options)
    records = out / "records.jsonl"
    status, err = interrupt(start(*command), lambda: records.exists() and records.stat().st_size > 0)
    assert (status, err) == (130, "augment: stopped; run the same command again to continue\n")
    kept = records.read_text()
    assert 0 < len(kept.splitlines()) < 3
    note = f"note: {len(kept.splitlines())} of 3 classifiers are trained already\n"
    assert augment(*command) == (0, note)
    assert records.read_text().startswith(kept)
    assert len(records.read_text().splitlines()) == 3


def test_a_full_disk_spares_the_checkpoints_and_training_can_be_continued(
    image_folder: Path, settings: Path, small_disk: Path, tmp_path: Path, augment: Augment
) -> None:
    options = ("--config", settings, "--image-size", "8", "--quiet", "--steps")
    command = ("fit", image_folder, "--out", small_disk / "run", *options)
    assert augment(*command, "20") == (0, "")
    model = (small_disk / "run" / "model.safetensors").read_bytes()
    fill(small_disk, keep=8192)
    status, err = augment(*command, "40")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("augment: no room on the disk")
    assert (small_disk / "run" / "model.safetensors").read_bytes() == model
    assert step_of(small_disk / "run" / "checkpoints" / "step-00000020.safetensors") == 20
    (small_disk / "filler").unlink()
    assert augment(*command, "40") == (0, "")
    assert augment("fit", image_folder, "--out", tmp_path / "whole", *options, "40") == (0, "")
    ours, theirs = (weights(folder / "model.safetensors") for folder in (small_disk / "run", tmp_path / "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("form", ["png", "npz"])
def test_images_are_generated_by_the_same_command_when_there_is_room(
    form: str, image_folder: Path, settings: Path, small_disk: Path, tmp_path: Path, augment: Augment
) -> None:
    options = ("--config", settings, "--image-size", "8", "--quiet", "--steps", "1")
    assert augment("fit", image_folder, "--out", tmp_path / "run", *options)[0] == 0
    command = ("generate", tmp_path / "run", "--out", small_disk / "images", "--per-class", "20", "--format", form)
    fill(small_disk, keep=4096)
    status, err = augment(*command)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("augment: no room on the disk")
    (small_disk / "filler").unlink()
    assert augment(*command) == (0, "")
    assert len(list((small_disk / "images").rglob("*.png"))) == (60 if form == "png" else 0)


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = start("inspect", "bundled:fashion")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


def test_a_closed_output_is_no_error() -> None:
    command = [sys.executable, "-m", "pipelines", "--version"]
    process = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True)
    assert (process.returncode, process.stderr) == (0, "")
