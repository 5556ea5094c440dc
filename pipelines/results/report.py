"""report.html: one self-contained page, the sentence first, then everything that it rests on.

Nothing is loaded from outside: figures are inline SVG, pictures are data addresses, and the page forbids the
rest to itself. A section without content is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from augment.dataset.images import LabelledImages
from pipelines.metric_specs import FEWEST_REPEATS, METRICS, Metric
from pipelines.results.figures import class_gains, gain_plot, learning_curve, matrices, training_curves
from pipelines.results.svg import strip

PER_CLASS = 8  # pictures of each kind in a row of the sample grid
PAIR_SIZE = 96  # px, at most, of each picture of a pair
PICTURE_BYTES = 1_000_000  # raw pixels of the sample grid, so that the page stays below 3 MB

FIDELITY = {  # of a score its name and meaning, for the whole set and for classes
    "features": ("Features", ""),
    "folds": ("Folds", "that the figures are means of"),
    "test_images": ("Real images", "of the test set, that the synthetic ones are compared with"),
    "synthetic_images": ("Synthetic images", "that are compared with them"),
    "kid": ("KID", "distance between the features of synthetic and real images; 0 is the best"),
    "kid_std": ("KID spread", "standard deviation over the random subsets whose mean KID is"),
    "kid_subset_size": ("KID subset", "images of each kind in a subset"),
    "fid": ("FID", "Fréchet distance between the features of synthetic and real images; 0 is the best"),
    "precision": ("Precision", "share of synthetic images that lie among the real ones"),
    "recall": ("Recall", "share of real images that lie among the synthetic ones"),
    "density": ("Density", "how thickly real images surround the synthetic ones; about 1 where they agree"),
    "coverage": ("Coverage", "share of real images with a synthetic one nearby"),
    "gan_train_accuracy": ("GAN-train", "accuracy on real images of a classifier that saw synthetic ones only"),
    "gan_test_accuracy": ("GAN-test", "accuracy on synthetic images of a classifier that saw real ones only"),
    "memorised_fraction": (
        "Memorised",
        "share of synthetic images closer to a training image than 99 % of unseen real images are",
    ),
    "memorised_by_chance": ("By chance", "the same share of further unseen real images, where nothing is copied"),
    "spread": ("Spread", ""),
    "distinctness": ("Distinctness", ""),
    "gan_train": ("GAN-train", ""),
    "gan_test": ("GAN-test", ""),
}
FEATURES = {
    "own classifier": "of a classifier that saw the training images only; "
    "such figures compare generators of the same training images, and none with published figures",
    "inception": "of Inception v3 with the weights given; they are not trained on these images",
}


@dataclass(frozen=True)
class Pictures:
    """What the report shows besides numbers; whatever is None or empty is left out.

    pairs: (synthetic, its nearest training image, both uint8 C x H x W, their distance, class name). curves:
    by name, (steps, values) of equal length.
    """

    real: LabelledImages | None = None
    synthetic: LabelledImages | None = None
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], float, str]] = ()
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None


def render(results: Mapping[str, Any], pictures: Pictures, settings: Mapping[str, Any]) -> str:
    """`results`, as `build_results` makes them, as one page of HTML; every string from outside is escaped.

    Two more keys are shown if they are there: `versions` (name: version) and `warnings` (sentences).
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"signed": _signed, "tick": _tick, "p": _p}
    source = resources.files("pipelines.results").joinpath("templates/report.html").read_text(encoding="utf-8")
    dataset = results["dataset"]
    return environment.from_string(source).render(
        sentence=re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", results["recommendation"]["sentence"]),
        dataset=dataset,
        train_size=sum(dataset["train_per_class"].values()),
        protocol=results["protocol"],
        gain=gain_plot(results),
        curve=learning_curve(results),
        choice=_choice(results.get("choice")),
        fewest_repeats=FEWEST_REPEATS,
        metrics=METRICS,
        arms=_arm_rows(results),
        classes=class_gains(results),
        matrices=matrices(results),
        samples=_samples(pictures, dataset["classes"]),
        per_class=PER_CLASS,
        cautions=(results.get("fidelity") or {}).get("cautions") or [],
        pairs=_pairs(pictures),
        fidelity=_fidelity(results.get("fidelity") or {}, dataset["classes"]),
        curves=training_curves(pictures.curves or {}),
        settings=_as_yaml(settings),
        versions=results.get("versions") or {},
        seeds=results.get("seeds") or [],
        warnings=results.get("warnings") or [],
    )


def _arm_rows(results: Mapping[str, Any]) -> list[tuple[str, list[str], int]]:
    return [
        (name, [_spread(arm[m], metric) for m, metric in METRICS.items()], len(arm["accuracy"]["values"]))
        for name, arm in results["arms"].items()
    ]


def _spread(summary: Mapping[str, Any], metric: Metric) -> str:
    mean = f"{summary['mean'] * metric.scale:.{metric.decimals}f}"
    if summary["std"] is None:
        return mean
    return f"{mean} ± {summary['std'] * metric.scale:.{metric.decimals}f}"


def _choice(choice: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The candidates with their mean validation gains in points, the best first."""
    if choice is None:
        return None
    ranked = sorted(choice["candidates"].items(), key=lambda item: -item[1])
    points = {key: 100 * choice[key] for key in ("mean_gain", "lower_bound")}
    return {**choice, **points, "candidates": [(name, 100 * gain) for name, gain in ranked]}


def _samples(pictures: Pictures, classes: Sequence[str]) -> list[dict[str, Any]]:
    """For each class the first images of either kind, in the order given, as strips."""
    given = {"real": pictures.real, "synthetic": pictures.synthetic}
    kinds = {kind: data for kind, data in given.items() if data}
    if not kinds:
        return []
    rows = []
    for k, name in enumerate(classes):
        strips = {}
        for kind, data in kinds.items():
            chosen = np.flatnonzero(data.labels == k)[:PER_CLASS]
            if len(chosen):
                longest = int((PICTURE_BYTES / (2 * PER_CLASS * len(classes) * data.channels)) ** 0.5)
                strips[kind] = {"src": strip(data.images[chosen], longest), "count": len(chosen)}
        rows.append({"name": name, "strips": strips})
    return rows


def _pairs(pictures: Pictures) -> list[dict[str, Any]]:
    pairs = sorted(pictures.pairs, key=lambda pair: pair[2])
    raw = sum(len(synthetic) for synthetic, *_ in pairs) * 2  # bytes a square pixel
    longest = min(PAIR_SIZE, int((PICTURE_BYTES / max(raw, 1)) ** 0.5))
    return [
        {"src": strip(np.stack([synthetic, real]), longest), "distance": f"{distance:.2f}", "name": name}
        for synthetic, real, distance, name in pairs
    ]


def _fidelity(scores: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Scores of the whole set with what they mean, those of each class, and sentences; None and NaN are left out."""
    whole, notes = [], []
    for key, score in scores.items():
        label, meaning = FIDELITY.get(key, (key.replace("_", " "), ""))
        if key.endswith("_note"):
            notes.append(score)
        elif isinstance(score, str | int | float) and _score(score):
            whole.append((label, _score(score), FEATURES.get(str(score), meaning)))
    columns = []
    for key, of_class in scores.get("per_class", {}).items():
        cells = [_score(of_class.get(name)) for name in classes]
        if any(cells):
            columns.append((FIDELITY.get(key, (key,))[0], [cell or "\N{EN DASH}" for cell in cells]))
    return {"whole": whole, "columns": columns, "notes": notes}


def _score(score: float | str | None) -> str:
    if isinstance(score, float):
        text = f"{score:.2g}" if 0 < abs(score) < 0.001 else f"{score:,.3f}"
        return "" if np.isnan(score) else text.replace("-", "\N{MINUS SIGN}")
    return f"{score:,}" if isinstance(score, int) else score or ""


def _as_yaml(settings: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(settings, default=str))  # paths and tuples are not YAML
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)) if plain else ""


def _signed(value: float, decimals: int = 1) -> str:
    text = f"{value:+.{decimals}f}"
    return (text if float(text) else text[1:]).replace("-", "\N{MINUS SIGN}")


def _tick(value: float, sign: str = "") -> str:
    return (f"{value:{sign},.10g}" if value else "0").replace("-", "\N{MINUS SIGN}")


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"
