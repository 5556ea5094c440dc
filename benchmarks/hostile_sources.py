"""Do damaged and hostile inputs end in one sentence, soon?

    python benchmarks/hostile_sources.py --cases 300 --seed 0

Each case begins with a small valid input (an .npz, a table, a folder, a picture, generated images with their scores, or
a pipeline in YAML), changes it in one to three places, and reads it in this process as the command line does. Counted
are: read without complaint; one sentence that a terminal can print, and exit status 2; and what is bad: a traceback,
anything else than one sentence, more than 10 s, or all the memory (on Linux the process is held to 6 GB). A case
depends on the seed and its number alone: `--only 17` repeats one. Exits with 1 if anything is bad.
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
from typing import NamedTuple

import numpy as np
from damage import CELLS, NAMES, YAML, damage, damage_archive, damage_folder, damage_text, pick
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
    """A number, what it began as, and what became of it."""

    number: int
    kind: str
    outcome: str
    words: str


class TimeLimit(BaseException):
    """No `Exception`, so that nothing below takes it for an error of its own."""


def some_images() -> LabelledImages:
    data = read_source("bundled:fashion").train
    some = data.take(np.concatenate([np.flatnonzero(data.labels == k)[:4] for k in range(3)]))
    return LabelledImages(resize_images(some.images, 12, "pad"), some.labels, data.class_names[:3])


def make_pngs(data: LabelledImages, folder: Path) -> None:
    for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        (folder / data.class_names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / data.class_names[label] / f"{i}.png")


def inspect(spec: Path, rng: np.random.Generator) -> None:
    skipping = ["--skip-broken"] if rng.random() < 0.3 else []
    sys.argv = ["augment", "inspect", str(spec), *skipping, "--out", str(spec.parent / "sheet.png"), "--overwrite"]
    augment()


def npz(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    (folder / "data.npz").write_bytes(dump_npz(data, seeds=range(len(data)), scores=[0.5] * len(data)))
    damage_archive(rng, folder / "data.npz")
    inspect(folder / "data.npz", rng)


def table(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    make_pngs(data, folder)
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
    make_pngs(data, root)
    for _ in range(int(rng.integers(1, 4))):
        damage_folder(rng, root)
    inspect(root.parent if root.name == "train" else root, rng)


def picture(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    make_pngs(data, folder / "photos")
    file = min((folder / "photos").rglob("*.png"))
    with Image.open(file) as opened:
        other = opened.convert(pick(rng, ["L", "RGB", "P", "1"]))
    content = io.BytesIO()
    other.save(content, format=pick(rng, ["PNG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "TGA", "PCX"]))
    file.write_bytes(damage(rng, content.getvalue()))
    inspect(folder / "photos", rng)


def manifest(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    synthetic = folder / "synthetic"
    synthetic.mkdir()
    if rng.random() < 0.5:
        (synthetic / "images.npz").write_bytes(dump_npz(data, seeds=range(len(data)), scores=[0.5] * len(data)))
        damage_archive(rng, synthetic / "images.npz")
    else:
        with open_output(synthetic, "generate", files=folder_files(data.class_names, data.labels)) as output:
            write_folder(data, output, seeds=range(len(data)), scores=[0.5] * len(data))
        text = damage_text(rng, (synthetic / "manifest.csv").read_text(), CELLS, ",\n")
        (synthetic / "manifest.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    report(lambda: load_synthetic(synthetic, data))


def definition(rng: np.random.Generator, data: LabelledImages, folder: Path) -> None:
    begin = (Path(__file__).parent.parent / "pipelines" / pick(rng, ["quickstart.yaml", "fashion-50.yaml"])).read_text()
    text, path = begin, folder / "mine.yaml"
    for _ in range(int(rng.integers(1, 3))):
        text = damage_text(rng, text, YAML, ":\n,{[")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    key = pick(rng, ["data.source", "gan.steps", "evaluate.arms", "gan", "evaluate.classifier.lr", *NAMES[:3]])
    overrides = [f"{key}={pick(rng, YAML)}"] if rng.random() < 0.5 else []
    whole = lambda: load_pipeline(str(path), overrides)  # noqa: E731
    part = lambda: load_generator_config(path, None, steps=3)  # noqa: E731
    other = lambda: load_evaluate_config(path, arms=None, has_synthetic=True, steps=3)  # noqa: E731
    report([whole, whole, part, other][int(rng.integers(4))])


KINDS = {f.__name__: f for f in (npz, table, classes, picture, manifest, definition)}


def report(call: Callable[[], object]) -> None:
    """Call it, and print and exit as the command line does."""
    try:
        call()
    except Exception as error:
        sentence, status = explain(error)
        print(f"augment: {printable(' '.join(sentence.splitlines()))}", file=sys.stderr)
        sys.exit(status)


@contextlib.contextmanager
def limited_time(seconds: int) -> Iterator[None]:
    def end(*_: object) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


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
    plain = all(line == printable(line) for line in [*out.split("\n"), *err.split("\n")])
    one = err.startswith("augment: ") and err.count("\n") == 1 and len(err) < 4000
    if plain and status == 0 and not err:
        return "read"
    return "one sentence" if plain and one and status == 2 else "no sentence"


def measure(cases: int, seed: int) -> list[Case]:
    """What became of each case."""
    data = some_images()
    return [run_case(number, seed, data) for number in range(cases)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of a single case")
    parser.add_argument("--all", action="store_true", help="print what was said of every case")
    options = parser.parse_args()
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    if options.only is None:
        done = measure(options.cases, options.seed)
    else:
        done = [run_case(options.only, options.seed, some_images())]
    for case in done:
        if case.outcome in BAD or options.all or options.only is not None:
            print(f"case {case.number}, {case.kind}: {case.outcome}\n{printable(case.words.rstrip())}")
    for kind in KINDS:
        counts = Counter(case.outcome for case in done if case.kind == kind)
        print(f"{kind:10} " + ", ".join(f"{outcome} {counts[outcome]}" for outcome in (*GOOD, *BAD)))
    sys.exit(any(case.outcome in BAD for case in done))


if __name__ == "__main__":
    main()
