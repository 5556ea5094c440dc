"""YAML becomes typed once, and an error names the place of the mistake and the nearest valid key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from augment.errors import ConfigError
from augment.generators.cgan import CganConfig
from pipelines.config.arm_section import DEFAULT_ARMS
from pipelines.config.reading import (
    load_evaluate_config,
    load_generator_config,
    load_pipeline,
    shipped_pipelines,
)


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    return str(tmp_path / "mine.yaml")


MISTAKES = [
    ("data: {source: x, image_sise: 28}", "unknown key data.image_sise; did you mean image_size"),
    ("data: {source: x}\nevaluate: {clasifier: {steps: 3}}", "unknown key evaluate.clasifier; did you mean classifier"),
    ("data: {source: x}\nevaluate: {classifier: {step: 3}}", "unknown key evaluate.classifier.step; .* steps"),
    ("data: {source: x}\nevaluate: {arms: [none, {name: a, polcy: x}]}", "unknown key evaluate.arms.1.polcy; .*policy"),
    ("data: {source: x}\ngenerator: {steps: 3}\ngan: {steps: 3}", "gan is the old name of generator; give one of them"),
    ("data: {source: x}\ntraining: {}", "unknown key training; expected one of description, data, generator"),
    ("data: {source: x}\ngan: {steps: many}", "gan.steps: .*valid integer.*, got 'many'"),
    ("data: {source: x}\ngan: {loss: minmax}", "gan.loss: expected one of .*hinge, .*got 'minmax'"),
    ("data: {source: x}\ngan: {augment: [flop]}", "gan.augment.0: expected one of .*flip.*got 'flop'"),
    ("data: {source: 5}", "data.source: .*valid string, got 5"),
    ("data: {source: x, resize: shrink}", "data.resize: .*'pad', 'crop' or 'stretch', got 'shrink'"),
    ("data: {source: x}\nevaluate: {arms: [none, best]}", "evaluate.arms.1: expected one of none, .*got 'best'"),
    ("data: {source: x}\nevaluate: {arms: [none, none]}", "evaluate.arms: expected each arm once, got none, none"),
    ("data: {source: x}\nevaluate: {arms: []}", "evaluate.arms: expected at least one arm"),
    (
        "data: {source: x}\nevaluate: {arms: [{name: a, policy: mild}]}",
        "arms.0.policy: expected one of classical, .*got 'mild'",
    ),
    ("data: {source: x}\nevaluate: {arms: [{name: a, real: false}]}", "arms.0: expected real: true or synthetic: true"),
    ("data: {source: x}\nevaluate: {arms: [{name: gan-train}]}", "arms: 'gan-train' is a name in the records"),
    (
        "data: {source: x}\nevaluate: {arms: [none, {name: 'half of the images: none'}]}",
        "arms: 'half of the images: none' is a name in the records; expected another name for the arm",
    ),
    ("data: {source: x}\nevaluate: {policy: best}", "evaluate.policy: expected one of .*standard.*got 'best'"),
    ("data: {source: x}\nevaluate: {metric: auc}", "evaluate.metric: expected one of accuracy, .*got 'auc'"),
    ("data: {source: x}\nevaluate: {ratio: .inf}", "evaluate.ratio: .*finite"),
    ("data: {source: x}\nevaluate: {repeats: 1}", "evaluate.repeats: .*greater than or equal to 2, got 1"),
    ("gan: {steps: 5}", "data is missing"),
    ("data: {samples_per_class: 5}", "data.source is missing"),
    ("- data", "expected keys and values, got list"),
    ("data: {source: x", "is not valid YAML: .*line 1"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_named_with_its_place_in_the_yaml(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_pipeline(write(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.source is missing; gan\.steps: .* got 'a'; unknown key generate\.n"):
        load_pipeline(write(tmp_path, "data: {}\ngan: {steps: a}\ngenerate: {n: 1}"))


def test_only_what_was_meant_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key gan\.sample_evry; did you mean sample_every") as caught:
        load_pipeline(write(tmp_path, "data: {source: x}\ngan: {sample_evry: 3}"))
    assert "latent_dim" not in str(caught.value)


def test_overrides_are_applied_over_the_file_and_typed_like_it(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {source: x, seed: 3}\ngan: {steps: 9}")
    overrides = [
        "gan.steps=7",
        "gan.augment=[colour,flip]",
        "evaluate.classifier.lr=1.0e-3",
        "data.samples_per_class=4",
    ]
    pipeline = load_pipeline(path, overrides)
    assert (pipeline.generator.steps, pipeline.generator.augment) == (7, ("colour", "flip"))
    assert (pipeline.evaluate.classifier.lr, pipeline.data.samples_per_class, pipeline.data.seed) == (1e-3, 4, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gan.steps", r"--set 'gan\.steps': expected section\.key=value"),
        ("gan..steps=3", r"--set 'gan\.\.steps=3': expected section\.key=value"),
        ("gan.steps=[3", r"--set 'gan\.steps=\[3': '\[3' is not valid YAML"),
        ("data.source.path=3", r"--set 'data\.source\.path=3': source is not a section"),
        ("gan.stepz=3", r"unknown key gan\.stepz; did you mean steps"),
        ("gan.steps=", r"gan\.steps: .*valid integer, got None"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_pipeline(write(tmp_path, "data: {source: x}"), [override])


def test_paths_resolve_against_the_yaml_file_but_overrides_against_the_working_directory(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, f"data: {{source: mine:2024, test: {tmp_path}/elsewhere}}")
    data = load_pipeline(path).data
    assert (data.source, data.test) == (str(tmp_path / "mine:2024"), str(tmp_path / "elsewhere"))
    assert load_pipeline(path, ["data.source=here"]).data.source == "here"


def test_pretrained_weights_are_a_path_or_a_download(tmp_path: Path) -> None:
    text = "{{data: {{source: download}}, evaluate: {{features: {{backbone_weights: {}}}}}}}"
    for weights, resolved in (
        ("downloads/w.pth", str(tmp_path / "downloads/w.pth")),
        ("download", "download"),
        ("null", None),
    ):
        pipeline = load_pipeline(write(tmp_path, text.format(weights)))
        assert pipeline.evaluate.features.backbone_weights == resolved
        assert pipeline.data.source == str(tmp_path / "download")


@pytest.mark.parametrize("source", ["datasets:{}/set?label=y", "torchvision:CIFAR10:{}/set", "{}/set?image=x"])
def test_folders_after_a_prefix_resolve_against_the_yaml_file(source: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for written in (source.format("."), source.format(tmp_path)):
        assert load_pipeline(write(tmp_path, f"data: {{source: '{written}'}}")).data.source == source.format(tmp_path)


@pytest.mark.parametrize("source", ["bundled:fashion", "sklearn:digits", "datasets:user/set?label=y"])
def test_named_sources_are_no_paths(source: str, tmp_path: Path) -> None:
    assert load_pipeline(write(tmp_path, f"data: {{source: '{source}'}}")).data.source == source


def test_every_shipped_pipeline_loads() -> None:
    assert shipped_pipelines() == ["auto", "fashion-50", "imbalance", "learning-curve", "quickstart"]
    for name in shipped_pipelines():
        pipeline = load_pipeline(name, ["data.source=photos"])
        assert pipeline.data.source == "photos"
        assert pipeline.evaluate.repeats >= 6  # fewer can show nothing


@pytest.mark.parametrize(
    ("name", "ending"), [("quickstrat", "quickstart"), ("no/mine.yaml", "quickstart"), (".", "augment run auto .")]
)
def test_a_pipeline_that_is_not_there_names_those_that_ship(name: str, ending: str) -> None:
    words = rf"no pipeline '.*': expected a YAML file or one of auto, fashion-50, .*{re.escape(ending)}$"
    with pytest.raises(ConfigError, match=words):
        load_pipeline(name)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigError, match=r"mine\.yaml cannot be read as a YAML file"):
        load_pipeline(str(tmp_path / "mine.yaml"))


def test_options_without_synthetic_images_leave_their_arms_out() -> None:
    config = load_evaluate_config(None, arms=None, has_synthetic=False, steps=7, repeats=None, ratio=0.5)
    assert [arm.name for arm in config.arms] == ["none", "classical"]
    assert (config.classifier.steps, config.repeats, config.ratio) == (7, 10, 0.5)
    assert len(load_evaluate_config(None, arms=None, has_synthetic=True, steps=None).arms) == len(DEFAULT_ARMS)
    with pytest.raises(ConfigError, match=r"the options: arms\.1: expected one of none, "):
        load_evaluate_config(None, arms=["none", " best"], has_synthetic=False, steps=None)


def test_an_evaluation_takes_a_file_with_options_on_top(tmp_path: Path) -> None:
    path = Path(write(tmp_path, "policy: strong\nhorizontal_flip: true\nclassifier: {lr: 0.01, steps: 9}\n"))
    config = load_evaluate_config(path, arms=None, has_synthetic=False, steps=4, horizontal_flip=None, seed=3)
    assert (config.policy, config.horizontal_flip, config.seed) == ("strong", True, 3)
    assert (config.classifier.lr, config.classifier.steps) == (0.01, 4)
    assert [arm.name for arm in config.arms] == ["none", "classical"]


def test_a_path_in_the_settings_of_an_evaluation_is_beside_them(tmp_path: Path) -> None:
    path = Path(write(tmp_path, "inception: weights.pth"))
    config = load_evaluate_config(path, arms=None, has_synthetic=False, steps=None)
    assert config.inception == tmp_path / "weights.pth"


def test_a_whole_pipeline_is_no_section(tmp_path: Path) -> None:
    path = Path(write(tmp_path, "data: {source: x}\ngenerator: {steps: 9}\nevaluate: {repeats: 3}\n"))
    with pytest.raises(ConfigError, match=r"is a pipeline: --config takes a file with the content of its `generator:`"):
        load_generator_config(path, None)
    with pytest.raises(ConfigError, match=r"is a pipeline: --config takes a file with the content of its `evaluate:`"):
        load_evaluate_config(path, arms=None, has_synthetic=False, steps=None)


def test_a_gan_config_takes_a_file_with_options_on_top(tmp_path: Path) -> None:
    path = write(tmp_path, "steps: 9\nwidth: 8\n")
    assert load_generator_config(Path(path), None, steps=5, loss=None) == CganConfig(steps=5, width=8)
    assert load_generator_config(None, None) == CganConfig()
    with pytest.raises(ConfigError, match=r"mine\.yaml: unknown key gan; expected one of kind, seed"):
        load_generator_config(Path(write(tmp_path, "gan: {steps: 9}")), None)
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_generator_config(tmp_path / "none.yaml", None)


NAMES = (
    "pets #2|2024-01-15|2020-13-45|123|on|off|yes|my: data|null|~|[a]|{x}|1e3|0x10|true|'quoted'|- a|&a|*a|!!int|%| a"
)


@pytest.mark.parametrize("name", NAMES.split("|"))
def test_a_source_in_an_override_is_used_literally(name: str) -> None:
    assert load_pipeline("quickstart", [f"data.source={name}"]).data.source == name


@pytest.mark.parametrize("short", ["resample", "{kind: resample}"])
def test_overrides_go_into_the_short_form_of_a_generator(short: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"data: {{source: x}}\ngenerator: {short}\nevaluate:")
    assert load_pipeline(path, ["generator.seed=3", "evaluate.repeats=7"]).generator.seed == 3
    assert load_pipeline(path, ["generator=cgan", "generator.seed=4", "evaluate.repeats=7"]).generator.kind == "cgan"


def test_an_optional_text_is_none_for_null_and_other_text_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {source: x, test: y}\nevaluate: {metric: accuracy}")
    assert load_pipeline(path, ["data.test=null", "evaluate.metric=null"]).evaluate.metric is None
    assert load_pipeline(path, ["data.test=null"]).data.test is None
    assert load_pipeline(path, ["data.test=~"]).data.test == "~"
    assert load_pipeline(path, ["data.resize=crop", "gan.loss=hinge", "description=a: b"]).description == "a: b"


def test_values_that_are_no_text_stay_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {source: x}")
    pipeline = load_pipeline(path, ["evaluate.arms=[none, classical]", "gan.augment=[]", "gan.penalties={r1: 2}"])
    assert [arm.name for arm in pipeline.evaluate.arms] == ["none", "classical"]
    assert (pipeline.generator.augment, pipeline.generator.penalties) == ((), {"r1": 2.0})


@pytest.mark.parametrize(
    "text",
    [
        f"data: {{source: x}}\ngan: {{steps: {'x' * 10**5}}}",
        f"data: {{source: x}}\ngan: {{steps: [{'[1], ' * 10**4}]}}",
        f"data: {{source: x}}\ngan: {{steps: 0x{'f' * 10**5}}}",
        f"data: {{source: x}}\nevaluate: {{ratio: 0x{'f' * 10**5}}}",
        f"data: {{source: x}}\nevaluate: {{arms: [{'best, ' * 10**4}]}}",
        f"data: {{source: x}}\nevaluate: {{policy: {'x' * 10**5}}}",
        f"data: {{source: x}}\nevaluate: {{classifier: {{network: {'x' * 10**5}}}}}",
        f"data: {{source: x}}\ngan: {{{'x' * 900}: 1}}",
        "data: {source: x, 5: 6}",
    ],
    ids=range(9),
)
def test_a_mistake_of_any_size_is_a_short_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(write(tmp_path, text))
    assert len(str(caught.value)) < 3000


def test_a_classifier_that_is_no_section_is_refused_beside_options(tmp_path: Path) -> None:
    path = Path(write(tmp_path, "classifier: 5"))
    with pytest.raises(ConfigError, match=r"classifier: .*got 5"):
        load_evaluate_config(path, arms=None, has_synthetic=False, steps=4)
