"""The sections of a pipeline definition with their fields and defaults. `reading` loads them from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from augment.dataset.images import Resize, check_size
from augment.dataset.policies import DEFAULT_POLICY, POLICIES, VIEWS
from augment.fields import NameIn, Seed, Settings
from augment.generators.registry import DEFAULT_KIND, GENERATORS
from augment.words import quoted, shortened
from classifiers.features import FeatureConfig
from classifiers.fine_tuning import FineTuneConfig
from classifiers.long_tail import LONG_TAIL
from classifiers.training import ClassifierConfig
from pipelines.config.arm_section import CLASSIFIER_SETTINGS, DEFAULT_ARMS, MAX_RATIO, Arm, FilterName, OperatingPoint
from pipelines.config.generator_section import AnyGenerator
from pipelines.metric_specs import MEANS_OVER_IMAGES, METRICS
from pipelines.record_names import GAN_TRAIN, name_of_half
from pipelines.trackers.registry import TRACKERS

MAX_IMAGES = 10**7  # of a class
MAX_REPEATS = 10**5
MAX_MINUTES = 10**6


class DataConfig(Settings):
    """The source of the images, and which of them are used."""

    source: str
    test: str | None = None  # a source whose images are the test set; None: the test split of `source`
    unlabelled: str | None = None  # images of the same kind without labels, or with labels that are ignored
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
    redraw_generator: bool = True  # holdout: one generator for each repeat; false: one for all repeats
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

    arms: tuple[Arm, ...] = Field(DEFAULT_ARMS, validate_default=True)
    repeats: int = Field(10, ge=2, le=MAX_REPEATS)
    ratio: float = Field(1.0, gt=0, le=MAX_RATIO)  # synthetic images per real image
    policy: Annotated[str, NameIn(POLICIES)] = DEFAULT_POLICY  # the policy of `classical` arms
    views: int = Field(VIEWS, ge=1, le=MAX_REPEATS)  # of each image, generated in advance by the policy
    horizontal_flip: bool = False  # only for classes that look the same when mirrored
    metric: Annotated[str, NameIn(METRICS)] | None = None  # None: accuracy, or balanced accuracy under imbalance
    classifier: ClassifierConfig = ClassifierConfig()
    operating_point: OperatingPoint = "as-trained"  # of the arms that allow it and have none of their own
    features: FeatureConfig = FeatureConfig()  # of arms with learner: features, and with finetune as a start
    finetune: FineTuneConfig = FineTuneConfig()  # of arms with learner: finetune
    # weights of the network whose features the fidelity metrics use; None: a classifier trained on the training images
    inception: Path | None = None
    seed: Seed = 0

    @field_validator("arms")
    @classmethod
    def _each_once(cls, value: tuple[Arm, ...]) -> tuple[Arm, ...]:
        names = [arm.name for arm in value]
        if not names:
            raise ValueError("expected at least one arm")
        if len(set(names)) < len(names):
            raise ValueError(f"expected each arm once, got {shortened(', '.join(names))}")
        for name in {GAN_TRAIN, *map(name_of_half, names)} & {*names}:
            raise ValueError(f"{quoted(name)} is a name in the records; expected another name for the arm")
        return value

    @model_validator(mode="after")
    def _can_forecast(self) -> Self:
        if self.metric not in (None, *MEANS_OVER_IMAGES) and any(arm.forecast for arm in self.arms):
            raise ValueError(
                f"forecast: true needs the metric {' or '.join(MEANS_OVER_IMAGES)}, got {self.metric}; change the "
                "metric, or remove forecast"
            )
        return self

    @model_validator(mode="after")
    def _fits_the_arms(self) -> Self:
        for arm in self.arms:
            try:
                method = LONG_TAIL[self.classifier_of(arm).long_tail]
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"arm {quoted(arm.name)}: {reason}") from error
            if method.head is not None and arm.learner == "finetune":
                raise ValueError(
                    f"arm {quoted(arm.name)}: its long_tail method has a last layer of its own, and learner: finetune "
                    "begins with a linear one; use another method, such as logit-adjustment"
                )
            if self._resolved(arm).is_cross_fitted and arm.learner == "network" and method.head is not None:
                raise ValueError(
                    f"arm {quoted(arm.name)}: its long_tail method has no biases that operating_point: cross-fitted "
                    "could shift; use another method, such as logit-adjustment"
                )
        return self

    def classifier_of(self, arm: Arm) -> ClassifierConfig:
        """Return the settings of an arm's network. Raises `ValidationError` if they do not go together."""
        classifier = arm.fit_config(self.classifier)  # its method decides on the mixup of fine-tuning
        return arm.fit_config(self.finetune.apply(classifier)) if arm.learner == "finetune" else classifier

    def resolved_arms(self) -> tuple[Arm, ...]:
        """Return the arms, with what they take from the evaluation: the classical policy and the operating point."""
        return tuple(map(self._resolved, self.arms))

    @property
    def needs_generator(self) -> bool:
        """Whether an arm needs a generator, or images of one."""
        return any(arm.needs_generator for arm in self.arms)

    def compared_arms(self) -> tuple[Arm, ...]:
        """Return the arms of `resolved_arms`; their own settings of the classifier are None if they change nothing."""
        return tuple(map(self._normalised, self.resolved_arms()))

    def _normalised(self, arm: Arm) -> Arm:
        without = self.classifier_of(arm.model_copy(update=dict.fromkeys(CLASSIFIER_SETTINGS)))
        idle = [name for name in CLASSIFIER_SETTINGS if getattr(arm, name) == getattr(without, name)]
        return arm.model_copy(update=dict.fromkeys(idle))

    def _resolved(self, arm: Arm) -> Arm:
        policy = self.policy if arm.policy == "classical" else arm.policy
        point = self.operating_point if arm.allows_cross_fitting else None
        return arm.model_copy(update={"policy": policy, "operating_point": arm.operating_point or point})


def fill_small_classes(config: EvaluateConfig) -> tuple[EvaluateConfig, tuple[str, ...]]:
    """Return the settings for synthetic images that fill up the small classes, and a note that says so."""
    arms = [
        arm.model_copy(update={"by_need": True}) if arm.real and arm.uses_stored_images else arm for arm in config.arms
    ]
    note = (
        "the synthetic images fill up the small classes, so arms with real and synthetic images use all of them: as "
        "one set with the real images or, if an arm sets a share, as that share of each batch; give --ratio to draw "
        "equally many of each class instead"
    )
    return config.model_copy(update={"arms": tuple(arms)}), (note,)


class AutoConfig(Settings):
    """Choose the settings that the definition leaves open to suit the images; see `pipelines.auto`."""

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
    track: tuple[Annotated[str, NameIn(TRACKERS)], ...] = ()  # names of trackers, which do not affect the results

    @model_validator(mode="after")
    def _can_reconstruct(self) -> Self:
        fed = [arm.name for arm in self.evaluate.arms if arm.feed == "reconstruction"]
        if fed and self.generator.kind != "anchored":
            raise ValueError(
                f"arm {quoted(fed[0])} has feed: reconstruction, which needs a generator of kind anchored, got kind "
                f"{self.generator.kind}"
            )
        return self

    @model_validator(mode="after")
    def _chosen_for_an_arm(self) -> Self:
        if self.choose is None:
            return self
        arms = self.evaluate.resolved_arms()
        mixed = {a.name: a.kind for a in arms if a.real and a.uses_stored_images and not a.by_need}
        if self.choose.arm not in mixed:
            raise ValueError(
                f"choose.arm is {quoted(self.choose.arm)}: expected one of the arms with real and stored synthetic "
                "images and without by_need: " + (shortened(", ".join(mixed), 300) or "but there is none")
            )
        if mixed[self.choose.arm] not in [arm.kind for arm in arms if not arm.synthetic]:
            raise ValueError(
                f"choose.arm is {quoted(self.choose.arm)}, but evaluate.arms has no such arm without synthetic "
                "images to compare it with; add one"
            )
        return self
