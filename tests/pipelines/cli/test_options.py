"""Wrong options are refused in one sentence, and nothing is changed on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import PIPELINE, Augment, check_refused
from folders import contents

OPTIONS = [
    ("fit SOURCE --out OUT --device cuda:7", "device 'cuda:7' is not available"),
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
    ("generate held --out OUT --per-class 2", "held is not a RUN folder"),
    ("generate none --out OUT --per-class 2", "none is not a RUN folder"),
    ("generate GAN --out held --per-class 2", "held already holds other files"),
    ("generate GAN --out OUT", "give exactly one of --per-class N, --balance and --count"),
    ("generate GAN --out OUT --balance --per-class 3", "give exactly one of --per-class N"),
    ("generate GAN --out OUT --count hat=3", "the run has no class 'hat'"),
    ("generate GAN --out OUT --count coat:3", "--count 'coat:3': expected CLASS=N"),
    ("generate GAN --out OUT --count coat=-3", "--count 'coat=-3': expected CLASS=N"),
    ("generate GAN --out OUT --count coat=99999999999999999999", "expected at most 10,000,000 images per class"),
    ("generate GAN --out OUT --count coat=" + "9" * 5000, "expected at most 10,000,000 images per class"),
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
    ("evaluate SOURCE --out OUT", "use `augment run auto SOURCE`, which tests by"),
    ("evaluate SOURCE --test TEST --out OUT --arms none,best", "arms.1: expected one of none"),
    ("evaluate SOURCE --test TEST --out OUT --arms none,synthetic", "give --synthetic, or only real arms"),
    ("evaluate SOURCE --test TEST --synthetic none --out OUT", "there is no 'none'"),
    ("evaluate SOURCE --test TEST --synthetic SOURCE --out OUT --ratio 3", "needs 36 synthetic images of each class"),
    ("evaluate SOURCE --test TEST --out OUT --ratio inf", "ratio: "),
    ("evaluate SOURCE --test TEST --out held", "held already holds other files"),
    (
        "run none.yaml --out OUT",
        "no pipeline 'none.yaml': expected a YAML file or one of auto, fashion-50, imbalance, learning-curve",
    ),
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
    ("teach SOURCE", "No such command 'teach'"),
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
