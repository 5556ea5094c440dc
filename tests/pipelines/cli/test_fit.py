"""`augment fit` trains a generator once, continues it on request and replaces it only with --overwrite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from command_line import QUICK, TINY_GAN, Augment, check_refused
from folders import contents

from augment.generators.registry import load_model


def test_a_finished_run_is_kept_and_more_steps_continue_it(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    command = ("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    augment(*command)
    before = contents(tmp_path / "run")
    result = augment(*command)
    assert (result.status, "was finished already and is left as it is" in result.out) == (0, True)
    assert contents(tmp_path / "run")["model.safetensors"] == before["model.safetensors"]
    (tmp_path / "no-steps.yaml").write_text(json.dumps({k: v for k, v in TINY_GAN.items() if k != "steps"}))
    again = augment(*command, "--config", tmp_path / "no-steps.yaml")
    assert "was finished already and is left as it is" in again.out
    assert augment(*command, "--steps", "6").status == 0
    assert (tmp_path / "run" / "checkpoints" / "step-00000006.safetensors").exists()


def test_it_says_what_it_will_do_and_where_it_continues(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    command = ("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12")
    first = "note: cgan: 4 steps on 36 images of 3 classes at 12 px"
    assert first in augment(*command).err.splitlines()
    assert "note: cgan: " not in augment(*command).err
    more = augment(*command, "--steps", "6").err
    assert "note: cgan: from step 4 to 6 on 36 images of 3 classes at 12 px" in more.splitlines()


def test_a_generator_of_one_picture_is_noted(photos: Path, tiny: Path, tmp_path: Path, augment: Augment) -> None:
    wild = TINY_GAN | {"network": "dcgan", "lr_generator": 1, "lr_discriminator": 1, "steps": 400, "seed": 4}
    tiny.write_text(json.dumps(wild))
    result = augment("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    assert result.status == 0
    assert result.err.startswith("note: all 48 generated images look the same: the generator has collapsed")
    result = augment("generate", tmp_path / "run", "--out", tmp_path / "images", "--per-class", "3")
    assert result.err.startswith("note: all 9 generated images look the same: ")


def test_a_run_or_an_evaluation_of_other_settings_is_left_alone(
    image_folder: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    fitting = ("fit", image_folder, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12", "--quiet")
    evaluating = ("evaluate", image_folder, "--out", tmp_path / "evaluation", "--arms", "none", *QUICK)
    assert (augment(*fitting).status, augment(*evaluating).status) == (0, 0)
    before = contents(tmp_path)
    check_refused(augment(*fitting, "--loss", "wasserstein"), "loss: hinge, now wasserstein")
    check_refused(augment(*fitting, "--image-size", "16"), "other training images")
    check_refused(augment(*evaluating, "--seed", "3"), "was started with other settings")
    check_refused(augment("generate", tmp_path / "run", "--out", tmp_path / "run", "--per-class", "2"), "`augment fit`")
    assert contents(tmp_path) == before
    assert augment(*fitting, "--loss", "wasserstein", "--overwrite").status == 0


def test_unlabelled_images_are_learnt_from_where_the_settings_say_so(
    photos: Path, tiny: Path, tmp_path: Path, augment: Augment
) -> None:
    more = tmp_path / "more.npz"
    np.savez(more, train_images=np.random.default_rng(0).integers(0, 256, (9, 12, 12), np.uint8), train_labels=[0] * 9)
    tiny.write_text(json.dumps(TINY_GAN | {"unlabelled": 0.5}))
    command = ("fit", photos, "--out", tmp_path / "run", "--config", tiny, "--image-size", "12")
    result = augment(*command, "--unlabelled", more)
    assert "note: cgan: 4 steps on 36 images of 3 classes and 9 unlabelled images at 12 px" in result.err.splitlines()
    assert load_model(tmp_path / "run").metadata.unlabelled == 9
    check_refused(augment(*command), "unlabelled images: removed")
    tiny.write_text(json.dumps(TINY_GAN))
    check_refused(augment(*command, "--unlabelled", more), "does not learn from unlabelled images")
