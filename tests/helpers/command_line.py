"""Settings of small commands, the result of a command, and how tests check it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple

TINY_GAN = {"width": 4, "latent_dim": 8, "batch_size": 8, "steps": 4, "log_every": 2, "checkpoint_every": 2}
QUICK = ("--repeats", "2", "--steps", "3", "--jobs", "1", "--image-size", "12", "--quiet")
PIPELINE = """
data: {{source: {source}, image_size: 12}}
gan: {{width: 4, latent_dim: 8, steps: 4, batch_size: 8}}
generate: {{per_class: 12}}
protocol: {{kind: holdout, redraw_generator: false}}
evaluate: {{arms: [none, none+synthetic], repeats: 2, classifier: {{width: 4, steps: 3, batch_size: 6}}}}
"""


class CommandResult(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str


Augment = Callable[..., CommandResult]


def check_refused(result: CommandResult, message: str, status: int = 2) -> None:
    assert (result.status, result.out) == (status, "")
    assert result.err.startswith("augment: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith("\n")
    assert message in result.err


def next_command(result: CommandResult) -> list[str]:
    last = result.out.splitlines()[-1]
    assert last.startswith("next: ")
    return shlex.split(last.removeprefix("next: "))
