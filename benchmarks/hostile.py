"""Damages every file that a command reads back from its own folders, runs the command, and looks at what it does.

    python benchmarks/hostile.py --cases 500 --seed 0 --jobs 2

A file is cut, flipped, emptied, filled with noise, given other values of other types, replaced by a folder, a pipe or
a link to a bystander's file, or deleted. The command may refuse in one sentence or mend what it finds; it may not end
in a traceback, hang, or touch anything outside of its folder, and where it succeeds it has to leave what it would have
left anyway. It prints a line a case and exits with 1 if one is wrong. Sources have a benchmark of their own.
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
from chaos import EVALUATION, FIT, GENERATE, RUN, TUNE, finish, forked, outputs, prepare

SECONDS = 60  # more is a hang
RERUNS = {  # a command that has ended, and what is read when it is run again, with the files that it reads
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
    place = rng.randrange(max(len(content), 1))
    return (
        content[:place] + bytes([(content[place] if content else 0) ^ (1 << rng.randrange(8))]) + content[place + 1 :]
    )


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(max(len(content), 1))]


def splice(content: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(max(len(content), 1)) for _ in range(2))
    return content[:a] + content[b:]


def other_leaf(content: bytes, rng: random.Random) -> bytes:
    """JSON in which one value, somewhere, is another one or gone; of several lines, in one of them."""
    lines = (
        content.splitlines() if content.count(b"\n") > 1 and content[:1] == b"{" and b"}\n{" in content else [content]
    )
    index = rng.randrange(len(lines))
    try:
        tree = json.loads(lines[index])
    except (ValueError, RecursionError):
        return splice(content, rng)
    lines[index] = json.dumps(changed(tree, rng)).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n"


def changed(tree: Any, rng: random.Random) -> Any:
    """A copy with one leaf or branch changed, removed or added."""
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
        copy[key] = changed(copy[key], rng)
    return copy


CONTENTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": flip,
    "cut": cut,
    "spliced": splice,
    "another value": other_leaf,
    "another value, again": other_leaf,
    "noise": lambda _, rng: rng.randbytes(rng.randrange(2000)),
    "empty": lambda *_: b"",
    "deep": lambda *_: b"[" * 50_000,
    "a list": lambda *_: b"[1, {}]",
    "a long number": lambda *_: b'{"step": ' + b"9" * 6000 + b"}",
    "no utf-8": lambda content, _: content[:20] + b"\xff\xfe" + content[20:],
    "twice": lambda content, _: content + content,
}


def damage(path: Path, rng: random.Random, bystander: Path) -> str:
    """Replace a file by something else: what was done."""
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
    """Damage one file and run a command that reads it: (what was done, what is wrong, or nothing)."""
    shutil.copytree(before, folder, symlinks=True)
    name = rng.choice(list(RERUNS))
    command, inside = RERUNS[name]
    files = [p for p in sorted((folder / inside).rglob("*")) if p.is_file() and p.suffix not in (".png", ".html")]
    target = rng.choice(files)
    how = f"{name}, {target.relative_to(folder)}: {damage(target, rng, folder / 'bystander')}"
    child = forked(folder, command)
    deadline, status = time.monotonic() + SECONDS, None
    while status is None and time.monotonic() < deadline:
        done, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        time.sleep(0.02)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return how, "hangs"
    text = (folder / "stderr.txt").read_text()
    wrong = judge(folder, inside, status, text, expected[name])
    if not wrong:
        shutil.rmtree(folder)
    return f"{how}: {status} {text[:150].strip()}", wrong


def judge(folder: Path, inside: str, status: int, text: str, expected: dict[str, Any]) -> str:
    """What is wrong with how a command ended, or nothing."""
    if "Traceback" in text or status not in (0, 2):
        return f"status {status}: {text[-600:]}"
    said = [line for line in text.splitlines() if not line.startswith("note: ")]
    if status == 2 and (len(said) != 1 or not said[0].startswith("augment: ") or len(text) > 3000):
        return f"no single sentence: {text[-600:]}"
    outside = {p.name: p.read_bytes() for p in (folder / "bystander").iterdir()}
    if outside != {"thesis.txt": b"mine"}:
        return f"touched what is outside: {outside}"
    if status == 0:
        left = {n: c for n, c in outputs(folder).items() if not n.startswith(f"{inside}/samples")}
        names = [n for n in {*left, *expected} if left.get(n) != expected.get(n) and "samples/" not in n]
        names = [n for n in names if not n.endswith(("config.yaml", "log.jsonl")) and "checkpoints" not in n]
        return f"another result without a word: {', '.join(sorted(names)[:5])}" if names else ""
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    root = Path(tempfile.mkdtemp(prefix="hostile-"))
    prepare(root / "before")
    for command in (FIT, GENERATE, [*EVALUATION, "1"], TUNE, RERUNS["run"][0]):
        assert not (wrong := finish(root / "before", command)), wrong
    expected = {}
    for name, (command, _) in RERUNS.items():
        shutil.copytree(root / "before", root / name)
        finish(root / name, command)  # may be refused, as it should
        expected[name] = outputs(root / name)
    seeds = np.random.SeedSequence(options.seed).generate_state(options.cases)

    def one(case: int) -> bool:
        how, wrong = attack(root / "before", root / f"case{case}", random.Random(int(seeds[case])), expected)
        print(f"{case} {how}" + (f"\n    WRONG: {wrong}" if wrong else ""), flush=True)
        return bool(wrong)

    with ThreadPoolExecutor(options.jobs) as pool:
        failures = sum(pool.map(one, range(options.cases)))
    print(f"{options.cases} cases, {failures} wrong" + (f"; see {root}" if failures else ""))
    if not failures:
        shutil.rmtree(root)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
