"""The sections of a pipeline definition with their fields and defaults. `reading` loads them from YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    FilePath,
    ValidationError,
    field_validator,
    model_validator,
)

from augment.dataset.images import Resize, check_size
from augment.dataset.policies import POLICIES, VIEWS
from augment.fields import Seed, Settings, check_name, name_in
from augment.filtering import FILTERS
from augment.generators.base import GeneratorConfig
from augment.generators.registry import DEFAULT_KIND, GENERATORS
from augment.words import quoted, shortened
from classifiers.inception import check_inception
from classifiers.long_tail import LONG_TAIL
from classifiers.pools import SAMPLING
from classifiers.training import FitConfig
from pipelines.metric_specs import METRICS
from pipelines.trackers.registry import TRACKERS

MAX_IMAGES = 10**7  # of a class
MAX_REPEATS = 10**5
MAX_RATIO = 1000.0
MAX_MINUTES = 10**6
GAN_TRAIN = "gan-train"  # the arm, in the records, of the classifiers behind the fidelity figure of this name


def _with_kind(value: object) -> object:
    """Return the settings of a generator with `kind`, given the name of the kind alone or settings without it."""
    settings = {"kind": value} if isinstance(value, str) else value
    if not isinstance(settings, dict):
        return settings
    kind = check_name(str(settings.get("kind", DEFAULT_KIND)), GENERATORS)
    for key in settings.keys() - GENERATORS[kind].config.model_fields.keys():
        others = [name for name, other in GENERATORS.items() if key in other.config.model_fields]
        if others:
            raise ValueError(f"{key} is a setting of {' and '.join(others)}, not of {kind}")
    return {**settings, "kind": kind}


if TYPE_CHECKING:
    AnyGenerator = GeneratorConfig
else:
    _KINDS = Union[tuple(kind.config for kind in GENERATORS.values())]  # noqa: UP007 (known only at run time)
    AnyGenerator = Annotated[_KINDS, Field(discriminator="kind"), BeforeValidator(_with_kind)]


class GeneratorSection(Settings):
    """The settings of a generator without a pipeline, for `--config` files and for command-line options."""

    generator: AnyGenerator


# `discriminator` is a deprecated name of `score`
FilterName = Annotated[str, name_in(FILTERS), BeforeValidator(lambda v: "score" if v == "discriminator" else v)]


# What generates the synthetic images of an arm while its classifier trains; see `pipelines.experiment.feeds`
Feed = Literal["generator", "reconstruction", "resample", "grid", "cutmix"]

FOR_STORED_IMAGES = ("keep", "weight", "by_need", "soft_labels")  # settings of an arm that a feed does not have


class Arm(Settings):
    """The training data of one classifier in a comparison. One of `ARMS` may be given by its name alone."""

    name: str
    real: bool = True
    synthetic: bool = False
    # applied to real and synthetic images; `classical` means the policy of the evaluation
    policy: Annotated[str, name_in({"classical": None, **POLICIES})] | None = None
    ratio: float | None = Field(None, gt=0, le=MAX_RATIO)  # None: the ratio of the evaluation
    filter: FilterName = "confidence"
    keep: float = Field(1.0, gt=0, le=1)  # fraction of the synthetic images of each class, the best by `filter`
    feed: Feed | None = None  # generates new images for every batch; None: the stored synthetic images are drawn
    # among the synthetic images, a class of n real images is drawn n^class_exponent times as often as one of 1
    class_exponent: float = Field(0.0, ge=-2, le=1)
    by_need: bool = False  # fill up the small classes with all synthetic images, and ignore the ratio
    share: float | None = Field(None, gt=0, lt=1)  # of synthetic images in each batch; None: as the ratio implies
    weight: Annotated[float, Field(gt=0, le=1)] | Literal["confidence"] = 1.0  # of each synthetic image in the loss
    # fraction of the steps that train on synthetic images only; the steps after them train on real images only
    synthetic_first: float = Field(0.0, ge=0, lt=1)
    soft_labels: bool = False  # by a cross-fitted teacher; those of real images are averaged with their one-hot classes
    # how the classifier deals with imbalanced classes; None: as the classifier of the evaluation
    sampling: Annotated[str, name_in(SAMPLING)] | None = None
    long_tail: Annotated[str, name_in(LONG_TAIL)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return {"name": value, **ARMS[check_name(value, ARMS)]} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        if not (self.real or self.synthetic):
            raise ValueError("expected real: true or synthetic: true, got neither")
        if self.by_need and (self.synthetic_first or self.share is not None):
            raise ValueError("by_need draws real and synthetic images together: leave share and synthetic_first out")
        changed = [n for n in FOR_STORED_IMAGES if getattr(self, n) != type(self).model_fields[n].default]
        if self.feed and (changed or not self.synthetic):
            found = f"{changed[0]} is for stored images" if changed else "synthetic: true is missing"
            raise ValueError(f"feed generates the synthetic images while the classifier trains, but {found}")
        if self.synthetic_first and not (self.real and self.synthetic):
            raise ValueError("synthetic_first needs real: true and synthetic: true, to change from one to the other")
        return self

    @property
    def is_control(self) -> bool:
        """Whether it is fed by something that a generator has to be better than."""
        return self.feed not in (None, "generator")

    @property
    def needs_judges(self) -> bool:
        """Whether cross-fitted classifiers have to judge the images before the arm is trained."""
        filtered = self.keep < 1 and FILTERS[self.filter].by_classifiers is not None
        return self.soft_labels or (self.synthetic and (filtered or self.weight == "confidence"))

    def fit_config(self, classifier: FitConfig) -> FitConfig:
        """Return the settings of the evaluation's classifier, with those that the arm has of its own.

        Raises `ValidationError` if they do not go together.
        """
        own = self.model_dump(include={"sampling", "long_tail"}, exclude_none=True)
        return FitConfig.model_validate({**classifier.model_dump(), **own}) if own else classifier

    def mix(self, ratio: float) -> dict[str, Any]:
        """Return how the synthetic images are mixed in, as reported in results.json. ratio: that of the evaluation."""
        mix = self.model_dump(include={"filter", "keep", "share", "weight", "synthetic_first"})
        mix |= {"by_need": True} if self.by_need else {}
        mix |= {"feed": self.feed} if self.feed else {}
        mix |= {"class_exponent": self.class_exponent} if self.class_exponent else {}
        return {"ratio": ratio if self.ratio is None else self.ratio, **mix}


ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "classical": {"policy": "classical"},
    "synthetic": {"real": False, "synthetic": True},
    "none+synthetic": {"synthetic": True},
    "classical+synthetic": {"synthetic": True, "policy": "classical"},
    "classical+fresh": {"synthetic": True, "policy": "classical", "feed": "generator"},
    # the controls of classical+fresh
    "classical+reconstruction": {"synthetic": True, "policy": "classical", "feed": "reconstruction"},
    "classical+resample": {"synthetic": True, "policy": "classical", "feed": "resample"},
    "classical+grid": {"synthetic": True, "policy": "classical", "feed": "grid"},
    "classical+cutmix": {"synthetic": True, "policy": "classical", "feed": "cutmix"},
}
DEFAULT_ARMS = ("none", "classical", "synthetic", "none+synthetic", "classical+synthetic")


class DataConfig(Settings):
    """The source of the images, and which of them are used."""

    source: str
    test: str | None = None  # a source whose images are the test set; None: the test split of `source`
    holdout: float = Field(0.3, gt=0, lt=1)  # fraction of each class held out if a test split is needed but missing
    samples_per_class: int | None = Field(None, ge=2, le=MAX_IMAGES)  # at most
    image_size: int | None = None  # px
    largest_size: Annotated[int, AfterValidator(check_size)] | None = None  # px, if image_size is not set
    resize: Resize = "pad"
    skip_broken: bool = False
    # drop training images that are exact or near copies of other training, validation or test images
    drop_duplicates: bool = False
    seed: Seed = 0  # of the subset and of the held-out test images


class ProtocolConfig(Settings):
    """How the folds of the repeats are drawn. If `kind` is None, `pipelines.experiment.protocols` infers a protocol."""

    kind: Literal["holdout", "subsample", "imbalance", "kfold"] | None = None
    redraw_generator: bool = True  # holdout: one generator for each repeat; false: one for all, as the report says
    sizes: tuple[Annotated[int, Field(ge=2, le=MAX_IMAGES)], ...] = ()  # subsample: images of each class, ascending
    # imbalance: images of each large and of each small class, and the fraction of the classes that are large
    large: int = Field(100, ge=2, le=MAX_IMAGES)
    small: int = Field(5, ge=2, le=MAX_IMAGES)
    large_classes: float = Field(0.5, gt=0, lt=1)
    # kfold; None: 5, or the nearest number of folds that divides the repeats
    folds: int | None = Field(None, ge=2, le=MAX_REPEATS)

    @model_validator(mode="after")
    def _large_is_larger(self) -> Self:
        if self.large <= self.small:
            raise ValueError(f"expected large above small, got {self.large} and {self.small}")
        return self

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(sizes)) != list(sizes):
            raise ValueError(f"expected different sizes in ascending order, got {list(sizes)}")
        return sizes


class ChooseConfig(Settings):
    """Which mixes of one arm are tried on inner validation splits. "No synthetic images" is always a candidate too."""

    arm: str = "classical+synthetic"
    ratios: tuple[Annotated[float, Field(gt=0, le=MAX_RATIO)], ...] = Field((0.5, 1.0, 2.0), min_length=1)
    keep: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
    filter: FilterName = "confidence"
    weights: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
    validation: float = Field(0.3, gt=0, lt=1)  # fraction of each class
    # every split gets its own generator, which has not seen the validation images
    splits: int = Field(2, ge=1, le=MAX_REPEATS)
    repeats: int = Field(6, ge=2, le=MAX_REPEATS)  # classifiers of each candidate on each split


class GenerateConfig(Settings):
    """How many images are generated."""

    per_class: int = Field(200, ge=1, le=MAX_IMAGES)
    seed: Seed = 0


class EvaluateConfig(Settings):
    """Which arms are compared, with which classifier, and how often."""

    arms: tuple[Arm, ...] = Field(DEFAULT_ARMS, min_length=1, validate_default=True)
    repeats: int = Field(10, ge=2, le=MAX_REPEATS)
    ratio: float = Field(1.0, gt=0, le=MAX_RATIO)  # synthetic images per real image
    policy: Annotated[str, name_in(POLICIES)] = "standard"  # the policy of `classical` arms
    views: int = Field(VIEWS, ge=1, le=MAX_REPEATS)  # of each image, generated in advance by the policy
    horizontal_flip: bool = False  # only for classes that look the same when mirrored
    metric: Annotated[str, name_in(METRICS)] | None = None  # None: accuracy, or balanced accuracy under imbalance
    classifier: FitConfig = FitConfig()
    # weights of the network whose features the fidelity figures use; None: a classifier trained on the training images
    inception: Annotated[FilePath, AfterValidator(check_inception)] | None = None
    seed: Seed = 0

    @field_validator("arms")
    @classmethod
    def _each_once(cls, value: tuple[Arm, ...]) -> tuple[Arm, ...]:
        names = [arm.name for arm in value]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each arm once, got {shortened(', '.join(names))}")
        if GAN_TRAIN in names:
            raise ValueError(f"{GAN_TRAIN} is the name of a fidelity figure; expected another name for the arm")
        return value

    @model_validator(mode="after")
    def _fits_the_arms(self) -> Self:
        for arm in self.arms:
            try:
                arm.fit_config(self.classifier)
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"arm {quoted(arm.name)}: {reason}") from error
        return self

    def resolved_arms(self) -> tuple[Arm, ...]:
        """Return the arms, with the policy `classical` replaced by the policy of the evaluation."""
        return tuple(a.model_copy(update={"policy": self.policy}) if a.policy == "classical" else a for a in self.arms)


class AutoConfig(Settings):
    """That the settings which the definition leaves open are chosen for the images; see `pipelines.auto`."""

    # the time available, which decides the number of repeats; None: 20 minutes, or what the fewest repeats take
    minutes: float | None = Field(None, gt=0, le=MAX_MINUTES)


class Pipeline(Settings):
    """A complete pipeline definition."""

    description: str = ""
    data: DataConfig
    # `gan` is a deprecated name of this section
    generator: AnyGenerator = Field(
        default_factory=GENERATORS[DEFAULT_KIND].config, validation_alias=AliasChoices("generator", "gan")
    )
    generate: GenerateConfig = GenerateConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    choose: ChooseConfig | None = None  # None: the mixes of the arms are fixed in advance
    evaluate: EvaluateConfig = EvaluateConfig()
    auto: AutoConfig | None = None  # None: settings that the definition leaves open have their default values
    track: tuple[Annotated[str, name_in(TRACKERS)], ...] = ()  # names of trackers, which do not affect the results

    @model_validator(mode="after")
    def _chosen_for_an_arm(self) -> Self:
        if self.choose is None:
            return self
        arms = self.evaluate.resolved_arms()
        mixed = {arm.name: (arm.policy, arm.soft_labels) for arm in arms if arm.real and arm.synthetic}
        if self.choose.arm not in mixed:
            raise ValueError(
                f"choose.arm is {quoted(self.choose.arm)}: expected one of the arms with real and synthetic images, "
                + (shortened(", ".join(mixed), 300) or "but there is none")
            )
        if mixed[self.choose.arm] not in [(arm.policy, arm.soft_labels) for arm in arms if not arm.synthetic]:
            raise ValueError(
                f"choose.arm is {quoted(self.choose.arm)}, but evaluate.arms has no such arm without synthetic "
                "images to compare it with; add one"
            )
        return self
