"""YAML to a typed definition, once, here. Errors name the YAML path, the value and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from augment.config import GanConfig
from augment.errors import ConfigError
from augment.sources import PREFIXES
from pipelines.definition import ARMS, EvaluateConfig, Pipeline

M = TypeVar("M", bound=BaseModel)


def shipped_pipelines() -> list[str]:
    """Names that `augment run` knows without a path."""
    names = (entry.name for entry in files("pipelines").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_pipeline(name_or_path: str, overrides: Sequence[str] = ()) -> Pipeline:
    """The definition in a YAML file, or shipped under a name, after overrides such as `data.source=DIR`.

    Paths in the YAML resolve against its file, those in overrides against the working directory. Raises `ConfigError`.
    """
    path = Path(name_or_path)
    if name_or_path in shipped_pipelines():
        text, base = (files("pipelines") / f"{name_or_path}.yaml").read_text(encoding="utf-8"), Path()
    elif path.is_file():
        text, base = _read(path), path.parent
    else:
        raise ConfigError(
            f"no pipeline {name_or_path!r}: expected a YAML file or one of {', '.join(shipped_pipelines())}"
        )
    tree = _mapping(text, name_or_path)
    _resolve_paths(tree, base)
    for override in overrides:
        _apply(tree, override)
    return parse(Pipeline, tree, name_or_path)


def load_gan_config(path: Path | None, **overrides: Any) -> GanConfig:
    """GanConfig from a YAML file of its fields, if given, with the overrides that are not None on top."""
    tree = _mapping(_read(path), str(path)) if path else {}
    given = {key: value for key, value in overrides.items() if value is not None}
    return parse(GanConfig, {**tree, **given}, str(path or "the options"))


def parse(model: type[M], tree: Mapping[str, Any], where: str) -> M:
    """`tree` as `model`. Raises `ConfigError` with the YAML path and, for an unknown key, the nearest valid ones."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_explain(model, dict(e)) for e in error.errors())) from error


def _explain(model: type[BaseModel], error: dict[str, Any]) -> str:
    path = error["loc"]
    name = ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        valid = _keys_at(model, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), valid, n=3, cutoff=0.5) or valid
        return f"unknown key {name}; did you mean {' or '.join(near)}?"
    if error["type"] == "missing":
        return f"{name} is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{name}: {message}" + ("" if error["type"] == "value_error" else f", got {error['input']!r}")


def _keys_at(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_within(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """The first model in an annotation such as `tuple[Arm, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        return next(filter(None, map(_model_within, get_args(annotation))), None)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a YAML file: {error}") from error


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected keys and values, got {type(tree).__name__}")
    return tree


def _resolve_paths(tree: dict[str, Any], base: Path) -> None:
    for name, key in (("data", "source"), ("data", "test"), ("evaluate", "inception")):
        section = tree.get(name)
        if isinstance(section, dict) and isinstance(section.get(key), str):
            named = section[key].startswith(tuple(PREFIXES))
            section[key] = section[key] if named else str(base / section[key])


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override!r}: expected section.key=value, for example --set data.source=DIR")
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override!r}: {key} is not a section")
    try:
        tree[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: {value!r} is not valid YAML") from error


def load_evaluate_config(
    path: Path | None, *, arms: Sequence[str] | None, has_synthetic: bool, steps: int | None, **given: Any
) -> EvaluateConfig:
    """`EvaluateConfig` from a YAML file of its fields, if given, with the options that are not None on top.

    Without synthetic images and without a word on arms, those that need them are left out.
    """
    tree = _mapping(_read(path), str(path)) if path else {}
    tree |= {key: value for key, value in given.items() if value is not None}
    if arms is not None:
        tree["arms"] = [arm.strip() for arm in arms]
    elif "arms" not in tree and not has_synthetic:
        tree["arms"] = [name for name, settings in ARMS.items() if not settings.get("synthetic")]
    if steps is not None:
        tree["classifier"] = {**(tree.get("classifier") or {}), "steps": steps}
    return parse(EvaluateConfig, tree, str(path or "the options"))
