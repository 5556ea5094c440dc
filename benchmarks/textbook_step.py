"""Compare the speed of our one-stage step with that of a textbook implementation.

    python benchmarks/textbook_step.py --preset quickstart

The textbook step implements algorithm 1 of arXiv 2103.00430 in the simplest way, with a floor against division by zero:
tensors in torch's default memory format, D's weights normalised again in every call, the default Adam, and both losses
read in every step. Both arms use our networks, batch, loss, augmentation and seeds. The only other difference is that
the textbook arm doubles images and then convolves them, which computes the same function as our layer (`--our-layers`
uses our layer there too).

Each arm runs in its own process. Our process has the settings of the `augment` command, the other one those of plain
Python. The arms take turns, step by step, so that a drift of the machine cancels in the ratio of a pair of steps.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.process import tune_allocator, tune_threads

ARMS = ("ours", "textbook")
WARM_UP = 3  # steps


def textbook_gradients(setup: Any, real: Any, y: Any) -> tuple[Any, Any]:
    """Add the gradients of a simultaneous update to `.grad`; return the losses of (D, G)."""
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


def use_textbook_doubling() -> None:
    """Make `UpsamplingConv` double and then convolve, in two operations, in this process."""
    from torch.nn.functional import conv2d, interpolate

    from augment.gan.networks import UpsamplingConv

    UpsamplingConv.forward = lambda self, x: conv2d(interpolate(x, scale_factor=2.0), self.weight, padding=1)  # type: ignore


def make_textbook(state: Any, setup: Any, real: Any, y: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Convert the networks to torch's default memory format; return functions for (gradients only, a whole step)."""
    import torch

    for network in (state.generator, state.discriminator):
        network.to(memory_format=torch.contiguous_format)
    state.generator.norms[0].register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))
    real = real.contiguous()
    optimizers = []
    for ours in (setup.optimizer_d, setup.optimizer_g):
        group = ours.param_groups[0]
        optimizers.append(torch.optim.Adam(group["params"], lr=group["lr"], betas=group["betas"]))

    def step() -> tuple[float, float]:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss_d, loss_g = textbook_gradients(setup, real, y)
        for optimizer in optimizers:
            optimizer.step()
        return loss_d.item(), loss_g.item()

    return lambda: textbook_gradients(setup, real, y), step


def make_ours(setup: Any, real: Any, y: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return functions for (gradients only, a whole step)."""
    from augment.gan.steps import one_stage, one_stage_gradients

    return lambda: one_stage_gradients(setup, real, y, y), lambda: one_stage(setup, real, y, y)


def make(arm: str, preset: str, device: Any) -> tuple[Any, Callable[[], Any], Callable[[], Any]]:
    """Return the state of an arm and its functions for (gradients only, a whole step)."""
    from augment.gan.step_benchmark import find_preset, set_up

    state, setup, real, y = set_up(find_preset(preset), device)
    return state, *(make_ours(setup, real, y) if arm == "ours" else make_textbook(state, setup, real, y))


def first_gradients(arm: str, preset: str, device: Any) -> dict[str, Any]:
    """Return the gradients of the first step, flattened, by network.

    They are computed in float64, because in float32 a ReLU whose input changes its sign would hide the agreement.
    """
    import torch

    torch.set_default_dtype(torch.float64)
    state, gradients, _ = make(arm, preset, device)
    state.discriminator.eval()  # stops the power iterations: the textbook step does two of them and ours one
    gradients()
    torch.set_default_dtype(torch.float32)
    networks = {"generator": state.generator, "discriminator": state.discriminator}
    return {name: torch.cat([p.grad.flatten() for p in net.parameters()]).cpu() for name, net in networks.items()}


def run_arm(options: argparse.Namespace) -> None:
    """Run the process of an arm, which reads requests line by line from standard input.

    The first line is the path of a file, to which it saves the gradients. For each further line it does one step and
    prints its time in ms.
    """
    if options.arm == "ours":
        tune_threads()  # OpenMP reads the setting when torch is imported, so all imports of torch are inside functions
        tune_allocator()
    elif not options.our_layers:
        use_textbook_doubling()
    import torch

    from augment.devices import find_device, seconds_of

    torch.set_num_threads(options.threads)
    device = find_device(options.device)
    np.savez(sys.stdin.readline().strip(), **first_gradients(options.arm, options.preset, device))
    print("saved", flush=True)
    _, _, step = make(options.arm, options.preset, device)
    for _ in sys.stdin:
        print(1000 * seconds_of(step, device), flush=True)


class Arm:
    """The process of an arm, as seen from the parent process."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        shared = (f"--{key}={getattr(options, key)}" for key in ("preset", "threads", "device"))
        command = [sys.executable, __file__, f"--arm={name}", *shared, *["--our-layers"] * options.our_layers]
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def request(self, line: str = "step") -> str:
        """Send a line to the process and return the line with which it responds."""
        print(line, file=_require(self.process.stdin), flush=True)
        response = _require(self.process.stdout).readline().strip()
        if not response:
            raise SystemExit(f"{' '.join(self.command)} has ended")
        return response


def _require(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def gradient_differences(arms: list[Arm]) -> dict[str, float]:
    """Return ||ours - textbook|| / ||textbook|| for the gradients of the first step, by network."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.npz" for name in ARMS]
        for arm, path in zip(arms, paths, strict=True):
            arm.request(str(path))
        ours, textbook = (dict(np.load(path)) for path in paths)
    norm = np.linalg.norm
    return {name: float(norm(ours[name] - textbook[name]) / norm(textbook[name])) for name in ours}


def format_quartiles(values: Any, digits: int) -> str:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{median:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quickstart", choices=("quickstart", "dcgan-64"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="threads of each arm")
    parser.add_argument("--steps", type=int, default=50, help="steps of each arm after the warm-up")
    parser.add_argument("--our-layers", action="store_true", help="use our doubling layer in the textbook arm too")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        run_arm(options)
        return
    arms = [Arm(name, options) for name in ARMS]
    for name, difference in gradient_differences(arms).items():
        print(f"gradients of the {name} on the first step, in float64: relative difference {difference:.1e}")
    rounds = [[float(arm.request()) for arm in arms] for _ in range(WARM_UP + options.steps)]
    ours, textbook = np.array(rounds[WARM_UP:]).T
    for arm in arms:
        _require(arm.process.stdin).close()
        arm.process.wait()
    from augment.versions import versions

    print(f"{options.preset}, {options.device}, {options.threads} thread(s), n = {options.steps} steps of each arm")
    print(f"{platform.machine()}, {os.cpu_count()} cores; {versions()}")
    print(f"ours:     {format_quartiles(ours, 1)} ms per step")
    print(f"textbook: {format_quartiles(textbook, 1)} ms per step")
    print(f"textbook over ours, ratios of pairs: {format_quartiles(textbook / ours, 3)}")


if __name__ == "__main__":
    main()
