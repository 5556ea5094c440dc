"""The arms of an evaluation: what one classifier learns from, with the arms that have names: `ARMS`."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from augment.dataset.policies import POLICIES
from augment.fields import NameIn, Settings, check_name
from augment.filtering import FILTERS
from classifiers.long_tail import LONG_TAIL
from classifiers.pools import SAMPLING
from classifiers.training import ClassifierConfig

MAX_RATIO = 1000.0  # synthetic images per real image

# `discriminator` is a deprecated name of `score`
FilterName = Annotated[str, NameIn(FILTERS), BeforeValidator(lambda v: "score" if v == "discriminator" else v)]


class Feed(NamedTuple):
    """What generates the synthetic images of an arm while its classifier trains; see `pipelines.experiment.feeds`."""

    words: str
    needs_generator: bool = False


FEEDS = {
    "generator": Feed("images of the generator", needs_generator=True),
    "reconstruction": Feed("real images as the generator reconstructs them", needs_generator=True),
    "resample": Feed("views of the real images"),
    "grid": Feed("mixtures of the pixels of two images"),
    "cutmix": Feed("images with a part of another one"),
}

# cross-fitted: shift the logits towards rare classes by what suits held-out images best. This trains five more
# classifiers, each without a fifth of the images; see `pipelines.experiment.operating_point`
OperatingPoint = Literal["as-trained", "cross-fitted"]

# settings of `ClassifierConfig` that an arm may have of its own
CLASSIFIER_SETTINGS = ("sampling", "long_tail", "mixup")
# settings that are refused for an arm with a feed, and for one with learner: features
STORED_IMAGE_SETTINGS = ("keep", "weight", "by_need", "soft_labels")
NETWORK_SETTINGS = ("policy", "synthetic_first", *CLASSIFIER_SETTINGS)
# settings that say how synthetic images are mixed in
MIX_SETTINGS = ("ratio", "filter", "keep", "feed", "class_exponent", "by_need", "share", "weight", "synthetic_first")


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("expected only characters that can be printed")
    return name


class Arm(Settings):
    """The training data of one classifier in a comparison. One of `ARMS` may be given by its name alone."""

    name: Annotated[str, AfterValidator(_printable)]
    real: bool = True
    synthetic: bool = False
    # applied to real and synthetic images; `classical` means the policy of the evaluation
    policy: Annotated[str, NameIn(ChainMap(POLICIES, {"classical": None}))] | None = None
    # network: trained from random weights. features: a linear classifier on pretrained features, which always corrects
    # for imbalanced classes. finetune: the pretrained network, fine-tuned, starting from that linear classifier
    learner: Literal["network", "features", "finetune"] = "network"
    ratio: float | None = Field(None, gt=0, le=MAX_RATIO)  # None: the ratio of the evaluation
    filter: FilterName = "confidence"
    keep: float = Field(1.0, gt=0, le=1)  # fraction of the synthetic images of each class, the best by `filter`
    # what generates images on the fly, new for every batch (for features once); None: stored images are drawn
    feed: Annotated[str, NameIn(FEEDS)] | None = None
    # among the synthetic images, a class of n real images is drawn n^class_exponent times as often as one of 1
    class_exponent: float = Field(0.0, ge=-2, le=1)
    # use all synthetic images, which fill up the small classes, and ignore the ratio; without `share`, real and
    # synthetic images are drawn together, as if all were real
    by_need: bool = False
    share: float | None = Field(None, gt=0, lt=1)  # of synthetic images in each batch; None: as the ratio implies
    weight: Annotated[float, Field(gt=0, le=1)] | Literal["confidence"] = 1.0  # of each synthetic image in the loss
    # fraction of the steps that train on synthetic images only; the steps after them train on real images only
    synthetic_first: float = Field(0.0, ge=0, lt=1)
    soft_labels: bool = False  # by a cross-fitted teacher; those of real images are averaged with their one-hot classes
    # share of unlabelled images in each batch, with the probabilities that a first classifier of the arm gives them
    unlabelled: float = Field(0.0, ge=0, lt=1)
    forecast: bool = False  # train it on half of the images too, to tell what twice as many would give
    # how the classifier deals with imbalanced classes; None: as the classifier of the evaluation
    sampling: Annotated[str, NameIn(SAMPLING)] | None = None
    long_tail: Annotated[str, NameIn(LONG_TAIL)] | None = None
    mixup: float | None = Field(None, ge=0, le=1000)  # alpha; None: as the classifier of the evaluation
    operating_point: OperatingPoint | None = None  # None: as the evaluation, if the arm allows it

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return {"name": value, **ARMS[check_name(value, ARMS)]} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not (self.real or self.synthetic):
            raise ValueError("expected real: true or synthetic: true, got neither")
        changed = self._changed(STORED_IMAGE_SETTINGS)
        if self.feed and (changed or not self.synthetic):
            found = f"{changed[0]} is for stored images" if changed else "synthetic: true is missing"
            raise ValueError(f"feed generates the synthetic images while the classifier trains, but {found}")
        if self.forecast and (self.synthetic or self.soft_labels):
            raise ValueError("forecast is for arms of real images with their own labels, without synthetic: true")
        if self.synthetic_first and not (self.real and self.synthetic):
            raise ValueError("synthetic_first needs real: true and synthetic: true, to change from one to the other")
        if self.is_cross_fitted and not self.allows_cross_fitting:
            raise ValueError(
                "operating_point: cross-fitted does not work with stored synthetic images or soft_labels, because they "
                "may depend on the images that are left out; use a feed instead of stored images, or remove soft_labels"
            )
        if self.learner == "features" and (unused := self._changed(NETWORK_SETTINGS)):
            raise ValueError(
                f"{unused[0]} is for networks that are trained, and this arm has learner: features; leave it out"
            )
        if self.learner == "finetune" and not self.real:
            raise ValueError("learner: finetune needs real: true, since it begins with a classifier of real images")
        return self

    def _changed(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]

    @property
    def kind(self) -> tuple[str, str | None, bool]:
        """The learner, the policy and whether the labels are soft: what an arm has in common with its baselines."""
        return self.learner, self.policy, self.soft_labels

    @property
    def draws_together(self) -> bool:
        """Whether real and stored synthetic images are one pool, drawn as if all were real."""
        return self.real and self.synthetic and self.by_need and self.share is None and not self.synthetic_first

    @property
    def is_cross_fitted(self) -> bool:
        """Whether its operating point is found with classifiers on parts of the images."""
        return self.operating_point == "cross-fitted"

    @property
    def allows_cross_fitting(self) -> bool:
        """Whether images can be left out of what it learns from: it has no teacher and no stored synthetic images.

        The networks of a generator that feeds it have been fitted to all images nevertheless.
        """
        return not (self.soft_labels or self.uses_stored_images)

    @property
    def uses_stored_images(self) -> bool:
        """Whether it learns from synthetic images that were generated beforehand."""
        return self.synthetic and self.feed is None

    @property
    def is_control(self) -> bool:
        """Whether its synthetic images come from a control, which a generator has to be better than."""
        return self.feed not in (None, "generator")

    @property
    def needs_generator(self) -> bool:
        """Whether its synthetic images are made by a fitted generator, as those of some controls are too."""
        return self.synthetic and FEEDS[self.feed or "generator"].needs_generator

    @property
    def needs_cross_fitting(self) -> bool:
        """Whether the arm needs the predictions of cross-fitted classifiers before it is trained."""
        filtered = self.keep < 1 and FILTERS[self.filter] is not None
        return self.soft_labels or (self.synthetic and (filtered or self.weight == "confidence"))

    def fit_config(self, classifier: ClassifierConfig) -> ClassifierConfig:
        """Return the settings of a classifier, with those that the arm has of its own.

        Raises `ValidationError` if they do not go together.
        """
        own = self.model_dump(include=set(CLASSIFIER_SETTINGS), exclude_none=True)
        return ClassifierConfig.model_validate({**classifier.model_dump(), **own}) if own else classifier

    def with_mix(self, mix: Mapping[str, Any]) -> Self:
        """Return the arm with the settings of a mix, as in results.json; what is not a setting of arms is ignored."""
        return self.model_copy(update={name: value for name, value in mix.items() if name in type(self).model_fields})

    def ratio_or(self, ratio: float) -> float:
        """Return the arm's synthetic images per real image. ratio: that of the evaluation, if the arm has none."""
        return ratio if self.ratio is None else self.ratio

    def mix(self, ratio: float) -> dict[str, Any]:
        """Return how the synthetic images are mixed in, as reported in results.json. ratio: that of the evaluation."""
        mix = self.model_dump(include={"filter", "keep", "share", "weight", "synthetic_first"})
        mix |= {"by_need": True} if self.by_need else {}
        mix |= {"feed": self.feed} if self.feed else {}
        mix |= {"learner": self.learner} if self.learner == "features" else {}
        mix |= {"class_exponent": self.class_exponent} if self.class_exponent else {}
        drawn = self.share if self.feed and self.learner != "features" else None
        return {"ratio": self.ratio_or(ratio) if drawn is None else min(drawn / (1 - drawn), MAX_RATIO), **mix}


ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "classical": {"policy": "classical"},
    "synthetic": {"real": False, "synthetic": True},
    "none+synthetic": {"synthetic": True},
    "classical+synthetic": {"synthetic": True, "policy": "classical"},
    "classical+unlabelled": {"policy": "classical", "unlabelled": 0.5},
    "features": {"learner": "features"},
    "features+synthetic": {"learner": "features", "synthetic": True},
    "features+unlabelled": {"learner": "features", "unlabelled": 0.5},
    "finetune": {"learner": "finetune", "policy": "classical"},
    "finetune+synthetic": {"learner": "finetune", "policy": "classical", "synthetic": True},
    "classical+fresh": {"synthetic": True, "policy": "classical", "feed": "generator"},
    **{  # its controls
        f"classical+{name}": {"synthetic": True, "policy": "classical", "feed": name}
        for name in FEEDS
        if name != "generator"
    },
}
DEFAULT_ARMS = ("none", "classical", "synthetic", "none+synthetic", "classical+synthetic")
