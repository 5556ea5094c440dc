"""A signal ends a command with one sentence at any moment, and its worker processes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

START = "from pipelines.__main__ import main; main()"
SENTENCE = "augment: stopped; run the same command again to continue\n"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its signals are others")


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=heed_signals,
    )


def heed_signals() -> None:
    """Handle signals in a new process, even if the tests run under `nohup` or another program that ignores them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_anything_is_imported_is_one_sentence(number: int) -> None:
    handled = "from pipelines.process import handle_signals; handle_signals(); print('ready', flush=True);"
    process = start(f"{handled} import torch, matplotlib.pyplot, sklearn, time; time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # in the middle of importing torch
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, SENTENCE)


def test_the_command_handles_signals_before_its_slow_imports() -> None:
    slow = ("typer", "torch", "numpy", "pydantic")
    code = f"import sys, pipelines.__main__; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


SAVES = """
import time
from pipelines.process import handle_signals, received_signal, stop_on_signal
handle_signals()
with stop_on_signal() as stopped:
    stopped()  # from here on there is something to save
    print("ready", flush=True)
    while not stopped():
        time.sleep(0.01)
    if {hangs}:
        time.sleep(60)
    print("saved", received_signal())
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_code_that_saves_may_finish_saving(number: int) -> None:
    process = start(SAVES.format(hangs=False))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, f"saved {number}\n", "")


@pytest.mark.parametrize("second", [True, False], ids=["a second signal", "5 seconds"])
def test_saving_ends_at_a_second_signal_or_after_5_seconds(second: bool) -> None:
    process = start(SAVES.format(hangs=True))
    assert process.stdout is not None
    process.stdout.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    if second:
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + (signal.SIGINT if second else signal.SIGTERM), SENTENCE)
    assert (time.monotonic() - began > 4) != second


def test_a_signal_that_is_ignored_stays_so() -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + SAVES.format(hangs=False)  # as under nohup
    process = start(code)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "saved 15\n"


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGKILL])
def test_worker_processes_end_with_their_command(number: int, image_folder: Path, tmp_path: Path) -> None:
    options = ("--arms", "none", "--repeats", "200", "--steps", "50", "--image-size", "12", "--jobs", "2", "--quiet")
    process = start(START, "evaluate", image_folder, "--out", tmp_path / "out", *options)
    records = tmp_path / "out" / "records.jsonl"
    wait_for(lambda: records.exists() and records.stat().st_size > 0)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    for worker in workers if number == signal.SIGINT else ():
        worker.send_signal(number)  # as Ctrl-C in a terminal does
    process.send_signal(number)
    process.wait(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    _, err = process.communicate()
    expected = (-number, "") if number == signal.SIGKILL else (128 + number, SENTENCE)
    assert (process.returncode, err) == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no file that is always full")
def test_a_full_standard_output_is_one_sentence() -> None:
    command = [sys.executable, "-c", START, "inspect", "bundled:fashion"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("augment: no room on the disk for standard output")


def test_a_closed_standard_output_ends_without_a_word() -> None:
    process = start(START, "inspect", "bundled:fashion")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
