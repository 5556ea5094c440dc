"""One process at a time writes into a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import FILES, contents, own, work

from augment.errors import OutputError
from augment.markers import MARKER
from augment.output_folders import LOCK, open_output

HOLD = """
import sys, time
from pathlib import Path
from augment.output_folders import open_output
with open_output(Path(sys.argv[1]), "fit"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder open."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_that_another_process_writes_is_refused_and_the_process_named(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=rf"out is being written by process {holder.pid} on \S+; wait until"):
        work(tmp_path / "out", overwrite=True)


def test_the_lock_of_a_killed_process_is_taken_over(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    work(tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out").keys() == {*FILES, MARKER}


def test_a_folder_is_opened_once_at_a_time_within_a_process(tmp_path: Path) -> None:
    with open_output(tmp_path / "out", "fit"), pytest.raises(OutputError, match=f"written by process {os.getpid()}"):
        work(tmp_path / "out", overwrite=True)


def test_the_lock_file_is_deleted_when_the_folder_is_closed(tmp_path: Path) -> None:
    own(tmp_path / "out")
    assert not (tmp_path / "out" / LOCK).exists()
