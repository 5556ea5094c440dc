"""`augment schema pipeline|results`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """The documents that have a JSON Schema."""

    pipeline = "pipeline"
    results = "results"


def schema(
    document: Annotated[Document, typer.Argument(help="pipeline: a pipeline's YAML file. results: results.json.")],
) -> None:
    """Print a JSON Schema, with which editors complete pipelines and programs check results.json."""
    import json

    from pipelines.json_schemas import json_schema

    typer.echo(json.dumps(json_schema(document.value), indent=2))
