"""How tests fit generators: small settings, interruptions, and the notes to an observer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tensors import About

from augment.dataset.images import LabelledImages
from augment.generators.base import GeneratorConfig, Outcome, TrainingData
from augment.generators.cgan import CganConfig
from augment.generators.registry import fit as fit_generator
from augment.runtime import NO_OBSERVER, Observer, Runtime, never
from augment.tensor_files import dump_tensors, load_tensors

TINY = CganConfig(width=4, latent_dim=8, steps=2, batch_size=8)
SMALL = CganConfig(
    width=4, latent_dim=8, steps=12, batch_size=8, log_every=5, sample_every=6, checkpoint_every=4, augment=("flip",)
)


class Notes(Observer):
    """An observer that keeps the notes."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def on_note(self, sentence: str) -> None:
        self.sentences.append(sentence)


def fit(
    images: LabelledImages,
    config: GeneratorConfig,
    folder: Path,
    *,
    device: str = "cpu",
    stopped: Callable[[], bool] = never,
    observer: Observer = NO_OBSERVER,
    overwrite: bool = False,
) -> Outcome:
    runtime = Runtime(torch.device(device), stopped=stopped, observer=observer)
    return fit_generator(TrainingData(images), config, folder, runtime, overwrite=overwrite).outcome


def stop_after(calls: int) -> Callable[[], bool]:
    """Press Ctrl-C once `calls` steps have begun."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], About], object]) -> None:
    """Change the content of a checkpoint or a model, with a checksum that fits."""
    tensors, metadata = load_tensors(path, About)
    change(tensors, metadata)
    path.write_bytes(dump_tensors(tensors, metadata))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
