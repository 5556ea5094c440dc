"""`augment schema pipeline|results`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """A document that has a JSON Schema."""

    pipeline = "pipeline"
    results = "results"


def schema(
    document: Annotated[Document, typer.Argument(help="A pipeline's YAML, or results.json.")],
) -> None:
    """Print a JSON Schema: editors complete pipelines by it, and programs can rely on results.json."""
    import json

    from pipelines.json_schemas import json_schema

    typer.echo(json.dumps(json_schema(document.value), indent=2))
