"""The sections of a pipeline definition: what may be said in YAML, and the defaults. `reading` reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, FilePath, field_validator, model_validator

from augment.dataset.images import Resize, check_size
from augment.dataset.policies import POLICIES, VIEWS
from augment.fields import Seed, Settings, known, one_of
from augment.filtering import FILTERS
from augment.generators.base import GeneratorConfig
from augment.generators.registry import DEFAULT_KIND, GENERATORS
from augment.words import quoted, shortened
from classifiers.inception import check_inception
from classifiers.training import FitConfig
from pipelines.metric_specs import METRICS
from pipelines.trackers.registry import TRACKERS

MOST_IMAGES = 10**7  # of a class
MOST_REPEATS = 10**5
LARGEST_RATIO = 1000.0
GAN_TRAIN = "gan-train"  # the classifiers behind the fidelity figure of that name stand among the records


def _with_kind(value: object) -> object:
    """The name of a kind of generator alone, or its settings with or without `kind`, as settings with it."""
    settings = {"kind": value} if isinstance(value, str) else value
    if not isinstance(settings, dict):
        return settings
    kind = one_of(str(settings.get("kind", DEFAULT_KIND)), GENERATORS)
    for key in settings.keys() - GENERATORS[kind].config.model_fields.keys():
        others = [name for name, other in GENERATORS.items() if key in other.config.model_fields]
        if others:
            raise ValueError(f"{key} is a setting of {' and '.join(others)}, not of {kind}")
    return {**settings, "kind": kind}


if TYPE_CHECKING:
    AnyGenerator = GeneratorConfig
else:
    _KINDS = Union[tuple(kind.config for kind in GENERATORS.values())]  # noqa: UP007 (they are known only at run time)
    AnyGenerator = Annotated[_KINDS, Field(discriminator="kind"), BeforeValidator(_with_kind)]


class GeneratorSection(Settings):
    """A generator alone, for files of its settings and for the command line."""

    generator: AnyGenerator


# `score` was called `discriminator` when the cGAN was the only generator
FilterName = Annotated[str, known(FILTERS), BeforeValidator(lambda v: "score" if v == "discriminator" else v)]


class Arm(Settings):
    """What one classifier of a comparison learns from; one of `ARMS` may be given by its name alone."""

    name: str
    real: bool = True
    synthetic: bool = False
    # on real and synthetic images alike; `classical` is the evaluation's own
    policy: Annotated[str, known({"classical": None, **POLICIES})] | None = None
    ratio: float | None = Field(None, gt=0, le=LARGEST_RATIO)  # None: the evaluation's
    filter: FilterName = "confidence"
    keep: float = Field(1.0, gt=0, le=1)  # share of each class's synthetic images, the best by `filter`
    by_need: bool = False  # synthetic images fill up the small classes, all of them are used, and no ratio counts
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
        if self.by_need and (self.synthetic_first or self.share is not None):
            raise ValueError("by_need draws real and synthetic images together: leave share and synthetic_first out")
        if self.synthetic_first and not (self.real and self.synthetic):
            raise ValueError("synthetic_first needs real: true and synthetic: true, to change from one to the other")
        return self

    @property
    def judged(self) -> bool:
        """Whether a cross-fitted classifier has to judge the images first."""
        filtered = self.keep < 1 and FILTERS[self.filter].by_classifiers is not None
        return self.soft_labels or (self.synthetic and (filtered or self.weight == "confidence"))

    def mix(self, ratio: float) -> dict[str, Any]:
        """How its synthetic images are mixed in, as results.json reports it; ratio: the evaluation's."""
        mix = self.model_dump(include={"filter", "keep", "share", "weight", "synthetic_first"})
        mix |= {"by_need": True} if self.by_need else {}
        return {"ratio": ratio if self.ratio is None else self.ratio, **mix}


ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "classical": {"policy": "classical"},
    "synthetic": {"real": False, "synthetic": True},
    "none+synthetic": {"synthetic": True},
    "classical+synthetic": {"synthetic": True, "policy": "classical"},
}


class DataConfig(Settings):
    """Where the images come from and which of them are used."""

    source: str
    test: str | None = None  # a source whose images are the test set; otherwise the source's own test split
    holdout: float = Field(0.3, gt=0, lt=1)  # share of each class held out where a test split is needed and lacks
    samples_per_class: int | None = Field(None, ge=2, le=MOST_IMAGES)  # at most
    image_size: int | None = None  # px
    largest_size: Annotated[int, AfterValidator(check_size)] | None = None  # px, where image_size is not set
    resize: Resize = "pad"
    skip_broken: bool = False
    drop_duplicates: bool = False  # of training images: exact and near copies, and what is in test or val too
    seed: Seed = 0  # of the subset and of what is held out


class ProtocolConfig(Settings):
    """How the repeats differ; `pipelines.experiment.protocols` tells what is inferred where nothing is said."""

    kind: Literal["holdout", "subsample", "kfold"] | None = None
    redraw_generator: bool = True  # holdout: a generator a repeat; otherwise one for all, and the report says so
    sizes: tuple[Annotated[int, Field(ge=2, le=MOST_IMAGES)], ...] = ()  # subsample: images of each class, ascending
    # kfold; None: 5, or the nearest number of folds that divides the repeats
    folds: int | None = Field(None, ge=2, le=MOST_REPEATS)

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(sizes)) != list(sizes):
            raise ValueError(f"expected different sizes in ascending order, got {list(sizes)}")
        return sizes


class ChooseConfig(Settings):
    """Which mixes of one arm are tried on an inner validation split; "no synthetic images" is always among them."""

    arm: str = "classical+synthetic"
    ratios: tuple[Annotated[float, Field(gt=0, le=LARGEST_RATIO)], ...] = Field((0.5, 1.0, 2.0), min_length=1)
    keep: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
    filter: FilterName = "confidence"
    weights: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
    validation: float = Field(0.3, gt=0, lt=1)  # share of each class
    # each with a generator of its own, which has not seen the validation images
    splits: int = Field(2, ge=1, le=MOST_REPEATS)
    repeats: int = Field(6, ge=2, le=MOST_REPEATS)  # classifiers of each candidate on each split


class GenerateConfig(Settings):
    """How many images are made."""

    per_class: int = Field(200, ge=1, le=MOST_IMAGES)
    seed: Seed = 0


class EvaluateConfig(Settings):
    """Which classifiers are compared, and how often."""

    arms: tuple[Arm, ...] = Field(tuple(ARMS), min_length=1, validate_default=True)
    repeats: int = Field(10, ge=2, le=MOST_REPEATS)
    ratio: float = Field(1.0, gt=0, le=LARGEST_RATIO)  # synthetic images per real image
    policy: Annotated[str, known(POLICIES)] = "standard"  # what `classical` means
    views: int = Field(VIEWS, ge=1, le=MOST_REPEATS)  # of each image, made ahead by the policy
    horizontal_flip: bool = False  # only for classes that look the same mirrored
    metric: Annotated[str, known(METRICS)] | None = None  # None: accuracy, balanced under imbalance
    classifier: FitConfig = FitConfig()
    # its features are compared by the fidelity figures; None: those of a classifier trained on the training images
    inception: Annotated[FilePath, AfterValidator(check_inception)] | None = None
    seed: Seed = 0

    @field_validator("arms")
    @classmethod
    def _each_once(cls, value: tuple[Arm, ...]) -> tuple[Arm, ...]:
        names = [arm.name for arm in value]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each arm once, got {shortened(', '.join(names))}")
        if GAN_TRAIN in names:
            raise ValueError(f"{GAN_TRAIN} is the name of a figure; expected another one for the arm")
        return value

    def resolved_arms(self) -> tuple[Arm, ...]:
        """The arms, with `classical` replaced by the policy that it means here."""
        return tuple(a.model_copy(update={"policy": self.policy}) if a.policy == "classical" else a for a in self.arms)


class Pipeline(Settings):
    """A whole pipeline definition."""

    description: str = ""
    data: DataConfig
    # `gan` is the name that this section had when there was one kind
    generator: AnyGenerator = Field(
        default_factory=GENERATORS[DEFAULT_KIND].config, validation_alias=AliasChoices("generator", "gan")
    )
    generate: GenerateConfig = GenerateConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    choose: ChooseConfig | None = None  # None: the mixes are those of the arms, fixed in advance
    evaluate: EvaluateConfig = EvaluateConfig()
    track: tuple[Annotated[str, known(TRACKERS)], ...] = ()  # trackers; no result depends on them

    @model_validator(mode="after")
    def _chosen_for_an_arm(self) -> Self:
        if self.choose is None:
            return self
        arms = self.evaluate.resolved_arms()
        mixed = {arm.name: (arm.policy, arm.soft_labels) for arm in arms if arm.real and arm.synthetic}
        if self.choose.arm not in mixed:
            raise ValueError(
                f"choose.arm is {quoted(self.choose.arm)}: expected one of the arms with real and synthetic images, "
                + (shortened(", ".join(mixed), 300) or "and there is none")
            )
        if mixed[self.choose.arm] not in [(arm.policy, arm.soft_labels) for arm in arms if not arm.synthetic]:
            raise ValueError(
                f"choose.arm is {quoted(self.choose.arm)}, and evaluate.arms has none like it without synthetic "
                "images, to compare it with; add one"
            )
        return self
