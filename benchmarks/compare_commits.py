"""Do two commits give the same figures? python benchmarks/compare_commits.py BEFORE AFTER [--set gan.steps=200 ...]

Each commit is checked out into a temporary folder, runs the quickstart there on one thread and in one process, and the
two results.json are compared value by value, but for versions and what only one of them has. Figures are the same to
the last digit on a CPU, or the reason is worth knowing.
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
    """The content of results.json of a commit's quickstart."""
    checkout = folder / "checkout"
    subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(checkout), commit], cwd=ROOT, check=True)
    try:
        (checkout / "augment" / "data").symlink_to(checkout / "data")  # as an installed package has it
        command = [sys.executable, "-m", "pipelines", "run", "quickstart", "--jobs", "1", "--out", str(folder / "out")]
        command += [part for override in overrides for part in ("--set", override)]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=checkout, env=environment, check=True)
        return dict(json.loads((folder / "out/evaluation/results.json").read_text()))
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(checkout)], cwd=ROOT, check=True)


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Each value that differs, with the path to it; keys that only one side has are named."""
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
        yield f"{path}: {before!r}, now {after!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="a.b=c")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        folders = [Path(name) / side for side in ("before", "after")]
        for folder in folders:
            folder.mkdir()
        commits = (arguments.before, arguments.after)
        before, after = pool.map(run_commit, commits, folders, [arguments.overrides] * 2)
    found = list(differences(before, after))
    print("\n".join(found) if found else "every figure is the same")
    print(before["recommendation"]["sentence"], after["recommendation"]["sentence"], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
