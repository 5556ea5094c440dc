"""What makes a step faster on a CUDA device: `fast: true` turns on all of it. Off, a CPU repeats results to the bit.

bfloat16 autocast for the networks (losses, weights and optimisers stay float32; images and logits have 8 bits), and
CUDA graphs, which submit a whole step at once: small networks wait for their launches. On a CPU there are no graphs,
and bfloat16 was measured and loses (docs/benchmarks.md), so it is refused there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from augment.errors import ConfigError

Network = Callable[[Tensor, Tensor], Tensor]

EAGER_CALLS = 3  # before capturing: libraries choose their algorithms and get their memory


def check_fast(device: torch.device) -> None:
    """Raise `ConfigError` unless the device is a CUDA one."""
    if device.type != "cuda":
        raise ConfigError(f"fast is for CUDA devices, and this is {device}: leave it off, or give --device cuda")


def in_bfloat16(
    network: Callable[[Tensor, Tensor], Tensor], device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """`network` under bfloat16 autocast on `device`, its answer in float32.

    Casts are not cached: a graph has to hold the cast of the weights as they are at each replay.
    """

    def run(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            answer = network(x, y)
        return answer.float()

    return run


class Graphed:
    """A function of nothing that works on fixed tensors, as a CUDA graph after its first calls, which run eagerly.

    It must not wait for the device. All that it draws comes from `random`, whose state goes on as without a graph.
    """

    def __init__(self, function: Callable[[], None], random: torch.Generator) -> None:
        self._function, self._random = function, random
        self._stream = torch.cuda.Stream(random.device)  # type: ignore[no-untyped-call]
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run it once."""
        with torch.cuda.device(self._random.device):
            if self._graph is None:
                self._calls += 1
                if self._calls <= EAGER_CALLS:
                    self._run_aside()
                    return
                self._graph = self._capture()
            self._graph.replay()

    def _run_aside(self) -> None:
        usual = torch.cuda.current_stream()
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):  # as capturing asks for: what is captured may not meet the usual stream
            self._function()
        usual.wait_stream(self._stream)

    def _capture(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._random)
        with torch.cuda.graph(graph, stream=self._stream):
            self._function()
        return graph
