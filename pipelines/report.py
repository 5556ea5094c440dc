"""report.html: one self-contained page, the sentence first, then everything that it rests on.

Nothing is loaded from outside: figures are inline SVG, pictures are data addresses, and the page forbids the
rest to itself. A section without content is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from augment.errors import StorageError
from augment.images import LabelledImages
from pipelines.plots import scale_over, strip, thinned
from pipelines.results import FEWEST_REPEATS, METRICS, Metric, gains

PER_CLASS = 8  # pictures of each kind in a row of the sample grid
PAIRS = 12
PICTURE_BYTES = 1_000_000  # raw pixels of the sample grid, so that the page stays below 3 MB
MATRIX_CLASSES = 20  # up to which the cells of a confusion matrix have room for figures

FIDELITY = {
    "kid": ("KID", "distance between the features of synthetic and real images; 0 is the best"),
    "kid_subset_size": ("KID images", "of each kind, all in one subset"),
    "fid": ("FID", "Fréchet distance between the features of synthetic and real images; 0 is the best"),
    "precision": ("Precision", "share of synthetic images that lie among the real ones"),
    "recall": ("Recall", "share of real images that lie among the synthetic ones"),
    "density": ("Density", "how thickly real images surround the synthetic ones; about 1 where they agree"),
    "coverage": ("Coverage", "share of real images with a synthetic one nearby"),
    "gan_train_accuracy": ("GAN-train", "accuracy on real images of a classifier that saw synthetic ones only"),
    "gan_test_accuracy": ("GAN-test", "accuracy on synthetic images of a classifier that saw real ones only"),
    "memorised_fraction": ("Memorised", "share of synthetic images closer to a training image than is usual"),
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


def write_report(results: Mapping[str, Any], pictures: Pictures, settings: Mapping[str, Any], path: Path) -> None:
    """Write `results`, as `build_results` makes them, to the HTML file `path`.

    Two more keys are shown if there: `versions` (name: version) and `warnings` (sentences).
    Raises `StorageError` if the file cannot be written.
    """
    page = render(results, pictures, settings)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"the report cannot be written to {path}: {error.strerror}") from error


def render(results: Mapping[str, Any], pictures: Pictures, settings: Mapping[str, Any]) -> str:
    """The page as HTML; every string from outside is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"signed": _signed, "tick": _tick, "p": _p}
    source = resources.files("pipelines").joinpath("templates/report.html").read_text(encoding="utf-8")
    dataset = results["dataset"]
    return environment.from_string(source).render(
        sentence=results["recommendation"]["sentence"],
        dataset=dataset,
        train_size=sum(dataset["train_per_class"].values()),
        protocol=results["protocol"],
        gain=_gain_plot(results),
        fewest_repeats=FEWEST_REPEATS,
        metrics=METRICS,
        arms=_arm_rows(results),
        classes=_class_gains(results),
        matrices=_matrices(results),
        samples=_samples(pictures, dataset["classes"]),
        per_class=PER_CLASS,
        pairs=_pairs(pictures),
        fidelity=_fidelity(results.get("fidelity") or {}, dataset["classes"]),
        curves=_curves(pictures),
        settings=_as_yaml(settings),
        versions=results.get("versions") or {},
        seeds=results.get("seeds") or [],
        warnings=results.get("warnings") or [],
    )


def _gain_plot(results: Mapping[str, Any]) -> dict[str, Any] | None:
    if not results["comparisons"]:
        return None
    metric = METRICS[results["comparisons"][0]["metric"]]
    rows = [_gain_row(results["arms"], comparison, metric) for comparison in results["comparisons"]]
    shown = [v for row in rows for v in (*row["points"], row["low"], row["high"])]
    return {"metric": metric, "rows": rows, "scale": scale_over([0.0, *shown])}


def _gain_row(arms: Mapping[str, Any], comparison: Mapping[str, Any], metric: Metric) -> dict[str, Any]:
    name = comparison["metric"]
    ours, theirs = (arms[comparison[side]][name]["values"] for side in ("arm", "baseline"))
    low, high = comparison["ci95"]
    return {
        **comparison,
        "points": [float(g) for g in gains(ours, theirs, name) * metric.scale],
        "mean": comparison["mean_gain"] * metric.scale,
        "low": low * metric.scale,
        "high": high * metric.scale,
    }


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


def _class_gains(results: Mapping[str, Any]) -> dict[str, Any] | None:
    values = results["comparisons"][0]["per_class_gain"] if results["comparisons"] else []
    known = [100 * v for v in values if v is not None]
    if not known:
        return None
    rows = [
        (name, None if v is None else 100 * v) for name, v in zip(results["dataset"]["classes"], values, strict=True)
    ]
    return {"rows": rows, "scale": scale_over([0.0, *known]), **results["comparisons"][0]}


def _matrices(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the headline's arm and baseline: K x K shares of each true class, None without test images."""
    confusion, comparisons = results.get("confusion"), results["comparisons"]
    if not confusion or not comparisons:
        return []
    matrices = []
    for arm in (comparisons[0]["arm"], comparisons[0]["baseline"]):
        rows = [[count / sum(row) if sum(row) else None for count in row] for row in confusion[arm]]
        matrices.append({"arm": arm, "rows": rows, "figures": len(rows) <= MATRIX_CLASSES})
    return matrices


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
    closest = sorted(pictures.pairs, key=lambda pair: pair[2])[:PAIRS]
    return [
        {"src": strip(np.stack([synthetic, real]), 96), "distance": f"{distance:.3g}", "name": name}
        for synthetic, real, distance, name in closest
    ]


def _fidelity(scores: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Scores of the whole set with what they mean, and those given for each class; None and NaN are left out."""
    whole, columns = [], []
    for key, score in scores.items():
        label, meaning = FIDELITY.get(key, (key.replace("_", " "), ""))
        if isinstance(score, Mapping) and any(name in score for name in classes):
            columns.append((label, [_score(score.get(name)) for name in classes]))
        elif isinstance(score, str | int | float) and _score(score):
            whole.append((label, _score(score), meaning))
    return {"whole": whole, "columns": columns}


def _score(score: float | str | None) -> str:
    if isinstance(score, float):
        return "" if np.isnan(score) else f"{score:#.3g}".rstrip(".")
    return "" if score is None else str(score)


def _curves(pictures: Pictures) -> list[dict[str, Any]]:
    curves = []
    for name, (steps, values) in (pictures.curves or {}).items():
        x, y = thinned(steps, values)
        if len(x):
            across, up = scale_over(x), scale_over(y, intervals=3)
            points = " ".join(f"{across.at(a)},{round(100 - up.at(b), 2)}" for a, b in zip(x, y, strict=True))
            curves.append({"name": name, "across": across, "up": up, "points": points, "last": y[-1]})
    return curves


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
