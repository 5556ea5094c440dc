"""Save and load networks and optimisers as safetensors files that contain JSON metadata and a checksum.

The format does not use pickle, so loading a file from somebody else cannot execute code. The checksum covers names,
dtypes, shapes and values, so a file with a missing tensor or a changed bit is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from augment.errors import ConfigError, SourceError

M = TypeVar("M", bound=BaseModel)
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # the state of Adam for each parameter


def dump_tensors(tensors: Mapping[str, Tensor], metadata: BaseModel) -> bytes:
    """Serialise tensors and metadata. Values are kept exactly, memory formats are not kept."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = metadata.model_dump_json()
    return save(on_cpu, {"about": f"{_checksum(on_cpu, text)} {text}"})  # one key, as the order of several is not fixed


def load_tensors(path: Path, model: type[M]) -> tuple[dict[str, Tensor], M]:
    """Return (tensors on the CPU, metadata).

    Raises `SourceError` if the file was not written by `dump_tensors` or is damaged.
    """
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum, text = _split_metadata(file)
        metadata = model.model_validate_json(text)
        if checksum != _checksum(tensors, text):
            raise ValueError("its checksum does not fit its content")
    return tensors, metadata


def load_metadata(path: Path, model: type[M]) -> M:
    """Return only the metadata, without verifying the checksum.

    Raises `SourceError` if the header or the metadata cannot be read; damaged tensors are not noticed.
    """
    with _open(path) as file:
        return model.model_validate_json(_split_metadata(file)[1])


def _split_metadata(file: Any) -> tuple[str, str]:
    checksum, _, text = (file.metadata() or {})["about"].partition(" ")
    return checksum, text


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        if path.is_symlink() or not path.is_file():
            raise OSError("it is not a plain file")
        with safe_open(path, framework="pt") as file:
            yield file
    except ValidationError as error:
        reason = f"its metadata are of another version: {error.errors()[0]['msg']}"
        raise SourceError(f"{path} is not a model or checkpoint of this program ({reason})") from error
    except (SafetensorError, ConfigError, KeyError, TypeError, ValueError, OSError) as error:
        raise SourceError(f"{path} is not a model or checkpoint of this program, or it is damaged: {error}") from error


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `SourceError` if a value is infinite or NaN, because such weights produce black or random images."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise SourceError(f"{path} is damaged: {name} holds values that are not finite")


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names `prefix.name`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix.`, without the prefix."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments and step counts of an optimiser as `<parameter index>.<moment>`, without hyperparameters."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, moments in state.items() for name, value in moments.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the result of `optimizer_tensors`, in the memory format of each parameter, which fused kernels require.

    Raises `SourceError` if a parameter lacks one of its moments, or a tensor fits no parameter.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    _check_moments(tensors, len(parameters))
    for name, value in tensors.items():
        index, moment = name.split(".")
        parameter = parameters[int(index)]
        if value.numel() != 1 and value.shape != parameter.shape:
            raise SourceError(f"the saved optimiser does not fit the network: {name} has the shape {list(value.shape)}")
        target = torch.empty_like(parameter) if value.shape == parameter.shape else value.to(parameter.device)
        optimizer.state[parameter][moment] = target.copy_(value)


def _check_moments(names: Iterable[str], parameter_count: int) -> None:
    found: dict[str, set[str]] = {}
    for name in names:
        match = re.fullmatch(r"([0-9]{1,6})\.([a-z_]+)", name)
        if match is None or int(match[1]) >= parameter_count or match[2] not in MOMENTS:
            raise SourceError(f"the saved optimiser does not fit the network: it has {name[:60]!r}")
        found.setdefault(match[1], set()).add(match[2])
    if found and (len(found) < parameter_count or any(moments != MOMENTS for moments in found.values())):
        raise SourceError("the saved optimiser does not fit the network: moments of some parameters are missing")


def load_network(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the tensors of a network strictly. Raises `SourceError` that names the first tensor that does not fit."""
    check_matches(network, tensors)
    network.load_state_dict(dict(tensors), strict=True)


def check_matches(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raise `SourceError` that names the first tensor that is missing, unexpected, or of another shape or dtype."""
    expected = network.state_dict()
    for name in (*expected, *tensors):
        if name not in tensors or name not in expected:
            problem = "is missing" if name not in tensors else "is not part of it"
            raise SourceError(f"the saved weights do not fit the network: {name} {problem}")
        if expected[name].shape != tensors[name].shape or expected[name].dtype != tensors[name].dtype:
            raise SourceError(f"the saved weights do not fit the network: {name} has another shape or type")
