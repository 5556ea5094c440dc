"""A source to the training and test images of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augment.errors import SourceError
from augment.images import LabelledImages, split_per_class, subset_per_class
from augment.inspection import find_leaks
from augment.mixing import match
from augment.sources import Source, read_source
from pipelines.schema import DataConfig


@dataclass(frozen=True)
class Loaded:
    """Training and test images of equal classes and size, and what a person should know about them."""

    name: str
    train: LabelledImages
    test: LabelledImages | None
    warnings: tuple[str, ...]


def load(config: DataConfig, *, hold_out: bool = False) -> Loaded:
    """Read the source, find its test images, and take at most `samples_per_class` training images of each class.

    The test images are those of `config.test`, or the source's own test split, or, with `hold_out`, a share of each
    class that is then not trained on; otherwise there are none. Raises `SourceError`, `ConfigError`.
    """
    source = read_source(
        config.source, image_size=config.image_size, resize=config.resize, skip_broken=config.skip_broken
    )
    train, warnings = source.train, _skipped(source)
    test = _read_test(config, train) if config.test else source.test
    if test is None and hold_out:
        train, test = split_per_class(train, config.holdout, config.seed)
        warnings.append(
            f"the source has no test split, so {config.holdout:.0%} of each class, {len(test)} images, "
            "were held out as the test set and never trained on"
        )
    if config.samples_per_class is not None:
        train = subset_per_class(train, config.samples_per_class, config.seed)
    if test is not None and (leaks := find_leaks(train, test)):
        warnings.append(
            f"{len(leaks)} training images are also in the test set, pixel for pixel: "
            "the accuracies below are too high for all arms"
        )
    return Loaded(source.name, train, test, tuple(warnings))


def load_synthetic(folder: Path, real: LabelledImages) -> LabelledImages:
    """Generated images with the classes and the size of `real`."""
    return match(read_source(folder, image_size=real.size, complete=False).train, real, "synthetic images")


def require_test(loaded: Loaded) -> LabelledImages:
    """The test images. Raises `SourceError` that says what to do if there are none."""
    if loaded.test is None:
        raise SourceError(
            f"{loaded.name} has no test split, and images made elsewhere may have been made from any of its images; "
            "give test images with --test, or let `augment run quickstart --set data.source=...` hold some out first"
        )
    return loaded.test


def _read_test(config: DataConfig, train: LabelledImages) -> LabelledImages:
    assert config.test is not None
    other = read_source(
        config.test, image_size=train.size, resize=config.resize, skip_broken=config.skip_broken, complete=False
    )
    return match(other.test or other.train, train, "test images")


def _skipped(source: Source) -> list[str]:
    return [f"{len(source.skipped)} broken files were skipped, {source.skipped[0]} first"] if source.skipped else []
