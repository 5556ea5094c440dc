"""Check whether two commits give the same results.

    python benchmarks/compare_commits.py BEFORE AFTER [--set gan.steps=200 ...]

Each commit is checked out into a temporary folder and runs the quickstart there, on one thread and in one process. The
two files results.json are then compared value by value, except for the versions. On a CPU all figures should be equal
to the last digit, so every difference needs a reason.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NOT_COMPARED = ("versions",)


def run_commit(commit: str, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Run the quickstart of a commit and return the content of its results.json."""
    checkout = folder / "checkout"
    subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(checkout), commit], cwd=ROOT, check=True)
    try:
        (checkout / "augment" / "data").symlink_to(checkout / "data")  # where an installed package has its data
        command = [sys.executable, "-m", "pipelines", "run", "quickstart", "--jobs", "1", "--out", str(folder / "out")]
        command += [part for override in overrides for part in ("--set", override)]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=checkout, env=environment, check=True)
        return dict(json.loads((folder / "out/evaluation/results.json").read_text()))
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(checkout)], cwd=ROOT, check=True)


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each value that differs and for each key that only one side has."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            if not path and key in NOT_COMPARED:
                continue
            if key in before and key in after:
                yield from differences(before[key], after[key], f"{path}.{key}" if path else key)
            else:
                yield f"{path}.{key}: only {'before' if key in before else 'after'}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{path}.{index}")
    elif before != after:
        yield f"{path}: {before!r} before, {after!r} after"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="a.b=c")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(2) as pool:
        folders = [Path(root) / side for side in ("before", "after")]
        for folder in folders:
            folder.mkdir()
        commits = (arguments.before, arguments.after)
        before, after = pool.map(run_commit, commits, folders, [arguments.overrides] * 2)
    lines = list(differences(before, after))
    print("\n".join(lines) if lines else "every figure is the same")
    print(before["recommendation"]["sentence"], after["recommendation"]["sentence"], sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
