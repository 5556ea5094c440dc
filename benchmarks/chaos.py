"""Kill every command at random moments, run it again, and compare its output with that of an uninterrupted run.

    python benchmarks/chaos.py --kills 200 --seed 0 --jobs 2

Half of the kills are exits just before a random change on the disk (a write, a rename, a deletion or a new folder).
The other half are signals at a random moment: SIGKILL, SIGTERM, SIGINT or SIGHUP. Commands are forked from a process
that has already imported torch, so that 200 kills take minutes; every tenth starts as a new process, which may be
killed from its first millisecond on. The benchmark prints one line per kill. It exits with 1 if a command ends in an
unexpected way, if the same command cannot continue after the kill, or if the output differs. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chaos_cases import CASES, Case, outputs, prepare

from pipelines.process import STOPPED, STOPPED_OVERWRITING

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
SENTENCES = (STOPPED, STOPPED_OVERWRITING)  # with --overwrite, the same command would start again


def exit_at_change(number: int) -> Callable[[], int]:
    """Make this process exit before its `number`-th change on the disk; return a function that counts the changes."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os._exit(137)
            return function(*arguments, **options)

        return call

    for name in ("write", "replace", "rename", "unlink", "mkdir", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    return lambda: count


def start_command(folder: Path, command: list[str], exit_at: int = 0) -> int:
    """Start a command in a child process in `folder` and return the process id."""
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    os.setsid()
    reset_signals()
    for descriptor, name in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.argv = ["augment", *command]
    count = exit_at_change(exit_at)
    from pipelines.__main__ import main

    status = 1
    try:
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(os.open(folder / "changes.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), str(count()).encode())
    os._exit(status)


def reset_signals() -> None:
    """Restore the default handlers in a new process, because `nohup`, for example, makes it ignore signals."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_for(child: int) -> int:
    """Wait for a child process and return its exit status, which is negative after a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def finish(folder: Path, command: list[str]) -> str:
    """Run a command to its end; return an error message, or "" if it succeeded."""
    status = wait_for(start_command(folder, command))
    return "" if status == 0 else f"ended with status {status}: {(folder / 'stderr.txt').read_text()[-400:]}"


def measure(case: Case, folder: Path) -> None:
    """Run a case without interruption and store its time, its changes on the disk and its output."""
    prepare(folder)
    for command in case.before:
        assert not (error := finish(folder, command)), error
    shutil.copytree(folder, folder.with_name(folder.name + "-before"))
    start = time.monotonic()
    assert not (error := finish(folder, case.command)), f"{case.name}: {error}"
    case.seconds, case.changes = time.monotonic() - start, int((folder / "changes.txt").read_text())
    case.expected = outputs(folder)


def kill_once(case: Case, before: Path, folder: Path, rng: random.Random) -> tuple[str, str]:
    """Kill a case once and run it again; return (description of the kill, error message or "")."""
    shutil.copytree(before, folder)
    if rng.random() < 0.5:
        number = rng.randint(1, max(case.changes, 1))
        description = f"exit at change {number} of {case.changes}"
        status = wait_for(start_command(folder, case.command, exit_at=number))
        error = "" if status in (0, 137) else f"status {status}"
    else:
        description, error = kill_by_signal(case, folder, rng)
    error = error or finish(folder, case.command)
    if not error and (actual := outputs(folder)) != case.expected:
        names = [name for name in {*actual, *case.expected} if actual.get(name) != case.expected.get(name)]
        error = f"other contents: {', '.join(sorted(names)[:5])}"
    if not error:
        shutil.rmtree(folder)
    return description, error


def kill_by_signal(case: Case, folder: Path, rng: random.Random) -> tuple[str, str]:
    """Send a signal at a random moment; return (description of the kill, error message or "")."""
    number, new_process = rng.choice(SIGNALS), rng.random() < 0.2
    delay = rng.uniform(0, case.seconds + (3 if new_process else 0))
    description = f"{number.name} after {delay:.2f} s" + (" in a new process" if new_process else "")
    if new_process:
        code = "from pipelines.__main__ import main; main()"
        with (folder / "stderr.txt").open("w") as err, (folder / "stdout.txt").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *case.command],
                cwd=folder,
                stderr=err,
                stdout=out,
                start_new_session=True,
                preexec_fn=reset_signals,
            )
        time.sleep(delay)
        process.send_signal(number)
        status, child = process.wait(), process.pid
    else:
        child = start_command(folder, case.command)
        time.sleep(delay)
        os.kill(child, number)
        status = wait_for(child)
    if not group_ends(child):
        return description, "worker processes are left"
    text = (folder / "stderr.txt").read_text()
    too_early = new_process and status in (-number, 1) and "pipelines" not in text  # before the first line of our code
    expected = {0: ("",), -signal.SIGKILL: ("",), 128 + number: SENTENCES}
    fine = too_early or (status in expected and text.endswith(expected[status]) and "Traceback" not in text)
    return description, "" if fine else f"ended with status {status}: {text[-400:]}"


def group_ends(group: int, seconds: float = 5) -> bool:
    """Return whether all processes of a process group end within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="number of commands that run at the same time")
    parser.add_argument("--case", action="append", help="run only cases of this name; may be repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    cases = [case for case in CASES if not options.case or case.name in options.case]
    root = Path(tempfile.mkdtemp(prefix="chaos-"))
    for index, case in enumerate(cases):
        measure(case, root / f"case{index}")
        print(f"{case.name}: {case.seconds:.1f} s, {case.changes} changes on the disk", flush=True)
    seeds = np.random.SeedSequence(options.seed).generate_state(options.kills)

    def has_failed(kill: int) -> bool:
        rng = random.Random(int(seeds[kill]))
        index = kill % len(cases)
        description, error = kill_once(cases[index], root / f"case{index}-before", root / f"kill{kill}", rng)
        print(f"{kill} {cases[index].name}, {description}: {error or 'the same'}", flush=True)
        return bool(error)

    with ThreadPoolExecutor(options.jobs) as pool:
        failures = sum(pool.map(has_failed, range(options.kills)))
    print(f"{options.kills} kills, {failures} differences" + (f"; see {root}" if failures else ""))
    if not failures:
        shutil.rmtree(root)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
