"""Networks and optimisers on disk: one safetensors file with its JSON inside, written atomically, loaded strictly.

No pickle, so that opening somebody's checkpoint runs none of their code. A file is either whole or not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from augment.errors import SourceError
from augment.outputs import write_bytes


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able description to one file; memory formats are not kept, values are, to the bit."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, save(own, {"about": json.dumps(about)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors on the CPU, description). Raises `SourceError` if the file is not one that `save_tensors` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["about"])  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise SourceError(f"{path} is not a model or checkpoint of this program, or it is damaged: {error}") from error


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix.name`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those under `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments and step counts, named `<parameter index>.<moment>`, without its hyperparameters."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, moments in state.items() for name, value in moments.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, in the memory format of each parameter, as fused kernels need it."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in tensors.items():
        index, moment = name.split(".")
        parameter = parameters[int(index)]
        like = torch.empty_like(parameter) if value.shape == parameter.shape else value.to(parameter.device)
        optimizer.state[parameter][moment] = like.copy_(value)


def load_network(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a network's tensors strictly. Raises `SourceError` that names the first that is missing or too many."""
    try:
        network.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise SourceError(f"the saved weights do not fit the network: {str(error).splitlines()[-1].strip()}") from error
