"""Pipeline definitions: YAML becomes typed once, here. Errors name the YAML path, the value and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    ValidationError,
    field_validator,
    model_validator,
)

from augment.classical import POLICIES, VIEWS
from augment.config import GanConfig, known, one_of
from augment.errors import ConfigError
from augment.filtering import SCORERS
from augment.images import Resize
from augment.sources import PREFIXES
from classifiers.inception import check_inception
from classifiers.training import FitConfig
from pipelines.measures import METRICS

M = TypeVar("M", bound=BaseModel)
GAN_TRAIN = "gan-train"  # the classifiers behind the fidelity figure of that name stand among the records


class Section(BaseModel):
    """A frozen part of a definition in which unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(Section):
    """What one classifier of a comparison learns from; one of `ARMS` may be given by its name alone."""

    name: str
    real: bool = True
    synthetic: bool = False
    # on real and synthetic images alike; `classical` is the evaluation's own
    policy: Annotated[str, known({"classical": None, **POLICIES})] | None = None
    ratio: float | None = Field(None, gt=0, allow_inf_nan=False)  # None: the evaluation's
    filter: Annotated[str, known(SCORERS)] = "confidence"
    keep: float = Field(1.0, gt=0, le=1)  # share of each class's synthetic images, the best by `filter`
    share: float | None = Field(None, gt=0, lt=1)  # of each batch that is synthetic; None: as the ratio has it
    weight: Annotated[float, Field(gt=0, le=1)] | Literal["confidence"] = 1.0  # of each synthetic image in the loss
    synthetic_first: float = Field(0.0, ge=0, lt=1)  # share of the steps, with synthetic images only; then real only
    soft_labels: bool = False  # a cross-fitted teacher's, halfway to the class for real images

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return {"name": value, **ARMS[one_of(value, ARMS)]} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        if not (self.real or self.synthetic):
            raise ValueError("expected real: true or synthetic: true, got neither")
        if self.synthetic_first and not (self.real and self.synthetic):
            raise ValueError("synthetic_first needs real: true and synthetic: true, to change from one to the other")
        return self

    @property
    def judged(self) -> bool:
        """Whether a cross-fitted classifier has to judge the images first."""
        picky = self.synthetic and (self.keep < 1 or self.weight == "confidence")
        return self.soft_labels or picky


ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "classical": {"policy": "classical"},
    "synthetic": {"real": False, "synthetic": True},
    "none+synthetic": {"synthetic": True},
    "classical+synthetic": {"synthetic": True, "policy": "classical"},
}


class DataConfig(Section):
    """Where the images come from and which of them are used."""

    source: str
    test: str | None = None  # a source whose images are the test set; otherwise the source's own test split
    holdout: float = Field(0.3, gt=0, lt=1)  # share of each class held out where a test split is needed and lacks
    samples_per_class: int | None = Field(None, ge=2)  # at most
    image_size: int | None = None  # px
    resize: Resize = "pad"
    skip_broken: bool = False
    seed: int = Field(0, ge=0)  # of the subset and of what is held out


class ProtocolConfig(Section):
    """How the repeats differ; `pipelines.protocols` tells what is inferred where nothing is said."""

    kind: Literal["holdout", "subsample", "kfold"] | None = None
    redraw_generator: bool = True  # holdout: a generator a repeat; otherwise one for all, and the report says so
    sizes: tuple[Annotated[int, Field(ge=2)], ...] = ()  # subsample: images of each class, ascending
    folds: int | None = Field(None, ge=2)  # kfold; None: 5, or the nearest number of folds that divides the repeats

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(sizes)) != list(sizes):
            raise ValueError(f"expected different sizes in ascending order, got {list(sizes)}")
        return sizes


class ChooseConfig(Section):
    """Which mixes of one arm are tried on an inner validation split; "no synthetic images" is always among them."""

    arm: str = "classical+synthetic"
    ratios: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field((0.5, 1.0, 2.0), min_length=1)
    keep: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
    filter: Annotated[str, known(SCORERS)] = "confidence"
    weights: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
    validation: float = Field(0.3, gt=0, lt=1)  # share of each class
    splits: int = Field(2, ge=1)  # each with a generator of its own, which has not seen the validation images
    repeats: int = Field(6, ge=2)  # classifiers of each candidate on each split


class GenerateConfig(Section):
    """How many images are made."""

    per_class: int = Field(200, ge=1)
    seed: int = Field(0, ge=0)


class EvaluateConfig(Section):
    """Which classifiers are compared, and how often."""

    arms: tuple[Arm, ...] = Field(tuple(ARMS), min_length=1, validate_default=True)
    repeats: int = Field(10, ge=2)
    ratio: float = Field(1.0, gt=0, allow_inf_nan=False)  # synthetic images per real image
    policy: Annotated[str, known(POLICIES)] = "standard"  # what `classical` means
    views: int = Field(VIEWS, ge=1)  # of each image, made ahead by the policy
    horizontal_flip: bool = False  # only for classes that look the same mirrored
    metric: Annotated[str, known(METRICS)] | None = None  # None: accuracy, balanced under imbalance
    classifier: FitConfig = FitConfig()
    # its features are compared by the fidelity figures; None: those of a classifier trained on the training images
    inception: Annotated[FilePath, AfterValidator(check_inception)] | None = None
    seed: int = Field(0, ge=0)

    @field_validator("arms")
    @classmethod
    def _each_once(cls, value: tuple[Arm, ...]) -> tuple[Arm, ...]:
        names = [arm.name for arm in value]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each arm once, got {', '.join(names)}")
        if GAN_TRAIN in names:
            raise ValueError(f"{GAN_TRAIN} is the name of a figure; expected another one for the arm")
        return value

    def resolved_arms(self) -> tuple[Arm, ...]:
        """The arms, with `classical` replaced by the policy that it means here."""
        return tuple(a.model_copy(update={"policy": self.policy}) if a.policy == "classical" else a for a in self.arms)


class Pipeline(Section):
    """A whole pipeline definition."""

    description: str = ""
    data: DataConfig
    gan: GanConfig = GanConfig()
    generate: GenerateConfig = GenerateConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    choose: ChooseConfig | None = None  # None: the mixes are those of the arms, fixed in advance
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _chosen_for_an_arm(self) -> Self:
        mixed = [arm.name for arm in self.evaluate.arms if arm.real and arm.synthetic]
        if self.choose is not None and self.choose.arm not in mixed:
            raise ValueError(
                f"choose.arm is {self.choose.arm!r}: expected one of the arms with real and synthetic images, "
                + (", ".join(mixed) or "and there is none")
            )
        return self


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
    data = tree.get("data")
    for key in ("source", "test"):
        if isinstance(data, dict) and isinstance(data.get(key), str) and not data[key].startswith(tuple(PREFIXES)):
            data[key] = str(base / data[key])


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
