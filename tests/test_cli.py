"""Every command works as its help says, and whatever is wrong with its input is told in one sentence."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from augment.dataset.sources import read_source
from augment.gan.losses import LOSSES
from augment.generators.base import TrainingData
from augment.generators.cgan import CganConfig
from augment.generators.registry import fit
from pipelines.cli.app import main

COMMANDS = ("inspect", "fit", "generate", "evaluate", "tune", "run", "bench")
TINY_GAN = {"width": 4, "latent_dim": 8, "batch_size": 8, "steps": 4, "log_every": 2, "checkpoint_every": 2}
QUICK = ("--repeats", "2", "--steps", "3", "--jobs", "1", "--image-size", "12", "--quiet")
PIPELINE = """
data: {{source: {source}, image_size: 12}}
gan: {{width: 4, latent_dim: 8, steps: 4, batch_size: 8}}
generate: {{per_class: 12}}
protocol: {{kind: holdout, redraw_generator: false}}
evaluate: {{arms: [none, none+synthetic], repeats: 2, classifier: {{width: 4, steps: 3, batch_size: 6}}}}
"""


class Said(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


Augment = Callable[..., Said]


@pytest.fixture
def augment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Augment:
    """`augment` with arguments, in this process."""
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["augment", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            main()
        return Said(int(exit.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def photos(image_folder: Path, tmp_path: Path) -> Path:
    """A copy of the user's folder that may be changed, without the splits: 12 images of 3 classes."""
    return Path(shutil.copytree(image_folder / "train", tmp_path / "photos"))


@pytest.fixture(scope="module")
def gan(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished RUN on 3 classes, of which the first has 5 images and the others 12."""
    folder = tmp_path_factory.mktemp("gan")
    shutil.copytree(image_folder / "train", folder / "photos")
    for file in sorted(min((folder / "photos").iterdir()).iterdir())[5:]:
        file.unlink()
    fit(TrainingData(read_source(folder / "photos", image_size=12).train), CganConfig(**TINY_GAN), folder / "run")
    return folder / "run"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A --config file."""
    (tmp_path / "tiny.yaml").write_text(json.dumps(TINY_GAN))
    return tmp_path / "tiny.yaml"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_refused(said: Said, message: str, status: int = 2) -> None:
    assert (said.status, said.out) == (status, "")
    assert said.err.startswith("augment: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert message in said.err


def next_command(said: Said) -> list[str]:
    last = said.out.splitlines()[-1]
    assert last.startswith("next: ")
    return shlex.split(last.removeprefix("next: "))


def test_without_a_command_the_help_is_shown(augment: Augment) -> None:
    said = augment()
    assert (said.status, said.err) == (0, "")
    assert all(command in said.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example_of_its_options(
    command: str, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    said = augment(command, "--help")
    example = next(line for line in said.out.splitlines() if "Example: " in line).partition("Example: ")[2].split()
    assert (said.status, example[:2]) == (0, ["augment", command])
    assert all(part in said.out.replace("Example", "", 1) for part in example if part.startswith("--"))


def test_inspect_counts_and_draws_a_contact_sheet(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    said = augment("inspect", image_folder, "--out", tmp_path / "new" / "sheet.png", "--samples-per-class", "4")
    assert (said.status, said.err) == (0, "")
    assert next_command(said) == ["augment", "fit", str(image_folder), "--out", "runs/gan"]
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width > 4 * 28
    before = contents(tmp_path)
    check_refused(augment("inspect", image_folder, "--out", tmp_path / "new" / "sheet.png"), "sheet.png already exists")
    check_refused(augment("inspect", image_folder, "--out", tmp_path, "--overwrite"), "already exists")
    assert contents(tmp_path) == before
    assert augment("inspect", image_folder, "--out", tmp_path / "new" / "sheet.png", "--overwrite").status == 0


def test_a_source_without_test_images_is_led_to_a_pipeline_that_holds_some_out(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    command = next_command(augment("inspect", photos, "--image-size", "12", "--resize", "crop"))
    options = ["--set", f"data.source={photos}", "--image-size", "12", "--resize", "crop"]
    assert command == ["augment", "run", "quickstart", *options, "--out", "runs/mine"]
    assert augment(*command[1:-1], tmp_path / "mine", "--dry-run").status == 0
    said = augment("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    assert said.err.startswith(
        f"note: {photos.name} has no test split, so images of this generator can only be evaluated on"
    )


def test_inspect_shows_class_names_as_they_are(photos: Path, augment: Augment) -> None:
    first, second, _ = sorted(photos.iterdir())
    first.rename(photos / "[bold]")
    second.rename(photos / "[red] a b")
    said = augment("inspect", photos)
    assert said.status == 0
    assert "[bold]" in said.out
    assert "[red] a b" in said.out


def test_fit_generate_and_evaluate_follow_each_other(
    image_folder: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    run = tmp_path / "my run"
    said = augment("fit", image_folder, "--out", run, "--config", tiny, "--image-size", "12", "--steps", "3", "--quiet")
    assert (said.status, said.err) == (0, "")
    assert f"{run} is finished" in said.out
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 3
    command = next_command(said)
    assert command == ["augment", "generate", str(run), "--out", f"{run}-images", "--per-class", "200"]
    said = augment(*command[1:-1], "12")
    assert (said.status, said.err) == (0, "")
    command = next_command(said)
    source = [str(image_folder), "--image-size", "12"]
    images, answer = f"{run}-images", f"{run}-images-evaluation"
    assert command == ["augment", "evaluate", *source, "--synthetic", images, "--out", answer]
    said = augment(*command[1:], *QUICK[2:])
    assert (said.status, said.err) == (0, "")
    assert next_command(said)[1:] == ["-m", "webbrowser", "-t", f"{answer}/report.html"]
    results = json.loads((tmp_path / "my run-images-evaluation" / "results.json").read_text())
    assert len(results["arms"]) == 5
    assert results["recommendation"]["sentence"] in said.out.replace("\n", " ")


def test_a_finished_run_says_so_and_more_steps_continue_it(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    command = ("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    augment(*command)
    before = contents(tmp_path / "run")
    said = augment(*command)
    assert (said.status, "was finished already and is left as it is" in said.out) == (0, True)
    assert contents(tmp_path / "run")["model.safetensors"] == before["model.safetensors"]
    assert augment(*command, "--steps", "6").status == 0
    assert (tmp_path / "run" / "checkpoints" / "step-00000006.safetensors").exists()


def test_generate_writes_pictures_with_a_manifest(gan: Path, tmp_path: Path, augment: Augment) -> None:
    said = augment("generate", gan, "--out", tmp_path / "images", "--per-class", "3")
    assert (said.status, said.err) == (0, "")
    assert "9 images of 3 classes" in said.out
    with (tmp_path / "images" / "manifest.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 9
    for row in rows:
        with Image.open(tmp_path / "images" / row["path"]) as picture:
            assert picture.size == (12, 12)


def test_generate_writes_an_npz(gan: Path, tmp_path: Path, augment: Augment) -> None:
    augment("generate", gan, "--out", tmp_path / "png", "--per-class", "3", "--seed", "7")
    assert (
        augment("generate", gan, "--out", tmp_path / "npz", "--per-class", "3", "--seed", "7", "--format", "npz")[0]
        == 0
    )
    ours, theirs = (read_source(tmp_path / form).train for form in ("npz", "png"))
    assert np.array_equal(ours.images, theirs.images)
    assert ours.class_names == theirs.class_names


def test_generate_balances_and_counts(gan: Path, tmp_path: Path, augment: Augment) -> None:
    data = read_source(gan.parent / "photos").train
    assert data.counts().tolist() == [5, 12, 12]
    said = augment("generate", gan, "--out", tmp_path / "balanced", "--balance")
    assert "7 images of 1 classes" in said.out
    few, many, _ = data.class_names
    assert len(list((tmp_path / "balanced" / few).iterdir())) == 7
    counts = ("--count", f"{few}=2", "--count", f"{many}=5")
    assert augment("generate", gan, "--out", tmp_path / "counted", *counts).status == 0
    assert [len(list((tmp_path / "counted" / name).iterdir())) for name in (few, many)] == [2, 5]


def test_a_generator_of_one_picture_is_noted(photos: Path, tiny: Path, tmp_path: Path, augment: Augment) -> None:
    wild = TINY_GAN | {"network": "dcgan", "lr_generator": 1, "lr_discriminator": 1, "steps": 40, "seed": 3}
    tiny.write_text(json.dumps(wild))
    said = augment("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    assert said.status == 0
    assert said.err.startswith("note: all 48 generated images look the same: the generator has collapsed")
    said = augment("generate", tmp_path / "run", "--out", tmp_path / "images", "--per-class", "3")
    assert said.err.startswith("note: all 9 generated images look the same: ")


def test_evaluate_takes_test_images_from_elsewhere(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    options = ("--test", image_folder / "test", "--arms", "none, classical", "--out", tmp_path / "out")
    said = augment("evaluate", image_folder / "train", *options, *QUICK)
    assert (said.status, said.err) == (0, "")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (list(results["arms"]), results["dataset"]["test_size"]) == (["none", "classical"], 18)


def test_tune_finds_settings_that_evaluate_takes(image_folder: Path, tmp_path: Path, augment: Augment) -> None:
    images = ["--samples-per-class", "5", "--image-size", "12", "--resize", "crop", "--skip-broken"]
    budget = ("--trials", "2", "--splits", "1", "--steps", "2", *images, "--jobs", "1")
    said = augment("tune", image_folder, "--out", tmp_path / "tuned", "--horizontal-flip", *budget)
    assert said.status == 0
    assert re.match(r"policy [a-z-]+, lr 0\.\d+, weight decay 0\.\d+, balanced sampling\n", said.out)
    best = tmp_path / "tuned" / "best.yaml"
    command, arguments = next_command(said)[1], next_command(said)[2:]
    assert (command, arguments) == (
        "evaluate",
        [str(image_folder), *images, "--config", str(best), "--out", f"{tmp_path}/tuned-evaluation"],
    )
    best.write_text(best.read_text() + "views: 3\n")
    said = augment(command, *arguments, "--repeats", "2", "--jobs", "1", "--quiet")
    assert said.status == 0
    settings = (tmp_path / "tuned-evaluation" / ".augment.json").read_text()
    assert '"views":3' in settings
    assert '"horizontal_flip":true' in settings
    assert '"steps":2' in settings
    budget = ("--trials", "1", *budget[2:])
    said = augment("tune", image_folder, "--out", tmp_path / "one", "--horizontal-flip", *budget)
    assert re.search(r"\nas to begin with, 0\.\d{3} on validation images: nothing else was tried\n", said.out)
    said = augment("evaluate", image_folder, "--config", tmp_path / "none.yaml", "--out", tmp_path / "x")
    check_refused(said, "none.yaml cannot be read")


def test_run_tells_its_protocol_before_it_begins(photos: Path, tmp_path: Path, augment: Augment) -> None:
    text = PIPELINE.format(source="photos").replace("protocol: {kind: holdout, redraw_generator: false}\n", "")
    (tmp_path / "mine.yaml").write_text(text)
    said = augment("run", tmp_path / "mine.yaml", "--out", tmp_path / "out", "--dry-run")
    first, second = said.err.splitlines()
    assert first == "note: kfold: the source has no test split, so every image is tested once in each round of folds"
    assert re.fullmatch(
        r"note: 2 generators of 4 steps and 6 classifiers of 3 steps, at 12 px on \d+ process(es)?: about .+ "
        r"\(fit .+, generate .+, evaluate .+\) and at most \d+\.\d GB of memory, estimated by a short probe",
        second,
    )


def test_run_plans_then_does_all_of_it_once(photos: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "mine.yaml").write_text(PIPELINE.format(source="photos"))
    command = ("run", tmp_path / "mine.yaml", "--set", "data.seed=2", "--out", tmp_path / "out")
    before = contents(tmp_path)
    said = augment(*command, "--dry-run")
    assert said.out.splitlines()[:-1] == [
        f"{s} has to run: it has not been run here" for s in ("fit", "generate", "evaluate")
    ]
    assert contents(tmp_path) == before
    assert next_command(said)[1:] == [str(part) for part in command]
    said = augment(*command, "--jobs", "1", "--quiet")
    assert said.status == 0
    assert next_command(said)[1:] == ["-m", "webbrowser", "-t", f"{tmp_path}/out/evaluation/report.html"]
    results = json.loads((tmp_path / "out" / "evaluation" / "results.json").read_text())
    assert "held out" in results["warnings"][0]
    said = augment(*command, "--jobs", "1")
    assert said.err.count("is up to date: done") == 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_test_set_of_one_image_is_refused_before_anything_is_trained(
    count: int, image_folder: Path, tmp_path: Path, augment: Augment
) -> None:
    photos = Path(shutil.copytree(image_folder, tmp_path / "photos"))
    first, *others = sorted((photos / "test").iterdir())
    for file in [file for folder in others for file in folder.iterdir()] + sorted(first.iterdir())[count:]:
        file.unlink()
    (tmp_path / "mine.yaml").write_text(PIPELINE.format(source="photos"))
    evaluating = ("evaluate", photos, "--arms", "none,classical", *QUICK, "--out", tmp_path / "out")
    for command in (evaluating, ("run", tmp_path / "mine.yaml", "--out", tmp_path / "out", "--dry-run")):
        said = augment(*command)
        if count == 1:
            check_refused(said, "the test set has 1 image: at least 2 are needed")
            assert not (tmp_path / "out").exists()
        else:
            assert said.status == 0


def broken(photos: Path) -> Path:
    file = min(photos.rglob("*.png"))
    file.write_bytes(file.read_bytes()[:60])
    return file


def test_a_broken_file_is_named_and_left_out_on_request(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    file = broken(photos)
    for command in (("inspect", photos), ("fit", photos, "--out", tmp_path / "run", "--config", tiny)):
        check_refused(augment(*command), f"{file} is no readable picture")
        said = augment(*command, "--skip-broken")
        assert said.status == 0
        assert str(file) in said.out + said.err


def remove_all_but(count: int) -> Callable[[Path], None]:
    def change(photos: Path) -> None:
        for file in sorted(min(photos.iterdir()).iterdir())[count:]:
            file.unlink()

    return change


def one_class(photos: Path) -> None:
    for folder in sorted(photos.iterdir())[1:]:
        shutil.rmtree(folder)


SOURCES: list[tuple[Callable[[Path], object], str]] = [
    (shutil.rmtree, "there is no "),
    (lambda photos: [shutil.rmtree(folder) for folder in photos.iterdir()], "holds no class folders"),
    (remove_all_but(0), "is empty: add images or remove it"),
    (one_class, "has 1 class, "),
    (remove_all_but(1), "has 1 training image: at least 2 are needed"),
    (broken, ".png is no readable picture"),
    (lambda photos: (min(photos.iterdir()) / "notes.txt").write_text("mine"), "notes.txt is no readable picture"),
]


@pytest.mark.parametrize(("change", "message"), SOURCES)
@pytest.mark.parametrize("command", [("inspect",), ("fit", "--out", "OUT"), ("evaluate", "--out", "OUT")])
def test_a_source_that_cannot_be_learnt_from_is_refused(
    command: tuple[str, ...],
    change: Callable[[Path], object],
    message: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    augment: Augment,
) -> None:
    monkeypatch.chdir(photos.parent)
    change(photos)
    check_refused(augment(command[0], photos, *command[1:]), message)
    assert not Path("OUT").exists()


def test_an_error_stays_on_one_line_whatever_a_folder_is_called(photos: Path, augment: Augment) -> None:
    (photos / "two\nlines").mkdir()
    check_refused(augment("inspect", photos), "two lines is empty")


def test_a_label_outside_the_classes_is_refused(tmp_path: Path, augment: Augment) -> None:
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 2, 5])
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=labels, class_names=np.array(["a", "b", "c"]))
    check_refused(augment("inspect", tmp_path / "data.npz"), "label 5 is outside the classes, 0 to 2")


OPTIONS = [
    ("fit SOURCE --out OUT --device cuda:7", "device 'cuda:7' is not there"),
    ("fit SOURCE --out OUT --device tpu", "unknown device 'tpu'; expected auto, cpu"),
    ("fit SOURCE --out OUT --image-size 33", "nearest is 32"),
    ("inspect SOURCE --image-size 4", "nearest is 8"),
    ("fit SOURCE --out OUT --loss minmax", "loss: expected one of"),
    ("fit SOURCE --out OUT --network resnet", "network: expected one of projection"),
    ("fit SOURCE --out OUT --config none.yaml", "none.yaml cannot be read"),
    ("fit SOURCE --out OUT --config wrong.yaml", "unknown key stepz; did you mean steps"),
    ("fit SOURCE --out OUT --samples-per-class 1", "samples_per_class: "),
    ("fit SOURCE --out mine.txt", "mine.txt is a file"),
    ("fit " + "x" * 5000 + " --out OUT", "File name too long"),
    ("inspect " + "x" * 5000, "File name too long"),
    ("run " + "x" * 5000 + " --out OUT", "no pipeline 'xxx"),
    ("fit SOURCE --out OUT --config " + "x" * 5000, "cannot be read as a YAML file"),
    ("fit SOURCE --out mine.txt/run", "a file is in its way"),
    ("fit SOURCE --out held", "held already holds other files (thesis.txt, ...)"),
    ("generate held --out OUT --per-class 2", "held is no RUN folder"),
    ("generate none --out OUT --per-class 2", "none is no RUN folder"),
    ("generate GAN --out held --per-class 2", "held already holds other files"),
    ("generate GAN --out OUT", "expected one of --per-class N, --balance and --count"),
    ("generate GAN --out OUT --balance --per-class 3", "expected one of --per-class N"),
    ("generate GAN --out OUT --count hat=3", "the run has no class 'hat'"),
    ("generate GAN --out OUT --count coat:3", "--count 'coat:3': expected CLASS=N"),
    ("generate GAN --out OUT --count coat=-3", "--count 'coat=-3': expected CLASS=N"),
    ("generate GAN --out OUT --count coat=99999999999999999999", "expected at most 10,000,000 images of a class"),
    ("generate GAN --out OUT --count coat=" + "9" * 5000, "expected at most 10,000,000 images of a class"),
    ("generate GAN --out OUT --per-class 99999999999999999999", "Invalid value for '--per-class'"),
    ("generate GAN --out OUT --per-class " + "9" * 5000, "Invalid value for '--per-class'"),
    ("generate GAN --out OUT --per-class 2 --seed 4294967296", "Invalid value for '--seed'"),
    ("fit SOURCE --out OUT --seed 4294967296", "Invalid value for '--seed'"),
    ("fit SOURCE --out OUT --seed -1", "Invalid value for '--seed'"),
    ("tune SOURCE --out OUT --seed 99999999999999999999", "Invalid value for '--seed'"),
    ("tune SOURCE --out OUT --minutes nan", "--minutes nan: expected 0 or more"),
    ("evaluate SOURCE --test TEST --out OUT --seed 4294967296", "Invalid value for '--seed'"),
    ("run pipeline.yaml --out OUT --seed 4294967296", "Invalid value for '--seed'"),
    ("run pipeline.yaml --out OUT --set data.seed=4294967296", "data.seed: input should be less than 4294967296"),
    ("run pipeline.yaml --out OUT --set evaluate.seed=-1", "evaluate.seed: input should be greater than or equal to 0"),
    ("run pipeline.yaml --out OUT --set generate.seed=4294967296", "generate.seed: input should be less than"),
    ("run pipeline.yaml --out OUT --set gan.seed=4294967296", "gan.seed: input should be less than 4294967296"),
    ("fit SOURCE --out OUT --image-size " + "9" * 400, "the nearest is 128"),
    ("inspect SOURCE --image-size " + "9" * 400, "the nearest is 128"),
    ("fit SOURCE --out OUT --steps 99999999999999999999", "steps: input should be less than or equal to 99999999"),
    ("evaluate SOURCE --test TEST --out OUT --ratio nan", "ratio: "),
    ("evaluate SOURCE --out OUT", "has no test split"),
    ("evaluate SOURCE --out OUT", "let `augment run quickstart --set data.source=...` hold some out"),
    ("evaluate SOURCE --test TEST --out OUT --arms none,best", "arms.1: expected one of none"),
    ("evaluate SOURCE --test TEST --out OUT --arms none,synthetic", "give --synthetic, or only real arms"),
    ("evaluate SOURCE --test TEST --synthetic none --out OUT", "there is no 'none'"),
    ("evaluate SOURCE --test TEST --synthetic SOURCE --out OUT --ratio 3", "needs 36 synthetic images of each class"),
    ("evaluate SOURCE --test TEST --out OUT --ratio inf", "ratio: "),
    ("evaluate SOURCE --test TEST --out held", "held already holds other files"),
    ("run none.yaml --out OUT", "no pipeline 'none.yaml': expected a YAML file or one of fashion-50, learning-curve"),
    ("run pipeline.yaml --out OUT --set data.image_sise=12", "unknown key data.image_sise; did you mean image_size"),
    ("run pipeline.yaml --out OUT --set gan.steps=many", "gan.steps: input should be a valid integer"),
    ("run pipeline.yaml --out OUT --set gan.steps", "expected section.key=value"),
    ("run pipeline.yaml --out OUT --set evaluate.ratio=[1", "is not valid YAML"),
    ("run pipeline.yaml --out OUT --set evaluate.ratio=9", "but generate.per_class is 12"),
    ("run pipeline.yaml --out held", "held already holds other files"),
    ("bench --out held", "held already holds other files"),
    ("bench --preset huge", "quickstart"),
    ("fit SOURCE --out OUT --stepz 3", "No such option: --stepz"),
    ("fit SOURCE --out OUT --steps x", "Invalid value for '--steps'"),
    ("fit SOURCE --out OUT --steps 0", "Invalid value for '--steps'"),
    (
        "fit SOURCE --out OUT --trainer slow",
        "trainer: expected one of one-stage, two-stage, two-stage-published, got 'slow'",
    ),
    ("fit SOURCE --out SOURCE --overwrite", "is the source itself"),
    ("evaluate SOURCE --out SOURCE --overwrite", "is the source itself"),
    ("run quickstart --set data.source=photos --out photos --overwrite", "is the source itself"),
    ("fit SOURCE", "Missing option '--out'"),
    ("fit --out OUT", "Missing argument 'SOURCE'"),
    ("fit SOURCE more --out OUT", "more"),
    ("train SOURCE", "No such command 'train'"),
]


@pytest.mark.parametrize(("line", "message"), OPTIONS)
def test_wrong_options_are_refused_in_one_sentence_and_nothing_is_touched(
    line: str,
    message: str,
    photos: Path,
    image_folder: Path,
    gan: Path,
    monkeypatch: pytest.MonkeyPatch,
    augment: Augment,
) -> None:
    here = photos.parent
    monkeypatch.chdir(here)
    Path("held").mkdir()
    for file, text in {
        "held/thesis.txt": "mine",
        "mine.txt": "mine",
        "wrong.yaml": "stepz: 3",
        "pipeline.yaml": PIPELINE.format(source="photos"),
    }.items():
        Path(file).write_text(text)
    before = contents(here)
    places = {"SOURCE": photos, "TEST": image_folder / "test", "GAN": gan}
    check_refused(augment(*(places.get(part, part) for part in line.split())), message)
    assert contents(here) == before


def test_a_run_or_an_evaluation_made_with_other_settings_is_left_alone(
    image_folder: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    fitting = ("fit", image_folder, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    evaluating = ("evaluate", image_folder, "--out", tmp_path / "evaluation", "--arms", "none", *QUICK)
    assert (augment(*fitting).status, augment(*evaluating).status) == (0, 0)
    before = contents(tmp_path)
    check_refused(augment(*fitting, "--loss", "wasserstein"), "loss: hinge, now wasserstein")
    check_refused(augment(*fitting, "--image-size", "16"), "other training images")
    check_refused(augment(*evaluating, "--seed", "3"), "was begun with other settings")
    check_refused(augment("generate", tmp_path / "run", "--out", tmp_path / "run", "--per-class", "2"), "`augment fit`")
    assert contents(tmp_path) == before
    assert augment(*fitting, "--loss", "wasserstein", "--overwrite").status == 0


def test_a_diverged_training_is_not_the_inputs_fault(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    steep = LOSSES["hinge"]._replace(generator=lambda _, l_f: -l_f.exp().mean() * 1e38)
    monkeypatch.setitem(LOSSES, "hinge", steep)
    said = augment("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12")
    check_refused(said, "training diverged", status=1)


def test_memory_that_is_not_enough_is_told(
    gan: Path, tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate 9 GiB")

    monkeypatch.setattr("augment.generators.generated_folder.generate", refuse)
    said = augment("generate", gan, "--out", tmp_path / "images", "--per-class", "9")
    check_refused(said, "the memory is not enough", status=1)


def test_a_bug_of_ours_keeps_its_traceback(gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.generators.generated_folder.generate", None)
    monkeypatch.setattr(sys, "argv", ["augment", "generate", str(gan), "--out", str(tmp_path), "--per-class", "9"])
    with pytest.raises(TypeError):
        main()


@pytest.mark.parametrize("out", ["photos/new/sheet.png", "photos/sheet.png", "photos", "data.npz"])
def test_inspect_writes_neither_into_a_source_nor_onto_one(
    out: str, photos: Path, tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "data.npz", train_images=np.zeros((6, 12, 12), np.uint8), train_labels=np.arange(6) % 2)
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    source = out if out == "data.npz" else "photos"
    check_refused(augment("inspect", source, "--out", out, "--overwrite"), "choose another place for the output")
    assert contents(tmp_path) == before


def test_inspect_replaces_a_contact_sheet_and_nothing_else(photos: Path, tmp_path: Path, augment: Augment) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    said = augment("inspect", photos, "--out", tmp_path / "mine.png", "--overwrite")
    check_refused(said, "mine.png was not written by `augment inspect`; choose another file")
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


@pytest.mark.parametrize("command", ["fit", "evaluate", "tune"])
def test_nothing_is_written_inside_a_source(command: str, photos: Path, augment: Augment) -> None:
    before = contents(photos)
    check_refused(augment(command, photos, "--out", photos / "new" / "deep"), "is inside the source")
    assert contents(photos) == before


def test_what_is_half_generated_is_no_source(gan: Path, tmp_path: Path, augment: Augment) -> None:
    images = tmp_path / "images"
    assert augment("generate", gan, "--out", images, "--per-class", "3", "--quiet").status == 0
    marker = json.loads((images / ".augment.json").read_text())
    (images / ".augment.json").write_text(json.dumps({**marker, "finished": False}))
    check_refused(augment("inspect", images), "is half generated; run the same `augment generate` again")
    assert augment("generate", gan, "--out", images, "--per-class", "3", "--quiet").status == 0
    assert augment("inspect", images).status == 0


def test_a_folder_that_fills_up_the_classes_is_evaluated_as_that(
    image_folder: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    source = shutil.copytree(image_folder, tmp_path / "source")
    for path in sorted(next((source / "train").iterdir()).iterdir())[4:]:
        path.unlink()
    options = ("--image-size", "12", "--quiet")
    assert augment("fit", source, "--out", tmp_path / "run", "--config", tiny, *options).status == 0
    said = augment("generate", tmp_path / "run", "--out", tmp_path / "images", "--balance", "--quiet")
    said = augment(*next_command(said)[1:], *QUICK[:-1])
    assert said.status == 0
    assert "the synthetic images fill up the small classes" in said.err
    results = json.loads((tmp_path / "images-evaluation" / "results.json").read_text())
    assert "which fill up the small classes" in results["protocol"]["mix"]


def test_own_images_are_all_used_by_a_shipped_pipeline(photos: Path, augment: Augment, tmp_path: Path) -> None:
    said = augment("run", "quickstart", "--set", f"data.source={photos}", "--out", tmp_path / "out", "--dry-run")
    assert said.status == 0
    assert "are used" not in said.err
    capped = augment(*next_command(said)[1:], "--samples-per-class", "4", "--dry-run")
    assert "at most 4 images of each class are used" in capped.err


def test_run_takes_the_options_of_the_other_commands(photos: Path, augment: Augment, tmp_path: Path) -> None:
    options = ("--resize", "crop", "--skip-broken", "--horizontal-flip", "--jobs", "1", "--threads", "1")
    said = augment(
        "run", "quickstart", "--set", f"data.source={photos}", *options, "--out", tmp_path / "out", "--dry-run"
    )
    assert said.status == 0
    assert "on 1 process:" in said.err
    again = next_command(said)
    assert {"data.resize=crop", "data.skip_broken=True", "--horizontal-flip", "--threads"} <= set(again)
    assert augment(*again[1:], "--dry-run").out == said.out
