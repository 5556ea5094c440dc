"""Faster training steps: `precision: bfloat16`, or `auto`, on any device, and `fast: true` on a CUDA device.

Under bfloat16 autocast, the networks compute images and logits with 8 bits of precision, while losses, weights and
optimisers stay float32. On a CPU without instructions for bfloat16 this is slower (docs/benchmarks.md), which is why
`auto` measures it.

`fast` is bfloat16 together with a CUDA graph, which submits a whole step at once, because small networks spend most of
their time on kernel launches. On a CPU, which has no graphs, it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

from augment.errors import ConfigError

Inputs = ParamSpec("Inputs")

EAGER_CALLS = 3  # before the capture, so that libraries choose their algorithms and allocate their memory


def check_fast(device: torch.device) -> None:
    """Raise `ConfigError` unless `device` is a CUDA device."""
    if device.type != "cuda":
        raise ConfigError(f"fast is for CUDA devices, and this is {device}: leave it off, or give --device cuda")


def in_bfloat16(network: Callable[Inputs, Tensor], device: torch.device) -> Callable[Inputs, Tensor]:
    """Return a function that runs `network` under bfloat16 autocast on `device` and returns its output in float32.

    The cache of casts is turned off, because each replay of a graph has to cast the current weights again.
    """

    def run(*inputs: Inputs.args, **options: Inputs.kwargs) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            output = network(*inputs, **options)
        return output.float()

    return run


class Graphed:
    """Run a function without arguments as a CUDA graph; the first `EAGER_CALLS` calls run eagerly.

    The function must work on the same tensors in every call and must not wait for the device. It must draw all its
    random numbers from `rng`, whose state advances just as it would without a graph.
    """

    def __init__(self, function: Callable[[], None], rng: torch.Generator) -> None:
        self._function, self._rng = function, rng
        self._stream = torch.cuda.Stream(rng.device)  # type: ignore[no-untyped-call]
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run the function once."""
        with torch.cuda.device(self._rng.device):
            if self._graph is None:
                self._calls += 1
                if self._calls <= EAGER_CALLS:
                    self._run_on_side_stream()
                    return
                self._graph = self._capture()
            self._graph.replay()

    def _run_on_side_stream(self) -> None:
        """Run the function eagerly on the stream of the later capture, which may not use the current stream."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._function()
        current.wait_stream(self._stream)

    def _capture(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._rng)
        with torch.cuda.graph(graph, stream=self._stream):
            self._function()
        return graph
