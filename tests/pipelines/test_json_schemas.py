"""The JSON Schemas accept what the toolkit reads and writes, and refuse what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from toy import ARMS, DATASET, GAIN, record

from augment.errors import ConfigError
from pipelines.config.reading import parse
from pipelines.config.sections import Pipeline
from pipelines.experiment.folds import Design
from pipelines.json_schemas import DOCUMENTS, json_schema
from pipelines.results.document import to_json
from pipelines.results.results import build_results

SHIPPED = sorted(Path(__file__).parents[2].glob("pipelines/*.yaml"))
SOURCE = {"data": {"source": "photos"}}
ACCEPTED: dict[str, dict[str, Any]] = {
    "the least": SOURCE,
    "a generator by its name": {**SOURCE, "generator": "resample"},
    "a generator with settings": {**SOURCE, "generator": {"kind": "cgan", "steps": 100}},
    "the old name of the generator": {**SOURCE, "gan": {"steps": 100}},
    "arms by name and with settings": {**SOURCE, "evaluate": {"arms": ["none", {"name": "mine", "ratio": 2}]}},
}
REFUSED: dict[str, dict[str, Any]] = {
    "no source": {},
    "an unknown section": {**SOURCE, "genrator": {}},
    "an unknown key": {**SOURCE, "evaluate": {"repeat": 3}},
    "a value of another type": {**SOURCE, "evaluate": {"repeats": "many"}},
    "a negative count": {**SOURCE, "generate": {"per_class": -1}},
}


def accepts(document: str, content: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema(document)).is_valid(content))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_schema_is_a_schema_whose_fields_are_described(document: str) -> None:
    schema = json_schema(document)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_pipelines_that_ship_fit_their_schema(path: Path) -> None:
    assert accepts("pipeline", yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_definitions_fit_the_schema(content: dict[str, Any]) -> None:
    parse(Pipeline, content, "mine.yaml")
    assert accepts("pipeline", content)


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_refused_definitions_do_not_fit_the_schema(content: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse(Pipeline, content, "mine.yaml")
    assert not accepts("pipeline", content)


def test_results_fit_their_schema_and_damaged_ones_do_not() -> None:
    records = [record(r, arm.name, 0.7 + g * arm.synthetic + 0.01 * r) for arm in ARMS for r, g in enumerate(GAIN)]
    results = json.loads(to_json(build_results(records, ARMS, DATASET, Design(why="holdout: a test split"), 1.0)))
    assert accepts("results", results)
    for section in ("dataset", "protocol", "arms", "comparisons", "recommendation"):
        assert not accepts("results", {key: value for key, value in results.items() if key != section})
    results["comparisons"][0]["mean_gain"] = "3 points"
    assert not accepts("results", results)
