"""YAML to a typed definition, once, here. Errors name the YAML path, the value and what was expected."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from augment.dataset.sources import PREFIXES
from augment.errors import ConfigError
from augment.generators.base import GeneratorConfig
from augment.words import quoted, shortened
from augment.yaml_text import parse_mapping, parse_value, read_mapping
from pipelines.config.sections import ARMS, EvaluateConfig, GeneratorSection, Pipeline

M = TypeVar("M", bound=BaseModel)
MOST_NAMED = 8  # mistakes in one sentence
OLD_NAMES = {"gan": "generator"}  # of sections


def shipped_pipelines() -> list[str]:
    """Names that `augment run` knows without a path."""
    names = (entry.name for entry in files("pipelines").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_pipeline(name_or_path: str, overrides: Sequence[str] = ()) -> Pipeline:
    """The definition in a YAML file, or shipped under a name, after overrides such as `data.source=DIR`.

    Paths in the YAML resolve against its file, those in overrides against the working directory. A shipped pipeline
    uses all images of a source that is given in place of its own, if nothing else is said. An override of a text
    is that text as it stands, and null for none where the text may be left out; any other value is YAML. Raises
    `ConfigError`.
    """
    path = Path(name_or_path)
    shipped = name_or_path in shipped_pipelines()
    if shipped:
        text = (files("pipelines") / f"{name_or_path}.yaml").read_text(encoding="utf-8")
        tree, base = parse_mapping(text, name_or_path), Path()
    elif os.path.isfile(path):  # which is false for a name that is too long, too
        tree, base = read_mapping(path), path.parent
    else:
        raise ConfigError(
            f"no pipeline {quoted(name_or_path)}: expected a YAML file or one of {', '.join(shipped_pipelines())}"
        )
    _resolve_paths(tree, base)
    if shipped and any(override.startswith("data.source=") for override in overrides):
        tree["data"].pop("samples_per_class", None)  # the cap of a shipped pipeline is that of its own source
    for override in overrides:
        _apply(tree, override)
    return parse(Pipeline, tree, name_or_path)


def load_generator_config(path: Path | None, kind: str | None, **options: Any) -> GeneratorConfig:
    """The settings of a generator from a YAML file of them, if given, with the options that are not None on top.

    kind: of the generator, where the options name it. Raises `ConfigError`.
    """
    tree = read_mapping(path) if path else {}
    given = {key: value for key, value in {"kind": kind, **options}.items() if value is not None}
    where = str(path or "the options")
    return parse(GeneratorSection, {"generator": {**tree, **given}}, where, within="generator").generator


def parse(model: type[M], tree: Mapping[str, Any], where: str, *, within: str = "") -> M:
    """`tree` as `model`. Raises `ConfigError` with the YAML path and, for an unknown key, the nearest valid ones.

    within: a section whose name the path leaves out, since the file holds that section alone.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        errors = error.errors()
        named = [shortened(_explain(model, dict(e), within), 600) for e in errors[:MOST_NAMED]]
        more = [f"and {len(errors) - MOST_NAMED} more"] if len(errors) > MOST_NAMED else []
        raise ConfigError(f"{where}: " + "; ".join([*named, *more])) from error


def _explain(model: type[BaseModel], error: dict[str, Any], within: str) -> str:
    section, keys = _follow(model, error["loc"])
    path = keys[1:] if within and keys[:1] == [within] else keys
    name = shortened(".".join(path))
    if error["type"] == "extra_forbidden":
        valid = list(section.model_fields)
        near = difflib.get_close_matches(shortened(path[-1]), valid, n=3, cutoff=0.5) or valid
        return f"unknown key {name}; did you mean {' or '.join(near)}?"
    if error["type"] == "missing":
        return f"{name} is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = (f"{name}: " if name else "") + message[0].lower() + message[1:]
    return message if error["type"] == "value_error" else f"{message}, got {quoted(error['input'])}"


def _follow(model: type[BaseModel], location: Sequence[Any]) -> tuple[type[BaseModel], list[str]]:
    """The model that the last part of an error's location is a key of, and the YAML path.

    Pydantic puts the kind of a generator into the location, between the section and its key; the path leaves it out.
    """
    path, section, within = list[str](), model, [model]  # within: the models that the next part can be a key of
    for part in location:
        of_kind = [m for m in within if len(within) > 1 and m.model_fields["kind"].default == part]
        if of_kind:
            within = of_kind
            continue
        path.append(str(part))
        section, name = within[0], OLD_NAMES.get(str(part), str(part))
        within = (name in section.model_fields and _models_of(section, name)) or [section]
    return section, path


def _models_within(annotation: Any) -> list[type[BaseModel]]:
    """All models in an annotation such as `tuple[Arm, ...]`, or a union of the configs of several kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (tuple, Union, UnionType, Annotated):
        return [model for part in get_args(annotation) for model in _models_within(part)]
    return []


def _resolve_paths(tree: dict[str, Any], base: Path) -> None:
    for name, key in (("data", "source"), ("data", "test"), ("evaluate", "inception")):
        section = tree.get(name)
        if isinstance(section, dict) and isinstance(section.get(key), str):
            no_path = section[key].startswith(tuple(PREFIXES)) or not section[key].strip()
            section[key] = section[key] if no_path else str(base / section[key])


def _apply(tree: dict[str, Any], override: str) -> None:
    """Put `a.b=value` into `tree`. Text is taken as it stands; null is none where a text may be left out."""
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    where = f"--set {quoted(override)}"
    if not equals or not all(keys):
        raise ConfigError(f"{where}: expected section.key=value, for example --set data.source=DIR")
    keys[0] = _name_in(tree, keys[0])
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{where}: {shortened(key)} is not a section")
    annotation = _annotation_at(Pipeline, [OLD_NAMES.get(keys[0], keys[0]), *keys[1:]])
    if not _is_text(annotation):
        tree[keys[-1]] = parse_value(value, f"{where}: {quoted(value)}")
    else:
        tree[keys[-1]] = None if value == "null" and NoneType in get_args(annotation) else value


def _name_in(tree: Mapping[str, Any], section: str) -> str:
    """The name that the tree has for a section, which may be its old one."""
    names = next((pair for pair in OLD_NAMES.items() if section in pair), (section,))
    return next((name for name in names if name in tree), section)


def _annotation_at(model: type[BaseModel], keys: Sequence[str]) -> Any:
    """The type of the field that `keys` lead to, or None if there is none."""
    models = [model]
    for key in keys[:-1]:
        models = [inner for m in models if key in m.model_fields for inner in _models_of(m, key)]
    return next((m.model_fields[keys[-1]].annotation for m in models if keys[-1] in m.model_fields), None)


def _models_of(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    return _models_within(model.model_fields[key].annotation)


def _is_text(annotation: Any) -> bool:
    """Whether values of this type are strings or paths, apart from none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_text(arguments[0])
    if origin is Literal:
        return all(isinstance(value, str) for value in arguments)
    if origin in (Union, UnionType):
        return all(_is_text(part) for part in arguments if part is not NoneType)
    return isinstance(annotation, type) and issubclass(annotation, str | Path)


def load_evaluate_config(
    path: Path | None, *, arms: Sequence[str] | None, has_synthetic: bool, steps: int | None, **given: Any
) -> EvaluateConfig:
    """`EvaluateConfig` from a YAML file of its fields, if given, with the options that are not None on top.

    Without synthetic images and without a word on arms, those that need them are left out.
    """
    tree = read_mapping(path) if path else {}
    tree |= {key: value for key, value in given.items() if value is not None}
    if arms is not None:
        tree["arms"] = [arm.strip() for arm in arms]
    elif "arms" not in tree and not has_synthetic:
        tree["arms"] = [name for name, settings in ARMS.items() if not settings.get("synthetic")]
    if steps is not None and isinstance(tree.get("classifier"), dict | None):
        tree["classifier"] = {**(tree.get("classifier") or {}), "steps": steps}
    return parse(EvaluateConfig, tree, str(path or "the options"))


def with_flips(pipeline: Pipeline) -> Pipeline:
    """The definition with horizontal flips in the generator's training and in the classifiers'."""
    evaluate = pipeline.evaluate.model_copy(update={"horizontal_flip": True})
    return pipeline.model_copy(update={"generator": pipeline.generator.with_horizontal_flip(), "evaluate": evaluate})


def filled_up(config: EvaluateConfig) -> tuple[EvaluateConfig, tuple[str, ...]]:
    """The settings for synthetic images that fill up the small classes, and a sentence that says so."""
    mixed = [arm.model_copy(update={"by_need": arm.real and arm.synthetic}) for arm in config.arms]
    note = (
        "the synthetic images fill up the small classes, so the mixed arms learn from all real and synthetic images "
        "together, every class equally often; give --ratio for equally many of each class instead"
    )
    return config.model_copy(update={"arms": tuple(mixed)}), (note,)
