"""What `augment run auto` chooses by looking at the images: `CHOICES`, in the order in which they are explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from augment.generators.anchored import AnchoredConfig
from augment.words import counted
from classifiers.backbones import weights_installed
from classifiers.long_tail import LONG_TAIL
from pipelines.config.arm_section import ARMS, FEEDS
from pipelines.config.sections import Pipeline
from pipelines.experiment.folds import Fold
from pipelines.experiment.loading import LoadedSource
from pipelines.metric_specs import MEANS_OVER_IMAGES, imbalanced

SHARE = 0.25  # of synthetic images in a batch
MIN_FOR_FORECAST = 8  # images of each class
WITH_FORECAST = ("classical", "features")  # arms; a fine-tuned network would take too long
LENDERS_FROM = 5  # images of a class that lends differences, where no class is large
# feeds that the images of a generator have to be better than; `resample`, because new views in every batch help small
# classes too, and under imbalance all synthetic images favour rare classes
CONTROLS = ("grid", "resample")


class Decision(NamedTuple):
    """What was decided about a section of a pipeline definition, and why. changes: the new settings of the section."""

    section: str
    changes: dict[str, Any]
    sentence: str

    @property
    def settings(self) -> dict[str, Any]:
        """The changes under the name of their section, as in a pipeline."""
        return {self.section: self.changes} if self.changes else {}


@dataclass(frozen=True)
class Facts:
    """What the decisions depend on."""

    pipeline: Pipeline
    loaded: LoadedSource
    folds: Sequence[Fold]

    @property
    def counts(self) -> dict[str, int]:
        """The number of training images of each class in the first fold."""
        return self.folds[0].train.per_class()

    @property
    def largest(self) -> int:
        """The size of the largest class, in the fold where that is smallest."""
        return min(int(fold.train.counts().max()) for fold in self.folds)

    @property
    def smallest(self) -> int:
        """The size of the smallest class, in the fold where that is smallest."""
        return min(int(fold.train.counts().min()) for fold in self.folds)


def _image_size(facts: Facts) -> Decision:
    data, size = facts.pipeline.data, facts.loaded.train.size
    why = (
        f"at most {data.largest_size} px, since the time grows with the area; --image-size sets another size"
        if data.largest_size and data.image_size is None
        else "as the pipeline says"
    )
    lost = facts.loaded.source.lost_details() if facts.loaded.source else ""
    return Decision("data", {}, f"images of {facts.loaded.name} at {size} px: {why}{'; ' if lost else ''}{lost}")


def _imbalance(facts: Facts) -> Decision:
    largest, smallest = max(facts.counts.values()), min(facts.counts.values())
    images = counted(largest, "image") if smallest == largest else f"{smallest} to {largest} images"
    if imbalanced(facts.counts):
        classifier = {"sampling": "plain", "long_tail": "logit-adjustment"}
        sentence = (
            f"plain sampling with logit adjustment, the best treatment that we have measured for classes of {images}"
        )
    else:
        classifier = {"sampling": "balanced", "long_tail": "none"}
        sentence = f"no treatment of imbalance: in a repeat, the classes have {images} each to train on"
    if given := facts.pipeline.evaluate.classifier.model_fields_set & classifier.keys():
        left_open = ", ".join(f"{name}: {value}" for name, value in classifier.items() if name not in given)
        sentence = f"{left_open}, for classes of {images}; {', '.join(sorted(given))} as the pipeline says"
    return Decision("evaluate", {"classifier": classifier}, sentence)


def _anchors(facts: Facts) -> Decision:
    config = facts.pipeline.generator
    if not isinstance(config, AnchoredConfig) or "anchors" in config.model_fields_set:
        return Decision("generator", {}, f"the generator {config.kind}: as the pipeline says")
    largest = facts.largest
    if largest >= config.lenders_from:
        why = f"in every repeat, a class has at least {largest} images, enough to take differences from"
        return Decision("generator", {}, f"the generator anchored, {config.anchors}: {why}")
    if largest > 1:
        changes: dict[str, Any] = {"anchors": "pooled-difference", "lenders_from": min(largest, LENDERS_FROM)}
        fewest = counted(changes["lenders_from"], "image")
        why = f"in a repeat, no class has {config.lenders_from} images, so all with at least {fewest} lend differences"
    else:
        changes = {"anchors": "reconstruction"}
        why = "every class has one image, and there is nothing to mix it with"
    return Decision("generator", changes, f"the generator anchored, {changes['anchors']}: {why}")


def _arms(facts: Facts) -> Decision:
    arms, unlabelled = arms_with_feeds("classical", policy="classical"), facts.loaded.unlabelled
    controls = " and ".join(FEEDS[name].words for name in CONTROLS)
    parts = [f"{SHARE:.0%} of each batch is synthetic, new for every batch; as controls, {controls} in their place"]
    if unlabelled is not None:
        arms.append(_known_arm("classical+unlabelled"))
        generator = ", and so does the generator" if facts.pipeline.generator.uses_unlabelled else ""
        parts.append(f"an arm learns from {counted(len(unlabelled), 'unlabelled image')} too{generator}")
    if weights_installed():
        arms += arms_with_feeds("features", learner="features")
        arms += [_known_arm("features+unlabelled")] if unlabelled is not None else []
        also = ", with the unlabelled images and without" if unlabelled is not None else ""
        parts.append(f"pretrained features are compared too{also}")
    else:
        parts.append("for photographs, compare pretrained networks too: pip install 'augment-osgan[pretrained]'")
    metric = facts.pipeline.evaluate.metric
    if metric is not None and metric not in MEANS_OVER_IMAGES:
        parts.append(f"no forecast for more images, because the metric {metric} does not allow one")
    elif facts.smallest >= MIN_FOR_FORECAST:
        arms = [arm | {"forecast": True} if arm["name"] in WITH_FORECAST else arm for arm in arms]
        parts.append("classifiers trained on half of the images estimate what twice as many would give")
    else:
        parts.append(f"no forecast for more images, because it needs {MIN_FOR_FORECAST} images of each class")
    return Decision("evaluate", {"arms": arms}, "; ".join(parts))


def fine_tuned_arms(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the arms that fine-tune a pretrained network, if its weights are installed and the settings allow it."""
    if not weights_installed() or LONG_TAIL[pipeline.evaluate.classifier.long_tail].head is not None:
        return []
    given = "operating_point" in pipeline.evaluate.model_fields_set
    point = {} if given else {"operating_point": "as-trained"}  # another one would take too long
    return arms_with_feeds("finetune", policy="classical", learner="finetune", **point)


def arms_with_feeds(name: str, **settings: Any) -> list[dict[str, Any]]:
    """Return an arm of real images, and the same with images of the generator and of each control."""
    feeds = {"fresh": "generator"} | {control: control for control in CONTROLS}
    fed = ({"name": f"{name}+{n}", "synthetic": True, "feed": f, "share": SHARE, **settings} for n, f in feeds.items())
    return [{"name": name, **settings}, *fed]


def _known_arm(name: str) -> dict[str, Any]:
    return {"name": name, **ARMS[name]}


CHOICES: tuple[Callable[[Facts], Decision], ...] = (_image_size, _imbalance, _anchors, _arms)
