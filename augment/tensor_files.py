"""Networks and optimisers on disk: one safetensors file with its JSON and a checksum inside, loaded strictly.

No pickle, so that opening somebody's checkpoint runs none of their code. The checksum covers names, types, shapes and
values, so a file that lost a tensor or a bit is refused.
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

from augment.errors import SourceError

M = TypeVar("M", bound=BaseModel)
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of Adam, for each parameter


def dump_tensors(tensors: Mapping[str, Tensor], about: BaseModel) -> bytes:
    """Tensors and a description as the content of one file; memory formats are not kept, values are, to the bit."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = about.model_dump_json()
    return save(own, {"about": f"{_checksum(own, text)} {text}"})  # one key: the order of several is not fixed


def load_tensors(path: Path, about: type[M]) -> tuple[dict[str, Tensor], M]:
    """(tensors on the CPU, description). Raises `SourceError` if the file is not one that `dump_tensors` made."""
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum, text = _sealed_text(file)
        description = about.model_validate_json(text)
        if checksum != _checksum(tensors, text):
            raise ValueError("its checksum does not fit its content")
    return tensors, description


def load_about(path: Path, about: type[M]) -> M:
    """The description alone, without the tensors and unchecked by the checksum. Raises `SourceError` likewise."""
    with _opened(path) as file:
        return about.model_validate_json(_sealed_text(file)[1])


def _sealed_text(file: Any) -> tuple[str, str]:
    checksum, _, text = (file.metadata() or {})["about"].partition(" ")
    return checksum, text


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        if path.is_symlink() or not path.is_file():
            raise OSError("it is no plain file")
        with safe_open(path, framework="pt") as file:
            yield file
    except ValidationError as error:
        reason = f"its description is of another version: {error.errors()[0]['msg']}"
        raise SourceError(f"{path} is not a model or checkpoint of this program ({reason})") from error
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise SourceError(f"{path} is not a model or checkpoint of this program, or it is damaged: {error}") from error


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `SourceError` if a value is infinite or no number: such weights make black or random images."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise SourceError(f"{path} is damaged: {name} holds values that are no finite numbers")


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
    """Put back what `optimizer_tensors` gave, in the memory format of each parameter, as fused kernels need it.

    Raises `SourceError` if a parameter has not all of its moments, or a tensor fits no parameter.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    _check_moments(tensors, len(parameters))
    for name, value in tensors.items():
        index, moment = name.split(".")
        parameter = parameters[int(index)]
        if value.numel() != 1 and value.shape != parameter.shape:
            raise SourceError(f"the saved optimiser does not fit the network: {name} has the shape {list(value.shape)}")
        like = torch.empty_like(parameter) if value.shape == parameter.shape else value.to(parameter.device)
        optimizer.state[parameter][moment] = like.copy_(value)


def _check_moments(names: Iterable[str], parameters: int) -> None:
    found: dict[str, set[str]] = {}
    for name in names:
        match = re.fullmatch(r"([0-9]{1,6})\.([a-z_]+)", name)
        if match is None or int(match[1]) >= parameters or match[2] not in MOMENTS:
            raise SourceError(f"the saved optimiser does not fit the network: it has {name[:60]!r}")
        found.setdefault(match[1], set()).add(match[2])
    if found and (len(found) < parameters or any(moments != MOMENTS for moments in found.values())):
        raise SourceError("the saved optimiser does not fit the network: moments of some parameters are missing")


def load_network(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a network's tensors strictly. Raises `SourceError` that names the first that does not fit."""
    _check_fit(network, tensors)
    network.load_state_dict(dict(tensors), strict=True)


def _check_fit(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raise `SourceError` that names the first tensor that is missing, too many, or of another shape or type."""
    expected = network.state_dict()
    for name in (*expected, *tensors):
        if name not in tensors or name not in expected:
            what = "is missing" if name not in tensors else "is not part of it"
            raise SourceError(f"the saved weights do not fit the network: {name} {what}")
        if expected[name].shape != tensors[name].shape or expected[name].dtype != tensors[name].dtype:
            raise SourceError(f"the saved weights do not fit the network: {name} has another shape or type")
