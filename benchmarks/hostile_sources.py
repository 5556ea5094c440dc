"""Check that damaged and hostile inputs are read or refused with one sentence, within seconds.

    python benchmarks/hostile_sources.py --cases 300 --seed 0

Each case makes a small valid input (an .npz, a table, a folder, a picture, generated images with their scores, or a
pipeline in YAML), changes it in one to three places, and reads it in this process as the command line does. A good
outcome is an input that is read without an error, or one printable sentence with exit status 2. A bad outcome is a
traceback, any other output, a run time of more than 10 s, or too much memory (on Linux, the process may use 6 GB). A
case depends only on the seed and its number, so `--only 17` repeats a single one. The exit status is 1 if any outcome
is bad.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from damage import CELLS, NAMES, YAML, damage, damage_archive, damage_folder, damage_text, pick
from numpy.typing import NDArray
from PIL import Image

from augment.dataset.export import dump_npz, folder_files, write_folder
from augment.dataset.images import LabelledImages, resize_images
from augment.dataset.sources import read_source
from augment.output_folders import open_output
from augment.words import printable
from pipelines.cli.app import main as augment
from pipelines.cli.exit_status import explain
from pipelines.config.reading import load_evaluate_config, load_generator_config, load_pipeline
from pipelines.experiment.loading import load_synthetic

SECONDS, BYTES = 10, 6 * 10**9
GOOD, BAD = ("read", "one sentence"), ("traceback", "no sentence", "hang", "memory")


class Case(NamedTuple):
    """A case that has been run."""

    number: int
    kind: str  # of the input, a key of KINDS
    outcome: str  # one of GOOD and BAD
    text: str  # traceback or standard error


class TimeLimit(BaseException):
    """Raised after `SECONDS`; not an `Exception`, so that the code under test does not catch it."""


def load_images() -> LabelledImages:
    data = read_source("bundled:fashion").train
    subset = data.take(np.concatenate([np.flatnonzero(data.labels == k)[:4] for k in range(3)]))
    return LabelledImages(resize_images(subset.images, 12, "pad"), subset.labels, data.class_names[:3])


def _columns(data: LabelledImages) -> dict[str, NDArray[Any]]:
    return {"seed": np.arange(len(data)), "scores": np.full(len(data), 0.5)}


def write_pngs(data: LabelledImages, folder: Path) -> None:
    for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        (folder / data.class_names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / data.class_names[label] / f"{i}.png")


def inspect(spec: Path, rng: np.random.Generator) -> None:
    options = ["--skip-broken"] if rng.random() < 0.3 else []
    sys.argv = ["augment", "inspect", str(spec), *options, "--out", str(spec.parent / "sheet.png"), "--overwrite"]
    augment()


def npz(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    (folder / "data.npz").write_bytes(dump_npz(data, _columns(data)))
    damage_archive(rng, folder / "data.npz")
    inspect(folder / "data.npz", rng)


def table(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    write_pngs(data, folder)
    rows = [f"{file.relative_to(folder)},{file.parent.name},train" for file in sorted(folder.rglob("*.png"))]
    text = "\n".join(["path,label,split", *rows])
    if rng.random() < 0.3:
        text = text.replace(f",{data.class_names[1]},", f',"{pick(rng, NAMES)}",')
    for _ in range(int(rng.integers(0, 3))):
        text = damage_text(rng, text, CELLS, ",\n")
    (folder / "table.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    inspect(folder / "table.csv", rng)


def classes(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    root = folder / pick(rng, ["photos", "photos/train", *NAMES[:3]])
    write_pngs(data, root)
    for _ in range(int(rng.integers(1, 4))):
        damage_folder(rng, root)
    inspect(root.parent if root.name == "train" else root, rng)


def picture(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    write_pngs(data, folder / "photos")
    file = min((folder / "photos").rglob("*.png"))
    with Image.open(file) as image:
        converted = image.convert(pick(rng, ["L", "RGB", "P", "1"]))
    content = io.BytesIO()
    converted.save(content, format=pick(rng, ["PNG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "TGA", "PCX"]))
    file.write_bytes(damage(rng, content.getvalue()))
    inspect(folder / "photos", rng)


def manifest(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    synthetic = folder / "synthetic"
    synthetic.mkdir()
    if rng.random() < 0.5:
        (synthetic / "images.npz").write_bytes(dump_npz(data, _columns(data)))
        damage_archive(rng, synthetic / "images.npz")
    else:
        with open_output(synthetic, "generate", files=folder_files(data.class_names, data.labels)) as output:
            write_folder(data, output, _columns(data))
        text = damage_text(rng, (synthetic / "manifest.csv").read_text(), CELLS, ",\n")
        (synthetic / "manifest.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    run_like_command_line(lambda: load_synthetic(synthetic, data))


def definition(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    path = folder / "mine.yaml"
    text = (Path(__file__).parent.parent / "pipelines" / pick(rng, ["quickstart.yaml", "fashion-50.yaml"])).read_text()
    for _ in range(int(rng.integers(1, 3))):
        text = damage_text(rng, text, YAML, ":\n,{[")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    key = pick(rng, ["data.source", "gan.steps", "evaluate.arms", "gan", "evaluate.classifier.lr", *NAMES[:3]])
    overrides = [f"{key}={pick(rng, YAML)}"] if rng.random() < 0.5 else []
    pipeline = lambda: load_pipeline(str(path), overrides)  # noqa: E731
    generator = lambda: load_generator_config(path, None, steps=3)  # noqa: E731
    evaluate = lambda: load_evaluate_config(path, arms=None, has_synthetic=True, steps=3)  # noqa: E731
    run_like_command_line([pipeline, pipeline, generator, evaluate][int(rng.integers(4))])


KINDS = {f.__name__: f for f in (npz, table, classes, picture, manifest, definition)}


def run_like_command_line(function: Callable[[], object]) -> None:
    """Call a function; on an error, print a message and exit as the command line does."""
    try:
        function()
    except Exception as error:
        sentence, status = explain(error)
        print(f"augment: {printable(' '.join(sentence.splitlines()))}", file=sys.stderr)
        sys.exit(status)


@contextlib.contextmanager
def limited_time(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeLimit

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def run_case(number: int, seed: int, data: LabelledImages) -> Case:
    rng = np.random.default_rng([seed, number])
    kind = list(KINDS)[number % len(KINDS)]
    out, err, arguments = io.StringIO(), io.StringIO(), sys.argv
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with limited_time(SECONDS):
                KINDS[kind](rng, data, Path(folder))
            status = 0
        except SystemExit as exit:
            status = int(exit.code or 0)
        except TimeLimit:
            return Case(number, kind, "hang", traceback.format_exc(-3))
        except Exception:
            return Case(number, kind, "traceback", traceback.format_exc())
        finally:
            sys.argv = arguments
    return Case(number, kind, classify(status, out.getvalue(), err.getvalue()), err.getvalue())


def classify(status: int, out: str, err: str) -> str:
    if "not enough memory" in err:
        return "memory"
    is_printable = all(line == printable(line) for line in [*out.split("\n"), *err.split("\n")])
    is_sentence = err.startswith("augment: ") and err.count("\n") == 1 and len(err) < 4000
    if is_printable and status == 0 and not err:
        return "read"
    return "one sentence" if is_printable and is_sentence and status == 2 else "no sentence"


def measure(cases: int, seed: int) -> list[Case]:
    """Run all cases."""
    data = load_images()
    return [run_case(number, seed, data) for number in range(cases)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run only the case with this number")
    parser.add_argument("--all", action="store_true", help="print the messages of all cases, not only of bad ones")
    options = parser.parse_args()
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    if options.only is None:
        cases = measure(options.cases, options.seed)
    else:
        cases = [run_case(options.only, options.seed, load_images())]
    for case in cases:
        if case.outcome in BAD or options.all or options.only is not None:
            print(f"case {case.number}, {case.kind}: {case.outcome}\n{printable(case.text.rstrip())}")
    for kind in KINDS:
        counts = Counter(case.outcome for case in cases if case.kind == kind)
        print(f"{kind:10} " + ", ".join(f"{outcome} {counts[outcome]}" for outcome in (*GOOD, *BAD)))
    sys.exit(any(case.outcome in BAD for case in cases))


if __name__ == "__main__":
    main()
