"""Render report.html: one self-contained page with the recommendation first, then all results that it is based on.

The page loads nothing from outside: plots are inline SVG, pictures are data URLs, and its content security policy
forbids anything else. A section without content is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from pipelines.metric_specs import METRICS, MIN_REPEATS_FOR_CLAIM
from pipelines.results.document import Choice, Results
from pipelines.results.forecast import describe_forecast
from pipelines.results.hard_images import HardImage
from pipelines.results.plots import class_gains, confusion_matrices, gain_plot, learning_curve, training_curves
from pipelines.results.svg import image_strip
from pipelines.results.wording import format_metrics

if TYPE_CHECKING:
    from jinja2 import Template

PER_CLASS = 8  # real and as many synthetic pictures in a row of the sample grid
PAIR_SIZE = 96  # pixels; longest side of each picture of a pair
PICTURE_BYTES = 1_000_000  # uncompressed pixels of the sample grid, and of the pairs; keeps the page below 3 MB

FIDELITY = {  # label and meaning of each metric; metrics that occur only per class are explained in the template
    "features": ("Features", ""),
    "folds": ("Folds", "number of folds over which the metrics are averaged"),
    "test_images": ("Real images", "test images with which the synthetic images are compared"),
    "synthetic_images": ("Synthetic images", "synthetic images that are compared"),
    "kid": ("KID", "distance between the features of synthetic and real images; 0 is best"),
    "kid_std": ("KID spread", "standard deviation of KID over random subsets; KID is their mean"),
    "kid_subset_size": ("KID subset", "synthetic images, and as many real images, in each random subset"),
    "fid": ("FID", "Fréchet distance between the features of synthetic and real images; 0 is best"),
    "precision": ("Precision", "fraction of synthetic images that lie among the real ones"),
    "recall": ("Recall", "fraction of real images that lie among the synthetic ones"),
    "density": ("Density", "how densely real images surround the synthetic ones; about 1 if both are alike"),
    "coverage": ("Coverage", "fraction of real images that have a synthetic image nearby"),
    "gan_train_accuracy": ("GAN-train", "accuracy on real images of a classifier trained on synthetic images only"),
    "gan_test_accuracy": ("GAN-test", "accuracy on synthetic images of a classifier trained on real images only"),
    "memorised_fraction": (
        "Memorised",
        "fraction of synthetic images that are closer to a training image than 99 % of unseen real images are",
    ),
    "memorised_by_chance": ("By chance", "the same fraction for other unseen real images, none of which is a copy"),
    "spread": ("Spread", ""),
    "distinctness": ("Distinctness", ""),
    "gan_train": ("GAN-train", ""),
    "gan_test": ("GAN-test", ""),
}
FEATURES = {
    "own classifier": "features of a classifier trained on the training images only; these metrics compare generators "
    "trained on the same images, but they are not comparable with published ones",
    "inception": "features of Inception v3 with the given weights, which were not trained on these images",
}


@dataclass(frozen=True)
class Pictures:
    """The images and training curves that the report shows; what is None or empty is left out.

    pairs: tuples of a synthetic image, its nearest training image (both uint8, C x H x W), their distance and the class
    name. curves: (steps, values) of equal length, by name. hard: test images that are often wrong.
    """

    real: LabelledImages | None = None
    synthetic: LabelledImages | None = None
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], float, str]] = ()
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None
    hard: Sequence[HardImage] = ()


def page_template(name: str, filters: Mapping[str, Callable[..., str]]) -> Template:
    """Return the template of a page, which escapes what is filled in."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters
    return environment.from_string(
        resources.files("pipelines.results").joinpath("templates", name).read_text(encoding="utf-8")
    )


def render(results: Results, pictures: Pictures, settings: Mapping[str, Any]) -> str:
    """Render the results as one HTML page; all text that comes from the user is escaped."""
    dataset, recommended, limits = results.dataset, results.recommendation, results.recommendation.limits
    return page_template("report.html", {"signed": _signed, "tick": _tick, "p": _p}).render(
        sentence=_with_minus_signs(recommended.sentence.replace(f"; {limits}", "") if limits else recommended.sentence),
        limits=_with_minus_signs(limits[:1].upper() + limits[1:]),
        unlabelled=_with_minus_signs(results.unlabelled),
        keep=results.keep,
        recipes=results.recipes,
        dataset=dataset,
        train_size=sum(dataset.train_per_class.values()),
        protocol=results.protocol,
        gain=gain_plot(results),
        curve=learning_curve(results),
        choice=_choice(results.choice),
        fewest_repeats=MIN_REPEATS_FOR_CLAIM,
        metrics=METRICS,
        arms=_arm_rows(results),
        classes=class_gains(results),
        matrices=confusion_matrices(results),
        samples=_samples(pictures, dataset.classes),
        per_class=PER_CLASS,
        cautions=results.fidelity.get("cautions") or [],
        pairs=_pairs(pictures),
        forecast=[describe_forecast(one) for one in results.forecast],
        hard=_hard(pictures),
        recommended=results.recommendation.arm,
        fidelity=_fidelity(results.fidelity, dataset.classes),
        curves=training_curves(pictures.curves or {}),
        settings=_as_yaml(settings),
        versions=results.versions,
        seeds=results.seeds,
        warnings=results.warnings,
    )


def _arm_rows(results: Results) -> list[tuple[str, list[str], int]]:
    return [
        (name, list(format_metrics(arm).values()), len(arm["accuracy"].values)) for name, arm in results.arms.items()
    ]


def _choice(choice: Choice | None) -> dict[str, Any] | None:
    """Return the choice with gains in points, and its candidates as (name, mean validation gain), the best first."""
    if choice is None:
        return None
    ranked = sorted(choice.candidates.items(), key=lambda item: -item[1])
    points = {"mean_gain": 100 * choice.mean_gain, "lower_bound": 100 * choice.lower_bound}
    return {**choice.model_dump(), **points, "candidates": [(name, 100 * gain) for name, gain in ranked]}


def _samples(pictures: Pictures, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each class: its name and a strip of its first real and its first synthetic images."""
    both = {"real": pictures.real, "synthetic": pictures.synthetic}
    kinds = {kind: data for kind, data in both.items() if data}
    if not kinds:
        return []
    rows = []
    for k, name in enumerate(classes):
        strips = {}
        for kind, data in kinds.items():
            indices = np.flatnonzero(data.labels == k)[:PER_CLASS]
            if len(indices):
                longest = int((PICTURE_BYTES / (2 * PER_CLASS * len(classes) * data.channels)) ** 0.5)
                strips[kind] = {"src": image_strip(data.images[indices], longest), "count": len(indices)}
        rows.append({"name": name, "strips": strips})
    return rows


def _pairs(pictures: Pictures) -> list[dict[str, Any]]:
    pairs = sorted(pictures.pairs, key=lambda pair: pair[2])
    longest = _longest_side(sum(len(synthetic) for synthetic, *_ in pairs) * 2)
    return [
        {"src": image_strip(np.stack([synthetic, real]), longest), "distance": f"{distance:.2f}", "name": name}
        for synthetic, real, distance, name in pairs
    ]


def _hard(pictures: Pictures) -> list[dict[str, Any]]:
    longest = _longest_side(sum(len(image.pixels) for image in pictures.hard))
    return [{"src": image_strip(image.pixels[None], longest), "image": image} for image in pictures.hard]


def _longest_side(channels: int) -> int:
    """Return the side of pictures with so many channels in total, in px, so that they need `PICTURE_BYTES` at most."""
    return min(PAIR_SIZE, int((PICTURE_BYTES / max(channels, 1)) ** 0.5))


def _fidelity(scores: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Return the overall metrics with their meanings, the table columns per class, and notes, without None and NaN."""
    overall, notes = [], []
    for key, score in scores.items():
        label, meaning = FIDELITY.get(key, (key.replace("_", " "), ""))
        if key.endswith("_note"):
            notes.append(score)
        elif isinstance(score, str | int | float) and _score(score):
            overall.append((label, _score(score), FEATURES.get(str(score), meaning)))
    columns = []
    for key, values in scores.get("per_class", {}).items():
        cells = [_score(values.get(name)) for name in classes]
        if any(cells):
            columns.append((FIDELITY.get(key, (key,))[0], [cell or "\N{EN DASH}" for cell in cells]))
    return {"overall": overall, "columns": columns, "notes": notes}


def _score(score: float | str | None) -> str:
    if isinstance(score, float):
        text = f"{score:.2g}" if 0 < abs(score) < 0.001 else f"{score:,.3f}"
        return "" if np.isnan(score) else text.replace("-", "\N{MINUS SIGN}")
    return f"{score:,}" if isinstance(score, int) else score or ""


def _as_yaml(settings: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(settings, default=str))  # YAML has no paths and tuples
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)) if plain else ""


def _with_minus_signs(sentence: str) -> str:
    return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", sentence)


def _signed(value: float, decimals: int = 1) -> str:
    text = f"{value:+.{decimals}f}"
    return (text if float(text) else text[1:]).replace("-", "\N{MINUS SIGN}")


def _tick(value: float, sign: str = "") -> str:
    return (f"{value:{sign},.10g}" if value else "0").replace("-", "\N{MINUS SIGN}")


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"
