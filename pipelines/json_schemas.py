"""`augment schema`: the JSON Schemas of pipeline definitions and of results.json."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from pipelines.config.sections import Pipeline
from pipelines.results.document import Results

DOCUMENTS: dict[str, type[BaseModel]] = {"pipeline": Pipeline, "results": Results}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(document: str) -> dict[str, Any]:
    """Return the JSON Schema of one of `DOCUMENTS`.

    The schema of a pipeline lets editors complete its YAML. An arm or a kind of generator may also be given by its name
    alone. Validators handle that, which pydantic's schema does not include, so it is added here.
    """
    schema = DOCUMENTS[document].model_json_schema(mode="validation")
    if document == "pipeline":
        schema["$defs"]["Arm"] = {"anyOf": [{"type": "string"}, schema["$defs"]["Arm"]]}
        generator = schema["properties"]["generator"]
        schema["properties"]["generator"] = {"anyOf": [{"type": "string"}, {"type": "object"}, generator]}
        schema["properties"]["gan"] = {"description": "A deprecated name of `generator`.", "type": "object"}
    return {"$schema": DIALECT, **schema}
