"""JSON Schemas of the documents that people and programs read and write: `augment schema`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from pipelines.config.sections import Pipeline
from pipelines.results.document import Results

DOCUMENTS: dict[str, type[BaseModel]] = {"pipeline": Pipeline, "results": Results}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(document: str) -> dict[str, Any]:
    """The schema of one of `DOCUMENTS`.

    Editors complete a pipeline's YAML by the first. A pipeline may also name an arm or a kind of generator by its name
    alone, which the schema cannot know of pydantic's validators, and so it is added here.
    """
    schema = DOCUMENTS[document].model_json_schema(mode="validation")
    if document == "pipeline":
        schema["$defs"]["Arm"] = {"anyOf": [{"type": "string"}, schema["$defs"]["Arm"]]}
        generator = schema["properties"]["generator"]
        schema["properties"]["generator"] = {"anyOf": [{"type": "string"}, {"type": "object"}, generator]}
        schema["properties"]["gan"] = {"description": "The old name of `generator`.", "type": "object"}
    return {"$schema": DIALECT, **schema}
