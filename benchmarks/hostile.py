"""Damage files that a command reads back from its own folders, run the command, and check its behaviour.

    python benchmarks/hostile.py --cases 500 --seed 0 --jobs 2

A damaged file is truncated, emptied, filled with noise, has flipped bits or values of other types, is replaced by a
folder, a pipe or a link to a file outside, or is deleted. The command may refuse with one sentence or repair the
damage. It must not end with a traceback, hang, or touch anything outside its folder. If it succeeds, its output must be
the same as without the damage. The benchmark prints one line per case and exits with 1 if a case fails.
`hostile_sources.py` does the same for the inputs of the user.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chaos import finish, start_command
from chaos_cases import EVALUATION, FIT, GENERATE, RUN, TUNE, outputs, prepare

SECONDS = 60  # a command that takes longer hangs
RERUNS = {  # name -> (command that runs after others have ended, folder with files that it reads)
    "fit": (FIT, "out"),
    "fit further": ([*FIT, "--steps", "50"], "out"),
    "fit with another loss": ([*FIT, "--loss", "fisher"], "out"),
    "generate": ([*GENERATE, "--seed", "5", "--overwrite"], "out"),
    "generate again": (GENERATE, "images"),
    "evaluate": ([*EVALUATION, "1"], "answer"),
    "tune": (TUNE, "tuned"),
    "run": ([*RUN[:3], "whole", *RUN[4:]], "whole"),
}
LEAVES: list[Any] = [
    None, True, -1, 0, 10**30, 1e308, "", "x" * 10**5, "../bystander/thesis.txt", "/etc/passwd", "\x1b[2J", "\udcff",
    [], {}, [[]], {"a": {}}, "NaN", "2020-13-45",
]  # fmt: skip


def flip(content: bytes, rng: random.Random) -> bytes:
    index = rng.randrange(max(len(content), 1))
    flipped = (content[index] if content else 0) ^ (1 << rng.randrange(8))
    return content[:index] + bytes([flipped]) + content[index + 1 :]


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(max(len(content), 1))]


def delete_range(content: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(max(len(content), 1)) for _ in range(2))
    return content[:start] + content[stop:]


def change_json(content: bytes, rng: random.Random) -> bytes:
    """Change one value of a JSON document, or of one line of JSON lines; delete a range where there is no JSON."""
    lines = (
        content.splitlines() if content.count(b"\n") > 1 and content[:1] == b"{" and b"}\n{" in content else [content]
    )
    index = rng.randrange(len(lines))
    try:
        tree = json.loads(lines[index])
    except (ValueError, RecursionError):
        return delete_range(content, rng)
    lines[index] = json.dumps(change_tree(tree, rng)).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n"


def change_tree(tree: Any, rng: random.Random) -> Any:
    """Return a copy with one leaf or branch changed, removed or added."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.15:
        return rng.choice(LEAVES)
    copy: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    kind = rng.random()
    if kind < 0.1:
        del copy[key]
    elif kind < 0.2 and isinstance(copy, dict):
        copy[rng.choice(["", "files", "x\x1b", "__class__"])] = rng.choice(LEAVES)
    else:
        copy[key] = change_tree(copy[key], rng)
    return copy


CONTENTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": flip,
    "truncated": truncate,
    "with a gap": delete_range,
    "another value": change_json,
    "another value, again": change_json,  # twice in the list, and so twice as likely
    "noise": lambda _, rng: rng.randbytes(rng.randrange(2000)),
    "empty": lambda *_: b"",
    "deep": lambda *_: b"[" * 50_000,
    "a list": lambda *_: b"[1, {}]",
    "a long number": lambda *_: b'{"step": ' + b"9" * 6000 + b"}",
    "no utf-8": lambda content, _: content[:20] + b"\xff\xfe" + content[20:],
    "twice": lambda content, _: content + content,
}


def damage(path: Path, rng: random.Random, bystander: Path) -> str:
    """Replace a file by something else; return what it was replaced by."""
    kind = rng.choice([*CONTENTS, *CONTENTS, "gone", "a folder", "a pipe", "a link", "a linked folder"])
    content = path.read_bytes()
    if kind == "a linked folder" and path.parent.parent.name not in ("out", "images", "answer", "tuned", "whole"):
        kind = "a link"
    if kind in CONTENTS:
        path.write_bytes(CONTENTS[kind](content, rng))
        return kind
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a link":
        path.symlink_to(bystander / "thesis.txt")
    elif kind == "a linked folder":
        shutil.rmtree(path.parent)
        path.parent.symlink_to(bystander)
    return kind


def attack(before: Path, folder: Path, rng: random.Random, expected: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """Damage one file and run a command that reads it; return (description, error message or "")."""
    shutil.copytree(before, folder, symlinks=True)
    name = rng.choice(list(RERUNS))
    command, subfolder = RERUNS[name]
    files = [p for p in sorted((folder / subfolder).rglob("*")) if p.is_file() and p.suffix not in (".png", ".html")]
    target = rng.choice(files)
    description = f"{name}, {target.relative_to(folder)}: {damage(target, rng, folder / 'bystander')}"
    child = start_command(folder, command)
    deadline, status = time.monotonic() + SECONDS, None
    while status is None and time.monotonic() < deadline:
        pid, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if pid else None
        time.sleep(0.02)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return description, "hangs"
    text = (folder / "stderr.txt").read_text()
    error = find_error(folder, subfolder, status, text, expected[name])
    if not error:
        shutil.rmtree(folder)
    return f"{description}: {status} {text[:150].strip()}", error


def find_error(folder: Path, subfolder: str, status: int, text: str, expected: dict[str, Any]) -> str:
    """Return a message if a command ended in a forbidden way or left a wrong output, otherwise ""."""
    if "Traceback" in text or status not in (0, 2):
        return f"status {status}: {text[-600:]}"
    lines = [line for line in text.splitlines() if not line.startswith("note: ")]
    if status == 2 and (len(lines) != 1 or not lines[0].startswith("augment: ") or len(text) > 3000):
        return f"not a single sentence: {text[-600:]}"
    outside = {p.name: p.read_bytes() for p in (folder / "bystander").iterdir()}
    if outside != {"thesis.txt": b"mine"}:
        return f"touched files outside its folder: {outside}"
    if status == 0:
        actual = {n: c for n, c in outputs(folder).items() if not n.startswith(f"{subfolder}/samples")}
        names = [n for n in {*actual, *expected} if actual.get(n) != expected.get(n) and "samples/" not in n]
        names = [n for n in names if not n.endswith(("config.yaml", "log.jsonl")) and "checkpoints" not in n]
        return f"another result without a message: {', '.join(sorted(names)[:5])}" if names else ""
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="number of commands that run at the same time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    root = Path(tempfile.mkdtemp(prefix="hostile-"))
    prepare(root / "before")
    for command in (FIT, GENERATE, [*EVALUATION, "1"], TUNE, RERUNS["run"][0]):
        assert not (error := finish(root / "before", command)), error
    expected = {}
    for name, (command, _) in RERUNS.items():
        shutil.copytree(root / "before", root / name)
        finish(root / name, command)  # some of these commands are refused, which is right
        expected[name] = outputs(root / name)
    seeds = np.random.SeedSequence(options.seed).generate_state(options.cases)

    def has_failed(case: int) -> bool:
        rng = random.Random(int(seeds[case]))
        description, error = attack(root / "before", root / f"case{case}", rng, expected)
        print(f"{case} {description}" + (f"\n    WRONG: {error}" if error else ""), flush=True)
        return bool(error)

    with ThreadPoolExecutor(options.jobs) as pool:
        failures = sum(pool.map(has_failed, range(options.cases)))
    print(f"{options.cases} cases, {failures} wrong" + (f"; see {root}" if failures else ""))
    if not failures:
        shutil.rmtree(root)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
