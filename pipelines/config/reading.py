"""Read pipeline definitions and settings from YAML and convert them to typed configs.

Errors name the YAML path, the value and what was expected.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from augment.dataset.sources import PREFIXES, find_path
from augment.errors import ConfigError
from augment.generators.base import GeneratorConfig
from augment.words import quoted, shell_word, shortened
from augment.yaml_text import parse_mapping, parse_value, read_mapping
from classifiers.backbones import DOWNLOAD
from pipelines.config.arm_section import ARMS, DEFAULT_ARMS
from pipelines.config.generator_section import GeneratorSection
from pipelines.config.sections import AutoConfig, EvaluateConfig, Pipeline

M = TypeVar("M", bound=BaseModel)
MAX_ERRORS = 8  # that one message lists
DEPRECATED_SECTIONS = {"gan": "generator"}  # deprecated name -> name
PATHS = (
    ("data", "source"),
    ("data", "test"),
    ("data", "unlabelled"),
    ("evaluate", "inception"),
    ("evaluate", "features", "backbone_weights"),
)
NO_PATHS = {"backbone_weights": DOWNLOAD}  # a value of a key of `PATHS` that is no path


def shipped_pipelines() -> list[str]:
    """Return the names of the pipelines that ship with the package, for which `augment run` needs no path."""
    names = (entry.name for entry in files("pipelines").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_pipeline(
    name_or_path: str,
    overrides: Sequence[str] = (),
    *,
    horizontal_flip: bool = False,
    minutes: float | None = None,
) -> Pipeline:
    """Load a pipeline from a YAML file or by the name of a shipped one, and apply overrides such as `data.source=DIR`.

    Paths in the file are relative to its folder, and paths in overrides to the working directory. If the source of a
    shipped pipeline is overridden, all images of the new source are used, unless an override sets another number. The
    value of an override is taken literally if the field is a string, except that null stands for None in an optional
    field. Any other value is parsed as YAML. horizontal_flip: train the generator and the classifiers with flips.
    minutes: the time available, for a pipeline that chooses its settings. Raises `ConfigError`.
    """
    path = Path(name_or_path)
    shipped = name_or_path in shipped_pipelines()
    if shipped:
        text = (files("pipelines") / f"{name_or_path}.yaml").read_text(encoding="utf-8")
        tree, base = parse_mapping(text, name_or_path), Path()
    elif os.path.isfile(path):  # Path.is_file() would raise for a name that is too long
        tree, base = read_mapping(path), path.parent
    else:
        own = f"; for these images: augment run auto {shell_word(name_or_path)}" if os.path.exists(path) else ""
        raise ConfigError(
            f"no pipeline {quoted(name_or_path)}: expected a YAML file or one of {', '.join(shipped_pipelines())}{own}"
        )
    tree = {name: section for name, section in tree.items() if section is not None}  # an empty section has its defaults
    resolve_paths(tree, base)
    if shipped and any(override.startswith("data.source=") for override in overrides):
        tree["data"].pop("samples_per_class", None)  # this limit is meant for the pipeline's own source
    for override in overrides:
        _apply(tree, override)
    pipeline = parse(Pipeline, tree, name_or_path)
    pipeline = _with_flips(pipeline) if horizontal_flip else pipeline
    return pipeline if minutes is None else _with_minutes(pipeline, minutes)


def load_generator_config(path: Path | None, kind: str | None, **options: Any) -> GeneratorConfig:
    """Load the settings of a generator from a YAML file, if given, and override them by the options that are not None.

    kind: the kind of the generator, or None if no option names it. Raises `ConfigError`.
    """
    tree = _read_section(path, "generator") if path else {}
    overrides = {key: value for key, value in {"kind": kind, **options}.items() if value is not None}
    where = str(path or "the options")
    return parse(GeneratorSection, {"generator": {**tree, **overrides}}, where, within="generator").generator


def _read_section(path: Path, name: str) -> dict[str, Any]:
    """Read a file that holds the content of one section. Raises `ConfigError` for a whole pipeline."""
    tree = read_mapping(path)
    if isinstance(tree.get(name), Mapping):
        raise ConfigError(
            f"{path} is a pipeline: --config takes a file with the content of its `{name}:` section alone, or give the "
            "whole file to `augment run`"
        )
    return tree


def parse(model: type[M], tree: Mapping[str, Any], where: str, *, within: str = "") -> M:
    """Validate `tree` as `model`.

    Raises `ConfigError` with the YAML path and, for an unknown key, the nearest valid keys. where: the name of the file
    in the message. within: a section whose name is omitted from the path, since the file holds that section alone.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        errors = error.errors()
        messages = [shortened(_explain(model, dict(e), within), 600) for e in errors[:MAX_ERRORS]]
        more = [f"and {len(errors) - MAX_ERRORS} more"] if len(errors) > MAX_ERRORS else []
        raise ConfigError(f"{where}: " + "; ".join([*messages, *more])) from error


def _explain(model: type[BaseModel], error: dict[str, Any], within: str) -> str:
    section, keys = _follow(model, error["loc"])
    path = keys[1:] if within and keys[:1] == [within] and len(keys) > 1 else keys
    name = shortened(".".join(path))
    if error["type"] == "extra_forbidden":
        if len(keys) == 1 and name in DEPRECATED_SECTIONS:
            return f"{name} is the old name of {DEPRECATED_SECTIONS[name]}; give one of them, not both"
        valid = list(section.model_fields)
        near = difflib.get_close_matches(shortened(path[-1]), valid, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(valid)}"
        return f"unknown key {name}; {hint}"
    if error["type"] == "missing":
        return f"{name} is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = (f"{name}: " if name else "") + message[0].lower() + message[1:]
    return message if error["type"] == "value_error" else f"{message}, got {quoted(error['input'])}"


def _follow(model: type[BaseModel], location: Sequence[Any]) -> tuple[type[BaseModel], list[str]]:
    """Return the model whose field the last part of an error's location names, and the YAML path.

    Pydantic inserts the kind of a generator into the location, between the section and its key. The path omits it.
    """
    path, section, candidates = list[str](), model, [model]  # candidates: models that may have the next part as a field
    for part in location:
        of_kind = [m for m in candidates if len(candidates) > 1 and m.model_fields["kind"].default == part]
        if of_kind:
            candidates = of_kind
            continue
        path.append(str(part))
        section, name = candidates[0], DEPRECATED_SECTIONS.get(str(part), str(part))
        candidates = (name in section.model_fields and _models_of(section, name)) or [section]
    return section, path


def _models_within(annotation: Any) -> list[type[BaseModel]]:
    """Return all models in an annotation such as `tuple[Arm, ...]` or a union of the configs of several kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (tuple, Union, UnionType, Annotated):
        return [model for part in get_args(annotation) for model in _models_within(part)]
    return []


def resolve_paths(tree: dict[str, Any], base: Path) -> None:
    """Make the paths in a pipeline's settings, which are relative to the folder `base`, paths that begin with it."""
    for *sections, key in PATHS:
        section: Any = tree
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(section.get(key), str):
            section[key] = resolve_path(section[key], base, NO_PATHS.get(key))


def resolve_path(value: str, base: Path, no_path: str | None = None) -> str:
    """Return a source with `base` before its path, if it has a path. no_path: a value that is none."""
    before, path, after = find_path(value, base)
    if path is not None:
        return f"{before}{path}{after}"
    return value if value.startswith(tuple(PREFIXES)) or value.strip() in ("", no_path) else str(base / value)


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set the value of an override `a.b=value` in `tree`, as `load_pipeline` describes."""
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    where = f"--set {quoted(override)}"
    if not equals or not all(keys):
        raise ConfigError(f"{where}: expected section.key=value, for example --set data.source=DIR")
    keys[0] = _name_in(tree, keys[0])
    section = DEPRECATED_SECTIONS.get(keys[0], keys[0])
    if len(keys) > 1 and section == "generator" and isinstance(kind := tree.get(keys[0]), str):
        tree[keys[0]] = {"kind": kind}  # the short form
    for key in keys[:-1]:
        tree[key] = {} if tree.get(key) is None else tree[key]
        tree = tree[key]
        if not isinstance(tree, dict):
            raise ConfigError(f"{where}: {shortened(key)} is not a section")
    annotation = _annotation_at(Pipeline, [section, *keys[1:]])
    if not _is_text(annotation):
        tree[keys[-1]] = parse_value(value, f"{where}: {quoted(value)}")
    else:
        tree[keys[-1]] = None if value == "null" and NoneType in get_args(annotation) else value


def _name_in(tree: Mapping[str, Any], section: str) -> str:
    """Return the name that the tree uses for a section, which may be a deprecated one."""
    names = next((pair for pair in DEPRECATED_SECTIONS.items() if section in pair), (section,))
    return next((name for name in names if name in tree), section)


def _annotation_at(model: type[BaseModel], keys: Sequence[str]) -> Any:
    """Return the type of the field at the path `keys`, or None if there is no such field."""
    models = [model]
    for key in keys[:-1]:
        models = [inner for m in models if key in m.model_fields for inner in _models_of(m, key)]
    return next((m.model_fields[keys[-1]].annotation for m in models if keys[-1] in m.model_fields), None)


def _models_of(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    return _models_within(model.model_fields[key].annotation)


def _is_text(annotation: Any) -> bool:
    """Return whether all values of this type are strings or paths, apart from None."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_text(arguments[0])
    if origin is Literal:
        return all(isinstance(value, str) for value in arguments)
    if origin in (Union, UnionType):
        return all(_is_text(part) for part in arguments if part is not NoneType)
    return isinstance(annotation, type) and issubclass(annotation, str | Path)


def load_evaluate_config(
    path: Path | None, *, arms: Sequence[str] | None, has_synthetic: bool, steps: int | None, **options: Any
) -> EvaluateConfig:
    """Load an `EvaluateConfig` from a YAML file, if given, and override it by the options that are not None.

    arms: the names of the arms. has_synthetic: whether there are synthetic images; if not, and neither the file nor
    `arms` lists arms, those that need them are left out. steps: of the classifiers. options: other settings. Raises
    `ConfigError` if a setting is unknown or not allowed.
    """
    tree = _read_section(path, "evaluate") if path else {}
    if path:
        resolve_paths({"evaluate": tree}, path.parent.resolve())  # absolute, since `tune` writes them elsewhere
    tree |= {key: value for key, value in options.items() if value is not None}
    if arms is not None:
        tree["arms"] = [arm.strip() for arm in arms]
    elif "arms" not in tree and not has_synthetic:
        tree["arms"] = [name for name in DEFAULT_ARMS if not ARMS[name].get("synthetic")]
    if steps is not None and isinstance(tree.get("classifier"), dict | None):
        tree["classifier"] = {**(tree.get("classifier") or {}), "steps": steps}
    return parse(EvaluateConfig, tree, str(path or "the options"))


def _with_flips(pipeline: Pipeline) -> Pipeline:
    evaluate = pipeline.evaluate.model_copy(update={"horizontal_flip": True})
    return pipeline.model_copy(update={"generator": pipeline.generator.with_horizontal_flip(), "evaluate": evaluate})


def _with_minutes(pipeline: Pipeline, minutes: float) -> Pipeline:
    if pipeline.auto is None:
        raise ConfigError("--minutes is for a pipeline with an auto section, such as auto, and this one has none")
    return pipeline.model_copy(update={"auto": AutoConfig(minutes=minutes)})
