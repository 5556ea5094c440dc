"""Our one-stage step against a plain, textbook one: python benchmarks/textbook_step.py --preset quickstart

The textbook step is the paper's (arXiv 2103.00430, algorithm 1, with a floor against division by zero) as one would
write it down: tensors in torch's default memory format, every call of D normalises its weights anew, the default Adam,
and both losses are read in every step. Networks, batch, loss, augmentation and seeds are ours in both arms, but that
the textbook doubles images before it convolves them: the same function (`--our-layers` gives it our layer for that).

Each arm runs in a process of its own, ours set up as the `augment` command sets itself up and the other as plain
Python is. The two take turns, step by step, so that a drift of the machine cancels in the ratio of a pair of steps.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.process import tune_allocator, tune_threads

ARMS = ("ours", "textbook")
WARM_UP = 3  # steps


def textbook_gradients(setup: Any, real: Any, y: Any) -> tuple[Any, Any]:
    """Add the gradients of a simultaneous update to `.grad`; the losses of (D, G)."""
    import torch

    fake = setup.generate(y)
    leaf = fake.detach().requires_grad_()
    l_r = setup.discriminator(setup.augment(real), y)
    l_f = setup.discriminator(setup.augment(leaf), y)
    loss_d, loss_g = setup.loss.discriminator(l_r, l_f), setup.loss.generator(l_r, l_f)
    c_r, c_d = torch.autograd.grad(loss_d, (l_r, l_f), retain_graph=True)
    (c_g,) = torch.autograd.grad(loss_g, l_f, retain_graph=True)
    c_d = torch.where(c_d.abs() < 2.0**-60, torch.where(c_d < 0, -(2.0**-60), 2.0**-60), c_d)
    torch.autograd.backward((l_r, l_f), (c_r, c_d))
    fake.backward((c_g / c_d).view(-1, 1, 1, 1) * leaf.grad)
    return loss_d, loss_g


def double_plainly() -> None:
    """In this process, double and then convolve, in two operations."""
    from torch.nn.functional import conv2d, interpolate

    from augment.gan.networks import DoublingConv

    DoublingConv.forward = lambda self, x: conv2d(interpolate(x, scale_factor=2.0), self.weight, padding=1)  # type: ignore


def make_textbook(state: Any, setup: Any, real: Any, y: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """(the gradients alone, the step), after the networks have been put into torch's default memory format."""
    import torch

    for player in (state.generator, state.discriminator):
        player.to(memory_format=torch.contiguous_format)
    state.generator.norms[0].register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))
    real = real.contiguous()
    adams = []
    for ours in (setup.optimizer_d, setup.optimizer_g):
        group = ours.param_groups[0]
        adams.append(torch.optim.Adam(group["params"], lr=group["lr"], betas=group["betas"]))

    def step() -> tuple[float, float]:
        for adam in adams:
            adam.zero_grad()
        loss_d, loss_g = textbook_gradients(setup, real, y)
        for adam in adams:
            adam.step()
        return loss_d.item(), loss_g.item()

    return lambda: textbook_gradients(setup, real, y), step


def make_ours(setup: Any, real: Any, y: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """(the gradients alone, the step)."""
    from augment.gan.steps import one_stage, one_stage_gradients

    return lambda: one_stage_gradients(setup, real, y, y), lambda: one_stage(setup, real, y, y)


def make(arm: str, preset: str, device: Any) -> tuple[Any, Callable[[], Any], Callable[[], Any]]:
    """(state, the gradients alone, the step) of an arm."""
    from augment.gan.step_benchmark import find_preset, set_up

    state, setup, real, y = set_up(find_preset(preset), device)
    return state, *(make_ours(setup, real, y) if arm == "ours" else make_textbook(state, setup, real, y))


def first_gradients(arm: str, preset: str, device: Any) -> dict[str, Any]:
    """The gradients of the first step by network, flat, in float64: in float32 a ReLU that flips hides agreement."""
    import torch

    torch.set_default_dtype(torch.float64)
    state, gradients, _ = make(arm, preset, device)
    state.discriminator.eval()  # stops the power iterations: two a step in the textbook and one in ours
    gradients()
    torch.set_default_dtype(torch.float32)
    players = {"generator": state.generator, "discriminator": state.discriminator}
    return {name: torch.cat([p.grad.flatten() for p in net.parameters()]).cpu() for name, net in players.items()}


def play(options: argparse.Namespace) -> None:
    """An arm's process: answers the path of a file with gradients in it, and then every line with a step's ms."""
    if options.arm == "ours":
        tune_threads()  # OpenMP reads it when torch is imported, so every import of it is inside a function
        tune_allocator()
    elif not options.our_layers:
        double_plainly()
    import torch

    from augment.devices import find_device

    torch.set_num_threads(options.threads)
    device = find_device(options.device)
    np.savez(sys.stdin.readline().strip(), **first_gradients(options.arm, options.preset, device))
    print("saved", flush=True)
    _, _, step = make(options.arm, options.preset, device)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in sys.stdin:
        wait()
        began = time.perf_counter()
        step()
        wait()
        print(1000 * (time.perf_counter() - began), flush=True)


class Arm:
    """The parent's end of an arm's process."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        options_given = (f"--{key}={getattr(options, key)}" for key in ("preset", "threads", "device"))
        command = [sys.executable, __file__, f"--arm={name}", *options_given, *["--our-layers"] * options.our_layers]
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line: str = "step") -> str:
        """The answer to a line."""
        print(line, file=_there(self.process.stdin), flush=True)
        answer = _there(self.process.stdout).readline().strip()
        if not answer:
            raise SystemExit(f"{' '.join(self.command)} has ended")
        return answer


def _there(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def gradient_differences(arms: list[Arm]) -> dict[str, float]:
    """||ours - textbook|| / ||textbook|| of the first step's gradients, of each network."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.npz" for name in ARMS]
        for arm, path in zip(arms, paths, strict=True):
            arm.ask(str(path))
        ours, textbook = (dict(np.load(path)) for path in paths)
    norm = np.linalg.norm
    return {name: float(norm(ours[name] - textbook[name]) / norm(textbook[name])) for name in ours}


def told(values: Any, digits: int) -> str:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{median:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quickstart", choices=("quickstart", "dcgan-64"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of each arm")
    parser.add_argument("--steps", type=int, default=50, help="of each arm, after the warm-up")
    parser.add_argument("--our-layers", action="store_true", help="the textbook arm doubles images as ours does")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        play(options)
        return
    arms = [Arm(name, options) for name in ARMS]
    for name, difference in gradient_differences(arms).items():
        print(f"gradients of the {name} on the first step, in float64: relative difference {difference:.1e}")
    rounds = [[float(arm.ask()) for arm in arms] for _ in range(WARM_UP + options.steps)]
    ours, textbook = np.array(rounds[WARM_UP:]).T
    for arm in arms:
        _there(arm.process.stdin).close()
        arm.process.wait()
    from augment.versions import versions

    print(f"{options.preset}, {options.device}, {options.threads} thread(s), n = {options.steps} steps of each arm")
    print(f"{platform.machine()}, {os.cpu_count()} cores; {versions()}")
    print(f"ours:     {told(ours, 1)} ms a step")
    print(f"textbook: {told(textbook, 1)} ms a step")
    print(f"textbook over ours, of pairs: {told(textbook / ours, 3)}")


if __name__ == "__main__":
    main()
